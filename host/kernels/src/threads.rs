//! A pool of threads that shares out the chunks of one job at a time. A call on a pool that is awake costs about a
//! microsecond: workers spin a while after each job before they go to sleep.
//!
//! Each thread has a part of the chunks, neighbours, and takes them in order: what lies in memory behind a chunk is most often its own next one.
//! Who has none left takes from the others, so a thread that the system runs late leaves its chunks to them.

use std::any::Any;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use monocle_tensor::backend::Interruption;

use crate::sync::{
    self, AtomicPtr, AtomicU64, AtomicUsize, Condvar, JoinHandle, Mutex, spin_loop, yield_now,
};

/// How long a worker looks for the next job before it sleeps.
const SPIN: Duration = if sync::IS_TRIED_OUT {
    Duration::ZERO
} else {
    Duration::from_micros(40)
};
/// How often it looks before it looks at the clock.
const LOOKS: usize = if sync::IS_TRIED_OUT { 1 } else { 64 };

/// The pool. The thread that calls [`Threads::parallel`] works too.
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    interrupt: Arc<AtomicBool>,
    // One job at a time: not to be shared between threads, so that no job can start another.
    not_sync: PhantomData<Cell<()>>,
}

struct Shared {
    /// Whether the chunks that are left are passed over.
    interrupt: Arc<AtomicBool>,
    /// The last job's number, in the upper half.
    job: OwnLines<AtomicU64>,
    /// What each thread has of it.
    parts: Vec<OwnLines<Part>>,
    /// Chunks finished.
    done: OwnLines<AtomicUsize>,
    /// The job. Written only while no chunk is left; who takes one has read what belongs to it.
    function: AtomicPtr<()>,
    data: AtomicPtr<()>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    stop: sync::AtomicBool,
}

/// A thread's chunks of a job.
#[derive(Default)]
struct Part {
    /// The job's number in the upper half, the next chunk in the lower.
    next: AtomicU64,
    /// One past the last.
    end: AtomicUsize,
}

/// Keeps what threads write at one time apart: a processor fetches two lines of 64 bytes together.
#[derive(Default)]
#[repr(align(128))]
struct OwnLines<T>(T);

type Function = unsafe fn(*const (), usize);

impl Threads {
    /// A pool in which `count` threads work, the caller among them.
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        let interrupt = Arc::<AtomicBool>::default();
        let shared = Arc::new(Shared {
            interrupt: Arc::clone(&interrupt),
            job: OwnLines::default(),
            parts: (0..count).map(|_| OwnLines::default()).collect(),
            done: OwnLines::default(),
            function: AtomicPtr::default(),
            data: AtomicPtr::default(),
            panic: Mutex::default(),
            sleepers: AtomicUsize::default(),
            sleep: Mutex::default(),
            wake: Condvar::default(),
            stop: sync::AtomicBool::default(),
        });
        let workers = (1..count)
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                sync::Builder::new()
                    .name(format!("cpu-engine-{index}"))
                    .spawn(move || shared.work(index))
                    .ok() // with fewer threads, it is slower only
            })
            .collect();
        Self {
            shared,
            workers,
            interrupt,
            not_sync: PhantomData,
        }
    }

    /// How many threads work, the caller among them.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// While this is set, jobs end with [`Interruption::Stopped`] after the chunks that run now.
    pub fn interrupt(&self) -> &Arc<AtomicBool> {
        &self.interrupt
    }

    /// Calls `function` with each of `0..chunks`, and returns when all are done. A panic in any of them comes out here.
    pub fn parallel<F: Fn(usize) + Sync>(&self, chunks: usize, function: F) {
        if chunks <= 1 || self.workers.is_empty() || u32::try_from(chunks).is_err() {
            for chunk in 0..chunks {
                if self.interrupt.load(Ordering::Relaxed) {
                    Interruption::Stopped.raise();
                }
                function(chunk);
            }
            return;
        }
        let shared = &*self.shared;
        let trampoline: Function = call::<F>;
        shared.function.store(trampoline as *mut (), Ordering::Relaxed);
        shared
            .data
            .store((&raw const function).cast_mut().cast(), Ordering::Relaxed);
        shared.done.0.store(0, Ordering::Relaxed);
        let job = (shared.job.0.load(Ordering::Relaxed) >> 32).wrapping_add(1) << 32;
        let first = |part: usize| part * chunks / shared.parts.len();
        for (index, OwnLines(part)) in shared.parts.iter().enumerate() {
            part.end.store(first(index + 1), Ordering::Relaxed);
            part.next.store(job | first(index) as u64, Ordering::Release);
        }
        shared.job.0.store(job, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            shared.wake.notify_all();
        }
        shared.help(job, 0);
        let mut turns = 0_u32;
        while shared.done.0.load(Ordering::Acquire) < chunks {
            turns += 1;
            if turns.is_multiple_of(256) {
                yield_now();
            }
            spin_loop();
        }
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches panics of its jobs, so there is nothing to learn from its end.
            let _ = worker.join();
        }
    }
}

/// # Safety
/// `data` must point to a live `F`.
unsafe fn call<F: Fn(usize)>(data: *const (), chunk: usize) {
    // SAFETY: the caller vouches for it.
    unsafe { (*data.cast::<F>())(chunk) }
}

impl Shared {
    /// What thread `index` does until the pool ends.
    fn work(&self, index: usize) {
        // Not the last job now: it may be open still.
        let mut last = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if let Some(job) = self.next_job(last) {
                self.help(job, index);
                last = job;
            }
        }
    }

    /// Waits for a job after `last`; `None` when woken without one.
    fn next_job(&self, last: u64) -> Option<u64> {
        let open = || {
            let job = self.job.0.load(Ordering::SeqCst);
            (job != last).then_some(job)
        };
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if let Some(job) = open() {
                    return Some(job);
                }
                spin_loop();
            }
            if start.elapsed() >= SPIN {
                break;
            }
        }
        let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let job = open();
        if job.is_none() && !self.stop.load(Ordering::SeqCst) {
            drop(self.wake.wait(guard));
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        job
    }

    /// Works on this job until no chunk is left: those of thread `index` first.
    fn help(&self, job: u64, index: usize) {
        let mut done = 0;
        let (before, own) = self.parts.split_at(index);
        for OwnLines(part) in own.iter().chain(before) {
            while let Some((function, data, chunk)) = self.take(part, job) {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    if self.interrupt.load(Ordering::Relaxed) {
                        Interruption::Stopped.raise();
                    }
                    // SAFETY: `parallel` stored a `Function` there, whose data lives until all chunks are done.
                    unsafe { std::mem::transmute::<*mut (), Function>(function)(data, chunk) }
                }));
                if let Err(payload) = result {
                    *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
                }
                done += 1;
            }
        }
        // Once for all of them: each time takes the line from the thread that wrote to it last.
        if done > 0 {
            self.done.0.fetch_add(done, Ordering::AcqRel);
        }
    }

    /// The next chunk of this part, and what it is called with; none, if none is left or the job is another.
    fn take(&self, part: &Part, job: u64) -> Option<(*mut (), *mut (), usize)> {
        let mut next = part.next.load(Ordering::Acquire);
        loop {
            let function = self.function.load(Ordering::Relaxed);
            let data = self.data.load(Ordering::Relaxed);
            let chunk = next as u32 as usize;
            if next >> 32 != job >> 32 || chunk >= part.end.load(Ordering::Relaxed) {
                return None;
            }
            match part
                .next
                .compare_exchange_weak(next, next + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                // The job is this one, and open until this chunk is counted as done.
                Ok(_) => return Some((function, data, chunk)),
                Err(now) => next = now,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_runs_once() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count);
            for chunks in [0, 1, 2, 3, 7, 100] {
                for _ in 0..200 {
                    let runs: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                    threads.parallel(chunks, |index| {
                        runs[index].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn sleeping_workers_are_woken() {
        // Both chunks wait for each other, so each must get a thread of its own.
        let threads = Threads::new(2);
        for pause in [0, 1, 5] {
            std::thread::sleep(Duration::from_millis(pause));
            let barrier = std::sync::Barrier::new(2);
            threads.parallel(2, |_| {
                barrier.wait();
            });
        }
    }

    #[test]
    fn an_interrupted_job_ends_and_the_pool_goes_on() {
        for count in [1, 3] {
            let threads = Threads::new(count);
            let (runs, interrupt) = (AtomicUsize::new(0), Arc::clone(threads.interrupt()));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                threads.parallel(1000, |_| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    interrupt.store(true, Ordering::Relaxed);
                });
            }));
            let payload = outcome.expect_err("it was interrupted");
            assert_eq!(payload.downcast_ref(), Some(&Interruption::Stopped));
            // Those that had begun.
            assert!(runs.into_inner() <= count);
            threads.interrupt().store(false, Ordering::Relaxed);
            let sum = AtomicUsize::new(0);
            threads.parallel(8, |index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 28);
        }
    }

    #[test]
    fn a_panic_comes_out_and_the_pool_goes_on() {
        let threads = Threads::new(3);
        for bad in 0..8 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                threads.parallel(8, |index| assert!(index != bad, "chunk {index}"));
            }));
            let payload = outcome.expect_err("the panic must come out");
            assert_eq!(payload.downcast_ref::<String>(), Some(&format!("chunk {bad}")));
            let sum = AtomicUsize::new(0);
            threads.parallel(8, |index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 28);
        }
    }
}

/// Schedules of a small pool, tried out one by one: `RUSTFLAGS="--cfg loom" cargo test --release -p monocle-kernels --lib schedules`
#[cfg(all(test, loom))]
mod schedules {
    use loom::cell::UnsafeCell;

    use super::*;

    /// Switches between threads that are not asked for, in one schedule: of two threads, and of three, whose schedules are many more.
    const SWITCHES: [usize; 2] = [3, 2];

    /// A number that only one chunk may write to, without a lock.
    struct Unlocked(UnsafeCell<usize>);

    // SAFETY: that it is used by one thread at a time is what loom looks at, and fails the test otherwise.
    unsafe impl Sync for Unlocked {}

    impl Unlocked {
        fn new() -> Self {
            Self(UnsafeCell::new(0))
        }

        fn add(&self, more: usize) {
            // SAFETY: see above.
            self.0.with_mut(|number| unsafe { *number += more });
        }

        fn get(&self) -> usize {
            // SAFETY: see above.
            self.0.with(|number| unsafe { *number })
        }
    }

    fn in_all_schedules(switches: usize, test: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(switches);
        model.check(test);
    }

    /// Two jobs, so that a worker may be late for the first and find the second.
    fn two_jobs(threads: &Threads, chunks: usize) {
        for job in 1..3 {
            let sums: Vec<Unlocked> = (0..chunks).map(|_| Unlocked::new()).collect();
            threads.parallel(chunks, |chunk| sums[chunk].add(job));
            assert!(sums.iter().all(|sum| sum.get() == job));
        }
    }

    #[test]
    fn each_chunk_is_run_once_and_seen_by_the_caller() {
        in_all_schedules(SWITCHES[0], || two_jobs(&Threads::new(2), 2));
    }

    #[test]
    fn three_threads_do_so_too() {
        in_all_schedules(SWITCHES[1], || {
            let threads = Threads::new(3);
            let sums: Vec<Unlocked> = (0..2).map(|_| Unlocked::new()).collect();
            threads.parallel(2, |chunk| sums[chunk].add(1));
            assert!(sums.iter().all(|sum| sum.get() == 1));
        });
    }

    #[test]
    fn what_is_interrupted_ends_and_the_pool_goes_on() {
        in_all_schedules(SWITCHES[0], || {
            let threads = Threads::new(2);
            threads.interrupt().store(true, Ordering::Relaxed);
            let job = AssertUnwindSafe(|| threads.parallel(2, |_| unreachable!("it was interrupted before")));
            let payload = catch_unwind(job).expect_err("it was interrupted");
            assert_eq!(payload.downcast_ref(), Some(&Interruption::Stopped));
            threads.interrupt().store(false, Ordering::Relaxed);
            let sum = Unlocked::new();
            threads.parallel(2, |chunk| {
                if chunk == 1 {
                    sum.add(1);
                }
            });
            assert_eq!(sum.get(), 1);
        });
    }
}
