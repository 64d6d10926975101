//! What can go wrong with packages.

use std::path::PathBuf;

use monocle_fetch::http::HttpError;
use monocle_fetch::registry::RegistryError;

/// A failure to make, get, install or check a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not a package, or one that breaks a rule.
    #[error("`{source_name}` is no package that can be installed: {reason}")]
    NotAPackage {
        /// What the user calls it.
        source_name: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An address cannot be asked.
    #[error("`{url}`: {source}")]
    Http {
        /// The address.
        url: String,
        /// Why not.
        source: HttpError,
    },
    /// A server says no.
    #[error("`{url}`: the server answers {status}")]
    Status {
        /// The address.
        url: String,
        /// Its answer.
        status: u16,
    },
    /// A registry does not do what it was asked for.
    #[error("{0}")]
    Registry(#[from] RegistryError),
    /// It is not there any more, or never was.
    #[error("`{0}` is not there: it was never published, or was withdrawn")]
    Absent(String),
    /// The signature does not hold.
    #[error("{0}")]
    Signature(String),
    /// Something is in the way.
    #[error("{0}")]
    Refused(String),
    /// The list of what is installed is not as it was written.
    #[error("`{}` was changed by something else than `monocle plugins`: {reason}\n\nhint: if it was you, `monocle plugins verify --accept` writes it anew from the files that are there", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl PackageError {
    /// A file that could not be read or written.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}
