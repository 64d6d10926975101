//! Taking a repository, or one revision of it, out of the cache: what nothing else needs, and nothing outside of the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use crate::gguf::{is_gguf_name, is_gguf_snapshot, models_of, names_below, tagged};
use crate::hub::inventory::{Cached, Snapshot, references};
use crate::hub::names::is_commit;
use crate::hub::{Hub, HubError};

/// What would be removed.
#[derive(Debug, Clone)]
pub struct Removal {
    /// `organisation/name`
    pub repo: String,
    /// Its folder in the cache.
    pub folder: PathBuf,
    /// The revisions that go, as people call them, or the GGUF models of revisions.
    pub goes: Vec<String>,
    /// What stays, and how many bytes of each are shared with what goes: these stay too.
    pub stays: Vec<(Stays, u64)>,
    /// Bytes that become free.
    pub bytes: u64,
    /// The commits that go; with all of them, the repository's folder.
    commits: BTreeSet<String>,
    /// Files that go of snapshots that stay.
    files: BTreeSet<PathBuf>,
    /// Blobs that only what goes needs.
    blobs: BTreeSet<String>,
}

/// What stays of a repository, as people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// A revision.
    Revision(String),
    /// GGUF models of a revision.
    Models(String),
}

impl std::fmt::Display for Stays {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Revision(name) => write!(formatter, "the revision {name}"),
            Self::Models(names) => formatter.write_str(names),
        }
    }
}

impl Removal {
    /// Whether a snapshot's folder, or a GGUF file of one, is among what goes.
    pub fn takes(&self, place: &Path) -> bool {
        let goes = |folder: &Path| {
            let commit = folder.file_name().and_then(|name| name.to_str());
            commit.is_some_and(|commit| self.commits.contains(commit))
        };
        let snapshot = goes(place) || place.parent().is_some_and(goes);
        place.starts_with(&self.folder) && (snapshot || self.files.contains(place))
    }
}

impl Hub {
    /// What removing a repository would come to, or only one revision of it; nothing where the cache does not have it.
    pub fn removal(
        &self,
        repo: &str,
        revision: Option<&str>,
    ) -> std::result::Result<Option<Removal>, HubError> {
        let folder = self.repo_folder(repo, revision.unwrap_or("main"))?;
        let Some(cached) = Cached::read(repo, &folder) else {
            return Ok(None);
        };
        let is_meant = |snapshot: &&Snapshot| revision.is_none_or(|revision| snapshot.is(revision));
        let (going, staying): (Vec<&Snapshot>, Vec<&Snapshot>) = cached.snapshots.iter().partition(is_meant);
        if going.is_empty() && revision.is_some() {
            return Ok(None);
        }
        let goes = going.iter().map(|snapshot| snapshot.name()).collect();
        Ok(Some(cached.removal(&going, &staying, BTreeSet::new(), goes)))
    }

    /// What removing one of a repository's GGUF models would come to, of all revisions or of one; nothing where the cache does not have it. What
    /// sees stays as long as there is another language model, and a model in safetensors stays always.
    pub fn removal_of_gguf(
        &self,
        repo: &str,
        revision: Option<&str>,
        tag: &str,
    ) -> std::result::Result<Option<Removal>, HubError> {
        let folder = self.repo_folder(repo, revision.unwrap_or("main"))?;
        let Some(cached) = Cached::read(repo, &folder) else {
            return Ok(None);
        };
        let (mut going, mut staying) = (Vec::new(), Vec::new());
        let (mut files, mut goes) = (BTreeSet::new(), Vec::new());
        for snapshot in &cached.snapshots {
            let names = names_below(&snapshot.folder);
            let is_meant = revision.is_none_or(|revision| snapshot.is(revision));
            let tagged = if is_meant { tagged(&names, tag) } else { Vec::new() };
            if tagged.is_empty() {
                staying.push(snapshot);
                continue;
            }
            goes.push(format!("{tag} of {}", snapshot.name()));
            let is_last = models_of(&names).len() == 1;
            if is_last && is_gguf_snapshot(&snapshot.folder) {
                going.push(snapshot);
                continue;
            }
            staying.push(snapshot);
            // Beside safetensors, the last one takes along what sees, and nothing else.
            let sees = names.iter().filter(|name| is_last && is_gguf_name(name));
            let files_of = tagged.iter().chain(sees);
            files.extend(files_of.map(|name| snapshot.folder.join(name)));
        }
        if goes.is_empty() {
            return Ok(None);
        }
        Ok(Some(cached.removal(&going, &staying, files, goes)))
    }

    /// Removes it. A repository that another process fetches at the moment is left alone.
    pub fn remove(&self, removal: &Removal) -> std::result::Result<(), HubError> {
        let disk = |error: Error| HubError::Disk {
            cache: self.cache.clone(),
            repo: removal.repo.clone(),
            reason: error.to_string(),
        };
        let home = self.own_folder(removal).map_err(disk)?;
        let name = home.file_name().unwrap_or_default();
        let locks = self.cache.join(".locks").join(name);
        let Some(_held) = hold(&locks).map_err(disk)? else {
            return Err(HubError::InUse {
                repo: removal.repo.clone(),
            });
        };
        let removed = match removal.stays.is_empty() {
            true => remove_all(&home, &locks),
            false => remove_some(&home, removal),
        };
        removed.map_err(disk)
    }

    /// The repository's folder, which must be in the cache and nowhere else.
    fn own_folder(&self, removal: &Removal) -> Result<PathBuf> {
        let cache = std::fs::canonicalize(&self.cache)?;
        let home = std::fs::canonicalize(&removal.folder)?;
        for folder in [
            home.clone(),
            home.join("blobs"),
            home.join("snapshots"),
            home.join("refs"),
        ] {
            let real = match std::fs::canonicalize(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                real => real?,
            };
            let inside = if folder == home { &cache } else { &home };
            if real == *inside || !real.starts_with(inside) {
                return Err(Error::other(format!(
                    "`{}` leads to `{}`, which is outside of the cache: remove it there",
                    removal.folder.display(),
                    real.display()
                )));
            }
        }
        Ok(home)
    }
}

impl Snapshot {
    /// Whether it is this branch, tag or commit.
    fn is(&self, revision: &str) -> bool {
        match is_commit(revision) {
            true => self.commit == revision,
            false => self.revisions.iter().any(|name| name == revision),
        }
    }

    /// What stays of it without some files: its other GGUF models, or where there are none, the rest.
    fn without(&self, files: &BTreeSet<PathBuf>) -> Stays {
        let models = models_of(&names_below(&self.folder));
        let stays = |names: &[String]| names.iter().any(|name| !files.contains(&self.folder.join(name)));
        let tags: Vec<String> = models
            .into_iter()
            .filter(|(_, names)| stays(names))
            .map(|(tag, _)| tag)
            .collect();
        match tags.is_empty() {
            true => Stays::Revision(self.name()),
            false => Stays::Models(format!("{} of {}", tags.join(", "), self.name())),
        }
    }
}

impl Cached {
    /// What is to be removed where these snapshots go, and those stay but for `files`.
    fn removal(
        &self,
        going: &[&Snapshot],
        staying: &[&Snapshot],
        files: BTreeSet<PathBuf>,
        goes: Vec<String>,
    ) -> Removal {
        let goes_of = |snapshot: &&Snapshot| {
            let links = snapshot.links.iter();
            let gone = links.filter(|(path, _)| files.contains(*path));
            gone.map(|(_, blob)| blob.clone()).collect::<Vec<_>>()
        };
        let stays_of = |snapshot: &Snapshot| -> BTreeSet<String> {
            let links = snapshot.links.iter();
            let kept = links.filter(|(path, _)| !files.contains(*path));
            kept.map(|(_, blob)| blob.clone()).collect()
        };
        let mut used: BTreeSet<String> = going
            .iter()
            .flat_map(|snapshot| snapshot.links.values().cloned())
            .collect();
        used.extend(staying.iter().flat_map(goes_of));
        let needed: BTreeSet<String> = staying.iter().flat_map(|snapshot| stays_of(snapshot)).collect();
        let blobs: BTreeSet<String> = match staying.is_empty() {
            true => self.blobs.keys().cloned().collect(),
            false => used.difference(&needed).cloned().collect(),
        };
        let own: u64 = going.iter().map(|snapshot| snapshot.own_bytes()).sum();
        // A file that is no link to a blob takes its own bytes.
        let copies = files
            .iter()
            .filter_map(|path| std::fs::symlink_metadata(path).ok());
        let copies: u64 = copies
            .filter(std::fs::Metadata::is_file)
            .map(|found| found.len())
            .sum();
        let stays = staying.iter().map(|snapshot| {
            let kept = stays_of(snapshot);
            let what = match files.iter().any(|path| path.starts_with(&snapshot.folder)) {
                false => Stays::Revision(snapshot.name()),
                true => snapshot.without(&files),
            };
            (what, self.bytes_of_blobs(kept.intersection(&used)))
        });
        Removal {
            repo: self.repo.clone(),
            goes,
            stays: stays.collect(),
            bytes: self
                .bytes_of_blobs(blobs.iter())
                .saturating_add(own)
                .saturating_add(copies),
            commits: going.iter().map(|snapshot| snapshot.commit.clone()).collect(),
            blobs,
            files,
            folder: self.folder.clone(),
        }
    }
}

/// Takes all locks of a repository; nothing where another process has one.
fn hold(locks: &Path) -> Result<Option<Vec<File>>> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(locks).into_iter().flatten() {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let file = OpenOptions::new().write(true).open(entry.path())?;
        match file.try_lock() {
            // Some network file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => held.push(file),
            Err(TryLockError::WouldBlock) => return Ok(None),
        }
    }
    Ok(Some(held))
}

/// References first: what is half gone is not taken for a model.
fn remove_all(home: &Path, locks: &Path) -> Result<()> {
    gone(std::fs::remove_dir_all(home.join("refs")))?;
    gone(std::fs::remove_dir_all(home.join("snapshots")))?;
    gone(std::fs::remove_dir_all(home))?;
    // What is left of locks is no loss.
    let _ = std::fs::remove_dir_all(locks);
    Ok(())
}

fn remove_some(home: &Path, removal: &Removal) -> Result<()> {
    let mut revisions = BTreeMap::new();
    references(&home.join("refs"), "", &mut revisions);
    for (name, _) in revisions
        .iter()
        .filter(|(_, commit)| removal.commits.contains(*commit))
    {
        gone(std::fs::remove_file(home.join("refs").join(name)))?;
    }
    for file in &removal.files {
        // As it is called below the folder that was looked at.
        let below = file.strip_prefix(&removal.folder).map_err(Error::other)?;
        gone(std::fs::remove_file(home.join(below)))?;
    }
    for commit in &removal.commits {
        gone(std::fs::remove_dir_all(home.join("snapshots").join(commit)))?;
    }
    for blob in &removal.blobs {
        gone(std::fs::remove_file(home.join("blobs").join(blob)))?;
    }
    Ok(())
}

/// What is gone already is as it should be.
fn gone(removed: Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
