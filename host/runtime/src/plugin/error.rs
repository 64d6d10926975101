//! What can go wrong with a plugin, said so that its user and its author both know what to do.

use std::path::PathBuf;

use monocle_tensor::backend::BackendError;
use monocle_tensor::recorder::OperationError;

use super::stamp::{CONTRACT, Stamp};
use super::trust::MEANING;

/// A failure of a plugin, or of the host to use one.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No file of that name in any of the folders that were searched.
    #[error("no plugin `{name}` in {}\n\nhint: `monocle plugins` lists what is there; `cargo xtask build` builds the project's own; `MONOCLE_PLUGINS` names folders to search first", list(.searched))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The folders.
        searched: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read plugin `{}`: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a Monocle plugin.
    #[error("`{}` is not a usable plugin: {reason}", .path.display())]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// Built for a contract that this host does not serve.
    #[error(
        "plugin `{name}` {version} was built for contract {found}, this host serves {served}\n\nhint: {advice}"
    )]
    Incompatible {
        /// The plugin.
        name: String,
        /// Its version.
        version: String,
        /// The contract stamped into it.
        found: String,
        /// What the host serves.
        served: String,
        /// What to do.
        advice: String,
    },
    /// A native library that the user has not trusted.
    #[error(
        "plugin `{name}`, `{}`, is a native library{}\n\nhint: {MEANING}. If so: `monocle plugins trust {}`",
        .path.display(), not_trusted(.sha256, .before.as_deref()), .path.display()
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The plugin.
        name: String,
        /// SHA-256 of the file.
        sha256: String,
        /// SHA-256 of what was trusted at this place before.
        before: Option<String>,
    },
    /// The installed plugin is not of the version that the manifest asks for.
    #[error("the manifest asks for plugin `{name}` {wanted}, but `{}` is version {found}\n\nhint: install that version, or change `plugin.version` in the manifest", .path.display())]
    WrongVersion {
        /// The plugin.
        name: String,
        /// The manifest's requirement.
        wanted: String,
        /// What is installed.
        found: String,
        /// Where.
        path: PathBuf,
    },
    /// A call of the plugin failed.
    #[error("plugin `{plugin}` {version}, `{function}`: {fault}")]
    Call {
        /// The plugin.
        plugin: String,
        /// Its version.
        version: String,
        /// The function of the contract that was called.
        function: &'static str,
        /// What happened.
        fault: Fault,
    },
}

impl PluginError {
    /// A plugin that was built for another contract than those that are served.
    pub fn incompatible(stamp: &Stamp, served: String) -> Self {
        let advice = format!(
            "its author can rebuild it with `monocle-plugin` {CONTRACT}; its user can look for a newer release of it"
        );
        Self::Incompatible {
            name: stamp.name.clone(),
            version: stamp.version.clone(),
            found: stamp.contract.clone(),
            served,
            advice,
        }
    }
}

fn not_trusted(sha256: &str, before: Option<&str>) -> String {
    match before {
        Some(before) => format!(
            " that has changed since you trusted it: its SHA-256 is {sha256}, and you trusted {before}"
        ),
        None => format!(" that you have not trusted (SHA-256 {sha256})"),
    }
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The plugin said no, in its own words.
    #[error("{0}")]
    Refused(String),
    /// It asked for an operation that cannot be.
    #[error("{0}")]
    Operation(#[from] OperationError),
    /// It asked for a weight that cannot be had.
    #[error("{0}")]
    Weight(String),
    /// It did not come back in time.
    #[error(
        "still running after {0} ms, and was stopped\n\nhint: a manifest can raise `limits.call_timeout_ms`"
    )]
    Timeout(u64),
    /// The request that it worked for must end.
    #[error("stopped, as the time for the request was over\n\nhint: give it more time (`--timeout`)")]
    Late,
    /// It wanted more memory than it may have.
    #[error(
        "wanted {wanted_mib} MiB of memory, and may have {limit_mib}\n\nhint: a manifest can raise `limits.memory_mib`"
    )]
    Memory {
        /// What it wanted in all.
        wanted_mib: usize,
        /// The limit.
        limit_mib: usize,
    },
    /// It broke another limit, or misused a handle.
    #[error("{0}")]
    Misuse(String),
    /// It stopped: a panic, an arithmetic fault.
    #[error("stopped: {reason}{}", said(.last_words.as_deref()))]
    Trap {
        /// The kind of trap.
        reason: String,
        /// What it wrote to the log last.
        last_words: Option<String>,
    },
    /// The engine could not run what it asked for.
    #[error("while running what it asked for: {0}")]
    Run(#[from] BackendError),
    /// What it returned contradicts itself or the request.
    #[error("{0}")]
    Inconsistent(String),
    /// Two recordings of one signature differ.
    #[error(
        "its recordings are not a function of shapes alone: for {signature}, operation {index} was {first} and then {second}"
    )]
    Unstable {
        /// What was recorded.
        signature: String,
        /// Number of the first operation that differs.
        index: usize,
        /// In the first recording.
        first: String,
        /// In the second.
        second: String,
    },
}

/// What a plugin said before it stopped.
fn said(last_words: Option<&str>) -> String {
    match last_words {
        Some(words) => format!("\nits last words: {words}"),
        None => "\n\nhint: it said nothing before; an exception of JavaScript or Python that leaves the plugin ends so, and the `guard` of \
                 `monocle plugins new`'s templates gives it words"
            .to_owned(),
    }
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "any folder (none exists)".to_owned();
    }
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
