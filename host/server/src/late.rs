//! The last resort against work that nothing stops: whoever waits for it is told, whatever goes on.
//!
//! Engines, plugins, templates and tokenizers notice that their time is over. What does not would keep a client, and the request's place, for ever.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use crate::failure::{Failure, Kind};

/// What engines and plugins need to notice that their time is over, many times over.
const GRACE: Duration = Duration::from_secs(30);

/// The moment from which nobody waits any longer.
#[derive(Debug, Clone, Copy)]
pub struct Last {
    longest: Duration,
    moment: Instant,
}

impl Last {
    /// Of a request that came then and may take so long; `None` where it may take any time.
    pub fn of(started: Instant, longest: Option<Duration>) -> Option<Self> {
        let longest = longest?;
        let moment = started.checked_add(longest.saturating_add(GRACE))?;
        Some(Self { longest, moment })
    }

    /// Done when the moment has come.
    pub fn sleep(self) -> Pin<Box<Sleep>> {
        Box::pin(sleep_until(self.moment.into()))
    }

    /// What a client is told then.
    pub fn failure(self) -> Failure {
        let message = format!(
            "the request may take {:.1} s, and something in it did not end; it is left alone",
            self.longest.as_secs_f64()
        );
        Failure::new(Kind::Late, message)
    }
}

/// What comes of the work, unless the moment comes first.
pub async fn within<T>(
    last: Option<Last>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(last) = last else {
        return work.await;
    };
    let done = tokio::time::timeout_at(last.moment.into(), work).await;
    done.unwrap_or_else(|_| Err(last.failure()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn nobody_waits_for_what_does_not_end() {
        // A request that came a minute ago and might have taken a second.
        let started = Instant::now()
            .checked_sub(Duration::from_secs(60))
            .expect("the machine is up that long");
        let last = Last::of(started, Some(Duration::from_secs(1)));
        let failure =
            run(within(last, std::future::pending::<Result<(), Failure>>())).expect_err("it does not end");
        assert_eq!((failure.kind, failure.kind.status()), (Kind::Late, 504));
        assert!(failure.message.contains("may take 1.0 s"), "{failure}");
    }

    #[test]
    fn what_ends_is_waited_for() {
        let work = || async { Ok::<_, Failure>(7) };
        assert_eq!(
            run(within(Last::of(Instant::now(), Some(Duration::MAX)), work())),
            Ok(7)
        );
        assert_eq!(
            run(within(
                Last::of(Instant::now(), Some(Duration::from_secs(1))),
                work()
            )),
            Ok(7)
        );
        assert_eq!(run(within(None, work())), Ok(7));
    }
}
