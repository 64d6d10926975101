//! What is asked of a model, on its way to being answered: its pictures, its prompt, and what is known before anything is computed.

pub mod count;
pub mod pictures;
pub mod prepare;
pub mod prompt;

use monocle_constraint::Grammar;
use monocle_text::SamplingOptions;
use serde_json::{Map, Value};

use crate::plugin::contract::{Content, Message, Part};
use pictures::PictureInput;

/// What is asked of a model.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The conversation; pictures are numbered in the order of its parts.
    pub messages: Vec<Message>,
    /// The pictures.
    pub pictures: Vec<PictureInput>,
    /// Tools that the model may call, each as transformers' `tools` takes it.
    pub tools: Vec<Map<String, Value>>,
    /// Variables for the chat template, besides the model's.
    pub variables: Map<String, Value>,
}

/// How an answer is to be generated.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// The most tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Texts that end the answer, besides the manifest's.
    pub stop: Vec<String>,
    /// Tokens of one prefill step.
    pub prefill_chunk: usize,
    /// Tokens after which reasoning is closed.
    pub thinking_budget: Option<usize>,
    /// What the answer must look like, after any reasoning: [`crate::model::Model::grammar`] makes it of a constraint.
    pub grammar: Option<Grammar>,
    /// How many of the likeliest tokens are told with each token of the answer; `None`: not even its own probability.
    pub logprobs: Option<usize>,
    /// Special tokens that are words of the answer, besides those that the plugin and the manifest name.
    pub keep_tokens: Vec<u32>,
    /// Go on to `max_tokens` whatever the model says: end tokens and stop strings end nothing. For measuring.
    pub ignore_end: bool,
}

impl Default for GenerateOptions {
    /// The likeliest tokens, at most 512, in prefill steps of 512.
    fn default() -> Self {
        Self {
            max_tokens: 512,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            prefill_chunk: 512,
            thinking_budget: None,
            grammar: None,
            logprobs: None,
            keep_tokens: Vec::new(),
            ignore_end: false,
        }
    }
}

impl Request {
    /// One user turn: pictures, then words.
    pub fn single(system: Option<&str>, pictures: Vec<PictureInput>, prompt: &str) -> Self {
        let mut request = Self::default();
        if let Some(system) = system {
            request.add_system(system);
        }
        request.add_user(pictures, prompt);
        request
    }

    /// What goes for the whole conversation; the first message.
    pub fn add_system(&mut self, text: &str) {
        self.add("system", Content::Parts(vec![Part::Text(text.to_owned())]));
    }

    /// The user's turn: pictures, then words.
    pub fn add_user(&mut self, pictures: impl IntoIterator<Item = PictureInput>, words: &str) {
        let first = self.pictures.len() as u32;
        self.pictures.extend(pictures);
        let parts = (first..self.pictures.len() as u32)
            .map(Part::Image)
            .chain([Part::Text(words.to_owned())])
            .collect();
        self.add("user", Content::Parts(parts));
    }

    /// What the model answered, without its reasoning.
    pub fn add_answer(&mut self, text: &str) {
        self.add("assistant", Content::Text(text.to_owned()));
    }

    fn add(&mut self, role: &str, content: Content) {
        self.messages.push(Message::new(role, content));
    }

    /// What the user said last.
    pub(crate) fn last_words(&self) -> String {
        let said = self.messages.iter().rev().find(|message| message.role == "user");
        match said.map(|message| &message.content) {
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text.as_str()),
                    Part::Image(_) => None,
                });
                texts.collect::<Vec<_>>().join(" ")
            }
            None => String::new(),
        }
    }
}
