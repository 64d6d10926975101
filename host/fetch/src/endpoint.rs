//! Models that another program serves over an OpenAI-style interface, asked as any client would, and timed from outside.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use thiserror::Error;
use url::Url;

use crate::http::{Answer, Client, HttpError, Limits, Post, Request, shown, stay_encrypted};

/// The most bytes of an answer; of a list of models.
const MOST_BYTES: usize = 64 << 20;
const MOST_LISTED: u64 = 4 << 20;
/// The most bytes of what a server says of an error.
const MOST_SAID: u64 = 64 << 10;

/// One server's interface.
#[derive(Debug)]
pub struct Endpoint {
    client: Client,
    /// Ends in no `/`.
    base: String,
    key: Option<String>,
}

/// What is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// The model's name there.
    pub model: &'a str,
    /// The conversation, as the interface takes it.
    pub messages: Value,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// More keys of the body.
    pub options: &'a Map<String, Value>,
    /// The longest silence.
    pub silence: Duration,
    /// The longest time for all of it.
    pub total: Option<Duration>,
}

/// What came, and when.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// The reasoning before it, where the server tells the two apart.
    pub reasoning: String,
    /// Why it ended, in the server's word: `stop`, `length`.
    pub finish: Option<String>,
    /// Tokens of the prompt, as the server counts them.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer, as the server counts them.
    pub answer_tokens: Option<u64>,
    /// From the question to the first piece of text; none where all came at once.
    pub first: Option<Duration>,
    /// From the question to the last piece of text.
    pub last: Duration,
    /// From the question to the end.
    pub total: Duration,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// The address in its manifest is none.
    #[error("`{0}` is no address")]
    BadAddress(String),
    /// No connection, or it broke.
    #[error("`{url}`: {source}")]
    Http {
        /// What was asked.
        url: String,
        /// Why.
        source: HttpError,
    },
    /// It refuses.
    #[error("`{url}` answered with status {status}: {said}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of what it says.
        said: String,
    },
    /// It began, and then failed.
    #[error("`{url}` ended with an error: {said}")]
    Failed {
        /// What was asked.
        url: String,
        /// What it says.
        said: String,
    },
    /// It is no such interface.
    #[error("`{url}` does not answer as an OpenAI-style interface does: {reason}")]
    Malformed {
        /// What was asked.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

impl Endpoint {
    /// The interface at an address such as `http://127.0.0.1:8080/v1`; `key` proves who asks.
    pub fn new(base: &str, key: Option<String>) -> Self {
        Self {
            // As llama-server does after an answer in pieces: its next request would meet a connection that is being closed.
            client: Client::without_reuse(),
            base: base.trim_end_matches('/').to_owned(),
            key,
        }
    }

    /// Whether an address answers with status 200.
    pub fn is_ready(&self, url: &str, patience: Duration) -> bool {
        let limits = Limits {
            silence: patience,
            total: Some(patience),
            redirects: 0,
        };
        self.get(url, limits).is_ok_and(|answer| answer.status == 200)
    }

    /// The names of the models that it lists.
    pub fn models(&self, patience: Duration) -> Result<Vec<String>, EndpointError> {
        let url = format!("{}/models", self.base);
        let limits = Limits {
            silence: patience,
            total: Some(patience),
            redirects: 0,
        };
        let answer = self.get(&url, limits)?;
        let answer = good(&url, answer)?;
        let bytes = answer
            .read_all(MOST_LISTED)
            .map_err(|source| http(&url, source))?;
        let listed: Value =
            serde_json::from_slice(&bytes).map_err(|error| malformed(&url, error.to_string()))?;
        let models = listed["data"].as_array().or(listed["models"].as_array());
        let names = models
            .into_iter()
            .flatten()
            .filter_map(|model| model["id"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Asks, and reads the answer piece by piece.
    pub fn ask(&self, question: &Question) -> Result<Reply, EndpointError> {
        let url = format!("{}/chat/completions", self.base);
        let mut body = json!({
            "model": question.model,
            "messages": question.messages,
            "max_tokens": question.max_tokens,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        for (key, value) in question.options {
            body[key] = value.clone();
        }
        let body = body.to_string();
        let limits = Limits {
            silence: question.silence,
            total: question.total,
            redirects: 0,
        };
        let address = address(&url)?;
        let started = Instant::now();
        let post = Post {
            url: address,
            token: self.key.as_deref(),
            body: body.as_bytes(),
            limits,
        };
        let answer = self.client.post(&post).map_err(|source| http(&url, source))?;
        let mut answer = good(&url, answer)?;
        let mut reading = Reading {
            url: &url,
            started,
            reply: Reply::default(),
            is_over: false,
        };
        let is_stream = answer
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"));
        let (mut pending, mut buffer, mut all) = (Vec::new(), vec![0; 64 << 10], 0);
        loop {
            let count = answer.read(&mut buffer).map_err(|source| http(&url, source))?;
            if count == 0 {
                break;
            }
            all += count;
            if all > MOST_BYTES {
                return Err(http(&url, HttpError::TooLong(MOST_BYTES as u64)));
            }
            pending.extend_from_slice(&buffer[..count]);
            while is_stream && let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                reading.line(&line)?;
            }
        }
        match is_stream {
            true => reading.line(&pending)?,
            false => reading.whole(&pending)?,
        }
        reading.end()
    }

    fn get(&self, url: &str, limits: Limits) -> Result<Answer, EndpointError> {
        let request = Request {
            url: address(url)?,
            token: self.key.as_deref(),
            from: 0,
            limits,
        };
        let answer = self.client.get(&request, &stay_encrypted);
        answer.map_err(|source| http(url, source))
    }
}

/// An answer that is being read.
struct Reading<'a> {
    url: &'a str,
    started: Instant,
    reply: Reply,
    /// Whether it said that nothing follows, or why it ended.
    is_over: bool,
}

impl Reading<'_> {
    /// A line of server-sent events.
    fn line(&mut self, line: &[u8]) -> Result<(), EndpointError> {
        let Some(data) = line.strip_prefix(b"data:") else {
            return Ok(());
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.is_over = true;
            return Ok(());
        }
        let event = self.json(data)?;
        self.usage(&event["usage"]);
        let choice = &event["choices"][0];
        self.said(&choice["delta"], &choice["finish_reason"], true);
        Ok(())
    }

    /// An answer that came in one piece.
    fn whole(&mut self, body: &[u8]) -> Result<(), EndpointError> {
        let answer = self.json(body)?;
        self.usage(&answer["usage"]);
        let choice = &answer["choices"][0];
        if !choice["message"].is_object() {
            return Err(malformed(self.url, "it has no `choices[0].message`".to_owned()));
        }
        self.said(&choice["message"], &choice["finish_reason"], false);
        self.is_over = true;
        Ok(())
    }

    fn json(&self, data: &[u8]) -> Result<Value, EndpointError> {
        let value: Value = serde_json::from_slice(data).map_err(|error| {
            malformed(
                self.url,
                format!("{error} in {}", shown(&String::from_utf8_lossy(data))),
            )
        })?;
        match &value["error"] {
            Value::Null => Ok(value),
            error => Err(EndpointError::Failed {
                url: self.url.to_owned(),
                said: shown(message(error).unwrap_or(&error.to_string())),
            }),
        }
    }

    fn said(&mut self, message: &Value, finish: &Value, is_piece: bool) {
        let reasoning = message["reasoning_content"]
            .as_str()
            .or(message["reasoning"].as_str());
        let (text, reasoning) = (
            message["content"].as_str().unwrap_or_default(),
            reasoning.unwrap_or_default(),
        );
        if !text.is_empty() || !reasoning.is_empty() {
            let now = self.started.elapsed();
            if is_piece {
                self.reply.first.get_or_insert(now);
            }
            self.reply.last = now;
            self.reply.text += text;
            self.reply.reasoning += reasoning;
        }
        if let Some(finish) = finish.as_str() {
            self.reply.finish = Some(finish.to_owned());
            self.is_over = true;
        }
    }

    fn usage(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64();
        self.reply.prompt_tokens = count("prompt_tokens").or(self.reply.prompt_tokens);
        self.reply.answer_tokens = count("completion_tokens").or(self.reply.answer_tokens);
    }

    fn end(mut self) -> Result<Reply, EndpointError> {
        if !self.is_over {
            return Err(http(self.url, HttpError::HungUp));
        }
        self.reply.total = self.started.elapsed();
        Ok(self.reply)
    }
}

fn good(url: &str, answer: Answer) -> Result<Answer, EndpointError> {
    let status = answer.status;
    if status == 200 {
        return Ok(answer);
    }
    let body = answer.read_all(MOST_SAID).unwrap_or_default();
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    let message = value.as_ref().and_then(|value| message(&value["error"]));
    Err(EndpointError::Status {
        url: url.to_owned(),
        status,
        said: match message {
            Some(message) => shown(message),
            None => shown(String::from_utf8_lossy(&body).trim()),
        },
    })
}

/// What an error says: in its field `message`, or as it stands.
fn message(error: &Value) -> Option<&str> {
    error["message"].as_str().or(error.as_str())
}

fn address(url: &str) -> Result<Url, EndpointError> {
    Url::parse(url).map_err(|_| EndpointError::BadAddress(shown(url)))
}

fn http(url: &str, source: HttpError) -> EndpointError {
    EndpointError::Http {
        url: url.to_owned(),
        source,
    }
}

fn malformed(url: &str, reason: String) -> EndpointError {
    EndpointError::Malformed {
        url: url.to_owned(),
        reason,
    }
}
