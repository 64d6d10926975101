//! Sets a flag when a time comes: work looks at the flag, which costs nothing, and not at the clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// See the module. Its thread starts when a time is first named, and ends with it.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    flag: Arc<AtomicBool>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    time: Option<Instant>,
    /// Until when the thread sleeps, if it does so until some time. It looks again then: only an earlier time needs to wake it, so that a time
    /// that is set and taken back at each step costs nothing.
    sleeps_until: Option<Instant>,
    is_over: bool,
}

impl Watchdog {
    /// It sets this flag.
    pub fn new(flag: Arc<AtomicBool>) -> Self {
        let shared = Shared {
            flag,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
            thread: None,
        }
    }

    /// From this time on the flag is set, and until then not.
    pub fn set_at(&mut self, time: Option<Instant>) {
        let mut state = self.shared.state();
        if state.time == time {
            return;
        }
        state.time = time;
        let is_earlier = |time| state.sleeps_until.is_none_or(|until| time < until);
        let wakes = time.is_some_and(is_earlier);
        let is_late = time.is_some_and(|time| time <= Instant::now());
        self.shared.flag.store(is_late, Ordering::Relaxed);
        drop(state);
        if time.is_some() && self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("cpu-watchdog".to_owned());
            // Without it, work ends between operations: see `is_late`.
            self.thread = thread.spawn(move || shared.watch()).ok();
        }
        if wakes {
            self.shared.changed.notify_one();
        }
    }

    /// Whether the time has come, by the clock.
    pub fn is_late(&self) -> bool {
        let time = self.shared.state().time;
        time.is_some_and(|time| time <= Instant::now())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It does not panic, so there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.state();
        while !state.is_over {
            let left = state
                .time
                .map(|time| time.saturating_duration_since(Instant::now()));
            state.sleeps_until = state.time.filter(|_| left.is_some_and(|left| !left.is_zero()));
            state = match left {
                // Set under the lock: a time that is named later takes the flag back.
                Some(left) if left.is_zero() => {
                    self.flag.store(true, Ordering::Relaxed);
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_flag_is_set_from_the_time_on() {
        let flag = Arc::<AtomicBool>::default();
        let mut watchdog = Watchdog::new(Arc::clone(&flag));
        let set = || flag.load(Ordering::Relaxed);
        let soon = |milliseconds| Some(Instant::now() + Duration::from_millis(milliseconds));
        watchdog.set_at(soon(3_600_000));
        assert!(!set() && !watchdog.is_late());
        // One that is taken back, and set again, does not wake it; what is set last counts.
        watchdog.set_at(None);
        watchdog.set_at(soon(10));
        watchdog.set_at(None);
        std::thread::sleep(Duration::from_millis(40));
        assert!(!set() && !watchdog.is_late());
        watchdog.set_at(soon(3_600_000));
        // An earlier one wakes it.
        watchdog.set_at(soon(20));
        let begun = Instant::now();
        while !set() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the flag was never set"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(begun.elapsed() >= Duration::from_millis(15) && watchdog.is_late());
        watchdog.set_at(None);
        assert!(!set());
        watchdog.set_at(Some(Instant::now()));
        assert!(set());
    }
}
