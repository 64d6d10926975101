//! What models there are, in each interface's words.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use monocle_runtime::model::abilities::Abilities;
use monocle_runtime::model::cached::bytes_in;
use monocle_weights::gguf::is_gguf;
use serde_json::{Value, json};

use crate::app::{App, now, timestamp};
use crate::failure::{Failure, Kind};
use crate::http::reply::{Dialect, failed, json_reply, read_object};
use crate::models::catalogue::Listed;
use crate::models::registry::blocking;

/// The models whose files are here.
async fn here(app: &Arc<App>) -> Result<Vec<Described>, Failure> {
    let app = Arc::clone(app);
    let here = move || {
        let models = app.registry.catalogue.list().into_iter();
        let here = models.filter(|model| model.folder.is_some());
        here.map(|model| Described::new(&app, model)).collect()
    };
    blocking(here).await
}

async fn find(app: &Arc<App>, name: &str) -> Result<Described, Failure> {
    let (there, asked) = (Arc::clone(app), name.to_owned());
    let find = move || {
        let found = there.registry.catalogue.find(&asked);
        found.map(|model| Described::new(&there, model))
    };
    let found = blocking(find).await?;
    let shown: String = name.chars().take(100).collect();
    found.ok_or_else(|| {
        let message = format!("no model `{shown}`; models are not fetched by requests");
        Failure::new(Kind::NotFound, message)
            .at("model")
            .code("model_not_found")
    })
}

/// A model of a list, and what it can do, as far as its files say.
struct Described {
    model: Listed,
    abilities: Option<Arc<Abilities>>,
}

impl Described {
    fn new(app: &App, model: Listed) -> Self {
        let abilities = app.registry.catalogue.abilities(&model);
        Self { model, abilities }
    }

    fn config(&self) -> &Value {
        self.abilities
            .as_ref()
            .map_or(&Value::Null, |abilities| &abilities.config)
    }

    fn context(&self) -> Option<usize> {
        self.abilities.as_ref()?.settings.context
    }

    fn architecture(&self) -> &str {
        self.config()["model_type"].as_str().unwrap_or("unknown")
    }

    fn template(&self) -> &str {
        let template = self
            .abilities
            .as_ref()
            .and_then(|abilities| abilities.template.as_deref());
        template.unwrap_or_default()
    }

    fn calls_tools(&self) -> bool {
        self.abilities
            .as_ref()
            .is_some_and(|abilities| abilities.calls_tools)
    }

    /// In Ollama's words.
    fn capabilities(&self) -> Vec<&'static str> {
        let mut can = vec!["completion", "vision"];
        if self.calls_tools() {
            can.push("tools");
        }
        if self.abilities.as_ref().is_some_and(|abilities| abilities.reasons) {
            can.push("thinking");
        }
        can
    }

    fn quantisation(&self) -> String {
        let stored_as = self
            .abilities
            .as_ref()
            .and_then(|abilities| abilities.stored_as.as_ref());
        if let Some(stored_as) = stored_as {
            return stored_as.clone();
        }
        let config = self.config();
        let bits = config["quantization"]["bits"]
            .as_u64()
            .or(config["quantization_config"]["bits"].as_u64());
        match (bits, config["torch_dtype"].as_str().or(config["dtype"].as_str())) {
            (Some(bits), _) => format!("{bits}bit"),
            (None, Some(kind)) => kind.to_owned(),
            (None, None) => "unknown".to_owned(),
        }
    }

    /// Whether it lies in GGUF files.
    fn is_gguf(&self) -> bool {
        self.model.folder.as_deref().is_some_and(is_gguf)
    }

    /// Lines of a name and a value, as Ollama's model files have them.
    fn parameters(&self) -> String {
        let Some(abilities) = &self.abilities else {
            return String::new();
        };
        let generation = &abilities.settings.generation;
        let mut lines = Vec::new();
        if let Some(context) = abilities.settings.context {
            lines.push(format!("num_ctx {context}"));
        }
        lines.push(format!("num_predict {}", generation.max_tokens.value));
        lines.push(format!("temperature {}", generation.temperature.value));
        for stop in &abilities.settings.output.stop {
            lines.push(format!("stop {}", Value::from(stop.as_str())));
        }
        lines.join("\n")
    }
}

fn openai(app: &App, described: &Described) -> Value {
    let (name, context) = (&described.model.name, described.context());
    json!({
        "id": name, "object": "model", "created": 0, "owned_by": "monocle", "aliases": app.registry.catalogue.aliases(name),
        "max_model_len": context, "meta": {"n_ctx": context},
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "capabilities": described.capabilities(),
    })
}

/// `GET /v1/models`
pub async fn list(State(app): State<Arc<App>>) -> Response {
    match here(&app).await {
        Ok(models) => {
            let data: Vec<Value> = models.iter().map(|model| openai(&app, model)).collect();
            json_reply(&json!({"object": "list", "data": data, "models": []}))
        }
        Err(failure) => failed(Dialect::OpenAi, &failure),
    }
}

/// `GET /v1/models/{id}`; an id may hold `/`.
pub async fn one(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    match find(&app, &id).await {
        Ok(model) => json_reply(&openai(&app, &model)),
        Err(failure) => failed(Dialect::OpenAi, &failure),
    }
}

/// `GET /api/v0/models`
pub async fn lm_studio(State(app): State<Arc<App>>) -> Response {
    let loaded: Vec<String> = app
        .registry
        .loaded()
        .into_iter()
        .map(|model| model.name)
        .collect();
    let entry = |described: &Described| {
        let (name, context) = (&described.model.name, described.context());
        let state = if loaded.contains(name) {
            "loaded"
        } else {
            "not-loaded"
        };
        let can: &[&str] = if described.calls_tools() {
            &["vision", "tool_use"]
        } else {
            &["vision"]
        };
        // Clients know these two kinds of files.
        let files = if described.is_gguf() { "gguf" } else { "mlx" };
        json!({
            "id": name, "object": "model", "type": "vlm", "publisher": "monocle", "arch": described.architecture(),
            "compatibility_type": files, "quantization": described.quantisation(), "state": state,
            "max_context_length": context, "loaded_context_length": context, "capabilities": can,
        })
    };
    match here(&app).await {
        Ok(models) => {
            let data: Vec<Value> = models.iter().map(entry).collect();
            json_reply(&json!({"object": "list", "data": data}))
        }
        Err(failure) => failed(Dialect::OpenAi, &failure),
    }
}

fn ollama(described: &Described) -> Value {
    let (name, folder) = (&described.model.name, described.model.folder.as_deref());
    let modified = folder
        .and_then(|folder| {
            let config = folder.join("config.json");
            let file = if config.is_file() { &config } else { folder };
            std::fs::metadata(file).ok()?.modified().ok()
        })
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_secs());
    json!({
        "name": name, "model": name, "modified_at": timestamp(modified), "size": folder.map_or(0, bytes_in), "digest": "",
        "details": details(described),
    })
}

fn details(described: &Described) -> Value {
    let family = described.architecture();
    json!({
        "parent_model": "", "format": if described.is_gguf() { "gguf" } else { "safetensors" }, "family": family, "families": [family], "parameter_size": "",
        "quantization_level": described.quantisation(),
    })
}

/// `GET /api/tags`
pub async fn tags(State(app): State<Arc<App>>) -> Response {
    match here(&app).await {
        Ok(models) => json_reply(&json!({"models": models.iter().map(ollama).collect::<Vec<_>>()})),
        Err(failure) => failed(Dialect::Ollama, &failure),
    }
}

/// `GET /api/ps`
pub async fn ps(State(app): State<Arc<App>>) -> Response {
    let models = match here(&app).await {
        Ok(models) => models,
        Err(failure) => return failed(Dialect::Ollama, &failure),
    };
    let entries = app.registry.loaded().into_iter().map(|loaded| {
        // Ollama has no word for always: a day, which is asked again.
        let until = loaded.until.map_or(86_400, |until| until.as_secs());
        let bytes = loaded.engine.weight_bytes;
        let described = models.iter().find(|described| described.model.name == loaded.name);
        json!({
            "name": loaded.name, "model": loaded.name, "size": bytes, "size_vram": bytes, "digest": "", "details": described.map(details),
            "expires_at": timestamp(now() + until), "context_length": loaded.engine.model.settings.context,
        })
    });
    json_reply(&json!({"models": entries.collect::<Vec<_>>()}))
}

/// `POST /api/show`
pub async fn show(State(app): State<Arc<App>>, request: Request) -> Response {
    let result = async {
        let body = read_object(request.into_body(), app.options.max_body).await?;
        // Some clients say `name`.
        let name = super::text_of(&body, "model").or_else(|| super::text_of(&body, "name"));
        let described = find(&app, name.unwrap_or_default()).await?;
        let family = described.architecture();
        let mut info = serde_json::Map::new();
        info.insert("general.architecture".to_owned(), family.into());
        if let Some(context) = described.context() {
            info.insert(format!("{family}.context_length"), context.into());
        }
        Ok(json_reply(&json!({
            "modelfile": "", "parameters": described.parameters(), "template": described.template(), "details": details(&described),
            "model_info": info, "capabilities": described.capabilities(), "modified_at": ollama(&described)["modified_at"],
        })))
    };
    result
        .await
        .unwrap_or_else(|failure: Failure| failed(Dialect::Ollama, &failure))
}

/// What `/props` may ask for.
#[derive(Debug, serde::Deserialize)]
pub struct Asked {
    #[serde(default)]
    model: String,
}

/// `GET /props`, as llama-server has it.
pub async fn props(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Response {
    match find(&app, &asked.model).await {
        Ok(described) => json_reply(&json!({
            "default_generation_settings": {"n_ctx": described.context()}, "total_slots": app.options.scheduler.max_sessions,
            "model_alias": described.model.name, "modalities": {"vision": true, "audio": false},
            "chat_template": described.template(), "chat_template_caps": {"supports_tools": described.calls_tools()},
            "build_info": env!("CARGO_PKG_VERSION"),
        })),
        Err(failure) => failed(Dialect::OpenAi, &failure),
    }
}
