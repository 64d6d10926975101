//! Compiling a constraint within limits of time and work.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use llguidance::Matcher as Inner;

use crate::constraint::Constraint;
use crate::error::ConstraintError;
use crate::matcher::Matcher;
use crate::vocabulary::Vocabulary;

/// How long one may take to compile.
const LONGEST: Duration = Duration::from_millis(900);
/// How long one may wait until it is its turn.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How many may be compiled at once, those given up but not yet over counted in.
const MOST_AT_ONCE: usize = 8;
/// Schemas and grammars are walked by recursion.
const STACK: usize = 64 << 20;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ONE_IS_OVER: Condvar = Condvar::new();

/// A compiled constraint; any number of answers may be held to it.
#[derive(Clone)]
pub struct Grammar {
    inner: Arc<Inner>,
    notes: Vec<String>,
}

/// One that is being compiled.
struct Running;

impl Running {
    /// Waits for its turn: others are quick, or are given up.
    fn begin() -> Result<Self, ConstraintError> {
        let (mut running, _) = ONE_IS_OVER
            .wait_timeout_while(running(), LONGEST_WAIT, |running| *running >= MOST_AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        if *running >= MOST_AT_ONCE {
            return Err(ConstraintError::Busy { running: *running });
        }
        *running += 1;
        Ok(Self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *running() -= 1;
        ONE_IS_OVER.notify_one();
    }
}

fn running() -> MutexGuard<'static, usize> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grammar {
    /// Compiles a constraint, on a thread of its own. What would take longer than a second is refused.
    pub fn new(constraint: &Constraint, vocabulary: &Arc<Vocabulary>) -> Result<Self, ConstraintError> {
        let grammar = constraint.grammar()?;
        let running = Running::begin()?;
        let vocabulary = Arc::clone(vocabulary);
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = move || {
            let _running = running;
            let mut inner = Inner::new(vocabulary.factory.create_parser(grammar));
            // What nothing can follow is found now, not by the first answer.
            let first = inner.compute_mask().map_err(|error| error.to_string());
            let _ = sender.try_send((first.map(drop), inner));
        };
        let name = "constraint".to_owned();
        let thread = std::thread::Builder::new().name(name).stack_size(STACK);
        thread
            .spawn(work)
            .map_err(|error| constraint.refused(format!("no thread to prepare it on: {error}")))?;
        let slow = ConstraintError::TooSlow {
            kind: constraint.kind(),
            limit: LONGEST,
        };
        let (first, mut inner) = receiver.recv_timeout(LONGEST).map_err(|_| slow)?;
        first.map_err(|reason| constraint.refused(first_lines(&reason)))?;
        Ok(Self {
            notes: inner.grammar_warnings(),
            inner: Arc::new(inner),
        })
    }

    /// What of it is passed over.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// For one answer, at its begin.
    pub fn matcher(&self) -> Matcher {
        Matcher::new(self.inner.deep_clone())
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Grammar")
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

/// Errors of the library go on with its state, which is nobody's concern.
fn first_lines(reason: &str) -> String {
    let lines: Vec<&str> = reason
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with('<'))
        .take(3)
        .collect();
    let mut text = lines.join("; ");
    if let Some((end, _)) = text.char_indices().nth(400) {
        text.truncate(end);
    }
    text
}
