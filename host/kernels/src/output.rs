//! Sharing out one result among threads.

use std::marker::PhantomData;

use crate::threads::Threads;

/// A slice whose parts are written by several threads.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out parts only through `part`, whose caller vouches that they do not overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares a slice for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// A part of it.
    ///
    /// # Safety
    /// Parts that are alive at the same time must not overlap.
    #[allow(clippy::mut_from_ref)] // that is its purpose
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: in bounds, and the caller vouches that nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// Where element `index` lies: for kernels that write parts of several rows.
    pub fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.len);
        // SAFETY: in bounds, or one past the end.
        unsafe { self.start.add(index) }
    }
}

/// Work on fewer elements than this is not worth waking threads for.
pub const WORTH_SHARING: usize = 16 * 1024;

/// Gives each thread parts of `out`, `rows` rows of `width` elements: `work(first_row, part)`. `cost` is the work for
/// one row, in elements touched or the like.
pub fn by_rows<T: Send>(
    threads: &Threads,
    out: &mut [T],
    width: usize,
    cost: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    if width == 0 || out.is_empty() {
        return;
    }
    let rows = out.len() / width;
    if rows.saturating_mul(cost.max(1)) < WORTH_SHARING || threads.count() == 1 {
        work(0, out);
        return;
    }
    let most = rows.div_ceil(threads.count() * 4);
    let chunk = (WORTH_SHARING / 4).div_ceil(cost.max(1)).clamp(1, most.max(1));
    let chunk = chunk.max(rows.div_ceil(threads.count() * 16));
    let shared = Shared::new(out);
    threads.parallel(rows.div_ceil(chunk), |index| {
        let first = index * chunk;
        let count = chunk.min(rows - first);
        // SAFETY: chunks of rows do not overlap.
        work(first, unsafe { shared.part(first * width, count * width) });
    });
}
