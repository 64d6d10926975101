//! Why a model cannot be opened.

use std::path::{Path, PathBuf};

use monocle_manifest::ManifestError;
use monocle_tensor::backend::BackendError;
use monocle_text::{TemplateError, TokenizerError};
use monocle_weights::WeightsError;
use monocle_weights::hub::HubError;

use crate::plugin::error::PluginError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Nothing of that name.
    #[error("no model `{asked}`: it is no manifest's name, no manifest file, no folder and no repository{}\n\nhint: `monocle models` lists what there is", nearest(.near))]
    Unknown {
        /// What was asked for.
        asked: String,
        /// Manifests of similar names.
        near: Vec<String>,
    },
    /// An address that is no model's.
    #[error(
        "`{asked}` is no model's address; expected `https://huggingface.co/ORGANISATION/NAME`, with `/tree/REVISION` for a branch, tag or commit, and `:Q4_K_M` for one of its GGUF models\n\nhint: a mirror's addresses are known when HF_ENDPOINT names it"
    )]
    Address {
        /// What was asked for.
        asked: String,
    },
    /// A manifest whose folder is not there.
    #[error("the manifest of `{asked}` names the folder `{}`, which is not there, and no repository to fetch it from", .folder.display())]
    NoFolder {
        /// What was asked for.
        asked: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// A model whose files are the user's own.
    #[error("`{asked}` is the {} `{}`, not a model in the cache; remove it as you would any {}", kind(.folder), .folder.display(), kind(.folder))]
    NotInTheCache {
        /// What was asked for.
        asked: String,
        /// Where it is.
        folder: PathBuf,
    },
    /// A file that is no model.
    #[error("`{}` is a file, and neither a GGUF file nor a manifest (`.toml`): a model is a folder with its `config.json`; name the folder that it lies in", .path.display())]
    File {
        /// What was asked for.
        path: PathBuf,
    },
    /// A GGUF file that is not there.
    #[error("there is no file `{}`{}", .path.display(), besides(.there))]
    NoFile {
        /// What was asked for.
        path: PathBuf,
        /// GGUF files that are in its folder.
        there: Vec<String>,
    },
    /// A folder or repository whose architecture no plugin knows.
    #[error(
        "`{}` is of type `{model_type}`, which no installed plugin understands (known: {known})\n\nhint: install a plugin \
         for it, or write a manifest that names one", .folder.display()
    )]
    NoPlugin {
        /// The model's folder.
        folder: PathBuf,
        /// Its `model_type`.
        model_type: String,
        /// What the installed plugins know.
        known: String,
    },
    /// A folder whose configuration does not name its architecture.
    #[error("`{}` has no `model_type` in its `config.json`\n\nhint: write a manifest that names a plugin", .folder.display())]
    NoModelType {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The manifest names an adapter that is a model plugin, or a model that is an adapter.
    #[error("the manifest names `{name}` as {role}, and it is {kind} plugin")]
    WrongKind {
        /// The plugin.
        name: String,
        /// As what the manifest names it.
        role: &'static str,
        /// What it is.
        kind: &'static str,
    },
    /// The manifest is not right.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The hub said no.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The files are not right.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer is not right.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The template is not right.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The plugin is not right.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The engine said no.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What a place is, for people.
fn kind(place: &Path) -> &'static str {
    match place.is_file() {
        true => "file",
        false => "folder",
    }
}

fn besides(there: &[String]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<_> = there.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.is_empty() {
        true => ", and no other GGUF file in that folder; check the path".to_owned(),
        false => format!("; in that folder: {}", names.join(", ")),
    }
}

fn nearest(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    format!("; did you mean {}?", names.join(" or "))
}
