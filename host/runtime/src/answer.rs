//! An answer being made: tokens in; text for the user out, cleaned by the host's filter and then by the plugin's.

use monocle_text::{Delta, FinishReason, Generated, OutputStream};

use crate::budget::Budget;
use crate::error::RequestError;
use crate::plugin::error::Fault;
use crate::plugin::instance::Instance;

/// See the module.
pub struct Answer {
    stream: OutputStream,
    cleaned: Cleaned,
}

/// What the plugin made of the text, within bounds.
struct Cleaned {
    text: String,
    budget: Budget,
}

impl Answer {
    /// An answer that has not begun.
    pub fn new(stream: OutputStream) -> Self {
        Self {
            stream,
            cleaned: Cleaned {
                text: String::new(),
                budget: Budget::of_text(),
            },
        }
    }

    /// The filter's state.
    pub fn stream(&self) -> &OutputStream {
        &self.stream
    }

    /// Takes a token; gives what may be shown now, and the reason when the answer is over.
    pub fn push(
        &mut self,
        token: u32,
        plugin: &mut Instance,
    ) -> Result<(Delta, Option<FinishReason>), RequestError> {
        let delta = self.stream.push(token)?;
        let text = match plugin.plugin().stamp.filters_output && !delta.text.is_empty() {
            true => self.cleaned.clean(&delta.text, false, plugin)?,
            false => {
                self.cleaned.text.push_str(&delta.text);
                delta.text
            }
        };
        let delta = Delta {
            text,
            reasoning: delta.reasoning,
        };
        Ok((delta, self.stream.finished().cloned()))
    }

    /// Ends the answer; gives what was held back, and the whole.
    pub fn finish(
        mut self,
        reason: FinishReason,
        plugin: &mut Instance,
    ) -> Result<(Delta, Generated), RequestError> {
        let (delta, mut generated) = self.stream.finish(reason);
        let filters = plugin.plugin().stamp.filters_output;
        let text = if filters {
            self.cleaned.clean(&delta.text, true, plugin)?
        } else {
            self.cleaned.text.push_str(&delta.text);
            delta.text
        };
        if filters {
            generated.text = self.cleaned.text;
        }
        let delta = Delta {
            text,
            reasoning: delta.reasoning,
        };
        Ok((delta, generated))
    }
}

impl Cleaned {
    /// What the plugin makes of a piece of text.
    fn clean(&mut self, text: &str, last: bool, plugin: &mut Instance) -> Result<String, RequestError> {
        let cleaned = plugin.output(text, last)?;
        self.budget.grow_with_text(text.len());
        self.budget.charge(cleaned.len()).map_err(|error| {
            let reason = format!("its text for this answer grows too large: {error}");
            plugin.error("processor.output", Fault::Misuse(reason))
        })?;
        self.text.push_str(&cleaned);
        Ok(cleaned)
    }
}
