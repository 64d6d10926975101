//! What can be wrong with a manifest, in words for the person who writes it.

use std::path::PathBuf;

use thiserror::Error;

/// Why a manifest is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read manifest `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("manifest `{}` is not UTF-8 text; save it as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file is far larger than any manifest.
    #[error("`{}` has more than {limit} bytes, so it is no manifest or template", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// Something in the text is wrong.
    #[error("{place}: {problem}")]
    Invalid {
        /// Where.
        place: Place,
        /// What.
        problem: Box<Problem>,
    },
}

/// A place in a manifest's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as the caller named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Place {
    /// Line and column of byte `offset` of `text`.
    pub(crate) fn at(file: &str, text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// What is wrong at a place in a manifest.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Problem {
    /// Not TOML, or a rule between keys is broken.
    #[error("{0}")]
    Message(String),
    /// A format that a later Monocle wrote.
    #[error(
        "this manifest has schema {found}; this Monocle reads schema {known}: update Monocle, or write `schema = {known}`"
    )]
    SchemaVersion {
        /// The manifest's.
        found: i128,
        /// What this crate reads.
        known: u32,
    },
    /// A key that means nothing.
    #[error("unknown key `{key}` in {table}{hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table that holds it.
        table: String,
        /// The nearest right key, or the table that the key belongs to.
        hint: String,
    },
    /// A key that must be there.
    #[error("{table} lacks the key `{key}`")]
    MissingKey {
        /// The key.
        key: String,
        /// The table that should hold it.
        table: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, but is {found}")]
    WrongType {
        /// The key.
        key: String,
        /// The right type.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A number outside its range, or a text or list of the wrong length.
    #[error("`{key}` must be {expected}, but is {found}")]
    OutOfRange {
        /// The key.
        key: String,
        /// The range.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A word that is none of those known.
    #[error("`{key}` must be one of {expected}, but is `{found}`{hint}")]
    NotOneOf {
        /// The key.
        key: String,
        /// All that are known.
        expected: String,
        /// What is there.
        found: String,
        /// The nearest one.
        hint: String,
    },
    /// A text that does not have the form asked for.
    #[error("`{key}` is `{found}`, which is not {expected}: {reason}")]
    BadForm {
        /// The key.
        key: String,
        /// What is there.
        found: String,
        /// What it should be.
        expected: String,
        /// Why it is not.
        reason: String,
    },
    /// A file or folder that the manifest names is not there.
    #[error("`{key}` names `{}`, which {reason}", path.display())]
    Unreadable {
        /// The key.
        key: String,
        /// The path, made absolute through the manifest's folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
