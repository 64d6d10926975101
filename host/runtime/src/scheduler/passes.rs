//! The forward passes of a step: rows are chosen, put together, computed, and their logits handed back.

use std::ops::Range;
use std::sync::Arc;

use monocle_tensor::backend::{BackendError, SequenceId, Tensor};
use monocle_tensor::recorder::BatchShape;
use monocle_text::{Delta, TokenLogprobs};

use super::batch::{self, Part};
use super::pace::{self, Had};
use super::policy::{self, Candidate};
use super::{Event, Scheduler, SessionId};
use crate::error::RequestError;
use crate::session::{Phase, Session, Taken};

/// Rows of one session in a pass.
#[derive(Debug, Clone)]
pub struct Member {
    pub id: SessionId,
    pub range: Range<usize>,
}

/// Logits of a pass.
pub struct Logits {
    /// `[rows, vocabulary]`
    pub values: Tensor,
    /// For each session that wants any, its row.
    pub rows: Vec<usize>,
}

/// Rows of different kinds go in passes of their own.
#[derive(PartialEq, Eq)]
struct Kind {
    axes: usize,
    /// Names of the marks.
    marks: Arc<[String]>,
    has_context: bool,
    /// Whose context comes with the pass.
    brings_context: Option<SessionId>,
    /// Widths of features, where there are any.
    features: Option<Vec<usize>>,
}

impl Scheduler {
    /// Computes the rows of this step. `has_encoded`: it has encoded a picture, too.
    pub(super) fn forward(&mut self, has_encoded: bool) {
        if self.go_ahead() {
            // Of answers alone, all of them.
            self.pace.has(Had::Answers(self.running.len()));
            return;
        }
        self.begin_prefills();
        self.reserve();
        for members in self.passes(has_encoded) {
            self.pass(&members);
        }
    }

    /// Sessions whose pictures are done go on to their prompts.
    fn begin_prefills(&mut self) {
        for index in 0..self.running.len() {
            let session = &self.running[index];
            let ready = is_ready(session);
            if ready && session.progress.phase == Phase::Encode {
                let mut session = self.running.remove(index);
                self.end_phase(&mut session.progress);
                session.progress.phase = Phase::Prefill(std::time::Instant::now());
                self.running.insert(index, session);
            }
        }
    }

    /// The rows of this step, those of one kind together.
    fn passes(&mut self, has_encoded: bool) -> Vec<Vec<Member>> {
        let ready: Vec<&Session> = self.running.iter().filter(|session| is_ready(session)).collect();
        let ends: Vec<_> = ready
            .iter()
            .map(|session| |start: usize, size: usize| session.rows_end(start, size))
            .collect();
        let candidates: Vec<_> = ready
            .iter()
            .zip(&ends)
            .map(|(session, end)| Candidate {
                computed: session.computed,
                known: session.tokens.len(),
                chunk: session.prefill_chunk(),
                class: session.terms.class,
                passed: session.passed,
                end,
            })
            .collect();
        // A picture's piece has made the step long already.
        let beside = match has_encoded {
            true => pace::LEAST,
            false => self.pace.rows(),
        };
        let answers = policy::answers(&candidates);
        // Alone, a session has what it asks for.
        let budget = match ready[..] {
            [only] => only.prefill_chunk(),
            _ => policy::budget(answers, self.options.token_budget, beside),
        };
        let rows = policy::schedule(&candidates, budget);
        let computed: usize = rows.iter().map(|(_, range)| range.len()).sum();
        let had = match answers {
            _ if has_encoded => Had::Other,
            (answers, true) if computed == answers => Had::Answers(answers),
            (answers, true) if computed >= budget.min(answers + beside) => Had::PromptsToo(answers),
            _ => Had::Other,
        };
        let mut passes: Vec<(Kind, Vec<Member>)> = Vec::new();
        let mut passed: Vec<SessionId> = ready.iter().map(|session| session.id).collect();
        for (index, range) in rows {
            let session = ready[index];
            passed.retain(|id| *id != session.id);
            let kind = kind(session, &range);
            let member = Member {
                id: session.id,
                range,
            };
            match passes.iter_mut().find(|(known, _)| fits(known, &kind)) {
                Some((known, members)) => {
                    known.features = known.features.take().or(kind.features);
                    members.push(member);
                }
                None => passes.push((kind, vec![member])),
            }
        }
        self.pace.has(had);
        let passes = passes.into_iter().map(|(_, members)| members).collect();
        for session in &mut self.running {
            session.passed = match passed.contains(&session.id) {
                true => session.passed + 1,
                false => 0,
            };
        }
        passes
    }

    /// Computes a pass. If it fails, each of its sessions is tried by itself: only the one at fault ends.
    fn pass(&mut self, members: &[Member]) {
        match self.run_pass(members) {
            Ok(logits) => self.take_logits(members, logits),
            Err(error) => {
                self.undo(members);
                match members {
                    [only] => self.fail(only.id, error),
                    several => {
                        for member in several {
                            let begun = self.place(member.id).map(|index| self.running[index].computed);
                            if begun == Some(member.range.start) {
                                self.pass(std::slice::from_ref(member));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Every sequence of a pass that failed is as it was before; where that is not possible, it begins anew.
    pub(super) fn undo(&mut self, members: &[Member]) {
        for member in members {
            let Some(index) = self.place(member.id) else {
                continue;
            };
            let Some(sequence) = self.running[index].sequence else {
                continue;
            };
            let cut = self.loaded.backend.truncate(sequence, member.range.start);
            if !matches!(cut, Ok(true)) {
                self.loaded.backend.drop_sequence(sequence);
                self.running[index].sequence = None;
                self.running[index].computed = 0;
            }
        }
        let scratch = self.scratch.take();
        self.loaded.drop_sequence(scratch);
    }

    fn run_pass(&mut self, members: &[Member]) -> Result<Logits, RequestError> {
        let mut parts = Vec::with_capacity(members.len() + 1);
        let mut kind: Option<Kind> = None;
        for member in members {
            let (part, own) = self.part(member)?;
            parts.push(part);
            match &mut kind {
                Some(kind) => kind.features = kind.features.take().or(own.features),
                None => kind = Some(own),
            }
        }
        let Some(kind) = kind else {
            return Err(BackendError::Input("a pass without rows".to_owned()).into());
        };
        self.run_parts(parts, &kind, None)
    }

    /// Runs the rows of a pass, filled up to one of few sizes where there are several sessions.
    fn run_parts(
        &mut self,
        mut parts: Vec<Part>,
        kind: &Kind,
        device_tokens: Option<Tensor>,
    ) -> Result<Logits, RequestError> {
        let several = parts.len() > 1;
        let sessions = parts.len();
        let new_context = parts.iter().find_map(|part| part.new_context.clone());
        let rows: usize = parts.iter().map(|part| part.rows.tokens.len()).sum();
        // A context is a sequence's own; nobody's rows have none.
        let filled = match several && !kind.has_context {
            true => policy::rounded(rows),
            false => rows,
        };
        if filled > rows {
            let scratch = self.scratch()?;
            parts.push(batch::padding(
                scratch,
                filled - rows,
                kind.axes,
                kind.marks.len(),
            ));
        }
        let mut step = batch::join(parts, kind.axes, kind.marks.len());
        let wanted = step.wanted.clone();
        if step.wanted.is_empty() {
            batch::fill_wanted(&mut step, 1);
        } else if several {
            let count = policy::rounded(step.wanted.len()).min(filled);
            batch::fill_wanted(&mut step, count);
        }
        step.device_tokens = device_tokens;
        let shape = BatchShape {
            tokens: filled,
            axes: kind.axes,
            marks: kind.marks.to_vec(),
            wanted: step.wanted.len(),
            features: kind.features.clone(),
            has_context: kind.has_context,
            new_context: new_context.map(|context| {
                let shape = &context.value_type().shape;
                [shape[0], shape[1]]
            }),
        };
        let calls = self.recordings.calls();
        let program = self.recordings.forward(&shape)?;
        let calls = self.recordings.calls() - calls;
        if calls > 0 {
            for rows in &step.sequences {
                let owner = |session: &&mut Session| session.sequence == Some(rows.sequence);
                let owner = self.running.iter_mut().find(owner);
                if let Some(session) = owner.filter(|session| session.progress.phase == Phase::Decode) {
                    session.progress.recording_calls += calls;
                }
            }
        }
        // Where there is no room for several together, each is computed by itself: for that there was room when it began.
        if several && !self.room_for_pass(&program, filled - rows) {
            let reason = format!("no room for what {sessions} sessions compute together");
            return Err(BackendError::Input(reason).into());
        }
        // The first deadline of those that take part: who is late fails, the others are computed again by themselves.
        let taking_part = |session: &&Session| {
            let sequence = session.sequence;
            step.sequences.iter().any(|rows| Some(rows.sequence) == sequence)
        };
        let deadlines = self
            .running
            .iter()
            .filter(taking_part)
            .filter_map(Session::deadline);
        let deadline = deadlines.min();
        self.loaded.backend.stop_at(deadline);
        let outputs = self.loaded.backend.run(&program, &[], Some(&step));
        self.loaded.backend.stop_at(None);
        self.loaded.check_files()?;
        let mut outputs = outputs.map_err(|error| self.loaded.blame("network.forward", error))?;
        if filled > rows
            && let Some(scratch) = self.scratch
        {
            self.loaded.backend.truncate(scratch, 0)?;
        }
        let row = |row: &u32| step.wanted.binary_search(row).ok();
        Ok(Logits {
            values: outputs.remove(0),
            rows: wanted.iter().filter_map(row).collect(),
        })
    }

    /// A pass over the tokens that the device has chosen for these sessions.
    pub(super) fn run_unknown(&mut self, ids: &[SessionId], tokens: Tensor) -> Result<Logits, RequestError> {
        let mut parts = Vec::with_capacity(ids.len());
        let mut kind = None;
        for id in ids {
            let index = self.place(*id);
            let session = index.map(|index| &self.running[index]);
            let Some((session, sequence)) = session.and_then(|session| Some((session, session.sequence?)))
            else {
                return Err(BackendError::Input("a session is gone".to_owned()).into());
            };
            kind = Some(Kind {
                axes: session.prepared.prompt.axes(),
                marks: Arc::clone(session.prepared.prompt.mark_names()),
                has_context: session.prepared.has_context(),
                brings_context: None,
                features: None,
            });
            parts.push(Part {
                sequence,
                rows: session.unknown_row(),
                new_context: None,
                wants_logits: true,
            });
        }
        match kind {
            Some(kind) => self.run_parts(parts, &kind, Some(tokens)),
            None => Err(BackendError::Input("a pass without rows".to_owned()).into()),
        }
    }

    fn part(&mut self, member: &Member) -> Result<(Part, Kind), RequestError> {
        let index = self.place(member.id);
        let session = index.map(|index| &self.running[index]);
        let Some((session, sequence)) = session.and_then(|session| Some((session, session.sequence?))) else {
            return Err(BackendError::Input("a session is gone".to_owned()).into());
        };
        let kind = kind(session, &member.range);
        let rows = session.rows(member.range.clone());
        let wants_logits = member.range.end == session.tokens.len();
        let new_context = match session.prepared.new_context(member.range.start) {
            Some(_) if session.context.is_some() => session.context.clone(),
            Some(_) => {
                let sets = batch::first_sets(&session.features);
                Some(self.loaded.join(&sets)?)
            }
            None => None,
        };
        let part = Part {
            sequence,
            rows,
            new_context,
            wants_logits,
        };
        Ok((part, kind))
    }

    fn scratch(&mut self) -> Result<SequenceId, BackendError> {
        if let Some(scratch) = self.scratch {
            return Ok(scratch);
        }
        let scratch = self.loaded.backend.new_sequence();
        self.scratch = Some(scratch);
        Ok(scratch)
    }

    /// Hands a pass's logits to its sessions.
    fn take_logits(&mut self, members: &[Member], logits: Logits) {
        let mut wanting = Vec::new();
        for member in members {
            let Some(index) = self.place(member.id) else {
                continue;
            };
            self.running[index].computed = member.range.end;
            if member.range.end == self.running[index].tokens.len() {
                wanting.push(member.id);
                if let Err(error) = self.end_prefill(index) {
                    self.fail(member.id, error);
                }
            }
        }
        if wanting.is_empty() {
            return;
        }
        let Err(logits) = self.choose_ahead(&wanting, logits) else {
            return;
        };
        let vocabulary = logits.values.value_type().shape[1];
        match self.loaded.backend.download(&logits.values) {
            Ok(mut values) => {
                for (&id, row) in wanting.iter().zip(&logits.rows) {
                    let Some(index) = self.place(id) else { continue };
                    let row = &mut values[row * vocabulary..][..vocabulary];
                    let taken = self.running[index].take_logits(row);
                    self.took(id, taken);
                }
            }
            Err(error) => self.fail_all(&wanting, &error),
        }
    }

    /// Nobody's results can be read; which rows are at fault nobody knows.
    pub(super) fn fail_all(&mut self, ids: &[SessionId], error: &BackendError) {
        for id in ids {
            let error = BackendError::Device {
                engine: self.loaded.backend.name(),
                reason: error.to_string(),
            };
            self.fail(*id, error.into());
        }
    }

    /// A session's prompt is computed: what it took is noted, once.
    fn end_prefill(&mut self, index: usize) -> Result<(), RequestError> {
        if !matches!(self.running[index].progress.phase, Phase::Prefill(_)) {
            return Ok(());
        }
        self.loaded.backend.wait()?;
        let mut session = self.running.remove(index);
        // The oldest is never computed again.
        let is_oldest = self.waiting.iter().all(|other| other.begun.is_none());
        if index == 0 && is_oldest {
            session.features.fill(None);
            session.context = None;
            session.pixels.fill(None);
        }
        let phase = session.progress.phase;
        session.begin_decode();
        let decode = std::mem::replace(&mut session.progress.phase, phase);
        self.end_phase(&mut session.progress);
        session.progress.phase = decode;
        self.running.insert(index, session);
        Ok(())
    }

    /// Gives out what may be shown.
    pub(super) fn say(&mut self, id: SessionId, delta: Delta, logprobs: Vec<TokenLogprobs>) {
        if !logprobs.is_empty() {
            self.events.push((id, Event::Logprobs(logprobs)));
        }
        if !delta.text.is_empty() || !delta.reasoning.is_empty() {
            self.events.push((id, Event::Text(delta)));
        }
    }

    /// What a session's token brought.
    pub(super) fn took(&mut self, id: SessionId, taken: Result<Taken, RequestError>) {
        match taken {
            Ok(Taken {
                delta,
                logprobs,
                finish,
            }) => {
                self.say(id, delta, logprobs);
                if let Some(reason) = finish {
                    self.finish(id, reason);
                }
            }
            Err(error) => self.fail(id, error),
        }
    }
}

/// Whether rows of a session can be computed.
pub fn is_ready(session: &Session) -> bool {
    session.sequence.is_some() && session.picture_to_encode().is_none() && !session.has_prompt_to_encode()
}

fn kind(session: &Session, range: &Range<usize>) -> Kind {
    let prepared = &session.prepared;
    Kind {
        axes: prepared.prompt.axes(),
        marks: Arc::clone(prepared.prompt.mark_names()),
        has_context: prepared.has_context(),
        brings_context: prepared.new_context(range.start).map(|_| session.id),
        features: prepared
            .prompt
            .has_features(range)
            .then(|| prepared.feature_widths()),
    }
}

/// Whether rows of two kinds go together.
fn fits(a: &Kind, b: &Kind) -> bool {
    let features = match (&a.features, &b.features) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    // A context that comes makes the pass its session's own.
    let contexts = a.brings_context.is_none() && b.brings_context.is_none();
    a.axes == b.axes && a.marks == b.marks && a.has_context == b.has_context && contexts && features
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text of one axis, without marks or a context.
    fn text() -> Kind {
        Kind {
            axes: 1,
            marks: Arc::from(Vec::new()),
            has_context: false,
            brings_context: None,
            features: None,
        }
    }

    #[test]
    fn rows_of_other_kinds_go_in_passes_of_their_own() {
        let marked = |name: &str| Kind {
            marks: Arc::from(vec![name.to_owned()]),
            ..text()
        };
        let featured = |widths: &[usize]| Kind {
            features: Some(widths.to_vec()),
            ..text()
        };
        let brings = |session| Kind {
            has_context: true,
            brings_context: Some(SessionId(session)),
            ..text()
        };
        let reads = || Kind {
            has_context: true,
            ..text()
        };
        let three_axes = || Kind { axes: 3, ..text() };
        for (a, b, together) in [
            (text(), text(), true),
            (three_axes(), three_axes(), true),
            (three_axes(), text(), false),
            (marked("long"), marked("long"), true),
            (marked("long"), marked("short"), false),
            (marked("long"), text(), false),
            // Text goes beside pictures, and pictures beside those that are as wide.
            (featured(&[8]), text(), true),
            (featured(&[8]), featured(&[8]), true),
            (featured(&[8]), featured(&[8, 8]), false),
            (reads(), reads(), true),
            (reads(), text(), false),
            (brings(1), brings(2), false),
            (brings(1), reads(), false),
        ] {
            assert_eq!(fits(&a, &b), together);
            assert_eq!(fits(&b, &a), together);
        }
    }
}
