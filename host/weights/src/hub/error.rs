//! What can go wrong between here and the hub.

use std::path::PathBuf;

use thiserror::Error;

/// Why a repository cannot be found or fetched.
#[derive(Debug, Error)]
pub enum HubError {
    /// A name that no repository or revision has.
    #[error("`{name}` is no {what}: expected {expected}")]
    BadName {
        /// Repository or revision.
        what: &'static str,
        /// What was given.
        name: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// The network is not to be used.
    #[error("`{repo}` is not complete in the cache `{}`, and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids to fetch it; unset it, or point HF_HOME at a cache that has it", cache.display())]
    Offline {
        /// The repository.
        repo: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The network is not to be used, and what is there is not what it should be.
    #[error("{damaged} of `{repo}` in the cache `{}` changed or was damaged, and HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids to fetch it again; unset it", cache.display())]
    DamagedOffline {
        /// The repository.
        repo: String,
        /// The cache.
        cache: PathBuf,
        /// The files.
        damaged: String,
    },
    /// The server cannot be reached.
    #[error("cannot reach {endpoint} to fetch `{repo}`: {reason}; check the network, or HF_ENDPOINT")]
    Unreachable {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// The transport's words.
        reason: String,
    },
    /// Nothing came for too long.
    #[error(
        "{endpoint} sent nothing for {seconds} seconds while fetching `{repo}`; run the same command again to go on"
    )]
    Stalled {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection ended in the middle.
    #[error("{endpoint} hung up while `{repo}` was fetched; run the same command again to go on")]
    HungUp {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
    },
    /// The server is there, and cannot help.
    #[error(
        "{endpoint} has no answer about `{repo}` now (status {status}); run the same command again later"
    )]
    Unwell {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// What it answers with.
        status: u16,
    },
    /// Another process has the file and does not go on.
    #[error(
        "another process began to fetch `{file}` of `{repo}`, and got nothing for {seconds} seconds; end that process, then run the same command again"
    )]
    Busy {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It is to be removed, and another process is at work on it.
    #[error(
        "another process is fetching `{repo}`; wait for its end, or end it, then run the same command again"
    )]
    InUse {
        /// The repository.
        repo: String,
    },
    /// What came of it so far shows that it cannot be run.
    #[error("the weights of `{repo}` are not fetched, because it could not be run: {reason}")]
    Unsuited {
        /// The repository.
        repo: String,
        /// Why not.
        reason: String,
    },
    /// The server wants to know who asks, and others could read the token on its way.
    #[error(
        "{endpoint} does not give `{repo}` without a token, and HF_TOKEN is not sent there because the connection is not encrypted; give an https address in HF_ENDPOINT"
    )]
    TokenWithheld {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
    },
    /// The server wants to know who asks, or does not let them.
    #[error("{endpoint} does not give `{repo}` {}: accept its terms on its web page, and set HF_TOKEN to a token that may read it", if *has_token { "to the owner of HF_TOKEN" } else { "without a token" })]
    Gated {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// There is no such repository or revision.
    #[error(
        "{endpoint} has no `{repo}` at revision `{revision}`; check the spelling (a private repository needs HF_TOKEN)"
    )]
    NotFound {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The repository holds nothing that can be run.
    #[error("`{repo}` has no {what}, so it cannot be run; it has: {found}")]
    NotAModel {
        /// The repository.
        repo: String,
        /// What a model needs.
        what: &'static str,
        /// What there is.
        found: String,
    },
    /// A file came with another size than the server had promised.
    #[error(
        "`{file}` of `{repo}` has {found} bytes instead of {expected}; run the same command again to fetch it anew"
    )]
    WrongSize {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// As promised.
        expected: u64,
        /// As it came.
        found: u64,
    },
    /// A file came longer than the server had promised, and was cut off.
    #[error(
        "`{file}` of `{repo}` is longer than the {expected} bytes that {endpoint} lists, and was not kept; run the same command again to fetch it anew"
    )]
    TooLong {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// As promised.
        expected: u64,
    },
    /// A file came with other bytes than the server had promised.
    #[error(
        "`{file}` of `{repo}` is not what {endpoint} lists, and was not kept: its {kind} is {found} instead of {expected}; run the same command again to fetch it anew"
    )]
    WrongBytes {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// The file.
        file: String,
        /// Which hash.
        kind: &'static str,
        /// As promised.
        expected: String,
        /// As it came.
        found: String,
    },
    /// The cache cannot be written.
    #[error("cannot write `{repo}` into the cache `{}`: {reason}", cache.display())]
    Disk {
        /// The cache.
        cache: PathBuf,
        /// The repository.
        repo: String,
        /// The system's words.
        reason: String,
    },
    /// Anything else that the server says.
    #[error("cannot fetch `{repo}` from {endpoint}: {reason}")]
    Failed {
        /// The server.
        endpoint: String,
        /// The repository.
        repo: String,
        /// Its words.
        reason: String,
    },
}

impl HubError {
    /// Whether the server was not there, or not well: then a model that is complete can be used as it is.
    pub(crate) fn is_of_the_network(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Stalled { .. } | Self::HungUp { .. } | Self::Unwell { .. }
        )
    }
}
