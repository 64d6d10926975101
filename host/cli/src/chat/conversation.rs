//! A conversation: what was said and answered, and how it is written to a file.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use serde_json::{Value, json};

/// See the module.
pub struct Conversation {
    /// What goes for all of it.
    pub system: Option<String>,
    exchanges: Vec<Exchange>,
    /// Pictures of the next message.
    pub attached: Vec<PictureInput>,
}

/// A question and its answer.
pub struct Exchange {
    pictures: Vec<PictureInput>,
    words: String,
    answer: String,
}

impl Conversation {
    /// One that begins, with pictures for the first message.
    pub fn new(system: Option<String>, attached: Vec<PictureInput>) -> Self {
        Self {
            system,
            exchanges: Vec::new(),
            attached,
        }
    }

    /// All that was said, and a message after it, with the pictures that are attached.
    pub fn request(&self, words: &str) -> Request {
        let mut request = Request::default();
        if let Some(system) = &self.system {
            request.add_system(system);
        }
        for exchange in &self.exchanges {
            request.add_user(exchange.pictures.clone(), &exchange.words);
            request.add_answer(&exchange.answer);
        }
        request.add_user(self.attached.clone(), words);
        request
    }

    /// Takes a message and its answer in; what was attached was for it. White space around the answer is the template's to write: only so the
    /// next prompt has the tokens that were generated.
    pub fn add(&mut self, words: String, answer: &str) {
        self.exchanges.push(Exchange {
            pictures: std::mem::take(&mut self.attached),
            words,
            answer: answer.trim().to_owned(),
        });
    }

    /// Forgets the last exchange. False where there is none.
    pub fn drop_last(&mut self) -> bool {
        self.exchanges.pop().is_some()
    }

    /// Forgets all but the system message.
    pub fn reset(&mut self) {
        self.exchanges.clear();
        self.attached.clear();
    }

    /// How many exchanges there are.
    pub fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Writes it to a new file: what the name's end says, JSON or Markdown.
    pub fn save(&self, path: &Path, model: &str) -> anyhow::Result<()> {
        let kind = path.extension().and_then(|end| end.to_str());
        let text = match kind.map(str::to_ascii_lowercase).as_deref() {
            Some("json") => format!("{:#}\n", self.json(model)),
            Some("md" | "markdown") => self.markdown(model),
            _ => anyhow::bail!(
                "expected a name that ends with `.json` or `.md`, found `{}`",
                path.display()
            ),
        };
        let cannot = || format!("cannot write `{}`", path.display());
        // A file that is there is the user's.
        let mut file = match std::fs::File::create_new(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => anyhow::bail!(
                "`{}` is there already and stays as it is\n\nhint: name another file",
                path.display()
            ),
            created => created.with_context(cannot)?,
        };
        let written = std::io::Write::write_all(&mut file, text.as_bytes());
        if written.is_err() {
            // Half a conversation would be taken for a whole one.
            let _ = std::fs::remove_file(path);
        }
        written.with_context(cannot)
    }

    fn json(&self, model: &str) -> Value {
        let text = |text: &str| json!({"type": "text", "text": text});
        let system = self.system.iter();
        let mut messages: Vec<Value> = system
            .map(|system| json!({"role": "system", "content": [text(system)]}))
            .collect();
        for exchange in &self.exchanges {
            let pictures = exchange.pictures.iter();
            let content: Vec<Value> = pictures
                .map(|picture| {
                    let name = picture.name();
                    let key = if name.contains("://") { "url" } else { "path" };
                    json!({"type": "image", key: name})
                })
                .chain([text(&exchange.words)])
                .collect();
            messages.push(json!({"role": "user", "content": content}));
            messages.push(json!({"role": "assistant", "content": [text(&exchange.answer)]}));
        }
        json!({"model": model, "messages": messages})
    }

    fn markdown(&self, model: &str) -> String {
        let mut text = format!("# A conversation with {model}\n");
        let mut section = |title: &str, body: &str| {
            let _ = write!(text, "\n## {title}\n\n{body}\n");
        };
        if let Some(system) = &self.system {
            section("System", system);
        }
        for exchange in &self.exchanges {
            let mut said = String::new();
            for picture in &exchange.pictures {
                let _ = write!(said, "![picture](<{}>)\n\n", picture.name());
            }
            section("You", &(said + &exchange.words));
            section("Answer", &exchange.answer);
        }
        text
    }
}
