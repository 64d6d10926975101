//! A read probe: how fast the machine gives memory now, to as many threads and through the same kind of pages as what is measured.
//!
//! Each thread adds up its own part of one buffer, in order and with loads as wide as the processor has. The arithmetic is far below what
//! a core can do, so that the memory is what takes time, as long as the buffer is several times the size of the last cache.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use memmap2::{Mmap, MmapMut};
use serde::Serialize;
use thiserror::Error;

/// Passes over the buffer of which the middle one counts; one more goes before them, unheeded.
const PASSES: usize = 5;
/// Bytes that are added up at once: a row of words for each of several registers.
const ROW: usize = 256;

/// Which pages are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pages {
    /// What the system gives by itself.
    Default,
    /// Huge ones (Linux: `madvise(MADV_HUGEPAGE)`).
    Huge,
}

/// What is read.
#[derive(Debug, Clone)]
pub enum Source {
    /// Memory of its own, of so many bytes.
    Memory(usize),
    /// A file, mapped, as a model's weights are.
    File(PathBuf),
}

/// Why nothing can be probed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No memory.
    #[error("{bytes} bytes of memory for the read probe cannot be had: {source}")]
    Memory {
        /// How much was asked for.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// No file.
    #[error("`{}` cannot be mapped for the read probe: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to read.
    #[error("expected at least {least} bytes for the read probe with {threads} threads, found {found}")]
    Short {
        /// What is needed.
        least: usize,
        /// The threads.
        threads: usize,
        /// What there is.
        found: usize,
    },
    /// The system has none.
    #[error("huge pages were refused ({source}): use --pages default")]
    Huge {
        /// What the system said.
        source: io::Error,
    },
}

enum Memory {
    Own(MmapMut),
    Mapped(Mmap),
}

/// Memory that is ready to be read.
pub struct Probe {
    memory: Memory,
    threads: usize,
}

impl Probe {
    /// Takes the memory and touches all of it.
    pub fn new(source: &Source, pages: Pages, threads: usize) -> Result<Self, ProbeError> {
        let threads = threads.max(1);
        let memory = match source {
            Source::Memory(bytes) => own(*bytes, pages, threads)?,
            Source::File(path) => mapped(path, pages)?,
        };
        let probe = Self { memory, threads };
        let (least, found) = (threads * ROW, probe.bytes().len());
        if found < least {
            return Err(ProbeError::Short {
                least,
                threads,
                found,
            });
        }
        Ok(probe)
    }

    /// Reads everything several times. Bytes a second, of the middle pass.
    pub fn read(&self) -> f64 {
        let parts = parts(self.bytes(), self.threads);
        let barrier = Barrier::new(parts.len());
        let times: Vec<Vec<Range<Instant>>> = thread::scope(|scope| {
            let threads: Vec<_> = parts
                .iter()
                .map(|part| scope.spawn(|| timed_passes(part, &barrier)))
                .collect();
            let times = threads
                .into_iter()
                .map(|thread| thread.join().expect("adding up words cannot panic"));
            times.collect()
        });
        let mut seconds: Vec<f64> = (1..=PASSES)
            .map(|pass| {
                let begun = times.iter().map(|thread| thread[pass].start).min();
                let ended = times.iter().map(|thread| thread[pass].end).max();
                begun.zip(ended).map_or(f64::NAN, |(begun, ended)| {
                    ended.duration_since(begun).as_secs_f64()
                })
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        self.bytes().len() as f64 / seconds[PASSES / 2]
    }

    /// How many bytes a pass reads.
    pub fn size(&self) -> usize {
        self.bytes().len()
    }

    /// The share of the memory that lies in huge pages; `None` where the system does not say.
    pub fn huge_share(&self) -> Option<f64> {
        let bytes = self.bytes().as_ptr_range();
        let range = bytes.start.addr()..bytes.end.addr();
        let huge = huge_bytes(&std::fs::read_to_string("/proc/self/smaps").ok()?, &range)?;
        Some((huge as f64 / range.len() as f64).min(1.0))
    }

    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Own(memory) => memory,
            Memory::Mapped(memory) => memory,
        }
    }
}

fn own(bytes: usize, pages: Pages, threads: usize) -> Result<Memory, ProbeError> {
    let mut memory = MmapMut::map_anon(bytes).map_err(|source| ProbeError::Memory { bytes, source })?;
    if pages == Pages::Huge {
        advise_own(&memory).map_err(|source| ProbeError::Huge { source })?;
    }
    // Pages that were never written are all the same page of zeros.
    thread::scope(|scope| {
        for part in memory.chunks_mut(part_size(bytes, threads)) {
            scope.spawn(|| part.fill(1));
        }
    });
    Ok(Memory::Own(memory))
}

fn mapped(path: &std::path::Path, pages: Pages) -> Result<Memory, ProbeError> {
    let failed = |source| ProbeError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the bytes are only added up, so that a change by others makes another sum; a file that is cut short meanwhile ends the
    // process with SIGBUS, which --probe-file says.
    let memory = unsafe { Mmap::map(&file) }.map_err(failed)?;
    if pages == Pages::Huge {
        advise_mapped(&memory).map_err(|source| ProbeError::Huge { source })?;
    }
    Ok(Memory::Mapped(memory))
}

#[cfg(target_os = "linux")]
fn advise_own(memory: &MmapMut) -> io::Result<()> {
    memory.advise(memmap2::Advice::HugePage)
}

#[cfg(target_os = "linux")]
fn advise_mapped(memory: &Mmap) -> io::Result<()> {
    memory.advise(memmap2::Advice::HugePage)
}

#[cfg(not(target_os = "linux"))]
fn advise_own(_: &MmapMut) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn advise_mapped(_: &Mmap) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn part_size(bytes: usize, threads: usize) -> usize {
    bytes.div_ceil(threads).next_multiple_of(ROW)
}

/// One part for each thread, as equal as rows allow.
fn parts(bytes: &[u8], threads: usize) -> Vec<&[u8]> {
    bytes.chunks(part_size(bytes.len(), threads)).collect()
}

/// When each pass over a part began and ended; all threads begin a pass together.
fn timed_passes(part: &[u8], barrier: &Barrier) -> Vec<Range<Instant>> {
    (0..=PASSES)
        .map(|_| {
            barrier.wait();
            let begun = Instant::now();
            black_box(sum(black_box(part)));
            begun..Instant::now()
        })
        .collect()
}

/// The sum of all whole words of 8 bytes, wrapping, and of the single bytes that remain.
fn sum(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { sum_avx2(bytes) };
    }
    sum_rows(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u64 {
    sum_rows(bytes)
}

/// Compiled for the features of whoever calls it.
#[inline(always)]
fn sum_rows(bytes: &[u8]) -> u64 {
    let (rows, rest) = bytes.as_chunks::<ROW>();
    let mut sums = [0u64; ROW / 8];
    for row in rows {
        for (sum, word) in sums.iter_mut().zip(row.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    let (words, single) = rest.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    let single = single.iter().map(|&byte| u64::from(byte));
    sums.into_iter()
        .chain(words)
        .chain(single)
        .fold(0, u64::wrapping_add)
}

/// The bytes in huge pages of all mappings that overlap a range (proc_pid_smaps(5)); `None` if there is no such mapping.
fn huge_bytes(smaps: &str, range: &Range<usize>) -> Option<usize> {
    let mut inside = false;
    let mut found = None;
    for line in smaps.lines() {
        if let Some(mapping) = mapping_of(line) {
            inside = mapping.start < range.end && range.start < mapping.end;
            if inside {
                found = found.or(Some(0));
            }
        } else if inside
            && let Some((name, size)) = line.split_once(':')
            && ["AnonHugePages", "FilePmdMapped", "ShmemPmdMapped"].contains(&name)
        {
            let kibibytes: usize = size.trim().strip_suffix(" kB")?.parse().ok()?;
            found = found.map(|bytes| bytes + kibibytes * 1024);
        }
    }
    found
}

/// The addresses of a line that begins a mapping: `start-end permissions ..`.
fn mapping_of(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sums_are_those_of_arithmetic() {
        // 0 + 1 + .. + 9999, and three bytes.
        let mut bytes: Vec<u8> = (0..10_000u64).flat_map(u64::to_ne_bytes).collect();
        bytes.extend([1, 2, 250]);
        assert_eq!(sum(&bytes), 49_995_000 + 253);
        assert_eq!(sum_rows(&bytes), 49_995_000 + 253);
        // Wrapping: twice the largest word.
        assert_eq!(sum(&[255; 16]), u64::MAX - 1);
        assert_eq!(sum(&[]), 0);
    }

    proptest! {
        #[test]
        fn parts_hold_each_byte_once(length in 1usize..5000, threads in 1usize..20) {
            let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
            let parts = parts(&bytes, threads);
            prop_assert!(parts.len() <= threads);
            prop_assert_eq!(parts.concat(), bytes);
        }

        #[test]
        fn any_bytes_add_up_as_words_one_by_one(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
            let (words, single) = bytes.as_chunks::<8>();
            let expected = words.iter().map(|word| u64::from_ne_bytes(*word)).fold(0, u64::wrapping_add);
            let expected = single.iter().fold(expected, |sum, &byte| sum.wrapping_add(byte.into()));
            prop_assert_eq!(sum(&bytes), expected);
        }
    }

    #[test]
    fn memory_and_files_can_be_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![3; 3 << 20]).unwrap();
        for (source, size) in [
            (Source::Memory(5 << 20), 5 << 20),
            (Source::File(file.path().to_owned()), 3 << 20),
        ] {
            let probe = Probe::new(&source, Pages::Default, 3).unwrap();
            assert_eq!(probe.size(), size);
            let rate = probe.read();
            assert!(rate.is_finite() && rate > 0.0, "{rate}");
        }
    }

    #[test]
    fn nothing_to_read_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = Source::File(file.path().to_owned());
        assert!(Probe::new(&empty, Pages::Default, 1).is_err());
        let missing = Source::File(file.path().join("missing"));
        assert!(matches!(
            Probe::new(&missing, Pages::Default, 1),
            Err(ProbeError::File { .. })
        ));
        assert!(matches!(
            Probe::new(&Source::Memory(4096), Pages::Default, 100),
            Err(ProbeError::Short {
                least: 25_600,
                found: 4096,
                ..
            })
        ));
    }

    #[test]
    fn huge_pages_are_counted_as_the_manual_lists_them() {
        let smaps = "\
1000-3000 rw-p 00000000 00:00 0 
Size:                  8 kB
AnonHugePages:      2048 kB
VmFlags: rd wr
3000-9000 r--p 00000000 08:01 77 /a-b: file
AnonHugePages:      4096 kB
FilePmdMapped:      1024 kB
a000-b000 rw-p 00000000 00:00 0 
AnonHugePages:         0 kB
";
        assert_eq!(huge_bytes(smaps, &(0x1000..0x2000)), Some(2048 << 10));
        assert_eq!(huge_bytes(smaps, &(0x2000..0x4000)), Some((2048 + 5120) << 10));
        assert_eq!(huge_bytes(smaps, &(0xa000..0xb000)), Some(0));
        assert_eq!(huge_bytes(smaps, &(0x9000..0xa000)), None);
    }
}
