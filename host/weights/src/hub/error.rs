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
    #[error("`{repo}` is not complete in the cache `{}`, and HF_HUB_OFFLINE forbids to fetch it; unset HF_HUB_OFFLINE, or point HF_HOME at a cache that has it", cache.display())]
    Offline {
        /// The repository.
        repo: String,
        /// The cache.
        cache: PathBuf,
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
    /// Anything else that the server or the disk says.
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
