//! What a request may take of time, and of others' place.

use std::time::{Duration, Instant};

use crate::error::RequestError;

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

impl Terms {
    /// How long a request may take whose caller says nothing: whatever a plugin or a model makes of it, it ends.
    pub const USUAL: Duration = Duration::from_secs(3600);

    /// When the request must end.
    pub fn deadline(&self) -> Option<Instant> {
        self.started.checked_add(self.longest?)
    }

    /// Why it ends now, if it may take no longer: so many of its prompt's tokens are computed, so many are answered.
    pub fn late(
        &self,
        now: Instant,
        computed: usize,
        prompt: usize,
        answered: usize,
    ) -> Option<RequestError> {
        let limit = self.longest?;
        let took = now.saturating_duration_since(self.started);
        (took > limit).then_some(RequestError::TooLate {
            took,
            limit,
            computed,
            prompt,
            answered,
        })
    }
}

impl From<Instant> for Terms {
    /// As long as is usual, for somebody who waits.
    fn from(started: Instant) -> Self {
        Self {
            started,
            longest_wait: None,
            longest: Some(Self::USUAL),
            class: Class::default(),
        }
    }
}
