//! Why a tokenizer could not be made or used.

use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The folder has no file that a tokenizer could be read from.
    #[error(
        "no `tokenizer.json` in `{folder}`{}; fetch the model's tokenizer files again, or convert its tokenizer \
         to the `tokenizer.json` form", .found.as_ref().map(|found| format!(" ({found})")).unwrap_or_default()
    )]
    Missing {
        /// The folder looked in.
        folder: PathBuf,
        /// What is there in place of it, where that can be told.
        found: Option<String>,
    },
    /// The file is there but cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder, a pipe or a device stands where a file should.
    #[error("`{path}` is not a file but {kind}; put the tokenizer's file there")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The file is larger than any tokenizer's.
    #[error(
        "`{path}` has {bytes} bytes, more than the {limit} that are read of a tokenizer's file; is it the right file?"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The file holds where the real one is kept, as Git LFS leaves it in a clone without its files.
    #[error(
        "`{path}` is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder, or fetch the model \
         again"
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a tokenizer.
    #[error("`{path}` is not a valid tokenizer: {reason}; the file may be truncated, fetch it again")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is sound, but would make far more of a text than any tokenizer has use for.
    #[error("`{path}` is refused: {reason}; no tokenizer needs that, so do not use the file")]
    Excessive {
        /// The file.
        path: PathBuf,
        /// What it would do.
        reason: String,
    },
    /// The files are there, but not what they are to be read as.
    #[error(
        "the tokenizer in `{folder}` cannot be built from {files}: {reason}; convert it once with transformers \
         (`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` writes `tokenizer.json`){}",
        .other.as_ref().map(|other| format!(", or {other}")).unwrap_or_default()
    )]
    UnknownKind {
        /// The model's folder.
        folder: PathBuf,
        /// What was found, as words.
        files: String,
        /// What is missing.
        reason: String,
        /// What else could be done.
        other: Option<String>,
    },
    /// Text could not be turned into ids.
    #[error("cannot encode {length} bytes of text: {reason}")]
    Encode {
        /// The length of the text.
        length: usize,
        /// What the tokenizer said.
        reason: String,
    },
    /// Tokens could not be added.
    #[error("cannot add tokens: {reason}")]
    Add {
        /// What the tokenizer said.
        reason: String,
    },
    /// Ids could not be turned into text.
    #[error("cannot decode {count} tokens: {reason}")]
    Decode {
        /// How many ids.
        count: usize,
        /// What the tokenizer said.
        reason: String,
    },
}
