//! What is done of a folder of photos: a file of lines that is only ever added to.
//!
//! A line is on the disk before what it announces is done, so a crash at any moment loses what was in flight and nothing else. A last line that
//! a crash cut off is taken away when the journal is opened next.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sidecar::{Added, Naming};
use crate::structure::Structure;

/// The folder in a folder of photos that holds the journal.
pub const FOLDER: &str = ".monocle-catalogue";

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// A run began.
    Run(Run),
    /// A file's bytes were hashed.
    Seen(Seen),
    /// A photo was looked at.
    Answered(Box<Answered>),
    /// A photo could not be looked at.
    Failed(Failed),
    /// A sidecar is going to be written.
    Writing(Box<Writing>),
    /// It is.
    Wrote {
        /// Below the folder.
        sidecar: String,
        /// SHA-256 of what is in it.
        after: String,
    },
    /// A run came to its end; one that did not is gone on with.
    Finished {
        /// Its number.
        run: u64,
    },
    /// A run was taken back.
    Undone {
        /// Its number.
        run: u64,
    },
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Counted from 1.
    pub run: u64,
    /// Seconds since 1970.
    pub time: u64,
    /// The program and its version.
    pub tool: String,
    /// The model.
    pub model: String,
    /// Of all that an answer depends on, beside the photo.
    pub key: String,
    /// The prompt, the languages, the limits, in words.
    pub settings: String,
}

/// A file as it was when its bytes were hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Below the folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// When it changed last, in nanoseconds since 1970.
    pub changed: u64,
    /// SHA-256.
    pub hash: String,
}

/// What a model said of a photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// In which run.
    pub run: u64,
    /// SHA-256 of the photo's file.
    pub hash: String,
    /// The run's key.
    pub key: String,
    /// Where the photo was.
    pub path: String,
    /// Seconds since 1970.
    pub time: u64,
    /// Its parts, by language.
    pub parts: Vec<(String, Structure)>,
    /// What is wrong with it, after it was asked twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<String>,
    /// How many answers it took.
    pub asked: u32,
    /// Tokens of the answers.
    pub tokens: u64,
    /// From its first question to its last answer.
    pub seconds: f64,
}

/// Why a photo was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// In which run.
    pub run: u64,
    /// Where the photo is.
    pub path: String,
    /// In one line.
    pub reason: String,
}

/// A sidecar, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    /// In which run.
    pub run: u64,
    /// SHA-256 of the photo's file.
    pub hash: String,
    /// The run's key, and how keywords are put in levels.
    pub form: String,
    /// Where the photo is.
    pub path: String,
    /// Where the sidecar is, below the folder.
    pub sidecar: String,
    /// How it is named.
    pub naming: Naming,
    /// SHA-256 of what stood there; it is kept in the journal's folder. Nothing where there was none.
    pub before: Option<String>,
    /// SHA-256 of what will stand there.
    pub after: String,
    /// What is new in it.
    pub added: Added,
}

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk.
    #[error("cannot {deed} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        deed: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else writes it.
    #[error("`{}` is in use: another `monocle catalogue` is at work in this folder", .path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// A line that is none.
    #[error("`{}`, line {line}: {reason}\n\nhint: it was changed, or a newer version of Monocle wrote it", .path.display())]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        reason: String,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// What it says.
    pub known: Known,
}

/// What a journal says, runs that were taken back left out.
#[derive(Debug, Default)]
pub struct Known {
    /// Runs in their order.
    pub runs: Vec<Run>,
    finished: HashSet<u64>,
    undone: HashSet<u64>,
    seen: HashMap<String, Seen>,
    answers: HashMap<(String, String), Answered>,
    failed: HashMap<String, Failed>,
    writings: HashMap<String, Vec<Writing>>,
    wrote: HashMap<String, String>,
}

impl Journal {
    /// Opens a folder's journal, or begins it; nobody else can while it is open.
    pub fn open(photos: &Path) -> Result<Self, JournalError> {
        let folder = photos.join(FOLDER);
        let path = folder.join("journal.jsonl");
        let io = |deed, source| JournalError::Io {
            deed,
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(folder.join("before")).map_err(|source| io("make the folder of", source))?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|source| io("open", source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io("lock", source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|source| io("read", source))?;
        let (known, whole) = read(&bytes, &path)?;
        if whole < bytes.len() {
            file.set_len(whole as u64)
                .map_err(|source| io("shorten", source))?;
        }
        Ok(Self {
            folder,
            path,
            file,
            known,
        })
    }

    /// What a folder's journal says, without opening it for writing; nothing where there is none.
    pub fn look(photos: &Path) -> Result<Known, JournalError> {
        let path = photos.join(FOLDER).join("journal.jsonl");
        let found = monocle_files::read(&path, u64::MAX).map_err(std::io::Error::from);
        match found {
            Ok(bytes) => Ok(read(&bytes, &path)?.0),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Known::default()),
            Err(source) => Err(JournalError::Io {
                deed: "read",
                path,
                source,
            }),
        }
    }

    /// Adds a line.
    pub fn add(&mut self, line: Line) -> Result<(), JournalError> {
        let mut text = serde_json::to_string(&line).map_err(|error| self.io("write", error.into()))?;
        text.push('\n');
        // In one piece, so that lines of a crash are whole or cut off, and never mixed.
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|source| self.io("write", source))?;
        self.known.hear(line);
        Ok(())
    }

    /// Waits until all lines are on the disk.
    pub fn settle(&self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|source| self.io("write", source))
    }

    /// Keeps what stood in a sidecar; gives its SHA-256.
    pub fn keep(&self, bytes: &[u8]) -> Result<String, JournalError> {
        let hash = crate::sha256(bytes);
        let path = self.kept_at(&hash);
        if !path.is_file() {
            crate::files::write(&path, bytes).map_err(|source| JournalError::Io {
                deed: "write",
                path,
                source,
            })?;
        }
        Ok(hash)
    }

    /// What was kept under a hash.
    pub fn kept(&self, hash: &str) -> Result<Vec<u8>, JournalError> {
        let path = self.kept_at(hash);
        monocle_files::read(&path, monocle_files::TEXT).map_err(|error| JournalError::Io {
            deed: "read",
            path,
            source: error.into(),
        })
    }

    fn kept_at(&self, hash: &str) -> PathBuf {
        self.folder.join("before").join(format!("{hash}.xmp"))
    }

    fn io(&self, deed: &'static str, source: std::io::Error) -> JournalError {
        JournalError::Io {
            deed,
            path: self.path.clone(),
            source,
        }
    }
}

/// What lines say, and how many bytes of them are whole.
fn read(bytes: &[u8], path: &Path) -> Result<(Known, usize), JournalError> {
    let mut known = Known::default();
    let mut whole = 0;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_slice(line) {
            // Without its end, or with half of its bytes: a crash cut it off.
            _ if !line.ends_with(b"\n") => break,
            Err(_) if index + 1 == lines.len() => break,
            Ok(line) => known.hear(line),
            Err(error) => {
                return Err(JournalError::Unreadable {
                    path: path.to_owned(),
                    line: index + 1,
                    reason: error.to_string(),
                });
            }
        }
        whole += line.len();
    }
    Ok((known, whole))
}

impl Known {
    fn hear(&mut self, line: Line) {
        match line {
            Line::Run(run) => self.runs.push(run),
            Line::Seen(seen) => {
                self.seen.insert(seen.path.clone(), seen);
            }
            Line::Answered(answered) => {
                self.failed.remove(&answered.path);
                let key = (answered.hash.clone(), answered.key.clone());
                self.answers.insert(key, *answered);
            }
            Line::Failed(failed) => {
                self.failed.insert(failed.path.clone(), failed);
            }
            Line::Writing(writing) => {
                self.wrote.remove(&writing.sidecar);
                self.writings
                    .entry(writing.sidecar.clone())
                    .or_default()
                    .push(*writing);
            }
            Line::Wrote { sidecar, after } => {
                self.wrote.insert(sidecar, after);
            }
            Line::Finished { run } => {
                self.finished.insert(run);
            }
            Line::Undone { run } => {
                self.undone.insert(run);
                self.answers.retain(|_, answered| answered.run != run);
                self.failed.retain(|_, failed| failed.run != run);
                for writings in self.writings.values_mut() {
                    writings.retain(|writing| writing.run != run);
                }
                self.writings.retain(|_, writings| !writings.is_empty());
            }
        }
    }

    /// The run that was stopped before its end and asks the same, if the last one is such.
    pub fn unfinished(&self, key: &str) -> Option<u64> {
        let last = self.runs.last()?;
        let is_open = !self.finished.contains(&last.run) && !self.undone.contains(&last.run);
        (is_open && last.key == key).then_some(last.run)
    }

    /// The number of the next run.
    pub fn next_run(&self) -> u64 {
        self.runs.iter().map(|run| run.run).max().unwrap_or(0) + 1
    }

    /// The last run that was not taken back.
    pub fn last_run(&self) -> Option<&Run> {
        self.runs.iter().rev().find(|run| self.has_run(run.run))
    }

    /// The last run that wrote something and was not taken back; where none did, [`Self::last_run`].
    pub fn last_written_run(&self) -> Option<&Run> {
        let written: HashSet<u64> = self
            .writings
            .values()
            .flatten()
            .map(|writing| writing.run)
            .collect();
        let mut left = self.runs.iter().rev().filter(|run| self.has_run(run.run));
        left.find(|run| written.contains(&run.run))
            .or_else(|| self.last_run())
    }

    /// Whether there is such a run that was not taken back.
    pub fn has_run(&self, number: u64) -> bool {
        !self.undone.contains(&number) && self.runs.iter().any(|run| run.run == number)
    }

    /// A file's hash, if it is as it was when its bytes were hashed.
    pub fn hash_of(&self, path: &str, size: u64, changed: u64) -> Option<&str> {
        let seen = self.seen.get(path)?;
        (seen.size == size && seen.changed == changed).then_some(seen.hash.as_str())
    }

    /// What was said of a photo with these bytes.
    pub fn answer(&self, hash: &str, key: &str) -> Option<&Answered> {
        self.answers.get(&(hash.to_owned(), key.to_owned()))
    }

    /// What was said of the photo that was here when it was hashed last, by the run that looked at it last.
    pub fn last_answer(&self, path: &str) -> Option<&Answered> {
        let hash = &self.seen.get(path)?.hash;
        let of_it = self.answers.values().filter(|answered| answered.hash == *hash);
        of_it.max_by_key(|answered| (answered.run, answered.time))
    }

    /// Why the photo that is here was not looked at.
    pub fn failure(&self, path: &str) -> Option<&Failed> {
        self.failed.get(path)
    }

    /// What was written last into a sidecar, and whether that is known to be done.
    pub fn written(&self, sidecar: &str) -> Option<(&Writing, bool)> {
        let last = self.writings.get(sidecar)?.last()?;
        Some((last, self.wrote.get(sidecar) == Some(&last.after)))
    }

    /// What was written that left these bytes.
    pub fn written_as(&self, after: &str) -> Option<&Writing> {
        self.writings
            .values()
            .flatten()
            .find(|writing| writing.after == after)
    }

    /// What a run wrote, the last first.
    pub fn writings_of(&self, run: u64) -> Vec<Writing> {
        let mut sidecars: Vec<_> = self.writings.keys().collect();
        sidecars.sort();
        let all = sidecars
            .into_iter()
            .flat_map(|sidecar| self.writings[sidecar].iter().rev());
        all.filter(|writing| writing.run == run).cloned().collect()
    }

    /// How many answers there are.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }
}
