//! What the host may keep for one request beside pictures and the engine's own memory, which have limits of their own: its plan, its programs
//! and their constants, text that a plugin makes of an answer.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use crate::error::RequestError;
use crate::memory::MemoryLimit;
use crate::scheduler::terms::Terms;

/// Bytes that the host keeps for one request: its plan and prompt, its programs with their constants, and the two recordings that a program
/// is made of while they are compared.
const REQUEST: usize = 40 << 20;
/// Bytes more for each picture, and the pictures that count: more of them than so many sizes are few in a request.
const PICTURE: usize = 2 << 20;
const PICTURES: usize = 64;
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

/// Bytes that are still to be had. All that is kept for a request is charged before it is kept. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    all: AtomicUsize,
    used: AtomicUsize,
    /// How many charges are granted before one is refused.
    #[cfg(test)]
    granted: AtomicUsize,
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
        Self(Arc::new(Counts {
            all: AtomicUsize::new(all),
            used: AtomicUsize::new(0),
            #[cfg(test)]
            granted: AtomicUsize::new(usize::MAX),
        }))
    }

    /// After so many charges the next one is refused, whatever there is, and then none. How many were still to be granted before.
    #[cfg(test)]
    pub fn refuse_after(&self, granted: usize) -> usize {
        self.0.granted.swap(granted, Relaxed)
    }

    /// Whether the next charge is the one.
    #[cfg(test)]
    fn refuses(&self) -> bool {
        let less = |granted: usize| match granted {
            usize::MAX => None,
            granted => Some(granted.wrapping_sub(1)),
        };
        // After the last that is granted comes the largest number: none is refused any more.
        self.0.granted.fetch_update(Relaxed, Relaxed, less) == Ok(0)
    }

    /// A budget for a request of so many pictures, each of which may need a program of its own.
    pub fn of_request(pictures: usize) -> Self {
        Self::new(REQUEST.saturating_add(pictures.min(PICTURES) * PICTURE))
    }

    /// A budget for what a plugin makes of an answer: it grows with what the model says.
    pub fn of_text() -> Self {
        Self::new(TEXT)
    }

    /// More is to be had, as the model has said so many bytes more.
    pub fn grow_with_text(&self, said: usize) {
        let more = said.saturating_mul(TEXT_GROWTH);
        let _ = self
            .0
            .all
            .fetch_update(Relaxed, Relaxed, |all| Some(all.saturating_add(more)));
    }

    /// Takes bytes, before they are kept.
    pub fn charge(&self, bytes: usize) -> Result<(), Exhausted> {
        let all = self.0.all.load(Relaxed);
        #[cfg(test)]
        if self.refuses() {
            let wanted = self.0.used.load(Relaxed).saturating_add(bytes);
            return Err(Exhausted { wanted, all });
        }
        let more = |used: usize| used.checked_add(bytes).filter(|wanted| *wanted <= all);
        match self.0.used.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(used) => Err(Exhausted {
                wanted: used.saturating_add(bytes),
                all,
            }),
        }
    }

    /// Gives back what is not kept any longer.
    pub fn give(&self, bytes: usize) {
        let less = |used: usize| Some(used.saturating_sub(bytes));
        let _ = self.0.used.fetch_update(Relaxed, Relaxed, less);
    }

    /// Refuses what there is no room for, and takes nothing.
    pub fn afford(&self, bytes: usize) -> Result<(), Exhausted> {
        self.charge(bytes).map(|()| self.give(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_pictures_have_no_more_than_many() {
        let most = |pictures: usize| {
            (REQUEST..)
                .step_by(PICTURE)
                .take_while(|bytes| Budget::of_request(pictures).afford(*bytes).is_ok())
                .last()
        };
        assert_eq!(most(0), Some(REQUEST));
        assert_eq!(most(1), Some(42 << 20));
        // 40 MiB, and 2 for each of 64.
        assert_eq!(most(64), Some(168 << 20));
        assert_eq!(most(usize::MAX), Some(168 << 20));
    }

    #[test]
    fn nothing_is_kept_beyond_it() {
        let budget = Budget::new(10);
        assert_eq!(budget.charge(6), Ok(()));
        assert_eq!(budget.charge(5), Err(Exhausted { wanted: 11, all: 10 }));
        assert!(budget.charge(usize::MAX).is_err());
        // What was refused takes nothing.
        assert_eq!(budget.charge(4), Ok(()));
        assert!(budget.charge(1).is_err());
        budget.grow_with_text(1);
        assert_eq!(budget.afford(TEXT_GROWTH), Ok(()));
        // Clones are one budget.
        assert_eq!(budget.clone().charge(TEXT_GROWTH), Ok(()));
        assert!(budget.charge(1).is_err());
        budget.give(1);
        assert_eq!(budget.charge(1), Ok(()));
    }
}
