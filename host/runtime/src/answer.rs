//! An answer being made: tokens in; text for the user out, cleaned by the host's filter and then by the plugin's.

use monocle_text::{Delta, FinishReason, Generated, OutputStream};

use crate::error::RequestError;
use crate::plugin::wasm::instance::Instance;

/// See the module.
pub struct Answer {
    stream: OutputStream,
    /// What the plugin made of the text.
    cleaned: String,
}

impl Answer {
    /// An answer that has not begun.
    pub fn new(stream: OutputStream) -> Self {
        Self {
            stream,
            cleaned: String::new(),
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
            true => plugin.output(&delta.text, false)?,
            false => delta.text,
        };
        self.cleaned.push_str(&text);
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
            plugin.output(&delta.text, true)?
        } else {
            delta.text
        };
        self.cleaned.push_str(&text);
        if filters {
            generated.text = self.cleaned;
        }
        let delta = Delta {
            text,
            reasoning: delta.reasoning,
        };
        Ok((delta, generated))
    }
}
