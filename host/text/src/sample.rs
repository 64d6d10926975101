//! The next token from logits.
//!
//! The steps and their order are those of transformers' `generate`: biases, repetition penalty, what must not come, then temperature,
//! top-k, top-p, min-p, each on what the one before left, then a draw. OpenAI's penalties on presence and frequency, which transformers
//! does not have, come behind the repetition penalty, as in vLLM. The same seed gives the same tokens on every
//! platform: the generator is PCG64, and the exponential is computed in software.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use serde::{Deserialize, Serialize};

/// How to choose tokens. The default is greedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f32,
    /// Keep only this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the likeliest tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens with at least this share of the likeliest token's probability; 0 keeps all.
    pub min_p: f32,
    /// Above 1 makes tokens of the history less likely (arXiv:1909.05858); 1 changes nothing.
    pub repetition_penalty: f32,
    /// Taken from the logit of each token that the answer has already; 0 takes nothing.
    pub presence_penalty: f32,
    /// The same, as many times as the answer has it.
    pub frequency_penalty: f32,
    /// Tokens, and what is added to their logits.
    pub logit_bias: Vec<(u32, f32)>,
    /// No run of so many tokens comes twice, the prompt counted in; 0 lets them.
    pub no_repeat_ngram_size: usize,
    /// Sequences of tokens that do not come.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that do not come.
    pub suppress_tokens: Vec<u32>,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            suppress_tokens: Vec::new(),
            seed: 0,
        }
    }
}

/// Why no token could be chosen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// An option is out of its range.
    #[error("`{option}` is {value}; expected {expected}")]
    OutOfRange {
        /// The option.
        option: &'static str,
        /// Its value.
        value: f32,
        /// What it may be.
        expected: &'static str,
    },
    /// There are no logits to choose from.
    #[error(
        "no usable logit among {count}: {not_a_number} are NaN, the others minus infinity; the model's weights or \
         its forward pass are broken"
    )]
    NoUsableLogit {
        /// How many logits there are.
        count: usize,
        /// How many of them are NaN.
        not_a_number: usize,
    },
}

/// A token that may be drawn, with its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its probability among all candidates.
    pub probability: f64,
}

/// Chooses tokens one after another.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplingOptions,
    random: Pcg64,
}

/// A fixed stream constant: the seed alone tells sequences apart.
const RANDOM_STREAM: u128 = 0x006d_6f6e_6f63_6c65;

impl SamplingOptions {
    /// Whether some tokens' logits are raised or lowered.
    fn weighs(&self) -> bool {
        self.presence_penalty != 0.0 || self.frequency_penalty != 0.0 || !self.logit_bias.is_empty()
    }

    /// Whether some tokens must not come.
    fn forbids(&self) -> bool {
        self.no_repeat_ngram_size > 0 || !self.bad_words_ids.is_empty() || !self.suppress_tokens.is_empty()
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |option, value: f32, good: bool, expected| {
            if good {
                Ok(())
            } else {
                Err(SamplingError::OutOfRange {
                    option,
                    value,
                    expected,
                })
            }
        };
        let (t, r) = (self.temperature, self.repetition_penalty);
        check(
            "temperature",
            t,
            t.is_finite() && t >= 0.0,
            "0 (greedy) or a positive number",
        )?;
        check(
            "top_p",
            self.top_p,
            self.top_p > 0.0 && self.top_p <= 1.0,
            "a number above 0, at most 1",
        )?;
        check(
            "min_p",
            self.min_p,
            (0.0..=1.0).contains(&self.min_p),
            "a number from 0 to 1",
        )?;
        check(
            "repetition_penalty",
            r,
            r.is_finite() && r > 0.0,
            "a positive number",
        )?;
        for (option, penalty) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            let good = (-2.0..=2.0).contains(&penalty);
            check(option, penalty, good, "a number from -2 to 2")?;
        }
        for (_, bias) in &self.logit_bias {
            let good = (-100.0..=100.0).contains(bias);
            check("logit_bias", *bias, good, "numbers from -100 to 100")?;
        }
        Ok(())
    }
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    pub fn new(options: SamplingOptions) -> Result<Self, SamplingError> {
        options.validate()?;
        let random = Pcg64::new(u128::from(options.seed), RANDOM_STREAM);
        Ok(Self { options, random })
    }

    /// The options in use.
    pub fn options(&self) -> &SamplingOptions {
        &self.options
    }

    /// Whether the likeliest token is always taken, so that nothing but the logits matters.
    pub fn takes_the_likeliest(&self) -> bool {
        let options = &self.options;
        options.temperature == 0.0
            && options.repetition_penalty == 1.0
            && !options.forbids()
            && !options.weighs()
    }

    /// The token number `number` of an answer. What is drawn depends on the seed and this number alone, whatever was drawn before.
    /// `history` is prompt and answer so far; biases, penalties and what must not come are applied to `logits` in place.
    pub fn next(&self, number: usize, logits: &mut [f32], history: &[u32]) -> Result<u32, SamplingError> {
        let answer = &history[history.len().saturating_sub(number)..];
        let candidates = self.candidates(logits, history, answer)?;
        if let [only] = candidates.as_slice() {
            return Ok(only.id);
        }
        let total: f64 = candidates.iter().map(|candidate| candidate.probability).sum();
        let drawn = self.uniform(number) * total;
        let mut reached = 0.0;
        for candidate in &candidates {
            reached += candidate.probability;
            if reached > drawn {
                return Ok(candidate.id);
            }
        }
        // Rounding can leave the sum a hair below the total.
        Ok(candidates[candidates.len() - 1].id)
    }

    /// The tokens that may be drawn and their probabilities, by id; never empty. Greedy gives one. `answer` is the part of `history` that
    /// is the answer's.
    pub fn candidates(
        &self,
        logits: &mut [f32],
        history: &[u32],
        answer: &[u32],
    ) -> Result<Vec<Candidate>, SamplingError> {
        self.add_biases(logits);
        self.penalise(logits, history);
        self.penalise_answer(logits, answer);
        self.forbid(logits, history);
        let best = first_maximum(logits)?;
        let greedy = vec![Candidate {
            id: best,
            probability: 1.0,
        }];
        if self.options.temperature == 0.0 {
            return Ok(greedy);
        }
        let mut kept: Vec<(u32, f32)> = (0u32..)
            .zip(logits.iter())
            .filter(|(_, logit)| **logit > f32::NEG_INFINITY)
            .map(|(id, logit)| (id, logit / self.options.temperature))
            .collect();
        // A tiny temperature can push every logit but infinity out of range.
        let maximum = kept.iter().map(|entry| entry.1).fold(f32::NEG_INFINITY, f32::max);
        if !maximum.is_finite() {
            return Ok(greedy);
        }
        self.keep_top_k(&mut kept);
        let mut kept = weigh(kept, maximum);
        self.keep_top_p(&mut kept);
        self.keep_min_p(&mut kept);
        kept.sort_unstable_by_key(|candidate| candidate.id);
        let total: f64 = kept.iter().map(|candidate| candidate.probability).sum();
        kept.iter_mut()
            .for_each(|candidate| candidate.probability /= total);
        Ok(kept)
    }

    fn add_biases(&self, logits: &mut [f32]) {
        for (id, bias) in &self.options.logit_bias {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit += bias;
            }
        }
    }

    /// What OpenAI's documentation gives as a formula: `logit - count * frequency - (count > 0) * presence`.
    fn penalise_answer(&self, logits: &mut [f32], answer: &[u32]) {
        let (presence, frequency) = (self.options.presence_penalty, self.options.frequency_penalty);
        if presence == 0.0 && frequency == 0.0 {
            return;
        }
        let mut ids = answer.to_vec();
        ids.sort_unstable();
        for run in ids.chunk_by(|a, b| a == b) {
            if let Some(logit) = logits.get_mut(run[0] as usize) {
                *logit -= run.len() as f32 * frequency + presence;
            }
        }
    }

    /// Each token of the history once: positive logits divided by the penalty, negative ones multiplied.
    fn penalise(&self, logits: &mut [f32], history: &[u32]) {
        let penalty = self.options.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let mut ids = history.to_vec();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            // Placeholder ids of pictures may lie beyond the vocabulary of the head.
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit < 0.0 {
                    *logit * penalty
                } else {
                    *logit / penalty
                };
            }
        }
    }

    /// What must not come: ends of runs that were there, ends of bad words, suppressed tokens.
    fn forbid(&self, logits: &mut [f32], history: &[u32]) {
        let options = &self.options;
        let mut forbidden = options.suppress_tokens.clone();
        for word in &options.bad_words_ids {
            if let Some((last, before)) = word.split_last()
                && history.ends_with(before)
            {
                forbidden.push(*last);
            }
        }
        let size = options.no_repeat_ngram_size;
        if size > 0 && history.len() >= size {
            let begun = &history[history.len() + 1 - size..];
            let runs = history.windows(size).filter(|run| run[..size - 1] == *begun);
            forbidden.extend(runs.map(|run| run[size - 1]));
        }
        for id in forbidden {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// Ties with the last one kept are kept too.
    fn keep_top_k(&self, kept: &mut Vec<(u32, f32)>) {
        let k = self.options.top_k;
        if k == 0 || k >= kept.len() {
            return;
        }
        let mut scores: Vec<f32> = kept.iter().map(|entry| entry.1).collect();
        let (_, least, _) = scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let least = *least;
        kept.retain(|entry| entry.1 >= least);
    }

    /// Keeps a token if the likelier ones do not reach `top_p` without it.
    fn keep_top_p(&self, kept: &mut Vec<Candidate>) {
        let top_p = f64::from(self.options.top_p);
        if top_p >= 1.0 {
            return;
        }
        let total: f64 = kept.iter().map(|candidate| candidate.probability).sum();
        // All tokens below this share together stay under 1 - top_p, so they go whatever their order: no need to
        // sort the whole vocabulary.
        let surely_gone = total * (1.0 - top_p) / kept.len() as f64;
        kept.retain(|candidate| candidate.probability >= surely_gone);
        kept.sort_unstable_by(|a, b| b.probability.total_cmp(&a.probability).then(a.id.cmp(&b.id)));
        let mut before = 0.0;
        let count = kept.iter().take_while(|candidate| {
            let keep = before < top_p * total;
            before += candidate.probability;
            keep
        });
        let count = count.count();
        kept.truncate(count);
    }

    fn keep_min_p(&self, kept: &mut Vec<Candidate>) {
        let most = kept
            .iter()
            .map(|candidate| candidate.probability)
            .fold(0.0, f64::max);
        let least = f64::from(self.options.min_p) * most;
        kept.retain(|candidate| candidate.probability >= least);
    }

    /// The generator's number `number` from 0 to below 1, from its upper 53 bits.
    fn uniform(&self, number: usize) -> f64 {
        let mut random = self.random.clone();
        random.advance(number as u128);
        (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The first of the largest logits, NaN left aside.
fn first_maximum(logits: &[f32]) -> Result<u32, SamplingError> {
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0u32..).zip(logits) {
        if logit > best.map_or(f32::NEG_INFINITY, |(_, most)| most) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id)
        .ok_or_else(|| SamplingError::NoUsableLogit {
            count: logits.len(),
            not_a_number: logits.iter().filter(|logit| logit.is_nan()).count(),
        })
}

/// Logits to weights: probabilities up to a factor.
fn weigh(kept: Vec<(u32, f32)>, maximum: f32) -> Vec<Candidate> {
    let weight = |logit: f32| libm::exp(f64::from(logit) - f64::from(maximum));
    kept.into_iter()
        .map(|(id, logit)| Candidate {
            id,
            probability: weight(logit),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(options: SamplingOptions) -> Sampler {
        Sampler::new(options).unwrap()
    }

    #[test]
    fn greedy_takes_the_first_maximum_and_ignores_nan() {
        let sampler = sampler(SamplingOptions::default());
        assert_eq!(sampler.next(0, &mut [0.0, f32::NAN, 2.0, 2.0], &[]), Ok(2));
        assert_eq!(sampler.next(0, &mut [f32::NEG_INFINITY, -5.0], &[]), Ok(1));
    }

    #[test]
    fn nothing_to_choose_from_is_an_error() {
        let sampler = sampler(SamplingOptions {
            temperature: 1.0,
            ..Default::default()
        });
        for logits in [
            &mut [f32::NAN, f32::NAN][..],
            &mut [f32::NAN, f32::NEG_INFINITY],
            &mut [],
        ] {
            let expected = logits.iter().filter(|logit| logit.is_nan()).count();
            match sampler.next(0, logits, &[]) {
                Err(SamplingError::NoUsableLogit { not_a_number, .. }) => assert_eq!(not_a_number, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn extreme_logits_do_not_break_the_draw() {
        let sampler = sampler(SamplingOptions {
            temperature: 1e-30,
            ..Default::default()
        });
        assert_eq!(sampler.next(0, &mut [1e30, 3e38, f32::NAN], &[]), Ok(1));
        assert_eq!(sampler.next(0, &mut [1.0, f32::INFINITY, 0.0], &[]), Ok(1));
    }

    #[test]
    fn the_penalty_falls_once_on_each_and_skips_foreign_ids() {
        let options = SamplingOptions {
            repetition_penalty: 2.0,
            ..Default::default()
        };
        let mut logits = [4.0, 3.0, -1.0, 1.0];
        sampler(options).penalise(&mut logits, &[2, 900, 1, 2]);
        // Tokens 1 and 2, however often they occurred.
        assert_eq!(logits, [4.0, 1.5, -2.0, 1.0]);
    }

    /// Tokens 1 and 2 came once and twice in the answer, 0 in the prompt alone: 4 + 0.5, 3 - 0.25 - 1, 2 - 2 * 0.25 - 1, 1 - 2.
    #[test]
    fn presence_and_frequency_are_counted_in_the_answer_and_biases_are_added() {
        let options = SamplingOptions {
            presence_penalty: 1.0,
            frequency_penalty: 0.25,
            logit_bias: vec![(0, 0.5), (3, -2.0), (900, 5.0)],
            ..Default::default()
        };
        let sampler = sampler(options);
        assert!(!sampler.takes_the_likeliest());
        let mut logits = [4.0, 3.0, 2.0, 1.0];
        let token = sampler.next(4, &mut logits, &[0, 0, 2, 1, 2, 900]);
        assert_eq!((token, logits), (Ok(0), [4.5, 1.75, 0.5, -1.0]));
        // A token that would have been the likeliest is not.
        let mut logits = [1.5, 2.0, 0.0, 0.0];
        assert_eq!(sampler.next(0, &mut logits, &[1]), Ok(0));
        let mut logits = [0.0, 2.0, 1.5, 0.0];
        assert_eq!(sampler.next(1, &mut logits, &[1]), Ok(2));
    }

    /// Which of six tokens are left after `history`.
    fn left(options: SamplingOptions, history: &[u32]) -> Vec<u32> {
        let sampler = sampler(SamplingOptions {
            temperature: 1.0,
            ..options
        });
        assert!(!sampler.takes_the_likeliest());
        let candidates = sampler.candidates(&mut [0.5; 6], history, &[]).unwrap();
        candidates.iter().map(|candidate| candidate.id).collect()
    }

    /// As `NoRepeatNGramLogitsProcessor` of transformers has it: the prompt counts, and a history that is too short forbids nothing.
    #[test]
    fn no_run_comes_twice() {
        let left = |size: usize, history: &[u32]| {
            let options = SamplingOptions {
                no_repeat_ngram_size: size,
                ..Default::default()
            };
            left(options, history)
        };
        // (1, 2), (2, 1) and (1, 3) were there: after 1 neither 2 nor 3.
        assert_eq!(left(2, &[1, 2, 1, 3, 1]), [0, 1, 4, 5]);
        // (2, 1, 3) was there, and (2, 1) is begun.
        assert_eq!(left(3, &[2, 1, 3, 2, 1]), [0, 1, 2, 4, 5]);
        assert_eq!(left(3, &[2, 1, 3, 3, 1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(left(1, &[4, 900]), [0, 1, 2, 3, 5]);
        // A run that is being written overlaps the one before: (5, 5) was there.
        assert_eq!(left(2, &[5, 5]), [0, 1, 2, 3, 4]);
        assert_eq!(left(4, &[1, 1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(left(2, &[]), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn bad_words_and_suppressed_tokens_do_not_come() {
        let options = |words: &[&[u32]], tokens: &[u32]| SamplingOptions {
            bad_words_ids: words.iter().map(|word| word.to_vec()).collect(),
            suppress_tokens: tokens.to_vec(),
            ..Default::default()
        };
        let words: &[&[u32]] = &[&[4], &[1, 2], &[0, 1, 3], &[900], &[]];
        assert_eq!(left(options(words, &[]), &[0, 1]), [0, 1, 5]);
        assert_eq!(left(options(words, &[]), &[1, 0]), [0, 1, 2, 3, 5]);
        assert_eq!(left(options(&[], &[0, 5, 900]), &[1]), [1, 2, 3, 4]);
        // Greedy, too.
        let greedy = sampler(options(&[], &[2]));
        assert!(!greedy.takes_the_likeliest());
        assert_eq!(greedy.next(0, &mut [0.0, 1.0, 3.0], &[]), Ok(1));
    }

    #[test]
    fn options_out_of_range_are_named() {
        let bad = [
            (
                "temperature",
                SamplingOptions {
                    temperature: -0.1,
                    ..Default::default()
                },
            ),
            (
                "temperature",
                SamplingOptions {
                    temperature: f32::NAN,
                    ..Default::default()
                },
            ),
            (
                "top_p",
                SamplingOptions {
                    top_p: 0.0,
                    ..Default::default()
                },
            ),
            (
                "top_p",
                SamplingOptions {
                    top_p: 1.5,
                    ..Default::default()
                },
            ),
            (
                "min_p",
                SamplingOptions {
                    min_p: -0.5,
                    ..Default::default()
                },
            ),
            (
                "repetition_penalty",
                SamplingOptions {
                    repetition_penalty: 0.0,
                    ..Default::default()
                },
            ),
        ];
        for (name, options) in bad {
            match Sampler::new(options) {
                Err(SamplingError::OutOfRange { option, .. }) => assert_eq!(option, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
