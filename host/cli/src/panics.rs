//! Panics are faults of this program or of a library. Most are caught where they happen and become an error of the request; nothing of them is
//! printed beside that error. One that nobody catches ends the program as an error does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// Where the last panic was, and what it said.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// From now on panics are kept, not printed. Whoever looks for a fault and has set `RUST_BACKTRACE` sees them as ever.
pub fn take_over() {
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic.to_string());
    }));
}

/// Does some work; a panic is an error of it.
pub fn caught<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
        let last = last.unwrap_or_else(|| "it panicked".to_owned());
        Err(anyhow::anyhow!(
            "a fault in monocle: {last}\n\nhint: `RUST_BACKTRACE=1` shows where; please report it with what you did"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = caught::<()>(|| panic!("off by one")).expect_err("it panicked");
        assert!(error.to_string().starts_with("a fault in monocle: "), "{error}");
        assert_eq!(caught(|| Ok(1)).ok(), Some(1));
    }
}
