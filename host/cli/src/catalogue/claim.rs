//! Photos on their way to the engine: hashed, looked up in the journal, decoded and planned, on threads beside the one that computes.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, UNIX_EPOCH};

use monocle_runtime::budget::Bounds;
use monocle_runtime::memory::MemoryLimit;
use monocle_runtime::model::Model;
use monocle_runtime::recordings::Recordings;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::prepare::PreparedRequest;
use monocle_runtime::scheduler::terms::Terms;
use monocle_survey::journal::{Journal, Seen};
use monocle_survey::photos::Photo;
use monocle_survey::structure::Structure;

use super::ask::{Judged, Questions};

/// What preparing needs.
pub struct Kit {
    pub model: Arc<Model>,
    pub recordings: Recordings,
    pub limit: Option<MemoryLimit>,
    pub questions: Questions,
    pub key: String,
    pub retry: bool,
    pub max_tokens: usize,
    pub prefill_chunk: usize,
}

/// A photo that is being asked about.
#[derive(Debug)]
pub struct Asking {
    /// Its place in the list.
    pub photo: usize,
    pub hash: String,
    pub context: String,
    /// Which language, and whether for the second time.
    pub language: usize,
    pub first: Option<(String, Judged)>,
    /// What is done of it.
    pub parts: Vec<(String, Structure)>,
    pub marks: Vec<String>,
    pub asked: u32,
    pub tokens: u64,
    pub started: Instant,
}

/// What became of a photo on its way.
pub enum Ready {
    /// It can be asked about.
    Ask(Box<Asking>, Box<PreparedRequest>),
    /// It was answered before.
    Known { photo: usize, hash: String },
    /// Another file with the same bytes is being asked about.
    Same { photo: usize, hash: String },
    /// It cannot be asked about.
    Failed { photo: usize, reason: String },
}

enum Job {
    New(usize),
    Again(Box<Asking>),
}

/// What threads share.
pub struct Line<'a> {
    pub root: &'a Path,
    pub photos: &'a [Photo],
    pub journal: &'a Mutex<Journal>,
    jobs: Mutex<Jobs>,
    more: Condvar,
}

struct Jobs {
    waiting: VecDeque<Job>,
    /// Hashes of photos that somebody asks about.
    claimed: HashSet<String>,
    is_over: bool,
}

impl<'a> Line<'a> {
    pub fn new(root: &'a Path, photos: &'a [Photo], wanted: Vec<usize>, journal: &'a Mutex<Journal>) -> Self {
        let jobs = Jobs {
            waiting: wanted.into_iter().map(Job::New).collect(),
            claimed: HashSet::new(),
            is_over: false,
        };
        Self {
            root,
            photos,
            journal,
            jobs: Mutex::new(jobs),
            more: Condvar::new(),
        }
    }

    /// A photo that has another question: it goes before those that have not begun.
    pub fn again(&self, asking: Box<Asking>) {
        lock(&self.jobs).waiting.push_front(Job::Again(asking));
        self.more.notify_one();
    }

    /// No more is wanted.
    pub fn end(&self) {
        lock(&self.jobs).is_over = true;
        self.more.notify_all();
    }

    /// Prepares one photo after another, until the end.
    pub fn work(&self, kit: &Kit, ready: &SyncSender<Ready>) {
        while let Some(job) = self.next() {
            let given = match job {
                Job::New(photo) => self.begin(kit, photo),
                Job::Again(asking) => self.prepare(kit, asking),
            };
            if ready.send(given).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        loop {
            if jobs.is_over {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            jobs = self.more.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn begin(&self, kit: &Kit, photo: usize) -> Ready {
        let hash = match hash(self.root, &self.photos[photo].shown, self.journal) {
            Ok(hash) => hash,
            Err(reason) => return Ready::Failed { photo, reason },
        };
        let context = {
            let journal = lock(self.journal);
            let answer = journal.known.answer(&hash, &kit.key);
            if answer.is_some_and(|answer| !kit.retry || answer.marks.is_empty()) {
                return Ready::Known { photo, hash };
            }
            kit.questions
                .context(self.root, &self.photos[photo].files, &journal.known)
        };
        if !lock(&self.jobs).claimed.insert(hash.clone()) {
            return Ready::Same { photo, hash };
        }
        let asking = Asking {
            photo,
            hash,
            context,
            language: 0,
            first: None,
            parts: Vec::new(),
            marks: Vec::new(),
            asked: 0,
            tokens: 0,
            started: Instant::now(),
        };
        self.prepare(kit, Box::new(asking))
    }

    fn prepare(&self, kit: &Kit, asking: Box<Asking>) -> Ready {
        let file = self.root.join(&self.photos[asking.photo].shown);
        let before = asking
            .first
            .as_ref()
            .map(|(answer, judged)| (answer.as_str(), judged));
        let language = &kit.questions.languages[asking.language];
        let request = kit
            .questions
            .request(PictureInput::File(file), language, &asking.context, before);
        let prepared = PreparedRequest::new(
            &kit.model,
            &kit.recordings,
            &request,
            kit.max_tokens,
            kit.prefill_chunk,
            Bounds {
                memory: kit.limit,
                terms: Terms::from(Instant::now()),
            },
        );
        match prepared {
            Ok(prepared) => Ready::Ask(asking, Box::new(prepared)),
            Err(error) => Ready::Failed {
                photo: asking.photo,
                reason: error.to_string(),
            },
        }
    }
}

/// A photo's SHA-256: by the journal, if the file is as it was, else by its bytes.
pub fn hash(root: &Path, below: &Path, journal: &Mutex<Journal>) -> Result<String, String> {
    let (path, size, changed) = stand(root, below)?;
    if let Some(known) = lock(journal).known.hash_of(&path, size, changed) {
        return Ok(known.to_owned());
    }
    let hash = monocle_survey::files::hash_of_photo(&root.join(below));
    let hash = hash.map_err(|error| format!("cannot read it: {error}"))?;
    let seen = Seen {
        path,
        size,
        changed,
        hash: hash.clone(),
    };
    let added = lock(journal).add(monocle_survey::journal::Line::Seen(seen));
    added.map_err(|error| error.to_string())?;
    Ok(hash)
}

/// A file's name in journals, its size and when it changed.
pub fn stand(root: &Path, below: &Path) -> Result<(String, u64, u64), String> {
    let path = name(below)?;
    let found = std::fs::metadata(root.join(below)).map_err(|error| format!("cannot read it: {error}"))?;
    let changed = found
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let changed = changed.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    Ok((path, found.len(), changed))
}

/// A file's name in journals.
pub fn name(below: &Path) -> Result<String, String> {
    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
    parts
        .map(|parts| parts.join("/"))
        .ok_or_else(|| "its name is no Unicode text".to_owned())
}

/// Nobody panics with a lock; if somebody did, what is behind it is still whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
