//! Writing into the standard cache, and nowhere else: each folder is resolved before anything is put into it, files are made beside
//! their place and renamed into it, and links are never written through.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hub::names::{Oid, is_commit, is_file_path};

/// A repository's folder in the cache, for writing.
pub struct Store {
    /// The cache, without links.
    root: PathBuf,
    /// `models--organisation--name`.
    repo: String,
}

impl Store {
    /// Makes the cache if there is none.
    pub fn open(cache: &Path, repo: &str) -> Result<Self> {
        std::fs::create_dir_all(cache)?;
        Ok(Self {
            root: std::fs::canonicalize(cache)?,
            repo: repo.to_owned(),
        })
    }

    /// A folder below the cache, made if it is not there. One that leads out of the cache is refused.
    fn folder(&self, parts: &[&str]) -> Result<PathBuf> {
        let mut folder = self.root.clone();
        for part in parts {
            folder.push(part);
            match std::fs::create_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => made?,
            }
            folder = std::fs::canonicalize(&folder)?;
            if !folder.starts_with(&self.root) {
                return Err(Error::other(format!(
                    "`{}` leads to `{}`, which is outside of the cache: move the folder back, or set HF_HUB_CACHE to where it is",
                    self.root.join(parts.join("/")).display(),
                    folder.display(),
                )));
            }
        }
        Ok(folder)
    }

    /// Where a file's bytes are, or will be.
    pub fn blob(&self, oid: &Oid) -> Result<PathBuf> {
        Ok(self.folder(&[&self.repo, "blobs"])?.join(oid.digits()))
    }

    /// The right to make a file, which one process has at a time; none while another has it. Hugging Face's own tools lock the same file.
    pub fn lock(&self, oid: &Oid) -> Result<Option<Claim>> {
        let blob = self.blob(oid)?;
        let path = self
            .folder(&[".locks", &self.repo])?
            .join(format!("{}.lock", oid.digits()));
        only_a_file(&path)?;
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)?;
        let alone = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some network file systems have no locks: then each process makes a file of its own.
            Err(TryLockError::Error(_)) => false,
        };
        let ending = match alone {
            true => "incomplete".to_owned(),
            false => format!("{}.incomplete", unique()),
        };
        Ok(Some(Claim {
            partial: blob.with_extension(ending),
            blob,
            _lock: file,
        }))
    }

    /// How much of a file another process has.
    pub fn partial_size(&self, oid: &Oid) -> u64 {
        let partial = self.blob(oid).map(|blob| blob.with_extension("incomplete"));
        partial
            .and_then(std::fs::symlink_metadata)
            .map_or(0, |found| found.len())
    }

    /// Lets the snapshot's file be the blob: a link, or where links cannot be made, the same file or a copy.
    pub fn link(&self, commit: &str, name: &str, oid: &Oid) -> Result<PathBuf> {
        if !is_commit(commit) || !is_file_path(name) {
            return Err(Error::other("no name for a file"));
        }
        let blob = self.blob(oid)?;
        let mut parts = vec![self.repo.as_str(), "snapshots", commit];
        let mut up = vec!["..", ".."];
        let name = match name.split_once('/') {
            None => name,
            Some((place, name)) => {
                parts.push(place);
                up.push("..");
                name
            }
        };
        let folder = self.folder(&parts)?;
        let path = folder.join(name);
        let temporary = folder.join(format!(".{name}.{}", unique()));
        let _ = std::fs::remove_file(&temporary);
        let target: PathBuf = up.into_iter().chain(["blobs", oid.digits()]).collect();
        symlink(&target, &temporary)
            .or_else(|_| std::fs::hard_link(&blob, &temporary))
            .or_else(|_| std::fs::copy(&blob, &temporary).map(drop))?;
        let renamed = std::fs::rename(&temporary, &path);
        // A rename of one file's two names onto each other does nothing, and leaves both.
        let _ = std::fs::remove_file(&temporary);
        renamed.map(|()| path)
    }

    /// Remembers which commit a revision is. `revision` has been checked: no part of it leads upwards.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        let mut parts = vec![self.repo.as_str(), "refs"];
        parts.extend(revision.split('/'));
        let name = parts.pop().unwrap_or_default();
        let path = self.folder(&parts)?.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|known| known.trim() == commit) {
            return Ok(());
        }
        let temporary = path.with_file_name(format!(".{name}.{}", unique()));
        let _ = std::fs::remove_file(&temporary);
        std::fs::write(&temporary, commit)?;
        std::fs::rename(&temporary, &path)
    }
}

/// The right to make one file.
pub struct Claim {
    /// Where the bytes go.
    pub partial: PathBuf,
    /// What the file is called in the end.
    blob: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Claim {
    /// Opens what is there of the file, or begins it.
    pub fn open(&self) -> Result<File> {
        only_a_file(&self.partial)?;
        OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&self.partial)
    }

    /// The file is complete and right: it gets its name.
    pub fn finish(&self, file: &File) -> Result<()> {
        file.sync_data()?;
        std::fs::rename(&self.partial, &self.blob)
    }

    /// What came is of no use.
    pub fn discard(&self) {
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Tells this writer's files from those of other processes, and of other threads.
pub fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Takes away what is no file of its own: writing would go through a link.
pub fn only_a_file(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => std::fs::remove_file(path),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}
