//! Tokenizers, chat templates, sampling and the output filter.
//!
//! The way of a request through this crate: [`conversation`] is what the user said, [`template`] renders it to a
//! prompt, [`tokenizer`] turns the prompt into ids, [`sample`] picks the next id from logits, [`stream`] turns
//! ids back into text piece by piece, and [`output`] (with [`filter`] and [`flags`]) decides what of that text
//! is shown and why generation stopped.

pub mod clock;
pub mod conversation;
pub mod filter;
pub mod flags;
mod json_values;
pub mod logprobs;
pub mod marks;
pub mod output;
mod request_flags;
pub mod sample;
pub mod shown;
pub mod stream;
pub mod template;
pub mod tokenizer;

pub use conversation::{Content, Conversation, Message, Part};
pub use filter::{
    Delta, MarkersFrom, OutputFilter, OutputRules, ReasoningMarkers, ReasoningState, Removed, RemovedKind,
};
pub use flags::{Flag, find_flags};
pub use json_values::json_values;
pub use logprobs::{Scored, TokenLogprobs};
pub use marks::find_markers;
pub use output::{FinishReason, Generated, OutputStream, ReasoningMarks};
pub use request_flags::find_request_flags;
pub use sample::{Sampler, SamplingError, SamplingOptions};
pub use stream::{StreamDecoder, StreamOptions};
pub use template::{ChatTemplate, RenderOptions, TemplateError, TemplateSource};
pub use tokenizer::{EndToken, SpecialTokens, Tokenizer, TokenizerError, TokenizerRules};
