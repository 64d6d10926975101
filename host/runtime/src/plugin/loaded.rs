//! A plugin that was loaded, whatever carries it.

use std::path::{Path, PathBuf};

use super::carrier::Carrier;
use super::error::PluginError;
use super::file::{read, sha256};
use super::native::{self, library::Library};
use super::stamp::Stamp;
use super::trust::Trust;
use super::wasm::component::Component;

/// A plugin, ready to be started.
pub struct Plugin {
    /// What it says of itself.
    pub stamp: Stamp,
    /// Where it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    /// Whether it is a native library.
    pub native: bool,
    pub(super) carrier: Box<dyn Carrier>,
}

impl Plugin {
    /// Loads a plugin: a component, or a native library that the user trusts. Nothing of a library is run before that is certain.
    pub fn load(path: &Path, trust: &Trust) -> Result<Self, PluginError> {
        let bytes = read(path)?;
        let hash = sha256(&bytes);
        let stamp = Stamp::read(&bytes).map_err(|reason| PluginError::NotAPlugin {
            path: path.to_owned(),
            reason,
        })?;
        let native = native::is_library(&bytes);
        let carrier: Box<dyn Carrier> = match native {
            false => Box::new(Component::load(path, &bytes, &stamp)?),
            true => {
                let copy = trust.copy(path, &stamp, &hash)?;
                Box::new(Library::load(path, &copy, &stamp)?)
            }
        };
        Ok(Self {
            stamp,
            path: path.to_owned(),
            hash,
            native,
            carrier,
        })
    }

    /// Those of some words that stand nowhere in the file: what a plugin looks for by name stands there. A file that cannot be read any more is
    /// not accused of anything.
    pub fn unmentioned<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut words = words.into_iter().peekable();
        // Most often there are none to look for, and nothing is read.
        if words.peek().is_none() {
            return Vec::new();
        }
        let Ok(bytes) = read(&self.path) else {
            return Vec::new();
        };
        let stands = |word: &&str| {
            let mut parts = bytes.windows(word.len().max(1));
            word.is_empty() || parts.any(|part| part == word.as_bytes())
        };
        words.filter(|word| !stands(word)).collect()
    }
}
