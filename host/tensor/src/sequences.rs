//! Which sequences an engine knows, and where each of them is. What a sequence keeps is the engine's own.

use std::collections::HashMap;

use crate::backend::{BackendError, SequenceId, Step};

/// All sequences of an engine, each with its state.
pub struct Sequences<State> {
    next: u64,
    all: HashMap<SequenceId, Sequence<State>>,
}

struct Sequence<State> {
    /// Tokens of finished steps.
    tokens: usize,
    /// A step failed midway: layers disagree.
    broken: bool,
    state: State,
}

impl<State> Default for Sequences<State> {
    fn default() -> Self {
        Self {
            next: 0,
            all: HashMap::new(),
        }
    }
}

impl<State: Default> Sequences<State> {
    /// A new one.
    pub fn create(&mut self) -> SequenceId {
        let id = SequenceId(self.next);
        self.next += 1;
        let sequence = Sequence {
            tokens: 0,
            broken: false,
            state: State::default(),
        };
        self.all.insert(id, sequence);
        id
    }

    /// Forgets one.
    pub fn drop(&mut self, id: SequenceId) {
        self.all.remove(&id);
    }

    /// A new one that begins as another did: `part` gives its state after so many tokens, if that is still there.
    pub fn fork(
        &mut self,
        id: SequenceId,
        tokens: usize,
        part: impl FnOnce(&State) -> Option<State>,
    ) -> Result<Option<SequenceId>, BackendError> {
        let sequence = self.all.get(&id).ok_or_else(|| unknown(id))?;
        sequence.must_hold(id, tokens)?;
        if sequence.broken {
            return Err(broken(id));
        }
        let Some(state) = part(&sequence.state) else {
            return Ok(None);
        };
        let new = self.create();
        let sequence = Sequence {
            tokens,
            broken: false,
            state,
        };
        self.all.insert(new, sequence);
        Ok(Some(new))
    }

    /// Cuts one back: `cut` cuts its state, and says whether that was possible. To nothing is always possible.
    pub fn truncate(
        &mut self,
        id: SequenceId,
        tokens: usize,
        cut: impl FnOnce(&mut State) -> bool,
    ) -> Result<bool, BackendError> {
        let sequence = self.all.get_mut(&id).ok_or_else(|| unknown(id))?;
        sequence.must_hold(id, tokens)?;
        if tokens == 0 {
            sequence.state = State::default();
        } else if !cut(&mut sequence.state) {
            sequence.broken = true;
            return Ok(false);
        }
        sequence.tokens = tokens;
        sequence.broken = false;
        Ok(true)
    }

    /// The state of one that a checked step names.
    pub fn get(&mut self, id: SequenceId) -> Result<&mut State, BackendError> {
        let sequence = self.all.get_mut(&id).ok_or_else(|| unknown(id))?;
        Ok(&mut sequence.state)
    }

    /// The state of one, to look at.
    pub fn look(&self, id: SequenceId) -> Option<&State> {
        self.all.get(&id).map(|sequence| &sequence.state)
    }

    /// Checks that a step continues its sequences where they are, and marks them as being worked on.
    pub fn begin(&mut self, step: &Step) -> Result<(), BackendError> {
        for (index, rows) in step.sequences.iter().enumerate() {
            let sequence = self
                .all
                .get(&rows.sequence)
                .ok_or_else(|| unknown(rows.sequence))?;
            if sequence.broken {
                return Err(broken(rows.sequence));
            }
            if sequence.tokens != rows.past {
                return Err(BackendError::Sequence(format!(
                    "sequence {} holds {} tokens, the step says {}",
                    rows.sequence.0, sequence.tokens, rows.past
                )));
            }
            if step.sequences[..index]
                .iter()
                .any(|other| other.sequence == rows.sequence)
            {
                return Err(BackendError::Sequence(format!(
                    "sequence {} is in the step twice",
                    rows.sequence.0
                )));
            }
        }
        for rows in &step.sequences {
            if let Some(sequence) = self.all.get_mut(&rows.sequence) {
                sequence.broken = true;
            }
        }
        Ok(())
    }

    /// Counts a finished step.
    pub fn finish(&mut self, step: &Step) {
        for rows in &step.sequences {
            if let Some(sequence) = self.all.get_mut(&rows.sequence) {
                sequence.tokens += rows.rows;
                sequence.broken = false;
            }
        }
    }
}

impl<State> Sequence<State> {
    fn must_hold(&self, id: SequenceId, tokens: usize) -> Result<(), BackendError> {
        match tokens <= self.tokens {
            true => Ok(()),
            false => Err(BackendError::Sequence(format!(
                "sequence {} holds {} tokens, not {tokens}",
                id.0, self.tokens
            ))),
        }
    }
}

fn broken(id: SequenceId) -> BackendError {
    BackendError::Sequence(format!(
        "an earlier step of sequence {} failed; drop it and start a new one",
        id.0
    ))
}

fn unknown(id: SequenceId) -> BackendError {
    BackendError::Sequence(format!("there is no sequence {}", id.0))
}
