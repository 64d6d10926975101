//! What the cache holds: repositories, their revisions, and how many bytes each takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::hub::Hub;
use crate::hub::cache::missing_files;
use crate::hub::names::is_commit;

/// A repository in the cache.
#[derive(Debug, Clone)]
pub struct Cached {
    /// `organisation/name`
    pub repo: String,
    /// Its folder in the cache.
    pub folder: PathBuf,
    /// Its revisions that are here, whole or in part.
    pub snapshots: Vec<Snapshot>,
    /// What lies in `blobs`, and the bytes of each; unfinished downloads among them.
    pub(crate) blobs: BTreeMap<String, u64>,
}

/// A revision of a repository in the cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The commit.
    pub commit: String,
    /// Branches and tags that are this commit.
    pub revisions: Vec<String>,
    /// Its folder.
    pub folder: PathBuf,
    /// Whether everything is here that a model needs.
    pub is_complete: bool,
    /// Which blob each of its files is.
    pub(crate) links: BTreeMap<PathBuf, String>,
    /// Bytes of its files that are no links to blobs.
    own: u64,
}

impl Hub {
    /// The repositories of models in the cache, by their names.
    pub fn cached(&self) -> Vec<Cached> {
        let entries = std::fs::read_dir(&self.cache).into_iter().flatten().flatten();
        let mut cached: Vec<Cached> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (organisation, model) = name.strip_prefix("models--")?.split_once("--")?;
                Cached::read(&format!("{organisation}/{model}"), &entry.path())
            })
            .collect();
        cached.sort_by(|a, b| a.repo.cmp(&b.repo));
        cached
    }
}

impl Cached {
    /// Looks at a repository's folder; none where there is no such folder.
    pub(crate) fn read(repo: &str, folder: &Path) -> Option<Self> {
        if !folder.is_dir() {
            return None;
        }
        let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let blobs: BTreeMap<String, u64> = entries(folder.join("blobs"))
            .filter_map(|entry| {
                let found = entry.metadata().ok().filter(|found| found.is_file())?;
                Some((entry.file_name().into_string().ok()?, found.len()))
            })
            .collect();
        let mut revisions = BTreeMap::new();
        references(&folder.join("refs"), "", &mut revisions);
        let home = std::fs::canonicalize(folder).ok()?;
        let mut snapshots: Vec<Snapshot> = entries(folder.join("snapshots"))
            .filter_map(|entry| {
                let commit = entry
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| is_commit(name))?;
                let path = entry.path();
                let mut snapshot = Snapshot {
                    revisions: revisions
                        .iter()
                        .filter(|(_, at)| **at == commit)
                        .map(|(name, _)| name.clone())
                        .collect(),
                    is_complete: missing_files(&path).is_empty(),
                    links: BTreeMap::new(),
                    own: 0,
                    folder: path.clone(),
                    commit,
                };
                snapshot.add_files(&path, &home.join("blobs"), &blobs);
                Some(snapshot)
            })
            .collect();
        snapshots.sort_by(|a, b| a.commit.cmp(&b.commit));
        Some(Self {
            repo: repo.to_owned(),
            folder: folder.to_owned(),
            snapshots,
            blobs,
        })
    }

    /// Bytes of all of it, each blob once.
    pub fn bytes(&self) -> u64 {
        let own: u64 = self.snapshots.iter().map(|snapshot| snapshot.own).sum();
        self.blobs.values().sum::<u64>().saturating_add(own)
    }

    /// Bytes that no revision needs: of downloads that did not end, for instance.
    pub fn left_over(&self) -> u64 {
        let used = |blob: &String| {
            self.snapshots
                .iter()
                .any(|snapshot| snapshot.links.values().any(|link| link == blob))
        };
        let unused = self.blobs.iter().filter(|(blob, _)| !used(blob));
        unused.map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of a revision's files.
    pub fn bytes_of(&self, snapshot: &Snapshot) -> u64 {
        let blobs: BTreeSet<&String> = snapshot.links.values().collect();
        self.bytes_of_blobs(blobs.into_iter())
            .saturating_add(snapshot.own)
    }

    pub(crate) fn bytes_of_blobs<'a>(&self, blobs: impl Iterator<Item = &'a String>) -> u64 {
        blobs.filter_map(|blob| self.blobs.get(blob)).sum()
    }
}

impl Snapshot {
    /// What people call it: its branches and tags, else the commit's first digits.
    pub fn name(&self) -> String {
        match self.revisions.is_empty() {
            true => self.commit[..12].to_owned(),
            false => self.revisions.join(", "),
        }
    }

    /// Bytes of its files that are no links to blobs.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.own
    }

    fn add_files(&mut self, folder: &Path, home: &Path, blobs: &BTreeMap<String, u64>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // Of the entry itself: a link to a folder leads who knows where.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.add_files(&path, home, blobs),
                Ok(kind) if kind.is_file() => self.own += entry.metadata().map_or(0, |found| found.len()),
                _ => {
                    let blob = std::fs::canonicalize(&path).ok();
                    let blob = blob.filter(|blob| blob.parent() == Some(home));
                    let name = blob.and_then(|blob| blob.file_name()?.to_str().map(str::to_owned));
                    let name = name.filter(|name| blobs.contains_key(name));
                    self.links.extend(name.map(|name| (path, name)));
                }
            }
        }
    }
}

/// The names below `refs`, and the commit of each. `refs/pr/1` is called so.
pub(crate) fn references(folder: &Path, before: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let name = format!("{before}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && before.len() < 200 => {
                references(&entry.path(), &format!("{name}/"), found)
            }
            Ok(kind) if kind.is_file() => {
                if let Ok(commit) = std::fs::read_to_string(entry.path()) {
                    found.insert(name, commit.trim().to_owned());
                }
            }
            _ => {}
        }
    }
}
