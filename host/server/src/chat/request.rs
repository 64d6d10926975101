//! A conversation to go on with, whichever interface it came through.

use monocle_runtime::plugin::contract::ToolCall;
use serde_json::{Map, Value};

use crate::models::keep::KeepAlive;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct ChatRequest {
    /// The model, as the client calls it; empty: the one that is served first.
    pub model: String,
    /// Oldest first.
    pub messages: Vec<ChatMessage>,
    /// Whether the messages are the prompt as it stands, without the model's template.
    pub raw: bool,
    /// Tools that the model may call, each as OpenAI's `tools` has it.
    pub tools: Vec<Map<String, Value>>,
    /// Whether it must.
    pub tool_choice: ToolChoice,
    /// Whether several calls may come at once.
    pub parallel_tool_calls: bool,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens of the answer.
    pub max_tokens: Option<usize>,
    /// Texts that end it.
    pub stop: Vec<String>,
    /// The form that it must have.
    pub format: Format,
    /// Whether to think before it, and how long.
    pub thinking: Thinking,
    /// Variables for the chat template.
    pub variables: Map<String, Value>,
    /// How many answers.
    pub count: usize,
    /// Nobody waits for it.
    pub bulk: bool,
    /// How long the model stays loaded afterwards, where the client says.
    pub keep_alive: Option<KeepAlive>,
    /// The most pixels of any of its pictures.
    pub max_pixels: Option<u64>,
}

/// A message.
#[derive(Debug, Clone, Default)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What it says, in order.
    pub parts: Vec<ChatPart>,
    /// What the assistant thought before.
    pub reasoning: Option<String>,
    /// Tools that the assistant called.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's message: the call whose result it is.
    pub tool_call: Option<String>,
    /// Of a tool's message: the tool's name.
    pub name: Option<String>,
}

/// A piece of a message.
#[derive(Debug, Clone)]
pub enum ChatPart {
    /// Words.
    Text(String),
    /// A picture.
    Picture(ChatPicture),
}

/// A picture of a request.
#[derive(Debug, Clone)]
pub struct ChatPicture {
    /// Where it is.
    pub source: PictureSource,
    /// How closely it is to be looked at.
    pub detail: Detail,
    /// Where it stands in the request's body, for errors.
    pub path: String,
}

/// Where a picture is.
#[derive(Debug, Clone)]
pub enum PictureSource {
    /// In the request: base 64, without anything around it.
    Base64(String),
    /// At an address: `data:`, `http:`, `https:`, `file:`.
    Address(String),
}

/// How closely a picture is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// As the model does it.
    #[default]
    Model,
    /// As a small picture: see [`Detail::max_pixels`].
    Low,
}

impl Detail {
    /// What OpenAI's `detail` says.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "low" => Some(Self::Low),
            "auto" | "high" | "original" => Some(Self::Model),
            _ => None,
        }
    }

    /// The most pixels: OpenAI takes `low` to be 512 by 512.
    pub fn max_pixels(self) -> Option<u64> {
        match self {
            Self::Model => None,
            Self::Low => Some(512 * 512),
        }
    }
}

/// How tokens are chosen, as far as the client says; the rest is the model's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// See [`monocle_text::SamplingOptions`].
    pub temperature: Option<f32>,
    /// Likewise.
    pub top_k: Option<usize>,
    /// Likewise.
    pub top_p: Option<f32>,
    /// Likewise.
    pub min_p: Option<f32>,
    /// Likewise.
    pub repetition_penalty: Option<f32>,
    /// OpenAI's penalty on tokens that occurred in the answer.
    pub presence_penalty: Option<f32>,
    /// The same, by how often.
    pub frequency_penalty: Option<f32>,
    /// Added to tokens' logits.
    pub logit_bias: Option<Vec<(u32, f32)>>,
    /// Where random numbers start.
    pub seed: Option<u64>,
    /// How many of the likeliest tokens are told with each token.
    pub logprobs: Option<usize>,
}

/// Whether tools are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// The form of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// The schema.
        schema: Value,
        /// Whether what of it cannot be promised is refused.
        strict: bool,
    },
    /// Text that a regular expression matches.
    Regex(String),
    /// Text of a grammar in Lark's notation.
    Grammar(String),
    /// One of these.
    Choice(Vec<String>),
}

/// Whether the model thinks first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thinking {
    /// Whether at all; `None`: as the model's template has it.
    pub enabled: Option<bool>,
    /// How much: `low`, `medium`, `high` and the like.
    pub effort: Option<String>,
    /// The most tokens of it.
    pub budget: Option<usize>,
}

impl ChatMessage {
    /// Words of one role.
    pub fn text(role: &str, text: impl Into<String>) -> Self {
        Self {
            role: role.to_owned(),
            parts: vec![ChatPart::Text(text.into())],
            ..Self::default()
        }
    }

    /// Its pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &ChatPicture> {
        self.parts.iter().filter_map(|part| match part {
            ChatPart::Picture(picture) => Some(picture),
            ChatPart::Text(_) => None,
        })
    }
}
