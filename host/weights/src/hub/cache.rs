//! The standard cache: `models--organisation--name/` with `refs/<revision>` (a file that holds a commit) and
//! `snapshots/<commit>/`, whose files are links into `blobs/`.

use std::path::{Path, PathBuf};

use crate::hub::{Hub, HubError};
use crate::shards::missing_weights;

/// A repository in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The snapshot's folder.
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

pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a model needs, and a folder lacks.
fn missing_files(folder: &Path) -> Vec<String> {
    let has = |name: &str| folder.join(name).is_file();
    let mut missing = Vec::new();
    if !has("config.json") {
        missing.push("config.json".to_owned());
    }
    if !["tokenizer.json", "tokenizer.model", "vocab.json"]
        .into_iter()
        .any(has)
    {
        missing.push("tokenizer.json".to_owned());
    }
    missing.extend(missing_weights(folder));
    missing
}
