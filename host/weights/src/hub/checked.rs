//! Whether the cache's files are what they are called. A blob's name is the hash of its bytes, so this needs no network.

use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::hub::names::{Hasher, Oid};
use crate::hub::store::only_a_file;

/// In a repository's folder, beside `blobs` and `snapshots`.
const LIST: &str = ".monocle-checked";

/// Which blobs of a repository were hashed and found right, with the size and time that they had: a line each, the last one counts. A
/// blob that has neither changed is not hashed again.
pub struct Checked {
    path: PathBuf,
    lines: Vec<String>,
}

impl Checked {
    /// Of a repository's folder. None where nothing can be written, because the cache is read-only or the folder lies elsewhere: there,
    /// nothing could be repaired either.
    pub fn open(cache: &Path, repo: &Path) -> Option<Self> {
        let (cache, repo) = (
            std::fs::canonicalize(cache).ok()?,
            std::fs::canonicalize(repo).ok()?,
        );
        if !repo.starts_with(cache) {
            return None;
        }
        Self::read(repo.join(LIST), true)
    }

    fn read(path: PathBuf, create: bool) -> Option<Self> {
        const LONGEST: u64 = 1 << 20;
        only_a_file(&path).ok()?;
        let mut options = OpenOptions::new();
        let file = options.create(create).append(true).read(true).open(&path).ok()?;
        let mut text = String::new();
        let read = (&file).take(LONGEST).read_to_string(&mut text);
        // A damaged list is an empty one.
        if read.is_err() || text.len() as u64 == LONGEST {
            text.clear();
            File::create(&path).ok()?;
        }
        Some(Self {
            path,
            lines: text.lines().map(str::to_owned).collect(),
        })
    }

    /// Whether a blob is as it was when it was hashed.
    pub fn has(&self, oid: &Oid, blob: &Path) -> bool {
        let start = format!("{} ", oid.digits());
        let last = self.lines.iter().rev().find(|line| line.starts_with(&start));
        last.is_some_and(|last| line_of(oid, blob).is_some_and(|now| is_same(last, &now)))
    }

    /// The blob was hashed, and is right.
    pub fn add(&mut self, oid: &Oid, blob: &Path) {
        if let Some(line) = line_of(oid, blob) {
            self.write(line);
        }
    }

    fn write(&mut self, line: String) {
        // What cannot be remembered is hashed again.
        let _ = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        self.lines.push(line);
    }
}

/// `DIGITS SIZE SECONDS.NANOSECONDS`
fn line_of(oid: &Oid, blob: &Path) -> Option<String> {
    let found = std::fs::metadata(blob).ok()?;
    let time = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let (seconds, nanoseconds) = (time.as_secs(), time.subsec_nanos());
    Some(format!(
        "{} {} {seconds}.{nanoseconds:09}",
        oid.digits(),
        found.len()
    ))
}

/// Archives, those of container images among them, keep whole seconds.
fn is_same(then: &str, now: &str) -> bool {
    let seconds = now.strip_suffix(".000000000");
    then == now || seconds.is_some_and(|seconds| then.split('.').next() == Some(seconds))
}

/// A file turned out to be unreadable. If it is of the cache, it is hashed before it is used again, and fetched again if it is not what
/// it is called.
pub fn distrust(file: &Path) {
    if let Some((oid, blob)) = blob_of(file)
        && let Some(repo) = blob.parent().and_then(Path::parent)
        && let Some(mut checked) = Checked::read(repo.join(LIST), false)
    {
        checked.write(format!("{} ?", oid.digits()));
    }
}

/// Where the bytes of a snapshot's file are, and what they must hash to. None where the cache does not say: the file is no link.
pub fn blob_of(file: &Path) -> Option<(Oid, PathBuf)> {
    let blob = std::fs::canonicalize(file).ok()?;
    let in_blobs = blob.parent()?.file_name()? == "blobs";
    let oid = Oid::parse(blob.file_name()?.to_str()?).filter(|_| in_blobs)?;
    Some((oid, blob))
}

/// Hashes a file; `read` is told how many bytes were read, now and then.
pub fn is_sound(oid: &Oid, path: &Path, read: &mut dyn FnMut(u64)) -> Result<bool> {
    let file = File::open(path)?;
    let mut hasher = oid.hasher(file.metadata()?.len());
    hash(&file, u64::MAX, &mut hasher, read)?;
    Ok(hasher.finish() == oid.digits())
}

/// Hashes a file from where it is, `most` bytes of it; returns how many there were.
pub fn hash(mut file: &File, most: u64, hasher: &mut Hasher, read: &mut dyn FnMut(u64)) -> Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    while done < most {
        let wanted = buffer
            .len()
            .min(usize::try_from(most - done).unwrap_or(usize::MAX));
        let bytes = file.read(&mut buffer[..wanted])?;
        if bytes == 0 {
            break;
        }
        hasher.update(&buffer[..bytes]);
        done += bytes as u64;
        read(done);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_the_same_time_and_others_are_not() {
        assert!(is_same("a 5 12.345678901", "a 5 12.345678901"));
        assert!(is_same("a 5 12.345678901", "a 5 12.000000000"));
        assert!(!is_same("a 5 12.345678901", "a 5 13.000000000"));
        assert!(!is_same("a 5 12.345678901", "a 6 12.000000000"));
        assert!(!is_same("a 5 12.345678901", "a 5 12.345678902"));
        assert!(!is_same("a ?", "a 5 12.345678901"));
    }
}
