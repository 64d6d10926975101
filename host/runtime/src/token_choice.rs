//! Which token comes next: the sampler's choice among the logits, unless the reasoning is to be closed.
//!
//! A new sampling parameter is an option of [`SamplingOptions`] and a step of the [`Sampler`]; what looks at more than logits and history
//! belongs here.

use std::collections::VecDeque;

use monocle_text::{OutputStream, Sampler, SamplingError, SamplingOptions};

/// Chooses one answer's tokens.
pub struct TokenChoice {
    sampler: Sampler,
    budget: ThinkingBudget,
}

impl TokenChoice {
    /// `thinking_end` closes reasoning; it is given in the model's place after `thinking_budget` tokens of it.
    pub fn new(
        sampling: SamplingOptions,
        thinking_budget: Option<usize>,
        thinking_end: Vec<u32>,
    ) -> Result<Self, SamplingError> {
        Ok(Self {
            sampler: Sampler::new(sampling)?,
            budget: ThinkingBudget::new(thinking_budget, thinking_end),
        })
    }

    /// Whether nothing but the logits has a say, and the likeliest token is taken: the device can choose then.
    pub fn is_the_likeliest(&self) -> bool {
        self.sampler.takes_the_likeliest() && self.budget.limit.is_none()
    }

    /// The token number `number` of the answer. `history` is the prompt and the answer so far.
    pub fn choose(
        &mut self,
        number: usize,
        logits: &mut [f32],
        history: &[u32],
        answer: &OutputStream,
    ) -> Result<u32, SamplingError> {
        match self.budget.forced(answer) {
            Some(token) => Ok(token),
            None => self.sampler.next(number, logits, history),
        }
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
