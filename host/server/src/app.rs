//! What all requests share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monocle_runtime::scheduler::SchedulerOptions;
use tokio::sync::Semaphore;

use crate::chat::pictures::PicturePlaces;
use crate::failure::{Failure, Kind};
use crate::http::keys::Keys;
use crate::metrics::Metrics;
use crate::models::keep::KeepAlive;
use crate::models::registry::Registry;

/// How the server is to be.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where it listens.
    pub host: IpAddr,
    /// On which port; 0 takes any.
    pub port: u16,
    /// Who may ask; empty: everybody who can reach it.
    pub keys: Vec<String>,
    /// Names, besides those of this machine itself, by which it may be called.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may ask.
    pub origins: Vec<String>,
    /// How long a connection may take to bring a request's head.
    pub head_time: Duration,
    /// The most bytes of a request.
    pub max_body: usize,
    /// The most requests at once, those that wait with them.
    pub max_requests: usize,
    /// The most of one key.
    pub max_requests_per_key: usize,
    /// How long a request may wait to begin.
    pub longest_wait: Option<Duration>,
    /// How long it may take in all.
    pub longest: Option<Duration>,
    /// How long requests may go on when the server is to stop.
    pub grace: Duration,
    /// Where pictures may come from.
    pub pictures: PicturePlaces,
    /// What schedulers may use.
    pub scheduler: SchedulerOptions,
    /// How long models stay.
    pub keep: KeepAlive,
    /// Models that are loaded before the first request.
    pub preload: Vec<String>,
    /// Whether each request is told on standard error.
    pub log: bool,
}

/// See the module.
pub struct App {
    /// How the server is.
    pub options: ServerOptions,
    /// The models.
    pub registry: Arc<Registry>,
    /// Who may ask.
    pub keys: Keys,
    /// What was counted.
    pub metrics: Metrics,
    /// Who may prepare a request now.
    pub preparing: Semaphore,
    busy: Arc<Mutex<Busy>>,
}

#[derive(Default)]
struct Busy {
    all: usize,
    of_key: HashMap<usize, usize>,
}

/// A request's place among those that are answered at once.
pub struct Place {
    busy: Arc<Mutex<Busy>>,
    key: Option<usize>,
}

impl App {
    /// An app in which nothing happened yet.
    pub fn new(options: ServerOptions, registry: Arc<Registry>) -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            keys: Keys::new(&options.keys),
            options,
            registry,
            metrics: Metrics::default(),
            preparing: Semaphore::new(processors),
            busy: Arc::default(),
        })
    }

    /// A place for a request, of a key where there are some.
    pub fn enter(&self, key: Option<usize>) -> Result<Place, Failure> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.all >= self.options.max_requests {
            let message = format!(
                "{} requests are being answered or wait, and no more are taken in",
                busy.all
            );
            self.metrics.refused(Kind::Busy);
            return Err(Failure::new(Kind::Busy, message));
        }
        if let Some(key) = key {
            let own = busy.of_key.entry(key).or_default();
            if *own >= self.options.max_requests_per_key {
                let message =
                    format!("{own} requests of this key are being answered, and it may have no more");
                self.metrics.refused(Kind::TooMany);
                return Err(Failure::new(Kind::TooMany, message));
            }
            *own += 1;
        }
        busy.all += 1;
        Ok(Place {
            busy: Arc::clone(&self.busy),
            key,
        })
    }

    /// Requests that are answered or wait.
    pub fn busy(&self) -> usize {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.all -= 1;
        if let Some(own) = self.key.and_then(|key| busy.of_key.get_mut(&key)) {
            *own -= 1;
        }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// A moment as RFC 3339 has it, in UTC.
pub fn timestamp(seconds: u64) -> String {
    // Civil date from days: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let (days, rest) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A new name with this beginning: `chatcmpl-…`.
pub fn identity(start: &str) -> String {
    let number = getrandom::u64().unwrap_or_default();
    format!("{start}{number:016x}{:08x}", now() as u32)
}

/// A folder without links in its path, for [`PicturePlaces::folders`].
pub fn real_folder(path: &std::path::Path) -> std::io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn moments_are_written_as_date_writes_them() {
        // date -u -d @N +%FT%TZ
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(timestamp(4_102_444_800), "2100-01-01T00:00:00Z");
    }
}
