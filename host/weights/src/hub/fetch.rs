//! Fetching a repository into the cache: only the files that are needed to run the model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::repository::{RepoTreeEntry, RepoTypeModel};
use hf_hub::{HFClientBuilder, HFError, HFRepositorySync};

use crate::hub::cache::is_commit;
use crate::hub::{Hub, HubError};
use crate::json::read_json;
use crate::shards::{INDEX, weight_map};

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file that is being fetched.
    pub file: String,
    /// Its bytes that are here.
    pub file_bytes: u64,
    /// All its bytes.
    pub file_total: u64,
    /// Bytes of all files that are here.
    pub bytes: u64,
    /// Bytes of all files that are needed.
    pub total: u64,
}

/// What the fetching thread says.
enum Message {
    Progress(Progress),
    /// Something came, but not a file's bytes.
    Alive,
    Done(Result<PathBuf, HubError>),
}

impl Hub {
    /// Fetches what is missing of a repository, and returns its snapshot's folder. `progress` is called now and then,
    /// on this thread. Files that are complete stay; offline, a complete snapshot is returned as it is.
    pub fn fetch(
        &self,
        repo: &str,
        revision: &str,
        mut progress: impl FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        if self.offline {
            return match self.locate(repo, revision)? {
                Some(located) if located.is_complete() => Ok(located.folder),
                _ => Err(HubError::Offline {
                    repo: repo.to_owned(),
                    cache: self.cache.clone(),
                }),
            };
        }
        let home = self.repo_folder(repo, revision)?;
        let (sender, receiver) = sync_channel(64);
        let fetch = Fetch {
            hub: self.clone(),
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            home,
            sender,
        };
        // The client does not time out on its own. On a thread apart, a server that falls silent costs only that thread.
        std::thread::spawn(move || {
            let result = fetch.run();
            // Nobody listens any more when the wait was given up.
            let _ = fetch.sender.send(Message::Done(result));
        });
        loop {
            match receiver.recv_timeout(self.patience) {
                Ok(Message::Progress(update)) => progress(&update),
                Ok(Message::Alive) => {}
                Ok(Message::Done(result)) => return result,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(HubError::Stalled {
                        endpoint: self.endpoint.clone(),
                        repo: repo.to_owned(),
                        seconds: self.patience.as_secs(),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(HubError::Failed {
                        endpoint: self.endpoint.clone(),
                        repo: repo.to_owned(),
                        reason: "the download stopped without a result".to_owned(),
                    });
                }
            }
        }
    }
}

/// Whether a small file of a repository is needed: configurations, templates, tokenizers; never code or other formats
/// of the weights.
pub(crate) fn is_wanted(name: &str) -> bool {
    let other_index = name.ends_with(".index.json") && name != INDEX;
    let known = [".json", ".jinja", ".txt", ".model", ".tiktoken"];
    !other_index && !name.contains('/') && known.iter().any(|ending| name.ends_with(ending))
}

struct Fetch {
    hub: Hub,
    repo: String,
    revision: String,
    /// The repository's folder in the cache.
    home: PathBuf,
    sender: SyncSender<Message>,
}

impl Fetch {
    fn run(&self) -> Result<PathBuf, HubError> {
        let in_words = |error| self.error(error);
        let mut client = HFClientBuilder::new()
            .endpoint(&self.hub.endpoint)
            .cache_dir(&self.hub.cache);
        if let Some(token) = &self.hub.token {
            client = client.token(token);
        }
        let client = client.build_sync().map_err(in_words)?;
        let (owner, name) = self.repo.split_once('/').unwrap_or(("", &self.repo));
        let remote = client.model(owner, name);
        let info = remote
            .info()
            .revision(self.revision.clone())
            .send()
            .map_err(in_words)?;
        let commit = info
            .sha
            .filter(|commit| is_commit(commit))
            .ok_or_else(|| self.failed("it does not say which commit the revision is".to_owned()))?;
        self.alive();
        let entries = remote
            .list_tree()
            .revision(commit.clone())
            .send()
            .map_err(in_words)?;
        self.alive();
        let sizes: BTreeMap<String, u64> = entries
            .into_iter()
            .filter_map(|entry| match entry {
                RepoTreeEntry::File { path, size, .. } => Some((path, size)),
                RepoTreeEntry::Directory { .. } => None,
            })
            .collect();
        if !sizes.contains_key("config.json") {
            return Err(self.not_a_model("`config.json`", &sizes));
        }
        let mut download = Download {
            fetch: self,
            remote: &remote,
            folder: self.home.join("snapshots").join(&commit),
            commit: &commit,
            sizes: &sizes,
            bytes: 0,
            total: 0,
        };
        if sizes.contains_key(INDEX) {
            download.file(INDEX)?;
        }
        let weights = self.weights(&download.folder, &sizes)?;
        let small = sizes
            .keys()
            .filter(|name| is_wanted(name) && name.as_str() != INDEX);
        let names: Vec<String> = small.cloned().chain(weights).collect();
        download.total = download.bytes
            + names
                .iter()
                .map(|name| sizes.get(name).unwrap_or(&0))
                .sum::<u64>();
        for name in &names {
            download.file(name)?;
        }
        let folder = download.folder;
        self.write_ref(&commit)?;
        Ok(folder)
    }

    /// The weight files: those that the index lists, or the single one, or all.
    fn weights(&self, folder: &Path, sizes: &BTreeMap<String, u64>) -> Result<Vec<String>, HubError> {
        let mut names: Vec<String> = if sizes.contains_key(INDEX) {
            let index = read_json(&folder.join(INDEX)).map_err(|error| self.failed(error.to_string()))?;
            let map = weight_map(&index.unwrap_or_default());
            map.map_err(|problem| self.failed(format!("`{INDEX}`: {problem}")))?
                .into_values()
                .collect()
        } else if sizes.contains_key("model.safetensors") {
            vec!["model.safetensors".to_owned()]
        } else {
            sizes
                .keys()
                .filter(|name| name.ends_with(".safetensors"))
                .cloned()
                .collect()
        };
        names.sort_unstable();
        names.dedup();
        match names.iter().find(|name| !sizes.contains_key(*name)) {
            Some(absent) => Err(self.failed(format!(
                "`{INDEX}` lists `{absent}`, which the repository does not have"
            ))),
            None if names.is_empty() => Err(self.not_a_model("safetensors weights", sizes)),
            None => Ok(names),
        }
    }

    /// Remembers which commit the revision is, so that it is found without the network.
    fn write_ref(&self, commit: &str) -> Result<(), HubError> {
        if is_commit(&self.revision) {
            return Ok(());
        }
        let path = self.home.join("refs").join(&self.revision);
        let folder = path.parent().unwrap_or(&self.home);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, commit));
        written.map_err(|error| self.failed(format!("cannot write `{}`: {error}", path.display())))
    }

    fn alive(&self) {
        let _ = self.sender.send(Message::Alive);
    }

    fn failed(&self, reason: String) -> HubError {
        HubError::Failed {
            endpoint: self.hub.endpoint.clone(),
            repo: self.repo.clone(),
            reason,
        }
    }

    fn not_a_model(&self, what: &'static str, sizes: &BTreeMap<String, u64>) -> HubError {
        const SHOWN: usize = 12;
        let found: Vec<&str> = sizes.keys().take(SHOWN).map(String::as_str).collect();
        HubError::NotAModel {
            repo: self.repo.clone(),
            what,
            found: if found.is_empty() {
                "nothing".to_owned()
            } else {
                found.join(", ")
            },
        }
    }

    fn error(&self, error: HFError) -> HubError {
        let (endpoint, repo) = (self.hub.endpoint.clone(), self.repo.clone());
        let hidden = |code: &Option<String>| code.as_deref() == Some("RepoNotFound");
        match error {
            // The hub answers 401 for what does not exist too, and tells the two apart in a header.
            HFError::AuthRequired { context } | HFError::Forbidden { context }
                if !hidden(&context.error_code) =>
            {
                HubError::Gated {
                    endpoint,
                    repo,
                    has_token: self.hub.token.is_some(),
                }
            }
            HFError::AuthRequired { .. }
            | HFError::Forbidden { .. }
            | HFError::RepoNotFound { .. }
            | HFError::RevisionNotFound { .. } => HubError::NotFound {
                endpoint,
                repo,
                revision: self.revision.clone(),
            },
            HFError::Request { source, .. } => HubError::Unreachable {
                endpoint,
                repo,
                reason: causes(&source),
            },
            other => self.failed(causes(&other)),
        }
    }
}

/// An error with what caused it: transport errors say little by themselves.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Fetches files one after another: a large file is fetched in parallel parts where the hub supports that.
struct Download<'a> {
    fetch: &'a Fetch,
    remote: &'a HFRepositorySync<RepoTypeModel>,
    commit: &'a str,
    /// The snapshot's folder.
    folder: PathBuf,
    sizes: &'a BTreeMap<String, u64>,
    bytes: u64,
    total: u64,
}

impl Download<'_> {
    /// Fetches a file unless it is there, and checks its size.
    fn file(&mut self, name: &str) -> Result<(), HubError> {
        let expected = self.sizes.get(name).copied().unwrap_or(0);
        let path = self.folder.join(name);
        let size = || std::fs::metadata(&path).map(|found| found.len()).ok();
        // A file of another size would otherwise be taken for complete for ever.
        if size().is_some_and(|found| found != expected) {
            self.discard(&path);
        }
        let progress = Reporter {
            sender: self.fetch.sender.clone(),
            file: name.to_owned(),
            file_total: expected,
            before: self.bytes,
            total: self.total,
        };
        let request = self
            .remote
            .download_file()
            .filename(name)
            .revision(self.commit)
            .progress(progress);
        request.send().map_err(|error| self.fetch.error(error))?;
        let found = size().unwrap_or(0);
        if found != expected {
            self.discard(&path);
            return Err(HubError::WrongSize {
                repo: self.fetch.repo.clone(),
                file: name.to_owned(),
                expected,
                found,
            });
        }
        self.bytes += expected;
        self.fetch.alive();
        Ok(())
    }

    /// Removes a file of the snapshot, and the blob that it links to.
    fn discard(&self, path: &Path) {
        if let Ok(target) = std::fs::canonicalize(path)
            && target.starts_with(std::fs::canonicalize(&self.fetch.home).unwrap_or_default())
        {
            let _ = std::fs::remove_file(target);
        }
        let _ = std::fs::remove_file(path);
    }
}

/// Passes the client's events on.
struct Reporter {
    sender: SyncSender<Message>,
    file: String,
    file_total: u64,
    /// Bytes of the files before this one.
    before: u64,
    total: u64,
}

impl ProgressHandler for Reporter {
    fn on_progress(&self, event: &ProgressEvent) {
        let bytes = match event {
            ProgressEvent::Download(DownloadEvent::Progress { files }) => {
                files.last().map(|file| file.bytes_completed)
            }
            ProgressEvent::Download(DownloadEvent::AggregateProgress { bytes_completed, .. }) => {
                Some(*bytes_completed)
            }
            _ => None,
        };
        let message = bytes.map_or(Message::Alive, |bytes| {
            let file_bytes = bytes.min(self.file_total);
            Message::Progress(Progress {
                file: self.file.clone(),
                file_bytes,
                file_total: self.file_total,
                bytes: self.before + file_bytes,
                total: self.total.max(self.before + file_bytes),
            })
        });
        let _ = self.sender.send(message);
    }
}
