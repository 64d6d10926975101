//! What the system says of this process's memory.

/// The most bytes that were ever resident; `None` where the system does not say.
pub fn peak_resident() -> Option<usize> {
    #[cfg(unix)]
    {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the pointer is valid for writes of a whole `rusage`, which is all that getrusage asks for.
        let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        if done != 0 {
            return None;
        }
        // SAFETY: getrusage returned 0, so it filled the structure in.
        let largest = usize::try_from(unsafe { usage.assume_init() }.ru_maxrss).ok()?;
        // macOS counts bytes, other systems kibibytes.
        Some(if cfg!(target_os = "macos") {
            largest
        } else {
            largest * 1024
        })
    }
    #[cfg(not(unix))]
    None
}

/// Bytes of memory that the machine has; `None` where the system does not say.
pub fn installed() -> Option<usize> {
    #[cfg(unix)]
    {
        // SAFETY: sysconf reads no memory of ours.
        let (pages, size) = unsafe {
            (
                libc::sysconf(libc::_SC_PHYS_PAGES),
                libc::sysconf(libc::_SC_PAGESIZE),
            )
        };
        usize::try_from(pages)
            .ok()?
            .checked_mul(usize::try_from(size).ok()?)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(unix)]
    fn there_is_more_memory_than_was_ever_used() {
        let (installed, used) = (super::installed().unwrap(), super::peak_resident().unwrap());
        assert!(installed > used && installed < 1 << 50, "{installed} {used}");
    }

    #[test]
    #[cfg(unix)]
    fn touched_memory_is_counted() {
        let before = super::peak_resident().unwrap();
        let block = vec![1_u8; 64 << 20];
        let touched: usize = block.iter().step_by(4096).map(|byte| usize::from(*byte)).sum();
        assert_eq!(touched, (64 << 20) / 4096);
        let after = super::peak_resident().unwrap();
        assert!(after >= 64 << 20 && after >= before, "{before} {after}");
    }
}
