//! What plugin instances ask of a model: its tokenizer, its template, its weights.

use std::sync::{Arc, Mutex, PoisonError};

use monocle_tensor::stored::Weight;
use monocle_text::template::{Candidates, choose_template};
use monocle_text::{ChatTemplate, Conversation, RenderOptions, Tokenizer};
use monocle_weights::Checkpoint;

use crate::plugin::contract::{Content, Message, Part};
use crate::plugin::services::{Role, Services};

/// What a model has, whoever asks.
pub struct ModelServices {
    tokenizer: Arc<Tokenizer>,
    checkpoint: Checkpoint,
    candidates: Candidates,
}

/// The services of one request: which template was used belongs to it.
pub struct RequestServices {
    model: Arc<ModelServices>,
    template: Mutex<Option<String>>,
}

impl ModelServices {
    /// `candidates` are the templates on offer; the plugin may add one of its own.
    pub fn new(tokenizer: Arc<Tokenizer>, checkpoint: Checkpoint, candidates: Candidates) -> Self {
        Self {
            tokenizer,
            checkpoint,
            candidates,
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

    fn template(&self, fallback: Option<&str>) -> Result<ChatTemplate, String> {
        let candidates = Candidates {
            plugin: fallback.map(str::to_owned),
            ..self.candidates.clone()
        };
        choose_template(candidates).map_err(|error| error.to_string())
    }
}

impl RequestServices {
    /// The services of a request that has asked for nothing yet.
    pub fn new(model: Arc<ModelServices>) -> Self {
        Self {
            model,
            template: Mutex::new(None),
        }
    }

    /// Where the template in force came from, once one was asked for.
    pub fn template_source(&self) -> Option<String> {
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        template.clone()
    }
}

impl Services for RequestServices {
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, String> {
        self.model
            .tokenizer
            .encode(text, add_special_tokens)
            .map_err(|error| error.to_string())
    }

    fn token_id(&self, token: &str) -> Option<u32> {
        self.model.tokenizer.token_id(token)
    }

    fn token(&self, id: u32) -> Option<String> {
        self.model.tokenizer.token(id)
    }

    fn render(&self, messages: &[Message], fallback: Option<&str>) -> Result<String, String> {
        let template = self.model.template(fallback)?;
        let options = RenderOptions {
            add_generation_prompt: true,
            ..RenderOptions::default()
        };
        let special_tokens = self.model.tokenizer.special_tokens();
        let rendered = template.render(&conversation(messages), special_tokens, &options);
        let mut source = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        *source = Some(template.source().to_string());
        rendered.map_err(|error| error.to_string())
    }

    fn has_weight(&self, name: &str) -> bool {
        self.model.checkpoint.has(name)
    }

    fn weight_names(&self, prefix: &str) -> Vec<String> {
        self.model
            .checkpoint
            .names()
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }

    fn weight(&self, name: &str, role: Role) -> Result<Weight, String> {
        let checkpoint = &self.model.checkpoint;
        match role {
            Role::Parameter => checkpoint.tensor(name).map(Weight::Tensor),
            Role::Linear => checkpoint.linear(name),
            Role::Embedding => checkpoint.embedding(name),
            Role::Experts => checkpoint.experts(name),
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
