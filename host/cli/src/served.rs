//! Models that other programs serve, as `check` and `eval` ask them: the program is started where its manifest says how, asked as any client
//! would, and stopped.

mod keeper;
mod one;
mod running;

use std::time::Duration;

use monocle_fetch::endpoint::{Endpoint, EndpointError, Question, Reply};
use monocle_fetch::http::HttpError;
use monocle_manifest::served::Served;
use monocle_survey::failure::{Failure, Place};
use serde_json::{Value, json};

pub use keeper::KeepServer;
pub use one::AskServed;
pub use running::Running;

/// How long a list of models may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that can be asked.
pub struct Client {
    endpoint: Endpoint,
    model: String,
    served: Served,
}

impl Client {
    /// Of a server that is ready.
    pub fn new(served: Served) -> Result<Self, Failure> {
        let endpoint = endpoint(&served)?;
        let model = match &served.server.model {
            Some(model) => model.clone(),
            None => {
                let models = endpoint.models(PATIENCE).map_err(|error| fault(&error))?;
                models.into_iter().next().ok_or_else(|| {
                    Failure::new(
                        Place::Server,
                        format!(
                            "`{}` lists no model\n\nhint: `model` in `[server]` names one",
                            served.server.url
                        ),
                    )
                })?
            }
        };
        Ok(Self {
            endpoint,
            model,
            served,
        })
    }

    /// The model's name there.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What it says to a conversation.
    pub fn ask(&self, messages: Value, max_tokens: u32, limit: Duration) -> Result<Reply, Failure> {
        let question = Question {
            model: &self.model,
            messages,
            max_tokens,
            options: &self.served.server.options,
            silence: limit,
            total: Some(limit),
        };
        self.endpoint.ask(&question).map_err(|error| fault(&error))
    }
}

/// The server's interface.
fn endpoint(served: &Served) -> Result<Endpoint, Failure> {
    let key = match &served.server.key_variable {
        None => None,
        Some(name) => Some(std::env::var(name).map_err(|_| {
            Failure::new(
                Place::Manifest,
                format!("`key_variable` names `{name}`, and the environment has no such variable"),
            )
        })?),
    };
    Ok(Endpoint::new(&served.server.url, key))
}

fn fault(error: &EndpointError) -> Failure {
    let place = match error {
        EndpointError::BadAddress(_) => Place::Manifest,
        EndpointError::Http {
            source: HttpError::Silent(_) | HttpError::Slow(_),
            ..
        } => Place::Timeout,
        _ => Place::Server,
    };
    Failure::new(place, error.to_string())
}

/// A user's turn: words, and a picture before them where there is one.
pub fn user(picture: Option<&[u8]>, words: &str) -> Value {
    let text = json!({"type": "text", "text": words});
    let content = match picture {
        None => vec![text],
        Some(bytes) => {
            let url = format!("data:{};base64,{}", kind(bytes), monocle_survey::base64(bytes));
            vec![json!({"type": "image_url", "image_url": {"url": url}}), text]
        }
    };
    json!({"role": "user", "content": content})
}

/// A picture's type, by its first bytes.
fn kind(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xd8, ..] => "image/jpeg",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'B', b'M', ..] => "image/bmp",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "image/tiff",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => "image/avif",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "image/heic",
        _ => "application/octet-stream",
    }
}
