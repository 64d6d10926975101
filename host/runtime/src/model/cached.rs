//! Models in the cache: fetched before they are used, and removed.

use std::path::{Path, PathBuf};

use monocle_manifest::schema::Source;
use monocle_weights::gguf::{
    files_of, is_gguf, is_gguf_name, is_gguf_snapshot, models_of, names_below, names_in,
};
use monocle_weights::hub::{Progress, Removal};

use super::address::Address;
use super::error::ModelError;
use super::locate::{Meant, Places, tidy};

/// A model that is here now.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Where its files are.
    pub folder: PathBuf,
    /// Bytes that came; nothing for a folder of the user's own.
    pub fetched: Option<u64>,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What removing a model would come to.
#[derive(Debug, Clone)]
pub struct Removed {
    /// In the cache.
    pub removal: Removal,
    /// Other names of manifests whose model goes with it, because it is the same.
    pub also: Vec<String>,
}

impl Places {
    /// Fetches what is missing of a model's newest state, and nothing of what is here.
    pub fn pull(&self, asked: &str, progress: &mut dyn FnMut(&Progress)) -> Result<Pulled, ModelError> {
        let (repo, revision, tag, manifest) = match self.meant(asked)? {
            Meant::Folder(folder) => return Ok(own(folder)),
            Meant::Repository { repo, revision, tag } => {
                (repo, revision.unwrap_or_else(|| "main".to_owned()), tag, None)
            }
            Meant::Declared(declaration) => match declaration.manifest.source.clone() {
                Source::Path(path) if !path.is_dir() && !is_gguf(&path) => {
                    return Err(ModelError::NoFolder {
                        asked: asked.to_owned(),
                        folder: path,
                    });
                }
                Source::Path(path) => return Ok(own(path)),
                Source::Repo {
                    repo, revision, gguf, ..
                } => (repo, revision, gguf, Some(declaration.manifest)),
            },
        };
        let before = self.bytes(&repo);
        let folder = match (tag, manifest) {
            (Some(tag), manifest) => {
                let file = self.hub.fetch_gguf(&repo, &revision, &tag, &mut *progress)?;
                if let Some(manifest) = manifest {
                    self.other_tokenizer(&manifest, progress)?;
                }
                file
            }
            (None, Some(manifest)) => {
                let suits = |folder: &Path| self.has_own_tokenizer(folder, &manifest);
                let folder = self.hub.fetch(&repo, &revision, &suits, &mut *progress)?;
                self.other_tokenizer(&manifest, &mut *progress)?;
                folder
            }
            (None, None) => self.fetch(&repo, &revision, progress)?,
        };
        Ok(Pulled {
            fetched: Some(self.bytes(&repo).saturating_sub(before)),
            bytes: bytes_in(&folder),
            folder,
        })
    }

    /// What removing a model from the cache would come to; nothing where the cache does not have it. A manifest's model is the revision that
    /// the manifest names; a repository is all its revisions, or one of its GGUF models.
    pub fn removal(&self, asked: &str) -> Result<Option<Removed>, ModelError> {
        let own = |folder: PathBuf| ModelError::NotInTheCache {
            asked: asked.to_owned(),
            folder,
        };
        let (repo, revision, tag) = match self.meant(asked)? {
            Meant::Folder(folder) => return Err(own(folder)),
            Meant::Repository { repo, revision, tag } => (repo, revision, tag),
            Meant::Declared(declaration) => match declaration.manifest.source {
                Source::Path(path) => return Err(own(path)),
                Source::Repo {
                    repo, revision, gguf, ..
                } => {
                    let by_its_name = match Address::parse(asked, &self.hub.endpoint) {
                        Some(Ok(address)) => address.revision.is_none(),
                        _ => asked.split_once(':').map_or(asked, |(repo, _)| repo) == repo,
                    };
                    (repo, (!by_its_name).then_some(revision), gguf)
                }
            },
        };
        let removal = match tag {
            Some(tag) => self.hub.removal_of_gguf(&repo, revision.as_deref(), &tag)?,
            None => self.hub.removal(&repo, revision.as_deref())?,
        };
        Ok(removal.map(|removal| self.with_manifests(asked, removal)))
    }

    /// The manifests whose models go with what is removed.
    fn with_manifests(&self, asked: &str, removal: Removal) -> Removed {
        let goes = |manifest: &monocle_manifest::Manifest| match &manifest.source {
            Source::Repo {
                repo: other,
                revision,
                gguf,
                ..
            } => {
                let found = self.hub.locate_one(other, revision, gguf.as_deref());
                let found = found.ok().flatten();
                *other == removal.repo && found.is_some_and(|found| removal.takes(&found.folder))
            }
            Source::Path(_) => false,
        };
        let manifests = self.list().into_iter().filter_map(|listed| listed.manifest.ok());
        let also = manifests.filter(goes).map(|manifest| manifest.name);
        Removed {
            also: also.filter(|name| name != asked).collect(),
            removal,
        }
    }

    /// Bytes of a repository in the cache.
    fn bytes(&self, repo: &str) -> u64 {
        let cached = self.hub.cached();
        let found = cached.iter().find(|cached| cached.repo == repo);
        found.map_or(0, |cached| cached.bytes())
    }
}

/// One of the GGUF models in a folder.
#[derive(Debug, Clone)]
pub struct GgufModel {
    /// What tells it from the others: `Q4_K_M`.
    pub tag: String,
    /// Its language model's first file.
    pub file: PathBuf,
    /// Whether all of its files are there, and what sees.
    pub is_whole: bool,
}

/// The GGUF models in a snapshot's folder, and in its folders, that is none of safetensors.
pub fn gguf_models(folder: &Path) -> Vec<GgufModel> {
    match is_gguf_snapshot(folder) {
        true => all_gguf_models(folder),
        false => Vec::new(),
    }
}

/// The GGUF models in a folder, beside a model of safetensors too.
pub fn all_gguf_models(folder: &Path) -> Vec<GgufModel> {
    let models = models_of(&names_below(folder)).into_iter();
    let model = |(tag, files): (String, Vec<String>)| {
        let file = folder.join(files.first()?);
        // A file that is missing, or what sees, makes no model of it.
        let is_whole = files_of(&file).len() > files.len();
        Some(GgufModel { tag, file, is_whole })
    };
    models.filter_map(model).collect()
}

/// Bytes of a folder's files that are no GGUF files; links count as what they lead to.
pub fn bytes_beside_gguf(folder: &Path) -> u64 {
    let names = names_in(folder).into_iter().filter(|name| !is_gguf_name(name));
    let files = names.filter_map(|name| std::fs::metadata(folder.join(name)).ok());
    files
        .filter(std::fs::Metadata::is_file)
        .map(|found| found.len())
        .sum()
}

fn own(folder: PathBuf) -> Pulled {
    Pulled {
        fetched: None,
        bytes: bytes_in(&folder),
        folder: tidy(&folder),
    }
}

/// Bytes of a folder's files; links count as what they lead to.
pub fn bytes_in(folder: &Path) -> u64 {
    if folder.is_file() {
        let files = files_of(folder);
        return files
            .iter()
            .filter_map(|file| std::fs::metadata(file).ok())
            .map(|found| found.len())
            .sum();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| std::fs::metadata(entry.path()).ok());
    files
        .filter(std::fs::Metadata::is_file)
        .map(|found| found.len())
        .sum()
}
