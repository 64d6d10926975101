//! Large lists of zeros.

/// Bytes from which on huge pages are asked for.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// Zeros that nothing has touched yet. Where there are many, the system is advised to take pages of 2 MiB for them: to make 500 small ones
/// takes longer than to fill them.
pub(crate) fn zeros<T: Copy + Default>(count: usize) -> Vec<T> {
    let zeros = vec![T::default(); count];
    #[cfg(target_os = "linux")]
    if size_of_val(&*zeros) >= LARGE {
        const PAGE: usize = 4096;
        let start = zeros.as_ptr() as usize;
        let first = start.next_multiple_of(PAGE);
        let length = (start + size_of_val(&*zeros) - first) / PAGE * PAGE;
        // SAFETY: these pages are the list's own, and the advice changes nothing in them. Whether it is taken does not matter.
        unsafe { libc::madvise(first as *mut libc::c_void, length, libc::MADV_HUGEPAGE) };
    }
    zeros
}
