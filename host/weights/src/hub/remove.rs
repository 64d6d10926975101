//! Taking a repository, or one revision of it, out of the cache: what nothing else needs, and nothing outside of the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

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
    /// The revisions that go, as people call them.
    pub goes: Vec<String>,
    /// The revisions that stay, and how many bytes of each are shared with what goes: these stay too.
    pub stays: Vec<(String, u64)>,
    /// Bytes that become free.
    pub bytes: u64,
    /// The commits that go; with all of them, the repository's folder.
    commits: BTreeSet<String>,
    /// Blobs that only what goes needs.
    blobs: BTreeSet<String>,
}

impl Removal {
    /// Whether a snapshot's folder is among what goes.
    pub fn takes(&self, folder: &Path) -> bool {
        let commit = folder.file_name().and_then(|name| name.to_str());
        folder.starts_with(&self.folder) && commit.is_some_and(|commit| self.commits.contains(commit))
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
        let is_meant = |snapshot: &&Snapshot| match revision {
            None => true,
            Some(revision) if is_commit(revision) => snapshot.commit == revision,
            Some(revision) => snapshot.revisions.iter().any(|name| name == revision),
        };
        let (going, staying): (Vec<&Snapshot>, Vec<&Snapshot>) = cached.snapshots.iter().partition(is_meant);
        if going.is_empty() && revision.is_some() {
            return Ok(None);
        }
        let blobs_of = |snapshots: &[&Snapshot]| -> BTreeSet<String> {
            snapshots
                .iter()
                .flat_map(|snapshot| snapshot.blobs.iter().cloned())
                .collect()
        };
        let (used, needed) = (blobs_of(&going), blobs_of(&staying));
        let blobs: BTreeSet<String> = match staying.is_empty() {
            true => cached.blobs.keys().cloned().collect(),
            false => used.difference(&needed).cloned().collect(),
        };
        let own: u64 = going.iter().map(|snapshot| snapshot.own_bytes()).sum();
        Ok(Some(Removal {
            repo: repo.to_owned(),
            goes: going.iter().map(|snapshot| snapshot.name()).collect(),
            stays: staying
                .iter()
                .map(|snapshot| {
                    let shared = snapshot.blobs.intersection(&used);
                    (snapshot.name(), cached.bytes_of_blobs(shared))
                })
                .collect(),
            bytes: cached.bytes_of_blobs(blobs.iter()).saturating_add(own),
            commits: going.iter().map(|snapshot| snapshot.commit.clone()).collect(),
            blobs,
            folder,
        }))
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
