//! What plugin instances ask of a model: its tokenizer, its template, its weights.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monocle_tensor::stored::Weight;
use monocle_text::template::{Candidates, choose_template};
use monocle_text::{
    ChatTemplate, Conversation, MarkersFrom, ReasoningMarkers, RenderOptions, TemplateError, Tokenizer,
    find_markers,
};
use monocle_weights::Checkpoint;
use serde_json::{Map, Value, json};

use crate::plugin::contract::{Content, Message, Part, Rendering, ToolCall};
use crate::plugin::services::{Role, Services};

/// What a model has, whoever asks.
pub struct ModelServices {
    tokenizer: Arc<Tokenizer>,
    checkpoint: Checkpoint,
    candidates: Candidates,
    variables: Map<String, Value>,
    /// The template that was chosen last, and the plugin's own that was on offer then.
    template: Mutex<Option<(Option<String>, Arc<ChatTemplate>)>>,
    /// The tokens that a plugin added last, and the tokenizer with them: instances of one plugin add the same.
    extended: Mutex<Option<(Vec<AddedToken>, Arc<Tokenizer>)>>,
}

/// A token that a plugin adds, and whether it is special.
type AddedToken = (String, bool);

/// The services of one request: which template was used belongs to it.
pub struct RequestServices {
    model: Arc<ModelServices>,
    template: Mutex<Option<Arc<ChatTemplate>>>,
    /// The tokens that the plugin added, and the tokenizer with them.
    added: Mutex<(Vec<AddedToken>, Arc<Tokenizer>)>,
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
            template: Mutex::new(None),
            extended: Mutex::new(None),
        }
    }

    /// The same with another template.
    pub fn with_template(&self, template: String) -> Self {
        let candidates = Candidates {
            flag: Some(template),
            ..self.candidates.clone()
        };
        let (tokenizer, checkpoint) = (Arc::clone(&self.tokenizer), self.checkpoint.clone());
        Self::new(tokenizer, checkpoint, candidates, Map::new())
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whether the template in force compiles; one of the plugin's own is not looked at.
    pub fn check_template(&self) -> Result<(), TemplateError> {
        choose_template(self.candidates.clone()).map(drop)
    }

    /// The template in force when the plugin offers this one. It is compiled once, and what it takes is asked once.
    fn template(&self, fallback: Option<&str>) -> Result<Arc<ChatTemplate>, String> {
        let mut known = locked(&self.template);
        if let Some((offered, template)) = known.as_ref()
            && offered.as_deref() == fallback
        {
            return Ok(Arc::clone(template));
        }
        let candidates = Candidates {
            plugin: fallback.map(str::to_owned),
            ..self.candidates.clone()
        };
        let template = Arc::new(choose_template(candidates).map_err(|error| error.to_string())?);
        *known = Some((fallback.map(str::to_owned), Arc::clone(&template)));
        Ok(template)
    }
}

impl RequestServices {
    /// The services of a request that has asked for nothing yet.
    pub fn new(model: Arc<ModelServices>) -> Self {
        let added = Mutex::new((Vec::new(), Arc::clone(&model.tokenizer)));
        Self {
            model,
            template: Mutex::new(None),
            added,
        }
    }

    /// The model's tokenizer, with what the plugin added to it.
    pub fn tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&locked(&self.added).1)
    }

    /// Where the template in force came from, once one was asked for.
    pub fn template_source(&self) -> Option<String> {
        let template = locked(&self.template);
        template.as_ref().map(|template| template.source().to_string())
    }

    /// The markers of reasoning that the template or the tokenizer has.
    pub fn reasoning_markers(&self) -> Option<(ReasoningMarkers, MarkersFrom)> {
        let template = locked(&self.template);
        let text = template.as_ref().map(|template| template.text());
        find_markers(text, |token| self.tokenizer().token_id(token).is_some())
    }

    /// Variables that the template in force was given, by the model or by a request, and never reads.
    pub fn unread_variables(&self, asked: &Map<String, Value>) -> Vec<String> {
        let names = self.model.variables.keys().chain(asked.keys());
        let mut unread: Vec<String> = names.filter(|name| !self.reads(name)).cloned().collect();
        unread.sort();
        unread.dedup();
        unread
    }

    /// Whether the template in force reads a variable of this name.
    pub fn reads(&self, name: &str) -> bool {
        let template = locked(&self.template);
        template.as_ref().is_some_and(|template| template.reads(name))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic may have left is a template, whole or none.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Services for RequestServices {
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, String> {
        self.tokenizer()
            .encode(text, add_special_tokens)
            .map_err(|error| error.to_string())
    }

    fn token_id(&self, token: &str) -> Option<u32> {
        self.tokenizer().token_id(token)
    }

    fn token(&self, id: u32) -> Option<String> {
        self.tokenizer().token(id)
    }

    fn add_tokens(&self, tokens: &[String], special: bool) -> Result<Vec<u32>, String> {
        let mut added = locked(&self.added);
        let mut all = added.0.clone();
        all.extend(tokens.iter().map(|token| (token.clone(), special)));
        let mut extended = locked(&self.model.extended);
        let known = extended.as_ref().filter(|(known, _)| *known == all);
        let tokenizer = match known {
            Some((_, tokenizer)) => Arc::clone(tokenizer),
            None => {
                let tokenizer = self.model.tokenizer.with_tokens(&all);
                let tokenizer = Arc::new(tokenizer.map_err(|error| error.to_string())?);
                *extended = Some((all.clone(), Arc::clone(&tokenizer)));
                tokenizer
            }
        };
        let id = |token: &String| {
            let id = tokenizer.token_id(token);
            id.ok_or_else(|| format!("the tokenizer does not take the token `{token}`"))
        };
        let ids = tokens.iter().map(id).collect();
        *added = (all, Arc::clone(&tokenizer));
        ids
    }

    fn render(&self, rendering: &Rendering) -> Result<String, String> {
        let template = self.model.template(rendering.fallback.as_deref())?;
        *locked(&self.template) = Some(Arc::clone(&template));
        let mut variables = rendering.own_variables.clone();
        variables.extend(self.model.variables.clone());
        variables.extend(rendering.variables.clone());
        let tools = rendering.tools.iter().cloned().map(Value::Object).collect();
        let options = RenderOptions {
            add_generation_prompt: true,
            tools: (!rendering.tools.is_empty()).then_some(tools),
            variables,
            ..RenderOptions::default()
        };
        let special_tokens = self.model.tokenizer.special_tokens();
        let rendered = template.render(&conversation(&rendering.messages), special_tokens, &options);
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
            Role::Parameter => checkpoint.parameter(name).map(Weight::Tensor),
            Role::Linear => checkpoint.linear(name),
            Role::Embedding => checkpoint.embedding(name),
            Role::Experts => checkpoint.experts(name),
        }
        .map_err(|error| error.to_string())
    }

    fn stack(&self, names: &[String]) -> Result<Weight, String> {
        let stacked = self.model.checkpoint.stack_experts(names);
        stacked.map_err(|error| error.to_string())
    }
}

/// A call as transformers' templates read it.
fn tool_call(call: &ToolCall) -> Value {
    let mut value = json!({
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    });
    if let Some(id) = &call.id {
        value["id"] = Value::from(id.as_str());
    }
    value
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
        let mut extra = Map::new();
        let texts = [
            ("reasoning_content", &message.reasoning),
            ("tool_call_id", &message.tool_call),
            ("name", &message.name),
        ];
        for (key, text) in texts {
            extra.extend(
                text.as_ref()
                    .map(|text| (key.to_owned(), Value::from(text.as_str()))),
            );
        }
        if !message.tool_calls.is_empty() {
            let calls = message.tool_calls.iter().map(tool_call).collect();
            extra.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        monocle_text::Message {
            role: message.role.clone(),
            content,
            extra,
        }
    };
    Conversation {
        messages: messages.iter().map(message).collect(),
    }
}
