//! A pool of threads that shares out the chunks of one job at a time. A call on a pool that is awake costs about a
//! microsecond: workers spin a while after each job before they go to sleep.

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

/// The next chunk's number when no job is open.
const CLOSED: u32 = u32::MAX;

/// The pool. The thread that calls [`Threads::parallel`] works too.
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    interrupt: Arc<AtomicBool>,
    // One job at a time: not to be shared between threads, so that no job can start another.
    not_sync: PhantomData<Cell<()>>,
}

#[derive(Default)]
struct Shared {
    /// Whether the chunks that are left are passed over.
    interrupt: Arc<AtomicBool>,
    /// The open job's number in the upper half, its next chunk in the lower.
    state: AtomicU64,
    /// The job. Written only while none is open; a worker that read it mixed finds `state` changed.
    function: AtomicPtr<()>,
    data: AtomicPtr<()>,
    chunks: AtomicUsize,
    /// Chunks finished.
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    stop: sync::AtomicBool,
}

type Function = unsafe fn(*const (), usize);

impl Threads {
    /// A pool in which `count` threads work, the caller among them.
    pub fn new(count: usize) -> Self {
        let interrupt = Arc::<AtomicBool>::default();
        let shared = Arc::new(Shared {
            interrupt: Arc::clone(&interrupt),
            state: AtomicU64::new(u64::from(CLOSED)),
            ..Shared::default()
        });
        let workers = (1..count.max(1))
            .map_while(|index| {
                let shared = Arc::clone(&shared);
                sync::Builder::new()
                    .name(format!("cpu-engine-{index}"))
                    .spawn(move || shared.work())
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
        if chunks <= 1 || self.workers.is_empty() || chunks >= CLOSED as usize {
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
        shared.chunks.store(chunks, Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        let job = (shared.state.load(Ordering::Relaxed) >> 32).wrapping_add(1) << 32;
        shared.state.store(job, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            shared.wake.notify_all();
        }
        shared.help(job);
        let mut turns = 0_u32;
        while shared.done.load(Ordering::Acquire) < chunks {
            turns += 1;
            if turns.is_multiple_of(256) {
                yield_now();
            }
            spin_loop();
        }
        shared.state.store(job | u64::from(CLOSED), Ordering::SeqCst);
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
    fn work(&self) {
        // Not the state now: a job may be open already.
        let mut last = u64::from(CLOSED);
        while !self.stop.load(Ordering::SeqCst) {
            if let Some(job) = self.next_job(last) {
                self.help(job);
                last = job;
            }
        }
    }

    /// Waits for a job after `last`; `None` when woken without one.
    fn next_job(&self, last: u64) -> Option<u64> {
        let open = || {
            let state = self.state.load(Ordering::SeqCst);
            (state >> 32 != last >> 32 && state as u32 != CLOSED).then_some(state >> 32 << 32)
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

    /// Works on this job until no chunk is left.
    fn help(&self, job: u64) {
        loop {
            let state = self.state.load(Ordering::Acquire);
            let chunk = state as u32 as usize;
            let function = self.function.load(Ordering::Relaxed);
            let data = self.data.load(Ordering::Relaxed);
            let chunks = self.chunks.load(Ordering::Relaxed);
            if state >> 32 != job >> 32 || chunk >= chunks {
                return;
            }
            if self
                .state
                .compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            // The exchange succeeded: the job is this one, and open until this chunk is counted as done.
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
            self.done.fetch_add(1, Ordering::AcqRel);
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
