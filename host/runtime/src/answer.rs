//! An answer being made: tokens in; text for the user out, cleaned by the host's filter and then by the plugin's.

use std::collections::VecDeque;

use monocle_text::{Delta, FinishReason, Generated, OutputStream};

use crate::error::RequestError;
use crate::generate::Flow;
use crate::plugin::wasm::instance::Instance;

/// See the module.
pub struct Answer<'a> {
    stream: OutputStream,
    sink: &'a mut dyn FnMut(&Delta) -> Flow,
    /// What the plugin made of the text.
    cleaned: String,
}

impl<'a> Answer<'a> {
    /// An answer that has not begun.
    pub fn new(stream: OutputStream, sink: &'a mut dyn FnMut(&Delta) -> Flow) -> Self {
        Self {
            stream,
            sink,
            cleaned: String::new(),
        }
    }

    /// The filter's state.
    pub fn stream(&self) -> &OutputStream {
        &self.stream
    }

    /// Takes a token; gives the reason when the answer is over.
    pub fn push(&mut self, token: u32, plugin: &mut Instance) -> Result<Option<FinishReason>, RequestError> {
        let delta = self.stream.push(token)?;
        let flow = self.show(delta, plugin)?;
        match self.stream.finished() {
            Some(reason) => Ok(Some(reason.clone())),
            None if flow == Flow::Cancel => Ok(Some(FinishReason::Cancelled)),
            None => Ok(None),
        }
    }

    /// Ends the answer and shows what was held back.
    pub fn finish(mut self, reason: FinishReason, plugin: &mut Instance) -> Result<Generated, RequestError> {
        let stream = self.stream;
        let (delta, mut generated) = stream.finish(reason);
        let filters = plugin.plugin().stamp.filters_output;
        let text = if filters {
            plugin.output(&delta.text, true)?
        } else {
            delta.text
        };
        self.cleaned.push_str(&text);
        let delta = Delta {
            text,
            reasoning: delta.reasoning,
        };
        if !delta.text.is_empty() || !delta.reasoning.is_empty() {
            // Nothing is left to cancel.
            let _ = (self.sink)(&delta);
        }
        if filters {
            generated.text = self.cleaned;
        }
        Ok(generated)
    }

    fn show(&mut self, delta: Delta, plugin: &mut Instance) -> Result<Flow, RequestError> {
        let text = match plugin.plugin().stamp.filters_output && !delta.text.is_empty() {
            true => plugin.output(&delta.text, false)?,
            false => delta.text,
        };
        self.cleaned.push_str(&text);
        let delta = Delta {
            text,
            reasoning: delta.reasoning,
        };
        if delta.text.is_empty() && delta.reasoning.is_empty() {
            return Ok(Flow::Continue);
        }
        Ok((self.sink)(&delta))
    }
}

/// Closes reasoning for the model when it has thought long enough: the end marker's tokens take the place of sampled ones.
pub struct ThinkingBudget {
    limit: Option<usize>,
    end: Vec<u32>,
    forced: VecDeque<u32>,
    spent: bool,
}

impl ThinkingBudget {
    /// `end` is what closes the reasoning; without it, or without a limit, nothing is ever forced.
    pub fn new(limit: Option<usize>, end: Vec<u32>) -> Self {
        Self {
            limit: limit.filter(|_| !end.is_empty()),
            end,
            forced: VecDeque::new(),
            spent: false,
        }
    }

    /// The token to take next whatever the model says, if the budget is used up.
    pub fn forced(&mut self, stream: &OutputStream) -> Option<u32> {
        let over = self.limit.is_some_and(|limit| stream.reasoning_tokens() >= limit);
        if over && stream.in_reasoning() && !self.spent {
            self.forced.extend(&self.end);
            self.spent = true;
        }
        self.forced.pop_front()
    }
}
