//! How far one answer has come in a grammar.

use llguidance::Matcher as Inner;

use crate::error::ConstraintError;

/// One answer's place in a grammar.
pub struct Matcher {
    inner: Inner,
    taken: usize,
}

impl Matcher {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner, taken: 0 }
    }

    /// Takes from `logits` every token that must not come next. `ends` are the tokens that end the answer: they may come only where it is
    /// complete.
    pub fn mask(&mut self, logits: &mut [f32], ends: &[u32]) -> Result<(), ConstraintError> {
        let complete = self.is_complete()?;
        let kept: Vec<(usize, f32)> = ends
            .iter()
            .filter_map(|end| Some((*end as usize, *logits.get(*end as usize)?)))
            .collect();
        if self.inner.is_stopped() {
            logits.fill(f32::NEG_INFINITY);
        } else {
            let mask = self.inner.compute_mask();
            let mask = mask.map_err(|error| self.lost(&error.to_string()))?;
            let known = mask.len();
            for (id, logit) in logits.iter_mut().enumerate() {
                if id >= known || !mask.is_allowed(id as u32) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        for (end, logit) in kept {
            logits[end] = if complete { logit } else { f32::NEG_INFINITY };
        }
        match logits.iter().any(|logit| *logit > f32::NEG_INFINITY) {
            true => Ok(()),
            false => Err(ConstraintError::Stuck { tokens: self.taken }),
        }
    }

    /// Takes a token, which is no end.
    pub fn take(&mut self, token: u32) -> Result<(), ConstraintError> {
        let taken = self.inner.consume_token(token);
        taken.map_err(|error| self.lost(&error.to_string()))?;
        self.taken += 1;
        Ok(())
    }

    /// Whether the answer may end here.
    pub fn is_complete(&mut self) -> Result<bool, ConstraintError> {
        let stopped = self.inner.is_stopped() && self.inner.stop_reason().is_ok();
        let accepting = stopped || {
            let accepting = self.inner.is_accepting();
            accepting.map_err(|error| self.lost(&error.to_string()))?
        };
        Ok(accepting)
    }

    /// Whether nothing may follow.
    pub fn is_over(&self) -> bool {
        self.inner.is_stopped() && self.inner.stop_reason().is_ok()
    }

    fn lost(&self, reason: &str) -> ConstraintError {
        ConstraintError::Lost {
            tokens: self.taken,
            reason: reason.lines().next().unwrap_or_default().to_owned(),
        }
    }
}
