//! Models on the Hugging Face hub: found in the standard cache, or fetched into it.

mod cache;
mod checked;
mod environment;
mod error;
mod fetch;
mod inventory;
mod listing;
mod names;
mod remove;
mod store;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use cache::Located;
pub use checked::distrust;
pub use error::HubError;
pub use fetch::{Progress, Suits};
pub use inventory::{Cached, Snapshot};
pub use remove::{Removal, Stays};

pub(crate) use fetch::is_wanted;

/// Where repositories are looked for and fetched from.
#[derive(Clone)]
pub struct Hub {
    /// The server.
    pub endpoint: String,
    /// The cache's folder, that which holds `models--…` folders.
    pub cache: PathBuf,
    /// Proves who asks; needed for gated and private repositories.
    pub token: Option<String>,
    /// Never use the network.
    pub offline: bool,
    /// How long a server may stay silent before a download is given up.
    pub patience: Duration,
    /// What users should know, until it is taken.
    notes: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// As the environment says, in the variables that all Hugging Face tools share: `HF_ENDPOINT`, `HF_HOME`,
    /// `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`, and the older `HUGGINGFACE_HUB_CACHE` and `TRANSFORMERS_OFFLINE`.
    /// Paths in them may begin with `~` and hold `$NAME` or `${NAME}`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`Hub::from_env`], with the environment given.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = variable;
        let variable = |name: &str| set(name).filter(|value| !value.is_empty());
        let user = variable("HOME").or(variable("USERPROFILE"));
        let path = |name: &str| -> Option<PathBuf> {
            Some(environment::expand(&variable(name)?, user.as_deref(), &set).into())
        };
        let home = path("HF_HOME").unwrap_or_else(|| {
            let home = || Path::new(user.as_deref().unwrap_or_default()).join(".cache");
            path("XDG_CACHE_HOME").unwrap_or_else(home).join("huggingface")
        });
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let token = || {
            let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            let text = std::fs::read_to_string(file).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        let yes = |value: String| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str());
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token: variable("HF_TOKEN")
                .map(|token| token.trim().to_owned())
                .or_else(token),
            offline: variable("HF_HUB_OFFLINE")
                .or(variable("TRANSFORMERS_OFFLINE"))
                .is_some_and(yes),
            patience: Duration::from_secs(120),
            notes: Arc::default(),
        }
    }

    /// What users should know of what was done since this was last asked: a token that was not sent, a server that was not there.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

impl std::fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("has_token", &self.token.is_some())
            .field("offline", &self.offline)
            .field("patience", &self.patience)
            .finish()
    }
}
