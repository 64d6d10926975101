//! Sharing out the rows of a picture among threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads work on one picture; 0 for one on each processor that may be used.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are worth a thread of their own.
const WORTH_SHARING: usize = 128 << 10;

/// Sets how many threads work on one picture from now on, in the whole process; without a number, one on each processor that the process may
/// use. The numbers that come out do not depend on it.
pub fn use_threads(count: Option<usize>) {
    THREADS.store(count.unwrap_or(0), Ordering::Relaxed);
}

/// Hands out `target`, rows of `stride` numbers, in bands: `work(first row, band)`.
pub(crate) fn in_bands<T: Send>(target: &mut [T], stride: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let rows = target.len() / stride.max(1);
    let threads = threads().min(size_of_val(target) / WORTH_SHARING).min(rows);
    if threads <= 1 {
        work(0, target);
        return;
    }
    let rows = rows.div_ceil(threads);
    let work = &work;
    std::thread::scope(|scope| {
        let mut bands = target.chunks_mut(rows * stride).enumerate();
        let own = bands.next();
        for (index, band) in bands {
            scope.spawn(move || work(index * rows, band));
        }
        if let Some((_, band)) = own {
            work(0, band);
        }
    });
}

/// The most threads that work on one picture.
pub(crate) fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}
