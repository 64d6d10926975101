//! What the system says of this process's memory.

use std::path::Path;

/// The most bytes that were ever resident; `None` where the system does not say.
pub fn peak_resident() -> Option<usize> {
    // Linux's getrusage says no less than what the process held that started this one.
    #[cfg(target_os = "linux")]
    if let Some(bytes) = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| high_water(&status))
    {
        return Some(bytes);
    }
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
            largest.saturating_mul(1024)
        })
    }
    #[cfg(not(unix))]
    None
}

/// proc(5): the peak of the resident set, in kibibytes.
#[cfg(target_os = "linux")]
fn high_water(status: &str) -> Option<usize> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The bytes that are resident now; `None` where the system does not say.
pub fn resident() -> Option<usize> {
    #[cfg(target_os = "linux")]
    {
        // proc(5): pages in all, then pages that are resident.
        let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: usize = pages.split_whitespace().nth(1)?.parse().ok()?;
        pages.checked_mul(page_size()?)
    }
    #[cfg(target_os = "macos")]
    {
        let mut info = std::mem::MaybeUninit::<libc::proc_taskinfo>::uninit();
        let size = size_of::<libc::proc_taskinfo>() as libc::c_int;
        // SAFETY: the pointer is valid for writes of `size` bytes, which is all that proc_pidinfo may write.
        let written = unsafe {
            libc::proc_pidinfo(
                libc::getpid(),
                libc::PROC_PIDTASKINFO,
                0,
                info.as_mut_ptr().cast(),
                size,
            )
        };
        if written != size {
            return None;
        }
        // SAFETY: proc_pidinfo says that it filled the structure in.
        usize::try_from(unsafe { info.assume_init() }.pti_resident_size).ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    None
}

/// Bytes of memory that the machine has, or that the container may use where that is less; `None` where the system does not say.
pub fn installed() -> Option<usize> {
    let machine = machine();
    match container() {
        Some(container) => Some(machine.map_or(container, |machine| machine.min(container))),
        None => machine,
    }
}

/// What the control group allows, if it limits anything: https://docs.kernel.org/admin-guide/cgroup-v2.html, and the older
/// https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, which says "no limit" with a number beyond all memory.
fn container() -> Option<usize> {
    container_of(Path::new("/sys/fs/cgroup"))
}

fn container_of(groups: &Path) -> Option<usize> {
    let limit = |file: &str| limit(&std::fs::read_to_string(groups.join(file)).ok()?);
    limit("memory.max").or_else(|| limit("memory/memory.limit_in_bytes"))
}

fn limit(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

fn machine() -> Option<usize> {
    #[cfg(unix)]
    {
        // SAFETY: sysconf reads no memory of ours.
        let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
        usize::try_from(pages).ok()?.checked_mul(page_size()?)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(unix)]
fn page_size() -> Option<usize> {
    // SAFETY: sysconf reads no memory of ours.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn limits_of_control_groups_are_read() {
        assert_eq!(super::limit("536870912\n"), Some(512 << 20));
        assert_eq!(super::limit("max\n"), None);
        assert_eq!(
            super::limit("9223372036854771712\n"),
            Some(9_223_372_036_854_771_712)
        );
    }

    #[test]
    fn the_older_control_groups_are_asked_where_the_newer_say_nothing() {
        let folder = std::env::temp_dir().join(format!("monocle-groups-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("memory")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        let found = || super::container_of(&folder);
        assert_eq!(found(), None);
        write("memory/memory.limit_in_bytes", "268435456\n");
        assert_eq!(found(), Some(256 << 20));
        write("memory.max", "max\n");
        assert_eq!(found(), Some(256 << 20));
        write("memory.max", "536870912\n");
        assert_eq!(found(), Some(512 << 20));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_is_read_from_the_status() {
        let status = "Name:\tmonocle\nVmPeak:\t  900000 kB\nVmHWM:\t   28340 kB\nVmRSS:\t   20000 kB\n";
        assert_eq!(super::high_water(status), Some(28_340 << 10));
        assert_eq!(super::high_water("Name:\tmonocle\n"), None);
        assert_eq!(super::high_water("VmHWM:\tmuch kB\n"), None);
    }

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
        let now = super::resident().unwrap();
        // Linux adds pages up for each processor, and the two figures of them at different moments.
        let peak = super::peak_resident().unwrap() + (8 << 20);
        assert!(now >= 64 << 20 && now <= peak, "{now} {peak}");
        drop(block);
    }
}
