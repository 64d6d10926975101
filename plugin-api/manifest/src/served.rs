//! Manifests of models that another program serves: `monocle check` and `monocle eval` ask them beside Monocle's own. The doc comments here
//! are also the reference that users read.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

/// A model that another program serves over an OpenAI-style interface.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Served {
    /// Version of the manifest format; 1 is the only one.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u32,
    /// What the model is called on the command line: letters, digits, `.`, `_` and `-`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"))]
    pub name: String,
    /// One line for people.
    pub description: Option<String>,
    /// The server.
    pub server: OtherServer,
}

/// The server: where it listens, and how it is started where it does not run already.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherServer {
    /// What comes before `/chat/completions`: `http://127.0.0.1:8080/v1`.
    #[schemars(regex(pattern = r"^https?://[^\s?#]+$"))]
    pub url: String,
    /// The model's name there. When absent: the first that `/models` lists.
    #[schemars(length(min = 1))]
    pub model: Option<String>,
    /// Program and arguments that start it, without a shell; it is stopped afterwards. A program with a `/` in its name is looked for in the
    /// manifest's folder, which is also where it runs. When absent: it runs already, and goes on running.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// What answers with status 200 as soon as the server is ready: a path on it, such as `/health`. When absent: `url` with `/models`.
    #[schemars(regex(pattern = r"^/\S*$"))]
    pub health: Option<String>,
    /// How many seconds it may take until it is ready; 300 when absent.
    #[schemars(range(min = 1))]
    pub ready_within: Option<u32>,
    /// The name of an environment variable that holds the key to send (`Authorization: Bearer …`). Over http it goes to this machine only.
    #[schemars(length(min = 1))]
    pub key_variable: Option<String>,
    /// More keys for the body of each request: `{ temperature = 0 }`.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// The manifest's folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl OtherServer {
    /// What is asked whether the server is ready.
    pub fn health_url(&self) -> String {
        let base = self.url.trim_end_matches('/');
        let after_scheme = base.find("://").map_or(0, |at| at + 3);
        let root = base[after_scheme..]
            .find('/')
            .map_or(base.len(), |at| after_scheme + at);
        match &self.health {
            Some(path) => format!("{}{path}", &base[..root]),
            None => format!("{base}/models"),
        }
    }

    /// The program that starts it and its arguments.
    pub fn started_by(&self) -> Option<(PathBuf, &[String])> {
        let (program, arguments) = self.command.as_ref()?.split_first()?;
        let program = match Path::new(program) {
            path if program.contains('/') && path.is_relative() => self.folder.join(path),
            path => path.to_owned(),
        };
        Some((program, arguments))
    }
}
