//! Mapped files that become shorter, or cannot be read any more, while they are in use. The system then sends SIGBUS to whoever touches what is
//! gone, which ends the process. Here it gets a page of zeros in place of the lost one, and the file is marked: whoever computes with it asks
//! [`lost`] afterwards and throws the result away.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use memmap2::Mmap;

/// Files that can be watched at once; a model in a thousand parts is not known.
const FILES: usize = 1024;

/// A mapped file that is watched as long as it lives.
pub struct Mapped {
    map: Mmap,
    place: Option<usize>,
}

/// Where a file is mapped. The handler of the signal reads these, so they are nothing but numbers.
struct Range {
    /// 0: free.
    start: AtomicUsize,
    end: AtomicUsize,
    is_lost: AtomicBool,
}

static RANGES: [Range; FILES] = [const {
    Range {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_lost: AtomicBool::new(false),
    }
}; FILES];
/// Whether any was ever lost: all that is looked at after a step that went well.
static ANY_LOST: AtomicBool = AtomicBool::new(false);
static PATHS: Mutex<Option<HashMap<usize, PathBuf>>> = Mutex::new(None);

fn paths() -> MutexGuard<'static, Option<HashMap<usize, PathBuf>>> {
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mapped {
    /// Watches a mapping of this file.
    pub fn new(map: Mmap, path: &Path) -> Self {
        handler::install();
        let mut paths = paths();
        let paths = paths.get_or_insert_default();
        let place = (0..FILES).find(|place| !paths.contains_key(place));
        if let Some(place) = place {
            paths.insert(place, path.to_owned());
            let (range, start) = (&RANGES[place], map.as_ptr() as usize);
            range.is_lost.store(false, Ordering::Relaxed);
            range.end.store(start + map.len(), Ordering::Relaxed);
            range.start.store(start, Ordering::Release);
        }
        Self { map, place }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Before it is unmapped: the next that lies there is not ours.
        if let Some(place) = self.place {
            RANGES[place].start.store(0, Ordering::Release);
            RANGES[place].is_lost.store(false, Ordering::Relaxed);
            if let Some(paths) = paths().as_mut() {
                paths.remove(&place);
            }
        }
    }
}

/// A file in use in this folder of which something was lost: what was computed since it was opened may be made of zeros.
pub fn lost(folder: &Path) -> Option<PathBuf> {
    if !ANY_LOST.load(Ordering::Relaxed) {
        return None;
    }
    let paths = paths();
    let lost = paths
        .iter()
        .flatten()
        .filter(|(place, _)| RANGES[**place].is_lost.load(Ordering::Relaxed));
    lost.map(|(_, path)| path)
        .find(|path| path.starts_with(folder))
        .cloned()
}

/// Tells the system that what was read so far of the files here is not needed soon: it no longer counts as this process's memory, and comes
/// back when it is read. To open a model, small tensors are read that lie among large ones, and the system hands out up to 2 MiB around each.
#[cfg(target_os = "linux")]
pub fn let_go(folder: &Path) {
    let paths = paths();
    for (place, _) in paths
        .iter()
        .flatten()
        .filter(|(_, path)| path.starts_with(folder))
    {
        let range = &RANGES[*place];
        let (start, end) = (
            range.start.load(Ordering::Acquire),
            range.end.load(Ordering::Relaxed),
        );
        if start != 0 {
            // SAFETY: the range is mapped as long as the list names it, and the list is locked. Nothing is written there, so what is dropped is
            // read from the file again.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
}

/// Other systems do not count what is only mapped, or say nothing of it.
#[cfg(not(target_os = "linux"))]
pub fn let_go(_: &Path) {}

#[cfg(unix)]
mod handler {
    use std::sync::Once;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    use super::{ANY_LOST, RANGES};

    /// Who had the signal before.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
    static PAGE: OnceLock<usize> = OnceLock::new();

    /// Takes the signal over, once.
    pub fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: sysconf reads no memory of ours.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let Ok(page) = usize::try_from(page) else { return };
            PAGE.get_or_init(|| page);
            let mut before = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: both structures are whole, zeroed where nothing else is said; a zeroed one is a valid value. What there was before is
            // known before ours can be called.
            unsafe {
                libc::sigaction(libc::SIGBUS, std::ptr::null(), before.as_mut_ptr());
                BEFORE.get_or_init(|| before.assume_init());
                let mut ours: libc::sigaction = std::mem::zeroed();
                ours.sa_sigaction = on_signal as *const () as usize;
                ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&raw mut ours.sa_mask);
                libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut());
            }
        });
    }

    /// Calls nothing but mmap, which is one call of the system, and reads nothing but numbers.
    extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the system hands over a valid structure, whose address is set for this signal.
        let address = unsafe { (*info).si_addr() } as usize;
        let range = RANGES.iter().find(|range| {
            let start = range.start.load(Ordering::Acquire);
            start != 0 && (start..range.end.load(Ordering::Relaxed)).contains(&address)
        });
        if let (Some(range), Some(page)) = (range, PAGE.get()) {
            let start = address / page * page;
            // SAFETY: the page lies in a mapping that only we have, as its range is listed; nobody has a reference to its bytes that could
            // be read, as reading them is what brought us here.
            let mapped = unsafe {
                libc::mmap(
                    start as *mut libc::c_void,
                    *page,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            if mapped != libc::MAP_FAILED {
                range.is_lost.store(true, Ordering::Relaxed);
                ANY_LOST.store(true, Ordering::Relaxed);
                return;
            }
        }
        pass_on(signal, info, context);
    }

    /// Somebody else's: as if we were not here.
    fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let before = BEFORE.get();
        let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
        let takes_info = before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0);
        // SAFETY: the handler is what was installed for this signal, of the kind that its flags say; without one the signal's own way is
        // restored, and comes again when the instruction is done again.
        unsafe {
            match handler {
                libc::SIG_DFL | libc::SIG_IGN => {
                    libc::signal(signal, libc::SIG_DFL);
                }
                handler if takes_info => {
                    std::mem::transmute::<
                        usize,
                        extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
                    >(handler)(signal, info, context);
                }
                handler => std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal),
            }
        }
    }
}

#[cfg(not(unix))]
mod handler {
    /// Other systems do not let a mapped file become shorter.
    pub fn install() {}
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_zeros_and_told() {
        let path = std::env::temp_dir().join(format!("monocle-mapped-{}", std::process::id()));
        std::fs::write(&path, vec![7_u8; 1 << 20]).expect("a file");
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it is there");
        // SAFETY: that it changes under us is what is tested.
        let map = unsafe { Mmap::map(&file) }.expect("it can be mapped");
        let mapped = Mapped::new(map, &path);
        assert!(mapped.as_ref().iter().all(|byte| *byte == 7) && lost(Path::new("/")).is_none());
        file.set_len(100_000).expect("it can be cut");
        let bytes = mapped.as_ref();
        // To the end of the page that the cut is in, the system has zeros itself.
        assert_eq!(
            (bytes[0], bytes[99_999], bytes[(1 << 20) - 1], bytes[500_000]),
            (7, 7, 0, 0)
        );
        assert_eq!(lost(&std::env::temp_dir()).as_deref(), Some(path.as_path()));
        assert_eq!(lost(Path::new("/elsewhere")), None);
        drop(mapped);
        assert_eq!(lost(Path::new("/")), None);
        let _ = std::fs::remove_file(&path);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_let_go_is_not_resident_and_comes_back() {
        let path = std::env::temp_dir().join(format!("monocle-let-go-{}", std::process::id()));
        std::fs::write(&path, vec![7_u8; 1 << 20]).expect("a file");
        let file = std::fs::File::open(&path).expect("it is there");
        // SAFETY: nobody else writes it.
        let mapped = Mapped::new(unsafe { Mmap::map(&file) }.expect("it can be mapped"), &path);
        let all_sevens = || mapped.as_ref().iter().all(|byte| *byte == 7);
        // Kilobytes, as proc(5) tells them: the line `Rss` behind that of the mapping.
        let resident = || {
            let maps = std::fs::read_to_string("/proc/self/smaps").expect("proc(5)");
            let ours = maps.split_once(&*path.to_string_lossy()).expect("it is mapped").1;
            let line = ours.lines().find_map(|line| line.strip_prefix("Rss:"));
            let words = line.expect("proc(5)").split_whitespace().next();
            words
                .and_then(|number| number.parse::<u64>().ok())
                .expect("a number")
        };
        assert!(all_sevens());
        assert_eq!(resident(), 1024);
        let_go(Path::new("/elsewhere"));
        assert_eq!(resident(), 1024);
        let_go(&path);
        assert_eq!(resident(), 0);
        assert!(all_sevens());
        drop(mapped);
        let _ = std::fs::remove_file(&path);
    }
}
