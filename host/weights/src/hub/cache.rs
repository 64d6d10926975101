//! The standard cache: `models--organisation--name/` with `refs/<revision>` (a file that holds a commit) and
//! `snapshots/<commit>/`, whose files are links into `blobs/`.

use std::path::{Path, PathBuf};

use crate::gguf::{is_gguf_name, is_gguf_snapshot, model_of, names_below, tagged};
use crate::hub::checked::{Checked, blob_of, is_sound};
use crate::hub::names::is_commit;
use crate::hub::{Hub, HubError, Progress, is_wanted};
use crate::shards::{files_to_fetch, missing_weights, read_index};

/// A repository in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The snapshot's folder; of one of several GGUF models, its first file.
    pub folder: PathBuf,
    /// Files that a model needs and that are not there; empty when it is complete.
    pub missing: Vec<String>,
}

impl Located {
    /// Whether everything that a model needs is there.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

impl Hub {
    /// Finds a repository in the cache, without the network.
    pub fn locate(&self, repo: &str, revision: &str) -> Result<Option<Located>, HubError> {
        let home = self.repo_folder(repo, revision)?;
        let commit = match is_commit(revision) {
            true => revision.to_owned(),
            false => match std::fs::read_to_string(home.join("refs").join(revision)) {
                Ok(commit) if is_commit(commit.trim()) => commit.trim().to_owned(),
                _ => return Ok(None),
            },
        };
        let folder = home.join("snapshots").join(commit);
        if !folder.is_dir() {
            return Ok(None);
        }
        let missing = missing_files(&folder);
        Ok(Some(Located { folder, missing }))
    }

    /// As [`Hub::locate`], of a repository with several GGUF models the one with a tag.
    pub fn locate_one(
        &self,
        repo: &str,
        revision: &str,
        tag: Option<&str>,
    ) -> Result<Option<Located>, HubError> {
        let located = self.locate(repo, revision)?;
        let Some(tag) = tag else {
            return Ok(located);
        };
        Ok(located.and_then(|Located { folder, .. }| {
            let names = names_below(&folder);
            let first = tagged(&names, tag).into_iter().next()?;
            let missing = match model_of(&names, &first) {
                Ok(model) if model.projector.is_some() => Vec::new(),
                Ok(_) => vec!["its file that sees (`mmproj`)".to_owned()],
                Err(problem) => vec![problem],
            };
            let folder = folder.join(first);
            Some(Located { folder, missing })
        }))
    }

    /// Files of a snapshot whose bytes are not what they are called. What was hashed before, and has not changed since, is taken to be right.
    pub(crate) fn damaged(&self, folder: &Path, progress: &mut dyn FnMut(&Progress)) -> Vec<String> {
        match self.checked(folder) {
            Some(checked) => unsound(folder, Some(checked), false, progress),
            None => Vec::new(),
        }
    }

    /// Files of a snapshot whose bytes are not what they are called, where nothing is to be repaired: also of a cache that cannot be written to.
    /// `again`: those that were hashed before, and have not changed since, are hashed too.
    pub fn examine(&self, folder: &Path, again: bool, progress: &mut dyn FnMut(&Progress)) -> Vec<String> {
        unsound(folder, self.checked(folder), again, progress)
    }

    fn checked(&self, folder: &Path) -> Option<Checked> {
        let repo = folder.parent()?.parent()?;
        Checked::open(&self.cache, repo)
    }

    /// The repository's folder in the cache; refuses names that would lead out of it.
    pub(crate) fn repo_folder(&self, repo: &str, revision: &str) -> Result<PathBuf, HubError> {
        let word = |word: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            !word.is_empty() && word.chars().all(known) && !word.starts_with('.')
        };
        let parts: Vec<&str> = repo.split('/').collect();
        if parts.len() != 2 || !parts.iter().all(|part| word(part)) {
            return Err(HubError::BadName {
                what: "repository",
                name: repo.to_owned(),
                expected: "`organisation/name`",
            });
        }
        // Branches may have slashes: `refs/pr/1`.
        if !revision.split('/').all(word) {
            return Err(HubError::BadName {
                what: "revision",
                name: revision.to_owned(),
                expected: "a branch, tag or commit",
            });
        }
        Ok(self.cache.join(format!("models--{}--{}", parts[0], parts[1])))
    }
}

/// See [`Hub::damaged`] and [`Hub::examine`].
fn unsound(
    folder: &Path,
    mut checked: Option<Checked>,
    again: bool,
    progress: &mut dyn FnMut(&Progress),
) -> Vec<String> {
    let unknown: Vec<_> = needed_files(folder)
        .into_iter()
        .filter_map(|name| {
            let (oid, blob) = blob_of(&folder.join(&name))?;
            let size = std::fs::metadata(&blob).ok()?.len();
            let known = !again && checked.as_ref().is_some_and(|checked| checked.has(&oid, &blob));
            (!known).then_some((name, oid, blob, size))
        })
        .collect();
    let total = unknown.iter().map(|(.., size)| size).sum();
    let mut before = 0;
    let mut damaged = Vec::new();
    for (name, oid, blob, size) in unknown {
        let sound = is_sound(&oid, &blob, &mut |bytes| {
            progress(&Progress {
                file: name.clone(),
                is_check: true,
                file_bytes: bytes,
                file_total: size,
                bytes: before + bytes,
                total,
            });
        });
        match sound {
            Ok(true) => {
                if let Some(checked) = &mut checked {
                    checked.add(&oid, &blob);
                }
            }
            _ => damaged.push(name),
        }
        before += size;
    }
    damaged
}

/// What of a folder is read when a model is opened.
fn needed_files(folder: &Path) -> Vec<String> {
    let present = names_below(folder);
    // A broken index is reported when the weights are opened; here it only lists nothing.
    let index = read_index(folder).unwrap_or_default();
    let weights = files_to_fetch(&index, present.iter().map(String::as_str));
    // Where names do not tell, whatever is there may be needed.
    let is_weights = |name: &String| match &weights {
        Ok(weights) => weights.contains(name),
        Err(_) => name.ends_with(".safetensors"),
    };
    let of_gguf = is_gguf_snapshot(folder);
    let mut needed: Vec<String> = present
        .iter()
        .filter(|name| is_wanted(name) || is_weights(name) || (of_gguf && is_gguf_name(name)))
        .cloned()
        .collect();
    needed.sort_unstable();
    needed
}

/// What a model needs, and a folder lacks.
pub(crate) fn missing_files(folder: &Path) -> Vec<String> {
    if is_gguf_snapshot(folder) {
        return missing_gguf(folder);
    }
    let has = |name: &str| folder.join(name).is_file();
    let mut missing = Vec::new();
    if !has("config.json") {
        missing.push("config.json".to_owned());
    }
    if !has("tokenizer.json") && !has_older_tokenizer(folder) {
        missing.push("tokenizer.json".to_owned());
    }
    missing.extend(missing_weights(folder));
    missing
}

/// What a folder of GGUF files lacks: a language model, or what sees. Of several models, any will do.
fn missing_gguf(folder: &Path) -> Vec<String> {
    let names = names_below(folder);
    let is_whole = |name: &&String| {
        let model = model_of(&names, name);
        model.is_ok_and(|model| model.projector.is_some())
    };
    match names
        .iter()
        .filter(|name| is_gguf_name(name))
        .any(|name| is_whole(&name))
    {
        true => Vec::new(),
        false => vec!["a GGUF file of a language model and its file that sees (`mmproj`)".to_owned()],
    }
}

/// Whether a folder has a tokenizer in one of the older layouts: SentencePiece models, ranks, a vocabulary with its merges.
fn has_older_tokenizer(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let has = |name: &str| names.iter().any(|other| other == name);
    let one_of = |ending: &str| names.iter().any(|name| name.ends_with(ending));
    one_of(".model") || one_of(".tiktoken") || (has("vocab.json") && has("merges.txt"))
}
