//! Many requests on one engine: each is a session, and every step computes rows of all of them together.
//!
//! A step encodes at most one picture, then runs a forward pass: a row for each session whose answer goes on, and prompt tokens of those that
//! have not got so far. Which rows, [`policy`] says; a session's result does not depend on which others there are.

pub mod admission;
mod ahead;
pub mod batch;
pub(crate) mod encoding;
pub mod features;
mod pace;
mod passes;
mod pictures;
pub mod policy;
pub mod prefixes;
pub mod terms;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_tensor::backend::{Backend, BackendError, SequenceId};
use monocle_tensor::program::{Program, ProgramId};
use monocle_text::{Delta, FinishReason, TokenLogprobs};

use crate::budget::Bounds;
use crate::device_choice::Picker;
use crate::error::RequestError;
use crate::loaded::Loaded;
use crate::memory::MemoryLimit;
use crate::model::Model;
use crate::plugin::stamp::CONTRACT;
use crate::recordings::Recordings;
use crate::report::{HostReport, PhaseMemory, PluginReport, Report};
use crate::request::prepare::PreparedRequest;
use crate::request::{GenerateOptions, Request};
use crate::session::{Phase, Progress, Session};
use admission::Claim;
use ahead::Ahead;
use features::FeatureCache;
use pace::Pace;
use prefixes::PrefixCache;
use terms::{Class, Terms};

/// Programs whose needs are remembered.
const PROGRAMS_KNOWN: usize = 1024;

/// Names a request for as long as its scheduler lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What a scheduler may use.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerOptions {
    /// Bytes that may be used, in place of the default share.
    pub memory_limit: Option<usize>,
    /// Bytes of picture features, and as many of sequences that ended, that may be kept for requests to come; part of the memory limit, and given
    /// back first when memory is short. 0 keeps nothing.
    pub cache_limit: usize,
    /// Rows of one forward pass, unless what must stay together is more; beside answers, prompts have fewer.
    pub token_budget: usize,
    /// Requests that are computed side by side; further ones wait.
    pub max_sessions: usize,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            memory_limit: None,
            cache_limit: 0,
            token_budget: 512,
            max_sessions: 64,
        }
    }
}

/// What happened to a request. Each ends with exactly one of the last three.
#[derive(Debug)]
pub enum Event {
    /// What the model thought at the tokens of the text that comes next, where that was asked for.
    Logprobs(Vec<TokenLogprobs>),
    /// Text to show.
    Text(Delta),
    /// It was answered, or cancelled after it had begun.
    Done(Box<Report>),
    /// It was cancelled before anything of it was computed.
    Cancelled,
    /// It cannot be answered.
    Failed(RequestError),
}

impl Event {
    /// Whether nothing of its request comes after it.
    fn is_last(&self) -> bool {
        match self {
            Self::Logprobs(_) | Self::Text(_) => false,
            Self::Done(_) | Self::Cancelled | Self::Failed(_) => true,
        }
    }
}

/// What the receiver of text wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More of it.
    Continue,
    /// No more.
    Cancel,
}

/// See the module.
pub struct Scheduler {
    model: Arc<Model>,
    pub(crate) recordings: Recordings,
    pub(crate) loaded: Loaded,
    options: SchedulerOptions,
    /// Those that had begun and must begin again, in the order in which they began; then all others in the order of their arrival.
    waiting: VecDeque<Session>,
    /// In the order in which they began.
    running: Vec<Session>,
    /// Sessions that began so far.
    begun: u64,
    /// Sessions of the first class that began while one of the second waited.
    passed: usize,
    features: FeatureCache,
    prefixes: PrefixCache,
    pace: Pace,
    /// Whose rows fill a step up.
    scratch: Option<SequenceId>,
    /// Tokens that the device has chosen and the host has not read.
    ahead: Option<Ahead>,
    picker: Option<Picker>,
    /// What programs compute at once for sequences of so many tokens, as far as the engine was asked.
    program_bytes: HashMap<(ProgramId, usize), usize>,
    events: Vec<(SessionId, Event)>,
    next: u64,
}

impl Scheduler {
    /// A scheduler for a model on an engine; no weight is on the engine yet.
    pub fn new(model: Arc<Model>, backend: Box<dyn Backend>, options: SchedulerOptions) -> Self {
        let recordings = Recordings::new(Arc::clone(&model));
        Self {
            loaded: Loaded::new(backend, options.memory_limit, recordings.clone()),
            recordings,
            features: FeatureCache::new(options.cache_limit),
            prefixes: PrefixCache::new(options.cache_limit),
            pace: Pace::new(options.token_budget),
            model,
            options,
            waiting: VecDeque::new(),
            running: Vec::new(),
            begun: 0,
            passed: 0,
            scratch: None,
            ahead: None,
            picker: None,
            program_bytes: HashMap::new(),
            events: Vec::new(),
            next: 0,
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The engine.
    pub fn backend(&self) -> &dyn Backend {
        self.loaded.backend.as_ref()
    }

    /// What requests are prepared with on other threads: see [`PreparedRequest::new`].
    pub fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// How much memory may be used; `None` where nobody knows how much there is.
    pub fn memory_limit(&self) -> Option<MemoryLimit> {
        self.loaded.memory.limit
    }

    /// Changes how much memory may be used, for requests to come and for those that run: what they hold beyond it is given up as if memory were
    /// short.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        let source = "its share of what all models may use";
        self.loaded.memory.limit = Some(MemoryLimit { bytes, source });
        self.loaded.backend.keep_within(bytes);
        self.shrink_caches_beside(self.counted());
    }

    /// How many requests wait, and how many run.
    pub fn counts(&self) -> [usize; 2] {
        [self.waiting.len(), self.running.len()]
    }

    /// What people should know of how the engine holds the weights that the plugin asked for.
    pub fn weight_notes(&self) -> Vec<String> {
        self.loaded.notes()
    }

    /// Bytes of the weights that the plugin asked for, as stored; 0 before it asked.
    pub fn weight_bytes(&self) -> usize {
        self.loaded.weight_bytes()
    }

    /// What opening the model and handing its weights over took.
    pub fn load_time(&self) -> Duration {
        self.loaded.load_time + self.model.open_time
    }

    /// Hands the weights to the engine, once.
    pub fn load_weights(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Result<(), RequestError> {
        self.loaded.load(progress)
    }

    /// Plans a request and checks it, computing nothing. `max_tokens` bounds the answer, `chunk` is the size of a prefill step.
    pub fn prepare(
        &mut self,
        request: &Request,
        max_tokens: usize,
        chunk: usize,
    ) -> Result<PreparedRequest, RequestError> {
        self.prepare_on(request, max_tokens, chunk, Terms::from(Instant::now()))
    }

    /// As [`Scheduler::prepare`], on these terms.
    pub fn prepare_on(
        &mut self,
        request: &Request,
        max_tokens: usize,
        chunk: usize,
        terms: Terms,
    ) -> Result<PreparedRequest, RequestError> {
        let bounds = Bounds {
            memory: self.memory_limit(),
            terms,
        };
        let mut prepared =
            PreparedRequest::new(&self.model, &self.recordings, request, max_tokens, chunk, bounds)?;
        self.loaded.note_estimate(&mut prepared)?;
        Ok(prepared)
    }

    /// Takes a request in. What becomes of it, [`Scheduler::step`] says. Refused is what could never be answered here. Terms may be the moment
    /// at which it came.
    pub fn submit(
        &mut self,
        mut prepared: PreparedRequest,
        options: GenerateOptions,
        terms: impl Into<Terms>,
    ) -> Result<SessionId, RequestError> {
        self.loaded.note_estimate(&mut prepared)?;
        self.loaded.check_memory(&prepared.estimate)?;
        self.loaded.load(&mut |_, _| {})?;
        let id = SessionId(self.next);
        let session = Session::new(id, &self.model, prepared, options, terms.into())?;
        self.next += 1;
        self.waiting.push_back(session);
        Ok(id)
    }

    /// Ends a request at the next step, wherever it is.
    pub fn cancel(&mut self, id: SessionId) {
        let sessions = self.waiting.iter_mut().chain(&mut self.running);
        for session in sessions.filter(|session| session.id == id) {
            session.cancelled = true;
        }
    }

    /// Whether no request is left.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Does the next piece of work; gives what happened, in order.
    pub fn step(&mut self) -> Vec<(SessionId, Event)> {
        self.step_at(Instant::now())
    }

    /// As [`Scheduler::step`], at a moment that the caller names: requests that are late by then end.
    pub fn step_at(&mut self, now: Instant) -> Vec<(SessionId, Event)> {
        self.end_cancelled();
        self.end_late(now);
        self.admit();
        self.pace.begins(now);
        let has_encoded = self.encode();
        self.forward(has_encoded);
        self.forget_ahead();
        let events = std::mem::take(&mut self.events);
        if events.iter().any(|(_, event)| event.is_last()) {
            // What its last step left is free only now.
            self.loaded.relieve_memory();
        }
        events
    }

    /// Answers one request. `sink` gets text as it can be shown.
    pub fn answer(
        &mut self,
        request: &Request,
        options: &GenerateOptions,
        sink: &mut dyn FnMut(&Delta) -> Flow,
    ) -> Result<Report, RequestError> {
        self.answer_on(request, options, Terms::from(Instant::now()), sink)
    }

    /// As [`Scheduler::answer`], on these terms.
    pub fn answer_on(
        &mut self,
        request: &Request,
        options: &GenerateOptions,
        terms: Terms,
        sink: &mut dyn FnMut(&Delta) -> Flow,
    ) -> Result<Report, RequestError> {
        let prepared = self.prepare_on(request, options.max_tokens, options.prefill_chunk, terms)?;
        let asked = self.submit(prepared, options.clone(), terms)?;
        loop {
            for (id, event) in self.step() {
                match event {
                    _ if id != asked => {}
                    Event::Logprobs(_) => {}
                    Event::Text(delta) => {
                        if sink(&delta) == Flow::Cancel {
                            self.cancel(asked);
                        }
                    }
                    Event::Done(report) => return Ok(*report),
                    Event::Failed(error) => return Err(error),
                    Event::Cancelled => unreachable!("it is cancelled only after text came"),
                }
            }
        }
    }

    /// Gives back all that is kept for requests to come.
    pub fn clear_caches(&mut self) {
        self.shrink_caches(0);
    }

    /// Bytes of what is kept for requests to come: picture features, and sequences that ended.
    pub fn cached_bytes(&self) -> [usize; 2] {
        [self.features.bytes(), self.prefixes.bytes()]
    }

    fn end_cancelled(&mut self) {
        while let Some(index) = self.waiting.iter().position(|session| session.cancelled) {
            if let Some(session) = self.waiting.remove(index) {
                match session.progress.phase {
                    Phase::Encode if session.generated() == 0 => {
                        self.events.push((session.id, Event::Cancelled));
                    }
                    // It had begun, and gave its caches up for others.
                    Phase::Encode | Phase::Prefill(_) | Phase::Decode => {
                        self.end(session, FinishReason::Cancelled);
                    }
                }
            }
        }
        let cancelled = self.running.iter().filter(|session| session.cancelled);
        for id in cancelled.map(|session| session.id).collect::<Vec<_>>() {
            self.finish(id, FinishReason::Cancelled);
        }
    }

    /// Ends those whose time is over, wherever they are.
    fn end_late(&mut self, now: Instant) {
        let before = |place: usize| self.running.len() + place;
        let waiting = self.waiting.iter().enumerate();
        let waiting = waiting.filter_map(|(place, session)| {
            let error = session
                .late(now)
                .or_else(|| session.waited_long(now, before(place)));
            Some((session.id, error?))
        });
        let running = self.running.iter();
        let running = running.filter_map(|session| Some((session.id, session.late(now)?)));
        let late: Vec<_> = waiting.chain(running).collect();
        for (id, error) in late {
            match self.waiting.iter().position(|session| session.id == id) {
                Some(place) => {
                    self.waiting.remove(place);
                    self.events.push((id, Event::Failed(error)));
                }
                None => self.fail(id, error),
            }
        }
    }

    /// Lets those begin that wait, as long as there is room; the one whose turn it is is not passed over because it needs much.
    fn admit(&mut self) {
        while self.running.len() < self.options.max_sessions {
            let classes: Vec<Class> = self.waiting.iter().map(|session| session.terms.class).collect();
            let Some(place) = admission::next(&classes, self.passed) else {
                return;
            };
            let claim = self.claim(&self.waiting[place]);
            let began_before = self.waiting[place].begun.is_some();
            if !self.make_room(&claim, began_before) {
                return;
            }
            let Some(mut session) = self.waiting.remove(place) else {
                return;
            };
            self.passed = match session.terms.class {
                Class::Interactive if classes.contains(&Class::Bulk) => self.passed + 1,
                Class::Interactive | Class::Bulk => 0,
            };
            session.reserved = claim.tokens;
            session.begun.get_or_insert_with(|| {
                self.begun += 1;
                self.begun
            });
            if self.running.is_empty() {
                self.loaded.backend.reset_peak();
            }
            // One that had to begin again goes back to its place.
            let place = self.running.partition_point(|other| other.begun < session.begun);
            self.running.insert(place, session);
        }
    }

    /// What a session needs besides those that run.
    fn claim(&self, session: &Session) -> Claim {
        Claim::new(session, |tokens| {
            self.loaded.cache_bytes(&session.prepared, tokens)
        })
    }

    /// Makes room for a session's claim beside what runs. False where there is none.
    fn make_room(&mut self, claim: &Claim, began_before: bool) -> bool {
        // Those of one that comes back are counted all the time.
        let pictures = match began_before {
            true => 0,
            false => claim.pictures,
        };
        self.room_for(claim.bytes + pictures, claim.peak, claim.fixed) || self.running.is_empty()
    }

    /// Makes room for so many bytes and a program of so large intermediate results; what is kept for requests to come goes first.
    fn room_for(&mut self, bytes: usize, peak: usize, fixed: usize) -> bool {
        let running = self.running.iter();
        let peak = running.fold(peak, |peak, session| peak.max(self.claim(session).peak));
        let all = [fixed, bytes, peak]
            .into_iter()
            .fold(self.counted(), usize::saturating_add);
        self.shrink_caches_beside(all)
    }

    /// Makes room for what a pass over rows of several sessions computes, and for the caches of rows that fill it up: it may be more
    /// than any of them needs alone.
    fn room_for_pass(&mut self, program: &Program, padding: usize) -> bool {
        let (Some(first), Some(_)) = (self.running.first(), self.loaded.memory.limit) else {
            return true;
        };
        let fixed = self.claim(first).fixed;
        let padding = match padding {
            0 => 0,
            rows => self.loaded.cache_bytes(&first.prepared, rows),
        };
        let encoding = self.running.iter().filter(|session| session.encoding.is_some());
        let encoding = encoding.map(|session| session.prepared.estimate.slices_bytes);
        let encoding: usize = encoding.sum();
        let longest = self.running.iter().map(|session| session.reserved).max();
        let results = self.program_bytes(program, longest.unwrap_or(0));
        let all = [fixed, encoding, results, padding]
            .into_iter()
            .fold(self.counted(), usize::saturating_add);
        self.shrink_caches_beside(all)
    }

    /// What a program computes at once at most, where no sequence has more tokens; asked of the engine once.
    fn program_bytes(&mut self, program: &Program, tokens: usize) -> usize {
        if self.program_bytes.len() >= PROGRAMS_KNOWN {
            self.program_bytes.clear();
        }
        let backend = self.loaded.backend.as_ref();
        *self
            .program_bytes
            .entry((program.id, tokens))
            .or_insert_with(|| backend.program_bytes(program, tokens))
    }

    /// Bytes that are counted for sessions, besides weights and what is computed at the moment.
    fn counted(&self) -> usize {
        let running = self.running.iter().map(|session| {
            let caches = self.loaded.cache_bytes(&session.prepared, session.reserved);
            caches.saturating_add(self.claim(session).pictures)
        });
        // One that gave its caches up keeps its pictures, and what is done of them: their pixels cannot be made again.
        let waiting = self.waiting.iter().filter(|session| session.begun.is_some());
        let waiting = waiting.map(|session| {
            let slices = match session.encoding {
                Some(_) => session.prepared.estimate.slices_bytes,
                None => 0,
            };
            self.claim(session).pictures.saturating_add(slices)
        });
        running.chain(waiting).fold(0, usize::saturating_add)
    }

    /// Gives back of what is kept for requests to come what does not fit beside so many bytes; false where these do not fit themselves.
    fn shrink_caches_beside(&mut self, bytes: usize) -> bool {
        let Some(limit) = self.loaded.memory.limit else {
            return true;
        };
        let left = limit.bytes.checked_sub(bytes);
        self.shrink_caches(left.unwrap_or(0));
        left.is_some()
    }

    /// Lets what is kept for requests to come have so many bytes at most: sequences go before features, which are smaller.
    fn shrink_caches(&mut self, bytes: usize) {
        let prefixes = bytes.saturating_sub(self.features.bytes());
        for sequence in self.prefixes.shrink_to(prefixes) {
            self.loaded.backend.drop_sequence(sequence);
        }
        self.features
            .shrink_to(bytes.saturating_sub(self.prefixes.bytes()));
    }

    /// Counts further caches for answers that have grown beyond what was counted. Where there is no room, the newest session gives up its own,
    /// and is computed again later: no token of it is lost or given twice.
    fn reserve(&mut self) {
        let mut index = 0;
        while index < self.running.len() {
            let session = &self.running[index];
            if session.tokens.len() <= session.reserved {
                index += 1;
                continue;
            }
            let claim = self.claim(session);
            let more = claim
                .bytes
                .saturating_sub(self.loaded.cache_bytes(&session.prepared, session.reserved));
            // Alone, it fits: that was checked when it came.
            if self.room_for(more, claim.peak, claim.fixed) || self.running.len() == 1 {
                self.running[index].reserved = claim.tokens;
                index += 1;
                continue;
            }
            self.give_up_newest();
            // Places have changed.
            index = 0;
        }
    }

    /// The newest session gives its caches up, of bulk work before others, and begins again later. The oldest never does.
    fn give_up_newest(&mut self) {
        let bulk = |session: &Session| session.terms.class == Class::Bulk;
        let index = match self.running.iter().rposition(bulk) {
            Some(index) if index > 0 => index,
            _ => self.running.len() - 1,
        };
        let mut newest = self.running.remove(index);
        self.loaded.drop_sequence(newest.sequence);
        newest.start_over();
        let begun_before = |other: &Session| other.begun.is_some() && other.begun < newest.begun;
        let place = self.waiting.partition_point(begun_before);
        self.waiting.insert(place, newest);
    }

    /// A running session's answer is over, or it cannot go on.
    fn finish(&mut self, id: SessionId, reason: FinishReason) {
        let Some(index) = self.place(id) else { return };
        let session = self.running.remove(index);
        self.end(session, reason);
    }

    fn end(&mut self, mut session: Session, reason: FinishReason) {
        let id = session.id;
        self.end_phase(&mut session.progress);
        self.give_up_sequence(&mut session);
        session.progress.timings.load = self.load_time();
        session.progress.memory.weights_bytes = self.loaded.weight_bytes();
        session.progress.memory.limit_bytes = self.loaded.memory.limit.map(|limit| limit.bytes);
        session.progress.memory.load = self.loaded.load_memory;
        session.progress.memory.process_peak_bytes = crate::memory::process::peak_resident();
        let host = self.host_report();
        let finished = session.finish(reason, &self.model, host);
        self.loaded.settle_memory();
        match finished {
            Ok((delta, logprobs, mut report)) => {
                let network = &self.model.network_plugin().stamp.name;
                report.add_log(network, self.recordings.take_log());
                report.notes.extend(self.loaded.notes());
                self.say(id, delta, logprobs);
                self.events.push((id, Event::Done(Box::new(report))));
            }
            Err(error) => self.events.push((id, Event::Failed(error))),
        }
    }

    /// A running session cannot go on.
    fn fail(&mut self, id: SessionId, error: RequestError) {
        let Some(index) = self.place(id) else { return };
        let session = self.running.remove(index);
        let error = match error {
            RequestError::Backend(BackendError::Stopped) => {
                // The engine has looked at the clock, to the millisecond.
                let later = Instant::now() + Duration::from_millis(1);
                session.late(later).unwrap_or(error)
            }
            error => error,
        };
        // What it computed may be what was wrong: nothing of it is kept.
        self.loaded.drop_sequence(session.sequence);
        drop(session);
        self.loaded.settle_memory();
        self.events.push((id, Event::Failed(error)));
    }

    fn place(&self, id: SessionId) -> Option<usize> {
        self.running.iter().position(|session| session.id == id)
    }

    /// Keeps what a session has computed for those to come, or drops it.
    fn give_up_sequence(&mut self, session: &mut Session) {
        let Some(sequence) = session.sequence.take() else {
            return;
        };
        let computed = session.computed.min(session.tokens.len());
        let tokens = &session.tokens[..computed];
        // What cross attention read is part of the state, and no key says what that was.
        let keys = match self.prefixes.is_off() || session.prepared.has_context() {
            true => None,
            false => prefixes::token_keys(&session.prepared.prompt, tokens, &session.picture_keys),
        };
        let Some(keys) = keys else {
            self.loaded.backend.drop_sequence(sequence);
            return;
        };
        // A row that was asked for ahead of its token is not kept.
        let kept = match session.computed > computed {
            true => matches!(self.loaded.backend.truncate(sequence, computed), Ok(true)),
            false => true,
        };
        if !kept {
            self.loaded.backend.drop_sequence(sequence);
            return;
        }
        let bytes = self.loaded.cache_bytes(&session.prepared, computed);
        for gone in self.prefixes.insert(sequence, keys, bytes) {
            self.loaded.backend.drop_sequence(gone);
        }
    }

    /// What the phase took; what is left of it is given back if need be. The next one begins.
    fn end_phase(&mut self, progress: &mut Progress) {
        let memory = PhaseMemory::now(self.loaded.backend.as_ref());
        let place = match progress.phase {
            Phase::Encode => &mut progress.memory.encode,
            Phase::Prefill(_) => &mut progress.memory.prefill,
            Phase::Decode => &mut progress.memory.decode,
        };
        *place = memory;
        self.loaded.relieve_memory();
        // Beside others, theirs is in it.
        if self.running.len() <= 1 {
            self.loaded.backend.reset_peak();
        }
    }

    /// What runs the model.
    pub fn host_report(&self) -> HostReport {
        HostReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            contract: CONTRACT.to_owned(),
            engine: self.loaded.backend.name().to_owned(),
            device: self.loaded.backend.device(),
            plugins: self.model.plugins().map(PluginReport::of).collect(),
        }
    }
}
