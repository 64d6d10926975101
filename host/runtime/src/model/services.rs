//! What plugin instances ask of a model: its tokenizer, its template, its weights.

use std::cell::RefCell;
use std::sync::Arc;

use monocle_tensor::stored::Weight;
use monocle_text::template::{Candidates, choose_template};
use monocle_text::{ChatTemplate, Conversation, RenderOptions, Tokenizer};
use monocle_weights::Checkpoint;

use crate::plugin::contract::{Content, Message, Part};
use crate::plugin::services::{Role, Services};

/// See the module.
pub struct ModelServices {
    tokenizer: Arc<Tokenizer>,
    checkpoint: Checkpoint,
    candidates: Candidates,
    template: RefCell<Option<ChatTemplate>>,
}

impl ModelServices {
    /// `candidates` are the templates on offer; the plugin may add one of its own.
    pub fn new(tokenizer: Arc<Tokenizer>, checkpoint: Checkpoint, candidates: Candidates) -> Self {
        Self {
            tokenizer,
            checkpoint,
            candidates,
            template: RefCell::new(None),
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Where the template in force came from, once one was asked for.
    pub fn template_source(&self) -> Option<String> {
        self.template
            .borrow()
            .as_ref()
            .map(|template| template.source().to_string())
    }
}

impl Services for ModelServices {
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, String> {
        self.tokenizer
            .encode(text, add_special_tokens)
            .map_err(|error| error.to_string())
    }

    fn token_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_id(token)
    }

    fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.token(id)
    }

    fn render(&self, messages: &[Message], fallback: Option<&str>) -> Result<String, String> {
        let candidates = Candidates {
            plugin: fallback.map(str::to_owned),
            ..self.candidates.clone()
        };
        let template = choose_template(candidates).map_err(|error| error.to_string())?;
        let options = RenderOptions {
            add_generation_prompt: true,
            ..RenderOptions::default()
        };
        let rendered = template.render(&conversation(messages), self.tokenizer.special_tokens(), &options);
        *self.template.borrow_mut() = Some(template);
        rendered.map_err(|error| error.to_string())
    }

    fn has_weight(&self, name: &str) -> bool {
        self.checkpoint.has(name)
    }

    fn weight_names(&self, prefix: &str) -> Vec<String> {
        self.checkpoint
            .names()
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }

    fn weight(&self, name: &str, role: Role) -> Result<Weight, String> {
        match role {
            Role::Parameter => self.checkpoint.tensor(name).map(Weight::Tensor),
            Role::Linear => self.checkpoint.linear(name),
            Role::Embedding => self.checkpoint.embedding(name),
            Role::Experts => self.checkpoint.experts(name),
        }
        .map_err(|error| error.to_string())
    }
}

fn conversation(messages: &[Message]) -> Conversation {
    let message = |message: &Message| {
        let content = match &message.content {
            Content::Text(text) => monocle_text::Content::Text(text.clone()),
            Content::Parts(parts) => monocle_text::Content::Parts(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => monocle_text::Part::text(text.clone()),
                        Part::Image(_) => monocle_text::Part::Image,
                    })
                    .collect(),
            ),
        };
        monocle_text::Message::new(message.role.clone(), content)
    };
    Conversation {
        messages: messages.iter().map(message).collect(),
    }
}
