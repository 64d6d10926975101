//! When this thread's work must be done. What a request runs through other people's code (templates, tokenizers, their regular expressions)
//! cannot be handed a deadline as an argument, so each thread has one, and what can take long looks at it between its steps.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

thread_local! {
    static ENDS: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time of this thread's work, until this is dropped. One within another never has longer than that.
#[must_use]
pub struct Time {
    outer: Option<Instant>,
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Time {
    /// Work that must be done then, if ever.
    pub fn until(ends: Option<Instant>) -> Self {
        let outer = ENDS.get();
        ENDS.set(match (outer, ends) {
            (Some(outer), Some(ends)) => Some(outer.min(ends)),
            (outer, ends) => outer.or(ends),
        });
        Self {
            outer,
            thread: PhantomData,
        }
    }

    /// Work that begins now and may take so long.
    pub fn begin(longest: Duration) -> Self {
        Self::until(Instant::now().checked_add(longest))
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        ENDS.set(self.outer);
    }
}

/// Whether the time of this thread's work is over.
pub fn is_over() -> bool {
    ENDS.get().is_some_and(|ends| ends <= Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_time_counts_and_ends_with_its_work() {
        assert!(!is_over());
        let long = Time::begin(Duration::from_secs(3600));
        assert!(!is_over());
        {
            let _none = Time::begin(Duration::ZERO);
            let _longer = Time::begin(Duration::from_secs(60));
            assert!(is_over());
            let _unlimited = Time::until(None);
            assert!(is_over());
        }
        assert!(!is_over());
        drop(long);
        assert!(!is_over());
    }
}
