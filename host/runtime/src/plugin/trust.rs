//! Which native libraries the user trusts. A library is not held by any sandbox, so none runs before its user has said so, of exactly this file.
//!
//! A trusted library is a copy in a folder that is the user's alone, called by its SHA-256, and a record beside it. The copy is what is loaded,
//! after its hash was looked at again: so what was trusted is what runs, whatever happens to the file meanwhile.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::PluginError;
use super::file::{read, sha256};
use super::stamp::{PluginKind, Stamp};
use super::{native, private};

/// What trusting a library means, for people.
pub const MEANING: &str = "a native library is not held by the sandbox: it can do anything that you can (read, change and delete your files, use \
                           the network, start programs), in every run that uses it. Trust what you built yourself, or what comes from somebody \
                           to whom you would lend your account";

/// The libraries that are trusted.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    folder: Option<PathBuf>,
}

/// A library that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its kind.
    pub kind: PluginKind,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The file that was named.
    pub path: PathBuf,
}

/// Why trust could not be given or taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is no plugin that could be trusted.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Components need no trust.
    #[error("`{}` is a WebAssembly component: it runs in the sandbox, and needs no trust", .0.display())]
    Component(PathBuf),
    /// No home folder is known.
    #[error("no folder is known in which trust could be noted: HOME is not set")]
    NoFolder,
    /// The folder cannot be used.
    #[error("{0}")]
    Folder(String),
    /// A file of it cannot be written or removed.
    #[error("cannot change `{}`: {source}", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing of that name, hash or file is trusted.
    #[error(
        "no trusted library is called `{0}`, has this hash or came from this file\n\nhint: `monocle plugins --trusted` lists them"
    )]
    Unknown(String),
}

impl Trust {
    /// Trusts nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// What is noted in this folder.
    pub fn noted_in(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// What the user trusts: `~/.local/share/monocle/trusted`.
    pub fn of_user() -> Self {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        Self {
            folder: home.map(|home| PathBuf::from(home).join(".local/share/monocle/trusted")),
        }
    }

    /// The folder of the copies, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref().filter(|folder| folder.is_dir())
    }

    /// Notes that a library is trusted, as it is now.
    pub fn trust(&self, path: &Path) -> Result<Trusted, TrustError> {
        let bytes = read(path)?;
        let stamp = Stamp::read(&bytes).map_err(|reason| PluginError::NotAPlugin {
            path: path.to_owned(),
            reason,
        })?;
        if !native::is_library(&bytes) {
            return Err(TrustError::Component(path.to_owned()));
        }
        if !native::serves(&stamp.contract) {
            return Err(PluginError::incompatible(&stamp, native::CONTRACT.to_owned()).into());
        }
        let folder = self.folder.as_deref().ok_or(TrustError::NoFolder)?;
        private::make(folder).map_err(TrustError::Folder)?;
        let trusted = Trusted {
            name: stamp.name,
            version: stamp.version,
            kind: stamp.kind,
            sha256: sha256(&bytes),
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        };
        put(&copy(folder, &trusted.sha256), &bytes)?;
        let text = serde_json::to_vec_pretty(&trusted).expect("a record is JSON");
        put(&record(folder, &trusted.sha256), &text)?;
        Ok(trusted)
    }

    /// Ends the trust in every library of this name, this hash (its first eight digits will do) or this file.
    pub fn untrust(&self, what: &str) -> Result<Vec<Trusted>, TrustError> {
        let folder = self.folder.as_deref().ok_or(TrustError::NoFolder)?;
        let file = std::path::absolute(what).ok();
        let is_meant = |trusted: &Trusted| {
            let by_hash = what.len() >= 8 && trusted.sha256.starts_with(what);
            trusted.name == what || by_hash || file.as_ref() == Some(&trusted.path)
        };
        let mut meant = self.list()?;
        meant.retain(is_meant);
        if meant.is_empty() {
            return Err(TrustError::Unknown(what.to_owned()));
        }
        for trusted in &meant {
            // The record first: without it the copy is nothing.
            for path in [record(folder, &trusted.sha256), copy(folder, &trusted.sha256)] {
                std::fs::remove_file(&path).map_err(|source| TrustError::Io { path, source })?;
            }
        }
        Ok(meant)
    }

    /// All that are trusted, by name.
    pub fn list(&self) -> Result<Vec<Trusted>, TrustError> {
        let Some(folder) = self.folder() else {
            return Ok(Vec::new());
        };
        private::check(folder).map_err(TrustError::Folder)?;
        let entries = std::fs::read_dir(folder).map_err(|source| TrustError::Io {
            path: folder.to_owned(),
            source,
        })?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut all: Vec<Trusted> = paths.filter_map(|path| noted(&path)).collect();
        all.sort_by(|a, b| (&a.name, &a.sha256).cmp(&(&b.name, &b.sha256)));
        Ok(all)
    }

    /// Whether the library of this file and hash may run; else why not.
    pub fn check(&self, path: &Path, stamp: &Stamp, hash: &str) -> Result<(), PluginError> {
        let untrusted = |before: Option<String>| PluginError::Untrusted {
            path: path.to_owned(),
            name: stamp.name.clone(),
            sha256: hash.to_owned(),
            before,
        };
        let all = self.list().map_err(|error| PluginError::NotAPlugin {
            path: path.to_owned(),
            reason: format!("it is not known whether you trust it: {error}"),
        })?;
        if all.iter().any(|trusted| trusted.sha256 == hash) {
            return Ok(());
        }
        let absolute = std::path::absolute(path).ok();
        let before = all
            .iter()
            .find(|trusted| Some(&trusted.path) == absolute.as_ref());
        Err(untrusted(before.map(|trusted| trusted.sha256.clone())))
    }

    /// The copy of a library that is trusted, which is what may be loaded: as it was when it was trusted.
    pub(super) fn copy(&self, path: &Path, stamp: &Stamp, hash: &str) -> Result<PathBuf, PluginError> {
        self.check(path, stamp, hash)?;
        let folder = self.folder.as_deref().unwrap_or(Path::new(""));
        let copy = copy(folder, hash);
        match sha256(&read(&copy)?) == hash {
            true => Ok(copy),
            false => Err(PluginError::NotAPlugin {
                path: copy,
                reason: "it is the copy of a trusted library, and was changed\n\nhint: `monocle plugins trust` makes it anew".to_owned(),
            }),
        }
    }
}

fn copy(folder: &Path, hash: &str) -> PathBuf {
    folder.join(format!("{hash}{}", native::ENDING))
}

fn record(folder: &Path, hash: &str) -> PathBuf {
    folder.join(format!("{hash}.json"))
}

/// What a record says, if it is one: it is called by the hash that it notes.
fn noted(path: &Path) -> Option<Trusted> {
    if path.extension()? != "json" {
        return None;
    }
    let trusted: Trusted = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (path.file_stem()? == trusted.sha256.as_str()).then_some(trusted)
}

/// Writes a file whole, or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<(), TrustError> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        std::fs::rename(&new, path)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&new);
        TrustError::Io {
            path: path.to_owned(),
            source,
        }
    })
}
