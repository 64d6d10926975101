//! What a session must have before it may begin beside others.

use super::terms::Class;
use crate::session::Session;

/// So many sessions of the first class may begin while one of the second waits; then it is that one's turn.
pub const PATIENCE: usize = 8;

/// Tokens of an answer for which caches are counted at once; more are counted when they come.
pub const ANSWER_TOKENS: usize = 256;

/// What a session needs, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Tokens that its caches are counted for.
    pub tokens: usize,
    /// Those caches.
    pub bytes: usize,
    /// Its decoded pictures and their features.
    pub pictures: usize,
    /// The model's weights: the same for all.
    pub fixed: usize,
    /// The largest program's intermediate results, and what a picture keeps meanwhile that is encoded in slices.
    pub peak: usize,
}

impl Claim {
    /// A session's claim at the moment. `cache_bytes` tells what caches of so many tokens take.
    pub fn new(session: &Session, cache_bytes: impl FnOnce(usize) -> usize) -> Self {
        let estimate = &session.prepared.estimate;
        let tokens = reservation(session.tokens.len(), session.most_tokens());
        Self {
            tokens,
            bytes: cache_bytes(tokens),
            pictures: estimate.picture_bytes + estimate.feature_bytes,
            fixed: estimate.weights_bytes.max(estimate.engine_weights_bytes),
            peak: estimate.program_bytes.saturating_add(estimate.slices_bytes),
        }
    }
}

/// Whose turn it is to begin, among those that wait, in their order; `passed` have begun since bulk work waits.
pub fn next(waiting: &[Class], passed: usize) -> Option<usize> {
    let first = |class| waiting.iter().position(|waiting| *waiting == class);
    let (interactive, bulk) = (first(Class::Interactive), first(Class::Bulk));
    match passed < PATIENCE {
        true => interactive.or(bulk),
        false => bulk.or(interactive),
    }
}

/// Tokens to count caches for: what is known, and as many as the answer may soon have.
pub fn reservation(known: usize, most: usize) -> usize {
    known.saturating_add(ANSWER_TOKENS).min(most).max(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bulk_work_waits_for_others_and_not_for_ever() {
        use Class::{Bulk, Interactive};
        let waiting = [Bulk, Interactive, Bulk, Interactive];
        assert_eq!(next(&waiting, 0), Some(1));
        assert_eq!(next(&waiting, PATIENCE - 1), Some(1));
        assert_eq!(next(&waiting, PATIENCE), Some(0));
        assert_eq!(next(&[Bulk, Bulk], 0), Some(0));
        assert_eq!(next(&[Interactive], PATIENCE), Some(0));
        assert_eq!(next(&[], 0), None);
    }

    proptest! {
        /// However many of the first class come, one of the second begins after `PATIENCE` of them; and each class keeps its order.
        #[test]
        fn nobody_waits_for_ever(arrivals in prop::collection::vec((any::<bool>(), 0_usize..4), 1..200)) {
            let mut waiting: Vec<(Class, usize)> = Vec::new();
            let (mut passed, mut since) = (0, 0);
            let mut last = [None, None];
            for (number, (is_bulk, begin)) in arrivals.into_iter().enumerate() {
                let class = match is_bulk {
                    true => Class::Bulk,
                    false => Class::Interactive,
                };
                waiting.push((class, number));
                for _ in 0..begin {
                    let classes: Vec<Class> = waiting.iter().map(|(class, _)| *class).collect();
                    let Some(place) = next(&classes, passed) else { break };
                    let (class, number) = waiting.remove(place);
                    prop_assert!(last[class as usize] < Some(number));
                    last[class as usize] = Some(number);
                    let bulk_waits = classes.contains(&Class::Bulk);
                    passed = match class {
                        Class::Interactive if bulk_waits => passed + 1,
                        Class::Interactive | Class::Bulk => 0,
                    };
                    since = match class == Class::Interactive && bulk_waits {
                        true => since + 1,
                        false => 0,
                    };
                    prop_assert!(since <= PATIENCE);
                }
            }
        }
    }

    #[test]
    fn caches_are_counted_for_what_may_soon_come() {
        assert_eq!(reservation(100, 5000), 356);
        assert_eq!(reservation(100, 120), 120);
        // The last token of all needs no row.
        assert_eq!(reservation(120, 119), 120);
    }
}
