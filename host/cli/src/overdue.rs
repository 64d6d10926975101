//! The last resort against work that nothing stops: a process that opens a model or answers a request ends some time after it should have.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use monocle_runtime::scheduler::terms::Terms;

use super::output;

/// How long anything may take where nobody says so.
pub const USUAL: Duration = Terms::USUAL;

/// What engines and plugins need to notice that their time is over, many times over.
const GRACE: Duration = Duration::from_secs(30);

/// A watch over a piece of work: as long as it lives, the process ends with exit code 1 when the work's time is over, and some more.
pub struct Watch(Sender<()>);

impl Watch {
    /// Watches from now on, from a thread of its own; `what` is the work in words, like "the request".
    pub fn over(what: &'static str, limit: Duration) -> Self {
        let (alive, seen) = channel();
        // Where no thread can be had, the work's own deadline is all there is.
        let _ = std::thread::Builder::new()
            .name("overdue".to_owned())
            .spawn(move || {
                if is_overdue(&seen, limit.saturating_add(GRACE)) {
                    output::note(&format!(
                        "error: {what} may take {:.1} s, and something in it did not end: the process ends\n\nhint: commands that have `--timeout` give it more time by that",
                        limit.as_secs_f64()
                    ));
                    std::process::exit(1);
                }
            });
        Self(alive)
    }

    /// Something that has bounds of its own went on, like a download: the time begins anew.
    pub fn went_on(&self) {
        // Where nobody watches, nobody hears it.
        let _ = self.0.send(());
    }
}

/// Waits until the work is done, which drops its sender, or until its time is over; whether that was first.
fn is_overdue(seen: &Receiver<()>, limit: Duration) -> bool {
    loop {
        match seen.recv_timeout(limit) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_that_does_not_end_is_overdue() {
        let (alive, seen) = channel();
        assert!(is_overdue(&seen, Duration::from_millis(20)));
        drop(alive);
        // What is done is not, however long it may take.
        assert!(!is_overdue(&seen, Duration::MAX));
    }

    #[test]
    fn what_goes_on_begins_anew() {
        let (alive, seen) = channel();
        let started = Instant::now();
        let worker = std::thread::spawn(move || {
            for _ in 0..10 {
                std::thread::sleep(Duration::from_millis(100));
                let _ = alive.send(());
            }
            std::thread::sleep(Duration::from_secs(60));
        });
        // Ten pieces of a tenth of a second each, and then nothing more.
        assert!(is_overdue(&seen, Duration::from_secs(3)));
        assert!(started.elapsed() >= Duration::from_secs(4));
        drop(worker);
    }
}
