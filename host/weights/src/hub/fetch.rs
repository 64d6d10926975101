//! Fetching a repository into the cache: only the files that are needed to run the model, each checked against its hash.
//!
//! Paths are made of what the listing says, and only of names and hashes that look as such; no header of an answer has a part in them.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use monocle_fetch::http::{Answer, Client, HttpError, Limits, Request, is_private, shown, stay_encrypted};
use url::Url;

use crate::folder::BESIDE;
use crate::foreign::refuse_foreign;
use crate::gguf::{choose, is_gguf_name, models_of, names_below};
use crate::hub::checked::{Checked, blob_of, hash, is_sound};
use crate::hub::listing::{LONGEST, Listed, Listing, MOST_PAGES, commit, next_page};
use crate::hub::names::{Oid, is_commit, is_file_path};
use crate::hub::store::{Claim, Store};
use crate::hub::{Hub, HubError};
use crate::json::read_json;
use crate::shards::{INDEX, files_to_fetch, weight_map};

/// The longest time for an answer that is no file.
const LISTING_TIME: Duration = Duration::from_secs(600);
/// How long a server is waited for when there is a complete model to go on with.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 10;
/// What says what a model is.
const CONFIG: &str = "config.json";

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file that is being fetched, or checked.
    pub file: String,
    /// Nothing is fetched: a file that is here is read, to see whether it is what it should be.
    pub is_check: bool,
    /// Its bytes that are here.
    pub file_bytes: u64,
    /// All its bytes.
    pub file_total: u64,
    /// Bytes of all files that are here.
    pub bytes: u64,
    /// Bytes of all files that are needed.
    pub total: u64,
}

/// Whether a model could be run, told by its small files, which are in this folder; words say why not.
pub type Suits<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

impl Hub {
    /// The folder of a repository's snapshot. A complete one in the cache is taken as it is, without the network; what is missing or
    /// damaged is fetched.
    pub fn obtain(
        &self,
        repo: &str,
        revision: &str,
        suits: Suits,
        mut progress: impl FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        match self.sound(repo, revision, &mut progress)? {
            Ok(folder) => Ok(folder),
            Err(_) => self.fetch(repo, revision, suits, progress),
        }
    }

    /// Fetches what is missing or damaged of a repository's newest snapshot, and returns its folder. Weights come last, and only if what
    /// came before `suits`. `progress` is called now and then. Offline, and where the server cannot be reached, a complete snapshot is
    /// returned as it is.
    pub fn fetch(
        &self,
        repo: &str,
        revision: &str,
        suits: Suits,
        mut progress: impl FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        self.fetch_one(repo, revision, None, suits, &mut progress)
    }

    /// The folder of a repository's small files alone, for one that another model takes its tokenizer from. What is in the cache is taken as it is
    /// where it `suits`; else it is fetched.
    pub fn obtain_small(
        &self,
        repo: &str,
        revision: &str,
        suits: Suits,
        mut progress: impl FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        let located = self.locate(repo, revision)?;
        if let Some(located) = located.filter(|located| suits(&located.folder).is_ok()) {
            return Ok(located.folder);
        }
        if self.offline {
            return Err(HubError::Offline {
                repo: repo.to_owned(),
                cache: self.cache.clone(),
            });
        }
        let mut fetch = Fetch::new(self, repo, revision, &mut progress)?;
        let (commit, listing) = fetch.list(self.patience)?;
        let folder = fetch.small(&commit, &listing)?;
        match suits(&folder) {
            Ok(()) => Ok(folder),
            Err(reason) => Err(HubError::Unsuited {
                repo: repo.to_owned(),
                reason,
            }),
        }
    }

    /// As [`Hub::fetch`], of a repository with several GGUF conversions the one that has `tag` in its name: `Q4_K_M`. Returns the language
    /// model's file; the `mmproj` file is beside it.
    pub fn fetch_gguf(
        &self,
        repo: &str,
        revision: &str,
        tag: &str,
        mut progress: impl FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        let folder = self.fetch_one(repo, revision, Some(tag), &|_| Ok(()), &mut progress)?;
        file_of(&folder, repo, tag)
    }

    /// As [`Hub::obtain`], of a repository with several GGUF conversions the one that has `tag` in its name: its language model's file.
    pub fn obtain_gguf(
        &self,
        repo: &str,
        revision: &str,
        tag: &str,
        mut progress: impl FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        match self.sound(repo, revision, &mut progress)? {
            Ok(folder) if has_tag(&folder, tag) => file_of(&folder, repo, tag),
            _ => self.fetch_gguf(repo, revision, tag, progress),
        }
    }

    fn fetch_one(
        &self,
        repo: &str,
        revision: &str,
        tag: Option<&str>,
        suits: Suits,
        mut progress: &mut dyn FnMut(&Progress),
    ) -> Result<PathBuf, HubError> {
        let has_tag = |folder: &Path| tag.is_none_or(|tag| has_tag(folder, tag));
        if self.offline {
            let found = self.sound(repo, revision, &mut progress)?;
            return found
                .and_then(|folder| match has_tag(&folder) {
                    true => Ok(folder),
                    false => Err(Vec::new()),
                })
                .map_err(|damaged| match damaged.is_empty() {
                    true => HubError::Offline {
                        repo: tagged(repo, tag),
                        cache: self.cache.clone(),
                    },
                    false => HubError::DamagedOffline {
                        repo: tagged(repo, tag),
                        cache: self.cache.clone(),
                        damaged: damaged.join(", "),
                    },
                });
        }
        let complete = self
            .locate(repo, revision)?
            .is_some_and(|located| located.is_complete() && has_tag(&located.folder));
        let mut fetch = Fetch::new(self, repo, revision, &mut progress)?;
        let listed = fetch.list(match complete {
            true => self.patience.min(SHORT_PATIENCE),
            false => self.patience,
        });
        match listed {
            Ok((commit, mut listing)) if tag.is_some() || is_of_gguf(&listing) => {
                fetch.look_into_folders(&commit, &mut listing, tag)?;
                fetch.gguf(&commit, &listing, tag)
            }
            Ok((commit, listing)) => fetch.files(&commit, &listing, suits),
            Err(error) if complete && error.is_of_the_network() => {
                match self.sound(repo, revision, &mut progress)? {
                    Ok(folder) => {
                        self.note(format!("`{repo}` is used as it is in the cache: {error}"));
                        Ok(folder)
                    }
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// A complete snapshot whose files are what they are called; or the names of those that are not, none when it is not complete.
    fn sound(
        &self,
        repo: &str,
        revision: &str,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Result<PathBuf, Vec<String>>, HubError> {
        let Some(located) = self.locate(repo, revision)?.filter(|found| found.is_complete()) else {
            return Ok(Err(Vec::new()));
        };
        let damaged = self.damaged(&located.folder, progress);
        Ok(match damaged.is_empty() {
            true => Ok(located.folder),
            false => Err(damaged),
        })
    }
}

/// Whether a repository has its weights in GGUF files only.
fn is_of_gguf(listing: &Listing) -> bool {
    let has_safetensors = listing.names().any(|name| name.ends_with(".safetensors"));
    listing.names().any(is_gguf_name) && !has_safetensors
}

/// Whether the model with a tag is in a folder, with what sees.
fn has_tag(folder: &Path, tag: &str) -> bool {
    choose(&names_below(folder), Some(tag)).is_ok_and(|chosen| chosen.projector.is_some())
}

/// The language model's first file.
fn file_of(folder: &Path, repo: &str, tag: &str) -> Result<PathBuf, HubError> {
    let chosen = choose(&names_below(folder), Some(tag)).map_err(|reason| HubError::Unsuited {
        repo: tagged(repo, Some(tag)),
        reason,
    })?;
    Ok(folder.join(&chosen.language[0]))
}

/// A repository as it is asked for.
fn tagged(repo: &str, tag: Option<&str>) -> String {
    tag.map_or(repo.to_owned(), |tag| format!("{repo}:{tag}"))
}

/// Whether a small file of a repository is needed: configurations, templates, tokenizers; never code or other formats
/// of the weights.
pub(crate) fn is_wanted(name: &str) -> bool {
    let other_index = name.ends_with(".index.json") && name != INDEX;
    let known = [".json", ".jinja", ".txt", ".model", ".tiktoken"];
    !other_index && !name.contains('/') && known.iter().any(|ending| name.ends_with(ending))
}

struct Fetch<'a> {
    hub: &'a Hub,
    client: Client,
    /// The server's address.
    endpoint: Url,
    repo: &'a str,
    revision: &'a str,
    /// The repository's folder in the cache.
    home: PathBuf,
    progress: &'a mut dyn FnMut(&Progress),
    /// Bytes of the files that are done.
    bytes: u64,
    /// Bytes of all files, as far as it is known.
    total: u64,
}

impl<'a> Fetch<'a> {
    fn new(
        hub: &'a Hub,
        repo: &'a str,
        revision: &'a str,
        progress: &'a mut dyn FnMut(&Progress),
    ) -> Result<Self, HubError> {
        let endpoint = Url::parse(&hub.endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| HubError::BadName {
                what: "server (HF_ENDPOINT)",
                name: hub.endpoint.clone(),
                expected: "an address, such as `https://huggingface.co`",
            })?;
        if hub.token.is_some() && !is_private(&endpoint) {
            hub.note(format!(
                "HF_TOKEN is not sent to {}: what goes there is not encrypted; give an https address in HF_ENDPOINT",
                hub.endpoint
            ));
        }
        Ok(Self {
            hub,
            client: Client::default(),
            endpoint,
            repo,
            revision,
            home: hub.repo_folder(repo, revision)?,
            progress,
            bytes: 0,
            total: 0,
        })
    }

    /// An address on the server: the repository's, after some parts and before others. Parts are quoted as they need it.
    fn address(&self, before: &[&str], after: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        url.set_query(None);
        url.set_fragment(None);
        // An http address always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(before)
                .extend(self.repo.split('/'))
                .extend(after);
        }
        url
    }

    fn get(
        &self,
        url: &Url,
        from: u64,
        silence: Duration,
        total: Option<Duration>,
    ) -> Result<Answer, HubError> {
        let request = Request {
            url: url.clone(),
            token: self.hub.token.as_deref(),
            from,
            limits: Limits {
                silence,
                total,
                redirects: REDIRECTS,
            },
        };
        let answer = self.client.get(&request, &stay_encrypted);
        answer.map_err(|error| self.http_error(error))
    }

    /// An answer that is no file.
    fn get_all(&self, url: &Url, most: u64, silence: Duration) -> Result<(Vec<u8>, Option<Url>), HubError> {
        let answer = self.get(url, 0, silence, Some(LISTING_TIME))?;
        self.check_status(&answer, None)?;
        let next = answer.header("link").and_then(|link| next_page(url, link));
        match answer.read_all(most) {
            Ok(bytes) => Ok((bytes, next)),
            Err(HttpError::TooLong(_)) => Err(self.failed(format!(
                "its answer about the repository is longer than {} MiB",
                LONGEST >> 20
            ))),
            Err(error) => Err(self.http_error(error)),
        }
    }

    /// The commit of the revision, and its files.
    fn list(&self, silence: Duration) -> Result<(String, Listing), HubError> {
        let about = self.address(&["api", "models"], &["revision", self.revision]);
        let (answer, _) = self.get_all(&about, LONGEST, silence)?;
        let commit = commit(&answer).map_err(|reason| self.failed(reason))?;
        let mut listing = Listing::default();
        let tree = self.address(&["api", "models"], &["tree", &commit]);
        self.pages(tree, silence, &mut |page| listing.add(page))?;
        Ok((commit, listing))
    }

    /// All pages of a list of files.
    fn pages(
        &self,
        first: Url,
        silence: Duration,
        add: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), HubError> {
        let mut page = Some(first);
        let mut left = LONGEST;
        let mut pages = 0;
        while let Some(url) = page {
            pages += 1;
            if pages > MOST_PAGES {
                return Err(self.failed(format!("its list of files has more than {MOST_PAGES} pages")));
            }
            let (answer, next) = self.get_all(&url, left, silence)?;
            left -= answer.len() as u64;
            add(&answer).map_err(|reason| self.failed(reason))?;
            page = next;
        }
        Ok(())
    }

    /// Adds the GGUF files in a repository's folders where the wanted model is not in its root.
    fn look_into_folders(
        &self,
        commit: &str,
        listing: &mut Listing,
        tag: Option<&str>,
    ) -> Result<(), HubError> {
        let names: Vec<String> = listing.names().map(str::to_owned).collect();
        let has_models = !models_of(&names).is_empty();
        if choose(&names, tag).is_ok() || (tag.is_none() && has_models) {
            return Ok(());
        }
        for folder in listing.folders().to_vec() {
            let tree = self.address(&["api", "models"], &["tree", commit, &folder]);
            self.pages(tree, self.hub.patience, &mut |page| listing.add_folder(page))?;
        }
        Ok(())
    }

    fn files(&mut self, commit: &str, listing: &Listing, suits: Suits) -> Result<PathBuf, HubError> {
        let Some(config) = listing.get(CONFIG) else {
            return Err(self.not_a_model("`config.json`", listing));
        };
        let store =
            Store::open(&self.hub.cache, &self.folder_name()).map_err(|error| self.disk_error(&error))?;
        let folder = self.home.join("snapshots").join(commit);
        // What no engine computes with is refused before its weights come.
        self.file(&store, commit, CONFIG, config)?;
        let config = read_json(&folder.join(CONFIG)).map_err(|error| self.failed(error.to_string()))?;
        refuse_foreign(&config.unwrap_or_default()).map_err(|error| self.failed(error.to_string()))?;
        if let Some(index) = listing.get(INDEX) {
            self.file(&store, commit, INDEX, index)?;
        }
        let weights = self.weights(&folder, listing)?;
        let small = listing
            .names()
            .filter(|name| is_wanted(name) && ![CONFIG, INDEX].contains(name));
        let small: Vec<String> = small.map(str::to_owned).collect();
        let sizes = small.iter().chain(&weights).filter_map(|name| listing.get(name));
        self.total = sizes.fold(self.bytes, |total, listed| total.saturating_add(listed.size));
        self.each(&store, commit, &small, listing)?;
        // A model that is here is looked at when it is opened.
        if !weights.iter().all(|name| folder.join(name).exists()) {
            suits(&folder).map_err(|reason| HubError::Unsuited {
                repo: self.repo.to_owned(),
                reason,
            })?;
        }
        self.each(&store, commit, &weights, listing)?;
        if !is_commit(self.revision) {
            let written = store.write_ref(self.revision, commit);
            written.map_err(|error| self.disk_error(&error))?;
        }
        Ok(folder)
    }

    /// The GGUF files of one model. What sees is small and comes first.
    fn gguf(&mut self, commit: &str, listing: &Listing, tag: Option<&str>) -> Result<PathBuf, HubError> {
        let names: Vec<String> = listing.names().map(str::to_owned).collect();
        let snapshot = self.home.join("snapshots").join(commit);
        // A tag that several models have means the one that is here: it is called so where nothing else is.
        let here = || {
            choose(&names_below(&snapshot), tag)
                .ok()
                .filter(|_| tag.is_some())
        };
        let chosen = choose(&names, tag).or_else(|reason| here().ok_or(reason));
        let chosen = chosen.map_err(|reason| HubError::Unsuited {
            repo: self.repo.to_owned(),
            reason: format!("{reason}: `{}:NAME`", self.repo),
        })?;
        let Some(projector) = chosen.projector else {
            return Err(self.not_a_model(
                "file that sees: with `mmproj`, `mm_proj`, `clip`, `vision-encoder` or `projector` in its name, or `vision` at its end (where it \
                 is called otherwise, download it with the language model into one folder, and name the model's file)",
                listing,
            ));
        };
        // Once it is here, opening it says the same.
        if !snapshot.join(&projector).exists() {
            chosen.notes.into_iter().for_each(|note| self.hub.note(note));
        }
        // What says more than the key-values counts where it lies beside them.
        let beside = BESIDE.iter().map(|name| (*name).to_owned());
        let beside = beside.filter(|name| listing.get(name).is_some());
        let files = beside.chain([projector]).chain(chosen.language);
        let names: Vec<String> = files.collect();
        let sizes = names.iter().filter_map(|name| listing.get(name));
        self.total = sizes.fold(0, |total, listed| total.saturating_add(listed.size));
        let store =
            Store::open(&self.hub.cache, &self.folder_name()).map_err(|error| self.disk_error(&error))?;
        self.each(&store, commit, &names, listing)?;
        if !is_commit(self.revision) {
            let written = store.write_ref(self.revision, commit);
            written.map_err(|error| self.disk_error(&error))?;
        }
        Ok(snapshot)
    }

    /// The small files.
    fn small(&mut self, commit: &str, listing: &Listing) -> Result<PathBuf, HubError> {
        let names: Vec<String> = listing
            .names()
            .filter(|name| is_wanted(name))
            .map(str::to_owned)
            .collect();
        let sizes = names.iter().filter_map(|name| listing.get(name));
        self.total = sizes.fold(0, |total, listed| total.saturating_add(listed.size));
        let store =
            Store::open(&self.hub.cache, &self.folder_name()).map_err(|error| self.disk_error(&error))?;
        self.each(&store, commit, &names, listing)?;
        if !is_commit(self.revision) {
            let written = store.write_ref(self.revision, commit);
            written.map_err(|error| self.disk_error(&error))?;
        }
        Ok(self.home.join("snapshots").join(commit))
    }

    fn each(
        &mut self,
        store: &Store,
        commit: &str,
        names: &[String],
        listing: &Listing,
    ) -> Result<(), HubError> {
        for name in names {
            if let Some(listed) = listing.get(name) {
                self.file(store, commit, name, listed)?;
            }
        }
        Ok(())
    }

    fn folder_name(&self) -> String {
        let name = self.home.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The weight files, by the rule by which they are opened.
    fn weights(&self, folder: &Path, listing: &Listing) -> Result<Vec<String>, HubError> {
        let index = match listing.get(INDEX) {
            Some(_) => read_json(&folder.join(INDEX)).map_err(|error| self.failed(error.to_string()))?,
            None => None,
        };
        let map = index.as_ref().map(weight_map).transpose();
        let map = map.map_err(|problem| self.failed(format!("`{INDEX}`: {problem}")))?;
        match files_to_fetch(&map.unwrap_or_default(), listing.names()) {
            Ok(names) => Ok(names),
            Err(absent) => Err(match absent.first() {
                None => self.not_a_model("safetensors weights", listing),
                Some(absent) if listing.get(INDEX).is_some() => self.failed(format!(
                    "`{INDEX}` lists `{}`, which the repository does not have",
                    shown(absent)
                )),
                Some(absent) => self.failed(format!(
                    "its weights lack `{}`, which the names of the others promise",
                    shown(absent)
                )),
            }),
        }
    }

    /// Lets the snapshot have a file: as it is here, or fetched.
    fn file(&mut self, store: &Store, commit: &str, name: &str, listed: &Listed) -> Result<(), HubError> {
        let oid = listed
            .oid
            .as_ref()
            .filter(|_| is_file_path(name))
            .ok_or_else(|| {
                self.failed(format!(
                    "it lists `{name}` without a hash that its bytes could be checked with"
                ))
            })?;
        let wanted = Wanted {
            commit,
            name,
            oid,
            size: listed.size,
        };
        let path = self.home.join("snapshots").join(commit).join(name);
        if !self.is_here(&path, &wanted) {
            let blob = store.blob(oid).map_err(|error| self.disk_error(&error))?;
            if !self.is_here(&blob, &wanted) {
                self.fetch_file(store, &wanted)?;
            }
            let linked = store.link(commit, name, oid);
            linked.map_err(|error| self.disk_error(&error))?;
        }
        self.bytes = self.bytes.saturating_add(listed.size);
        Ok(())
    }

    /// Whether a file has the bytes that it should have. It is read only if nobody did since it last changed.
    fn is_here(&mut self, path: &Path, wanted: &Wanted) -> bool {
        let Wanted { oid, size, .. } = *wanted;
        // A link to another blob is another file.
        if blob_of(path).is_some_and(|(other, _)| other != *oid)
            || !std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == size)
        {
            return false;
        }
        // Where nothing can be remembered, nothing could be repaired either.
        let Some(mut checked) = Checked::open(&self.hub.cache, &self.home) else {
            return true;
        };
        if checked.has(oid, path) {
            return true;
        }
        let read = &mut |bytes| self.report(wanted, true, bytes);
        let sound = is_sound(oid, path, read).unwrap_or(false);
        if sound {
            checked.add(oid, path);
        }
        sound
    }

    fn report(&mut self, wanted: &Wanted, is_check: bool, file_bytes: u64) {
        let bytes = self.bytes.saturating_add(file_bytes);
        (self.progress)(&Progress {
            file: wanted.name.to_owned(),
            is_check,
            file_bytes,
            file_total: wanted.size,
            bytes,
            total: self.total.max(bytes),
        });
    }

    /// Fetches a file, or waits for another process that does. What is left of an earlier attempt is gone on with; if that does not
    /// come out right, it is fetched from its beginning.
    fn fetch_file(&mut self, store: &Store, wanted: &Wanted) -> Result<(), HubError> {
        let claim = self.claim(store, wanted)?;
        let blob = store.blob(wanted.oid).map_err(|error| self.disk_error(&error))?;
        // It may have come while another process was waited for.
        if self.is_here(&blob, wanted) {
            return Ok(());
        }
        let left_over = std::fs::symlink_metadata(&claim.partial).map_or(0, |found| found.len());
        match self.download(&claim, wanted) {
            Err(HubError::WrongBytes { .. } | HubError::WrongSize { .. } | HubError::TooLong { .. })
                if left_over > 0 =>
            {
                self.download(&claim, wanted)
            }
            done => done,
        }?;
        if let Some(mut checked) = Checked::open(&self.hub.cache, &self.home) {
            checked.add(wanted.oid, &blob);
        }
        Ok(())
    }

    fn claim(&mut self, store: &Store, wanted: &Wanted) -> Result<Claim, HubError> {
        const PAUSE: Duration = Duration::from_millis(50);
        let mut seen = 0;
        let mut since = Instant::now();
        loop {
            match store.lock(wanted.oid) {
                Ok(Some(claim)) => return Ok(claim),
                Ok(None) => {}
                Err(error) => return Err(self.disk_error(&error)),
            }
            let bytes = store.partial_size(wanted.oid);
            if bytes != seen {
                (seen, since) = (bytes, Instant::now());
                self.report(wanted, false, bytes.min(wanted.size));
            } else if since.elapsed() > self.hub.patience {
                return Err(HubError::Busy {
                    repo: self.repo.to_owned(),
                    file: wanted.name.to_owned(),
                    seconds: self.hub.patience.as_secs(),
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn download(&mut self, claim: &Claim, wanted: &Wanted) -> Result<(), HubError> {
        let Wanted { oid, size, .. } = *wanted;
        let mut file = claim.open().map_err(|error| self.disk_error(&error))?;
        // Nothing of a file that is too long can be right.
        let here = file.metadata().map_or(0, |found| found.len());
        let here = if here > size { 0 } else { here };
        let mut hasher = oid.hasher(size);
        let mut done = hash(&file, here, &mut hasher, &mut |bytes| {
            self.report(wanted, true, bytes)
        })
        .map_err(|error| self.disk_error(&error))?;
        if done < size {
            let mut answer = self.ask_for(wanted, done)?;
            if done > 0 && !continues(&answer, done) {
                (done, hasher) = (0, oid.hasher(size));
                // It cannot go on from here, and did not begin anew by itself either.
                if matches!(answer.status, 206 | 416) {
                    answer = self.ask_for(wanted, 0)?;
                }
            }
            self.check_status(&answer, Some(wanted.name))?;
            let left = size - done;
            if answer.length().is_some_and(|length| length > left) {
                claim.discard();
                return Err(self.too_long(wanted));
            }
            file.set_len(done)
                .and_then(|()| file.seek(SeekFrom::Start(done)))
                .map_err(|error| self.disk_error(&error))?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                let read = answer.read(&mut buffer).map_err(|error| self.http_error(error))?;
                if read == 0 {
                    break;
                }
                if read as u64 > size - done {
                    claim.discard();
                    return Err(self.too_long(wanted));
                }
                file.write_all(&buffer[..read])
                    .map_err(|error| self.disk_error(&error))?;
                hasher.update(&buffer[..read]);
                done += read as u64;
                self.report(wanted, false, done);
            }
            // Without a length, an end that comes too early cannot be told from a connection that broke.
            if done < size && answer.length().is_none() {
                return Err(self.http_error(HttpError::HungUp));
            }
        }
        if done != size {
            claim.discard();
            return Err(HubError::WrongSize {
                repo: self.repo.to_owned(),
                file: wanted.name.to_owned(),
                expected: size,
                found: done,
            });
        }
        let found = hasher.finish();
        if found != oid.digits() {
            claim.discard();
            return Err(HubError::WrongBytes {
                endpoint: self.hub.endpoint.clone(),
                repo: self.repo.to_owned(),
                file: wanted.name.to_owned(),
                kind: oid.kind(),
                expected: oid.digits().to_owned(),
                found,
            });
        }
        claim.finish(&file).map_err(|error| self.disk_error(&error))
    }

    /// Asks for a file's bytes, from one on.
    fn ask_for(&self, wanted: &Wanted, from: u64) -> Result<Answer, HubError> {
        let parts = ["resolve", wanted.commit]
            .into_iter()
            .chain(wanted.name.split('/'));
        let url = self.address(&[], &parts.collect::<Vec<_>>());
        self.get(&url, from, self.hub.patience, None)
    }

    fn too_long(&self, wanted: &Wanted) -> HubError {
        HubError::TooLong {
            endpoint: self.hub.endpoint.clone(),
            repo: self.repo.to_owned(),
            file: wanted.name.to_owned(),
            expected: wanted.size,
        }
    }

    /// What a status means, when it does not mean that all is well.
    fn check_status(&self, answer: &Answer, file: Option<&str>) -> Result<(), HubError> {
        let (endpoint, repo) = (self.hub.endpoint.clone(), self.repo.to_owned());
        let code = answer.header("x-error-code").unwrap_or_default();
        let has_token = self.hub.token.is_some();
        Err(match answer.status {
            200..=299 => return Ok(()),
            401 | 403 if code != "RepoNotFound" && has_token && !is_private(&self.endpoint) => {
                HubError::TokenWithheld { endpoint, repo }
            }
            // The hub answers 401 for what does not exist too, and tells the two apart in a header.
            401 | 403 if code != "RepoNotFound" => HubError::Gated {
                endpoint,
                repo,
                has_token,
            },
            401 | 403 | 404 if file.is_none() => HubError::NotFound {
                endpoint,
                repo,
                revision: self.revision.to_owned(),
            },
            status @ (429 | 500..) => HubError::Unwell {
                endpoint,
                repo,
                status,
            },
            status => self.failed(match file {
                Some(file) => format!("it answers with status {status} for `{file}`, which it lists"),
                None => format!("it answers with status {status}"),
            }),
        })
    }

    fn http_error(&self, error: HttpError) -> HubError {
        let (endpoint, repo) = (self.hub.endpoint.clone(), self.repo.to_owned());
        match error {
            HttpError::Unreachable(reason) => HubError::Unreachable {
                endpoint,
                repo,
                reason,
            },
            HttpError::Silent(silence) => HubError::Stalled {
                endpoint,
                repo,
                seconds: silence.as_secs(),
            },
            HttpError::HungUp => HubError::HungUp { endpoint, repo },
            other => self.failed(other.to_string()),
        }
    }

    fn disk_error(&self, error: &std::io::Error) -> HubError {
        HubError::Disk {
            cache: self.hub.cache.clone(),
            repo: self.repo.to_owned(),
            reason: error.to_string(),
        }
    }

    fn failed(&self, reason: String) -> HubError {
        HubError::Failed {
            endpoint: self.hub.endpoint.clone(),
            repo: self.repo.to_owned(),
            reason,
        }
    }

    fn not_a_model(&self, what: &'static str, listing: &Listing) -> HubError {
        HubError::NotAModel {
            repo: self.repo.to_owned(),
            what,
            found: listing.in_words(),
        }
    }
}

/// A file to be had.
struct Wanted<'a> {
    commit: &'a str,
    name: &'a str,
    oid: &'a Oid,
    size: u64,
}

/// Whether an answer goes on from a byte.
fn continues(answer: &Answer, from: u64) -> bool {
    let start = format!("bytes {from}-");
    let range = answer.header("content-range");
    answer.status == 206 && range.is_some_and(|range| range.starts_with(&start))
}
