//! What can be wrong with a model's files, and what to do about it.

use std::path::PathBuf;

use thiserror::Error;

/// Why weights, or the folder that holds them, cannot be used.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The system refuses a file.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A safetensors file is broken.
    #[error("`{}` is not a sound safetensors file: {problem}; download it again", file.display())]
    BrokenFile {
        /// The file.
        file: PathBuf,
        /// What was expected and found, with the tensor's name if it is about one.
        problem: String,
    },
    /// There is nothing to load.
    #[error("`{}` has no weights: expected `model.safetensors` or `model.safetensors.index.json`", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// Part of a checkpoint is not there.
    #[error("`{}` lacks {} of its {total} weight files: {}; download them again", folder.display(), missing.len(), list(missing))]
    MissingShards {
        /// The folder.
        folder: PathBuf,
        /// Names of the missing files.
        missing: Vec<String>,
        /// How many there should be.
        total: usize,
    },
    /// The index and the shards disagree.
    #[error("`{}` does not fit its weight files: {problem}; download both again", index.display())]
    BrokenIndex {
        /// The index.
        index: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// One name, two tensors.
    #[error(
        "tensor `{name}` is both in `{first}` and in `{second}`, and no index says which one counts; download the model again"
    )]
    Twice {
        /// The tensor.
        name: String,
        /// A file.
        first: String,
        /// Another file.
        second: String,
    },
    /// Two names became one by renaming.
    #[error("`weights.rename` makes both `{first}` and `{second}` into `{name}`; make its patterns narrower")]
    Collision {
        /// The new name.
        name: String,
        /// A name in the checkpoint.
        first: String,
        /// Another.
        second: String,
    },
    /// A broken regular expression.
    #[error("`{pattern}` in `{key}` is not a regular expression: {reason}")]
    BadPattern {
        /// The manifest's key.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A weight that the plugin asks for is not there.
    #[error(
        "the checkpoint has no weight `{name}`{hint} ({total} weights are there; `weights.rename` in the manifest can change their names)"
    )]
    Missing {
        /// The name asked for.
        name: String,
        /// The nearest names that exist.
        hint: String,
        /// How many weights there are.
        total: usize,
    },
    /// A weight that cannot serve as what it was asked for.
    #[error("weight `{name}` cannot be used as {role}: expected {expected}, found {found}")]
    Unfit {
        /// The name.
        name: String,
        /// The role: a linear layer, an embedding, …
        role: &'static str,
        /// What that takes.
        expected: String,
        /// What is stored.
        found: String,
    },
    /// A quantisation that is inconsistent or not supported.
    #[error("quantised weight `{name}`: {problem}")]
    Quantisation {
        /// The layer.
        name: String,
        /// What was expected and found.
        problem: String,
    },
    /// The folder is not a model's.
    #[error("`{}` is not a model folder: it has no `config.json`", folder.display())]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that should hold JSON, or text, does not.
    #[error("`{}` is not {expected}: {reason}; download it again", file.display())]
    BadText {
        /// The file.
        file: PathBuf,
        /// JSON, or UTF-8 text.
        expected: &'static str,
        /// Why not.
        reason: String,
    },
    /// A folder that would be overwritten.
    #[error("`{}` exists and is not empty; name a new folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
}

impl WeightsError {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { action, path, source }
    }
}

/// Names for a message: some of them, when there are many.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let tail = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{tail}", shown.join(", "))
}
