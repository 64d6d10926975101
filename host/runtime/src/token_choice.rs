//! Which token comes next: the sampler's choice among the logits that a constraint leaves, unless the reasoning is to be closed.
//!
//! A new sampling parameter is an option of [`SamplingOptions`] and a step of the [`Sampler`]; what looks at more than logits and history
//! belongs here.

use std::collections::VecDeque;

use monocle_constraint::{ConstraintError, Grammar, Matcher};
use monocle_text::{OutputStream, ReasoningState, Sampler, SamplingError, SamplingOptions, TokenLogprobs};

use crate::error::RequestError;

/// Chooses one answer's tokens.
pub struct TokenChoice {
    sampler: Sampler,
    budget: ThinkingBudget,
    constrained: Option<Constrained>,
    /// How many of the likeliest tokens are told with each, if any is.
    logprobs: Option<usize>,
    told: Option<TokenLogprobs>,
}

impl TokenChoice {
    /// `thinking_end` closes reasoning; it is given in the model's place after `thinking_budget` tokens of it.
    pub fn new(
        sampling: SamplingOptions,
        thinking_budget: Option<usize>,
        thinking_end: Vec<u32>,
        grammar: Option<&Grammar>,
        logprobs: Option<usize>,
    ) -> Result<Self, SamplingError> {
        Ok(Self {
            logprobs,
            told: None,
            constrained: grammar.map(Constrained::new),
            sampler: Sampler::new(sampling)?,
            budget: ThinkingBudget::new(thinking_budget, thinking_end),
        })
    }

    /// Whether nothing but the logits has a say, and the likeliest token is taken: the device can choose then.
    pub fn is_the_likeliest(&self) -> bool {
        let is_free = self.budget.limit.is_none() && self.constrained.is_none();
        is_free && self.logprobs.is_none() && self.sampler.takes_the_likeliest()
    }

    /// The token number `number` of the answer. `history` is the prompt and the answer so far.
    pub fn choose(
        &mut self,
        number: usize,
        logits: &mut [f32],
        history: &[u32],
        answer: &OutputStream,
    ) -> Result<u32, RequestError> {
        let seen = self.logprobs.map(|top| (logits.to_vec(), top));
        let token = self.choose_unseen(number, logits, history, answer)?;
        self.told = seen.map(|(logits, top)| TokenLogprobs::new(&logits, token, top));
        Ok(token)
    }

    /// What the model thought at the token that was chosen last, where that is to be told.
    pub fn told(&mut self) -> Option<TokenLogprobs> {
        self.told.take()
    }

    fn choose_unseen(
        &mut self,
        number: usize,
        logits: &mut [f32],
        history: &[u32],
        answer: &OutputStream,
    ) -> Result<u32, RequestError> {
        if let Some(token) = self.budget.forced(answer) {
            return Ok(token);
        }
        if let Some(constrained) = &mut self.constrained {
            constrained.mask(logits, answer)?;
        }
        match self.sampler.next(number, logits, history) {
            // The logits were good before tokens were forbidden.
            Err(SamplingError::NoUsableLogit { not_a_number: 0, .. }) if self.constrained.is_some() => {
                Err(ConstraintError::Stuck { tokens: number }.into())
            }
            chosen => Ok(chosen?),
        }
    }

    /// Notes a token that was chosen and is part of the answer now. True where nothing may follow it.
    pub fn took(&mut self, token: u32, answer: &OutputStream) -> Result<bool, ConstraintError> {
        match &mut self.constrained {
            Some(constrained) => constrained.took(token, answer),
            None => Ok(false),
        }
    }
}

/// Holds an answer to a grammar. Reasoning is free, and may come before it.
struct Constrained {
    matcher: Matcher,
    /// The next token is the answer's.
    begun: bool,
}

impl Constrained {
    fn new(grammar: &Grammar) -> Self {
        Self {
            matcher: grammar.matcher(),
            begun: false,
        }
    }

    /// Takes away what must not come.
    fn mask(&mut self, logits: &mut [f32], answer: &OutputStream) -> Result<(), ConstraintError> {
        if answer.in_reasoning() {
            self.begun = false;
            return Ok(());
        }
        // Before its first token, a model that reasons may still begin to.
        let may_think = !self.begun && answer.reasoning_state() == ReasoningState::Absent;
        let start = answer.reasoning_start().filter(|_| may_think);
        let kept = start.and_then(|id| Some((id, *logits.get(id as usize)?)));
        let ends: Vec<u32> = answer.end_tokens().collect();
        self.matcher.mask(logits, &ends)?;
        if let Some((id, logit)) = kept {
            logits[id as usize] = logit;
        }
        self.begun = true;
        Ok(())
    }

    fn took(&mut self, token: u32, answer: &OutputStream) -> Result<bool, ConstraintError> {
        // The tokens of reasoning, and the one that opened it.
        if !self.begun || answer.in_reasoning() || answer.is_end(token) {
            return Ok(false);
        }
        self.matcher.take(token)?;
        Ok(self.matcher.is_over())
    }
}

/// Closes reasoning for the model when it has thought long enough: the end marker's tokens take the place of sampled ones.
struct ThinkingBudget {
    limit: Option<usize>,
    end: Vec<u32>,
    forced: VecDeque<u32>,
    spent: bool,
}

impl ThinkingBudget {
    /// `end` is what closes the reasoning; without it, or without a limit, nothing is ever forced.
    fn new(limit: Option<usize>, end: Vec<u32>) -> Self {
        Self {
            limit: limit.filter(|_| !end.is_empty()),
            end,
            forced: VecDeque::new(),
            spent: false,
        }
    }

    /// The token to take next whatever the model says, if the budget is used up.
    fn forced(&mut self, stream: &OutputStream) -> Option<u32> {
        let over = self.limit.is_some_and(|limit| stream.reasoning_tokens() >= limit);
        if over && stream.in_reasoning() && !self.spent {
            self.forced.extend(&self.end);
            self.spent = true;
        }
        self.forced.pop_front()
    }
}
