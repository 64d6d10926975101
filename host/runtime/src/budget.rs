//! What the host may keep for one request beside pictures and the engine's own memory, which have limits of their own: text that a plugin
//! makes of an answer, programs and their constants.

use std::time::Instant;

use crate::error::RequestError;
use crate::memory::MemoryLimit;
use crate::scheduler::terms::Terms;

/// Bytes of text that a plugin may make of one answer, for each byte that the model said.
const TEXT_GROWTH: usize = 16;
/// Bytes of text that it may make of anything.
const TEXT: usize = 1 << 20;

/// What preparing a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Memory, of which pictures take a part while they are decoded.
    pub memory: Option<MemoryLimit>,
    /// Time: when it must end.
    pub terms: Terms,
}

impl Bounds {
    /// Why it ends now, if it may take no longer.
    pub fn late(&self) -> Option<RequestError> {
        self.terms.late(Instant::now(), 0, 0, 0)
    }
}

/// Bytes that are still to be had. All that is kept for a request is charged before it is kept.
#[derive(Debug, Clone)]
pub struct Budget {
    all: usize,
    used: usize,
}

/// More was to be kept than the budget has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes in all are more than the {all} that the host keeps for one request")]
pub struct Exhausted {
    /// Bytes in all.
    pub wanted: usize,
    /// Bytes that there are.
    pub all: usize,
}

impl Budget {
    /// So many bytes.
    pub fn new(all: usize) -> Self {
        Self { all, used: 0 }
    }

    /// A budget for what a plugin makes of an answer: it grows with what the model says.
    pub fn of_text() -> Self {
        Self::new(TEXT)
    }

    /// More is to be had, as the model has said so many bytes more.
    pub fn grow_with_text(&mut self, said: usize) {
        self.all = self.all.saturating_add(said.saturating_mul(TEXT_GROWTH));
    }

    /// Takes bytes, before they are kept.
    pub fn charge(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.all {
            return Err(Exhausted {
                wanted,
                all: self.all,
            });
        }
        self.used = wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_beyond_it() {
        let mut budget = Budget::new(10);
        assert_eq!(budget.charge(6), Ok(()));
        assert_eq!(budget.charge(5), Err(Exhausted { wanted: 11, all: 10 }));
        assert!(budget.charge(usize::MAX).is_err());
        // What was refused takes nothing.
        assert_eq!(budget.charge(4), Ok(()));
        assert!(budget.charge(1).is_err());
        budget.grow_with_text(1);
        assert_eq!(budget.charge(TEXT_GROWTH), Ok(()));
    }
}
