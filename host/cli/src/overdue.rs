//! The last resort against work that nothing stops: a process that answers one request ends some time after the request should have.

use std::time::Duration;

use super::output;

/// What engines and plugins need to notice that their time is over, many times over.
const GRACE: Duration = Duration::from_secs(30);

/// From now on the process ends with exit code 1 when so much time, and some more, is over.
pub fn end_after(limit: Duration) {
    // Where no thread can be had, the request's own deadline is all there is.
    let _ = std::thread::Builder::new()
        .name("overdue".to_owned())
        .spawn(move || {
            std::thread::sleep(limit.saturating_add(GRACE));
            output::note(&format!(
                "error: the request may take {:.1} s, and something in it did not end: the process ends\n\nhint: `--timeout` gives it more time",
                limit.as_secs_f64()
            ));
            std::process::exit(1);
        });
}
