//! How likely a model found the token that was chosen, and others in its place: before biases, penalties, a temperature or a grammar.

/// A token and the logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: u32,
    /// The natural logarithm of its probability.
    pub logprob: f64,
}

/// What a model thought at one token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The token that was chosen.
    pub chosen: Scored,
    /// The likeliest ones, the likeliest first.
    pub top: Vec<Scored>,
}

impl TokenLogprobs {
    /// Of a model's own logits. A logit that is no number counts as minus infinity; so does one that is not there.
    pub fn new(logits: &[f32], chosen: u32, top: usize) -> Self {
        let value = |logit: f32| match logit.is_nan() {
            true => f64::NEG_INFINITY,
            false => f64::from(logit),
        };
        let maximum = logits
            .iter()
            .map(|logit| value(*logit))
            .fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits
            .iter()
            .map(|logit| libm::exp(value(*logit) - maximum))
            .sum();
        let normaliser = maximum + libm::log(sum);
        let score = |id: u32| {
            let logit = logits
                .get(id as usize)
                .map_or(f64::NEG_INFINITY, |logit| value(*logit));
            Scored {
                id,
                logprob: logit - normaliser,
            }
        };
        let mut ids: Vec<u32> = (0u32..).zip(logits).map(|(id, _)| id).collect();
        let order = |a: &u32, b: &u32| {
            let [a_logit, b_logit] = [a, b].map(|id| value(logits[*id as usize]));
            b_logit.total_cmp(&a_logit).then(a.cmp(b))
        };
        let count = top.min(ids.len());
        if count < ids.len() {
            ids.select_nth_unstable_by(count, order);
            ids.truncate(count);
        }
        ids.sort_unstable_by(order);
        Self {
            chosen: score(chosen),
            top: ids.into_iter().map(score).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits ln 1, ln 2, ln 4, ln 1 are probabilities 1/8, 1/4, 1/2, 1/8.
    #[test]
    fn probabilities_are_those_of_a_softmax() {
        let logits = [1f32, 2.0, 4.0, 1.0].map(f32::ln);
        let found = TokenLogprobs::new(&logits, 1, 3);
        let close = |found: Scored, id: u32, probability: f64| {
            assert_eq!(found.id, id);
            assert!((found.logprob.exp() - probability).abs() < 1e-6, "{found:?}");
        };
        close(found.chosen, 1, 0.25);
        assert_eq!(found.top.len(), 3);
        close(found.top[0], 2, 0.5);
        close(found.top[1], 1, 0.25);
        // Of two that are alike, the first.
        close(found.top[2], 0, 0.125);
        assert_eq!(TokenLogprobs::new(&logits, 0, 0).top, []);
        assert_eq!(TokenLogprobs::new(&logits, 0, 9).top.len(), 4);
        let broken = TokenLogprobs::new(&[0.0, f32::NAN, f32::NEG_INFINITY], 1, 1);
        assert_eq!(broken.chosen.logprob, f64::NEG_INFINITY);
        assert_eq!(broken.top[0], Scored { id: 0, logprob: 0.0 });
    }
}
