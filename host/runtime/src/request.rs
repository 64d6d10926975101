//! What is asked of a model, on its way to being answered: its pictures, its prompt, and what is known before anything is computed.

pub mod pictures;
pub mod prepare;
pub mod prompt;

use monocle_text::SamplingOptions;

use crate::plugin::contract::{Content, Message, Part};
use pictures::PictureInput;

/// What is asked of a model.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The conversation; pictures are numbered in the order of its parts.
    pub messages: Vec<Message>,
    /// The pictures.
    pub pictures: Vec<PictureInput>,
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
}

impl Request {
    /// One user turn: pictures, then words.
    pub fn single(system: Option<&str>, pictures: Vec<PictureInput>, prompt: &str) -> Self {
        let text = |text: &str| Part::Text(text.to_owned());
        let mut messages = Vec::new();
        if let Some(system) = system {
            messages.push(Message {
                role: "system".to_owned(),
                content: Content::Parts(vec![text(system)]),
            });
        }
        let parts = (0..pictures.len() as u32)
            .map(Part::Image)
            .chain([text(prompt)])
            .collect();
        messages.push(Message {
            role: "user".to_owned(),
            content: Content::Parts(parts),
        });
        Self { messages, pictures }
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
