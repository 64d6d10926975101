//! What plugin instances ask of a model: its tokenizer, its template, its weights.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use monocle_tensor::stored::Weight;
use monocle_text::template::{Candidates, choose_template};
use monocle_text::{
    ChatTemplate, Conversation, MarkersFrom, ReasoningMarkers, RenderOptions, Tokenizer, find_markers,
};
use monocle_weights::Checkpoint;
use serde_json::{Map, Value};

use crate::plugin::contract::{Content, Message, Part};
use crate::plugin::services::{Role, Services};

/// See the module.
pub struct ModelServices {
    tokenizer: Arc<Tokenizer>,
    checkpoint: Checkpoint,
    candidates: Candidates,
    variables: Map<String, Value>,
    /// The template in force, and the plugin's own that was on offer when it was chosen.
    template: RefCell<Option<(Option<String>, Rc<ChatTemplate>)>>,
}

impl ModelServices {
    /// `candidates` are the templates on offer; the plugin may add one of its own. `variables` are what templates are given besides the
    /// conversation.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        checkpoint: Checkpoint,
        candidates: Candidates,
        variables: Map<String, Value>,
    ) -> Self {
        Self {
            tokenizer,
            checkpoint,
            candidates,
            variables,
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
            .map(|(_, template)| template.source().to_string())
    }

    /// The markers of reasoning that the template or the tokenizer has.
    pub fn reasoning_markers(&self) -> Option<(ReasoningMarkers, MarkersFrom)> {
        let template = self.template.borrow();
        let text = template.as_ref().map(|(_, template)| template.text());
        find_markers(text, |token| self.tokenizer.token_id(token).is_some())
    }

    /// Variables that the template in force was given and never reads.
    pub fn unread_variables(&self) -> Vec<&str> {
        let template = self.template.borrow();
        let reads = |name: &str| {
            template
                .as_ref()
                .is_some_and(|(_, template)| template.reads(name))
        };
        self.variables
            .keys()
            .map(String::as_str)
            .filter(|name| !reads(name))
            .collect()
    }

    /// The template in force when the plugin offers this one. It is compiled once, and what it takes is asked once.
    fn template(&self, fallback: Option<&str>) -> Result<Rc<ChatTemplate>, String> {
        if let Some((offered, template)) = self.template.borrow().as_ref()
            && offered.as_deref() == fallback
        {
            return Ok(Rc::clone(template));
        }
        let candidates = Candidates {
            plugin: fallback.map(str::to_owned),
            ..self.candidates.clone()
        };
        let template = Rc::new(choose_template(candidates).map_err(|error| error.to_string())?);
        *self.template.borrow_mut() = Some((fallback.map(str::to_owned), Rc::clone(&template)));
        Ok(template)
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
        let options = RenderOptions {
            add_generation_prompt: true,
            variables: self.variables.clone(),
            ..RenderOptions::default()
        };
        self.template(fallback)?
            .render(&conversation(messages), self.tokenizer.special_tokens(), &options)
            .map_err(|error| error.to_string())
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
