//! What a session must have before it may begin beside others.

use crate::session::Session;

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
    /// The largest program's intermediate results.
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
            peak: estimate.program_bytes,
        }
    }
}

/// Tokens to count caches for: what is known, and as many as the answer may soon have.
pub fn reservation(known: usize, most: usize) -> usize {
    known.saturating_add(ANSWER_TOKENS).min(most).max(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_counted_for_what_may_soon_come() {
        assert_eq!(reservation(100, 5000), 356);
        assert_eq!(reservation(100, 120), 120);
        // The last token of all needs no row.
        assert_eq!(reservation(120, 119), 120);
    }
}
