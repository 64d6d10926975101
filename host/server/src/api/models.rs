//! What models there are, in each interface's words.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use serde_json::{Value, json};

use crate::app::{App, now, timestamp};
use crate::failure::{Failure, Kind};
use crate::http::reply::{Dialect, failed, json_reply, read_object};
use crate::models::catalogue::Listed;
use crate::models::registry::blocking;

/// The models whose files are here.
async fn here(app: &Arc<App>) -> Result<Vec<Listed>, Failure> {
    let app = Arc::clone(app);
    let models = blocking(move || app.registry.catalogue.list()).await?;
    Ok(models
        .into_iter()
        .filter(|model| model.folder.is_some())
        .collect())
}

async fn find(app: &Arc<App>, name: &str) -> Result<Listed, Failure> {
    let (there, asked) = (Arc::clone(app), name.to_owned());
    let found = blocking(move || there.registry.catalogue.find(&asked)).await?;
    let shown: String = name.chars().take(100).collect();
    found.ok_or_else(|| {
        let message = format!("no model `{shown}`; models are not fetched by requests");
        Failure::new(Kind::NotFound, message)
            .at("model")
            .code("model_not_found")
    })
}

fn config(model: &Listed) -> Value {
    let text = model
        .folder
        .as_ref()
        .and_then(|folder| std::fs::read_to_string(folder.join("config.json")).ok());
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or(Value::Null)
}

fn context(config: &Value) -> Option<u64> {
    let parts = [
        &config["text_config"],
        &config["llm_config"],
        &config["language_config"],
        config,
    ];
    parts
        .iter()
        .find_map(|part| part["max_position_embeddings"].as_u64())
}

fn architecture(config: &Value) -> String {
    config["model_type"].as_str().unwrap_or("unknown").to_owned()
}

fn quantisation(config: &Value) -> String {
    let bits = config["quantization"]["bits"]
        .as_u64()
        .or(config["quantization_config"]["bits"].as_u64());
    match (bits, config["torch_dtype"].as_str().or(config["dtype"].as_str())) {
        (Some(bits), _) => format!("{bits}bit"),
        (None, Some(kind)) => kind.to_owned(),
        (None, None) => "unknown".to_owned(),
    }
}

fn openai(app: &App, model: &Listed) -> Value {
    let config = config(model);
    let context = context(&config);
    json!({
        "id": model.name, "object": "model", "created": 0, "owned_by": "monocle", "aliases": app.registry.catalogue.aliases(&model.name),
        "max_model_len": context, "meta": {"n_ctx": context},
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "capabilities": ["completion", "vision"],
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
    let entry = |model: &Listed| {
        let config = config(model);
        let state = if loaded.contains(&model.name) {
            "loaded"
        } else {
            "not-loaded"
        };
        json!({
            "id": model.name, "object": "model", "type": "vlm", "publisher": "monocle", "arch": architecture(&config),
            "compatibility_type": "mlx", "quantization": quantisation(&config), "state": state,
            "max_context_length": context(&config), "loaded_context_length": context(&config), "capabilities": [],
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

fn ollama(model: &Listed) -> Value {
    let config = config(model);
    let files = model.folder.as_ref().map_or(0, |folder| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| std::fs::metadata(entry.path()).ok())
            .map(|file| file.len())
            .sum()
    });
    let modified = model
        .folder
        .as_ref()
        .and_then(|folder| {
            std::fs::metadata(folder.join("config.json"))
                .ok()?
                .modified()
                .ok()
        })
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_secs());
    json!({
        "name": model.name, "model": model.name, "modified_at": timestamp(modified), "size": files, "digest": "",
        "details": details(&config),
    })
}

fn details(config: &Value) -> Value {
    let family = architecture(config);
    json!({
        "parent_model": "", "format": "safetensors", "family": family, "families": [family], "parameter_size": "",
        "quantization_level": quantisation(config),
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
    let entries = app.registry.loaded().into_iter().map(|loaded| {
        // Ollama has no word for always: a day, which is asked again.
        let until = loaded.until.map_or(86_400, |until| until.as_secs());
        let bytes = loaded.engine.weight_bytes;
        json!({
            "name": loaded.name, "model": loaded.name, "size": bytes, "size_vram": bytes, "digest": "", "details": details(&Value::Null),
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
        let model = find(&app, name.unwrap_or_default()).await?;
        let config = config(&model);
        let family = architecture(&config);
        let mut info = serde_json::Map::new();
        info.insert("general.architecture".to_owned(), family.clone().into());
        if let Some(context) = context(&config) {
            info.insert(format!("{family}.context_length"), context.into());
        }
        Ok(json_reply(&json!({
            "modelfile": "", "parameters": "", "template": "", "details": details(&config), "model_info": info,
            "capabilities": ["completion", "vision"], "modified_at": timestamp(0),
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
        Ok(model) => {
            let context = context(&config(&model));
            json_reply(&json!({
                "default_generation_settings": {"n_ctx": context}, "total_slots": app.options.scheduler.max_sessions,
                "model_alias": model.name, "modalities": {"vision": true, "audio": false}, "chat_template": "",
                "chat_template_caps": {"supports_tools": false}, "build_info": env!("CARGO_PKG_VERSION"),
            }))
        }
        Err(failure) => failed(Dialect::OpenAi, &failure),
    }
}
