//! What a request may take of time, and of others' place.

use std::time::{Duration, Instant};

/// The terms on which a request is taken in.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// When it came: its preparation counts.
    pub started: Instant,
    /// How long it may wait to begin.
    pub longest_wait: Option<Duration>,
    /// How long it may take in all.
    pub longest: Option<Duration>,
    /// Whom it goes before.
    pub class: Class,
}

/// Requests of the first class go before those of the second, which are not left waiting for ever: see `policy` and `admission`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Class {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Nobody does: many pictures to describe over night.
    Bulk,
}

impl From<Instant> for Terms {
    /// As long as it takes, for somebody who waits.
    fn from(started: Instant) -> Self {
        Self {
            started,
            longest_wait: None,
            longest: None,
            class: Class::default(),
        }
    }
}
