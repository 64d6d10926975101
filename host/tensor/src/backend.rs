//! The host's only view of a device: it loads weights, keeps sequences' caches, and runs programs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::program::{Program, ValueType};
use crate::stored::Weight;

/// A tensor that lives on an engine. Cheap to clone; only its engine can look inside.
#[derive(Clone)]
pub struct Tensor {
    kind: ValueType,
    value: Rc<dyn Any>,
}

impl Tensor {
    /// Wraps an engine's own value.
    pub fn new(kind: ValueType, value: impl Any) -> Self {
        Self {
            kind,
            value: Rc::new(value),
        }
    }

    /// Its shape and what its elements are.
    pub fn value_type(&self) -> &ValueType {
        &self.kind
    }

    /// The engine's own value, when it is of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({})", self.kind)
    }
}

/// Bytes of a float on engines that do not say otherwise.
const FLOAT_BYTES: usize = 4;

/// Names one sequence's state (key-value caches, convolution states, cross-attention context) on an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// The rows of one sequence in a step. Sequences' rows lie one after another, in the order of [`Step::sequences`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceRows {
    /// Whose rows.
    pub sequence: SequenceId,
    /// How many of the sequence's tokens its caches hold already.
    pub past: usize,
    /// How many rows it has in this step.
    pub rows: usize,
}

/// Which of its sequence's tokens a row attends to, as indices into the sequence: causal, prefix and
/// image-bidirectional attention all come down to one interval a row, so no mask is ever stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visible {
    /// A sliding window never hides tokens from here on: the start of the row's bidirectional block, or the row itself.
    pub block_start: u32,
    /// One past the last token that the row sees; at least one past the row itself.
    pub end: u32,
}

impl Visible {
    /// The tokens that the row at `position` sees through a sliding window, from the first to one past the last.
    pub fn keys(self, position: usize, window: Option<u32>) -> [usize; 2] {
        let start = match window {
            Some(window) => (position + 1)
                .saturating_sub(window as usize)
                .min(self.block_start as usize),
            None => 0,
        };
        [start, self.end as usize]
    }
}

/// Rows of a step that take image features in place of embeddings.
#[derive(Debug, Clone)]
pub struct Splice {
    /// First row in the step.
    pub row: usize,
    /// How many rows.
    pub count: usize,
    /// What `encode` returned for the image: the feature sets, each `[tokens, hidden]`.
    pub features: Rc<[Tensor]>,
    /// Which row of the features goes to the first row.
    pub offset: usize,
}

/// Which rows of its sequence's context a row attends to (cross attention): an interval, empty for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisibleContext {
    /// First row of the context.
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

/// What a forward pass runs on.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Token ids: `[tokens]`
    pub tokens: Vec<i32>,
    /// The same as a result of the engine, `[tokens]`, int, where the ids are not known to the host yet: they take the place
    /// of `tokens`, of which only the number counts then.
    pub device_tokens: Option<Tensor>,
    /// Rows of the positions.
    pub axes: usize,
    /// Positions, row-major: `[axes, tokens]`
    pub positions: Vec<i32>,
    /// Marks, each `[tokens]`, in the order of [`crate::recorder::BatchShape::marks`].
    pub marks: Vec<Vec<i32>>,
    /// Whose rows these are.
    pub sequences: Vec<SequenceRows>,
    /// What each row sees: `[tokens]`
    pub visible: Vec<Visible>,
    /// Where image features go, ascending and disjoint.
    pub splices: Vec<Splice>,
    /// Rows whose logits are wanted, ascending.
    pub wanted: Vec<u32>,
    /// For each sequence of this step, the context that it brings now (cross attention). Empty: none brings any.
    pub new_context: Vec<Option<Tensor>>,
    /// What each row sees of its sequence's context; empty when there is none: `[tokens]`
    pub visible_context: Vec<VisibleContext>,
}

/// What an engine has allocated, in bytes, as it counts itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// In tensors that are alive now, caches included, mapped weights not.
    pub active: usize,
    /// The most that was ever active since the last [`Backend::reset_peak`].
    pub peak: usize,
    /// Kept for reuse, free otherwise.
    pub cached: usize,
}

/// What can go wrong on an engine.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A weight is stored in a form that this engine cannot use.
    #[error("weight `{name}`: {reason}")]
    Weight {
        /// Its name in the checkpoint.
        name: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// Values are not what the program takes: a fault of the caller.
    #[error("the program's inputs do not fit: {0}")]
    Input(String),
    /// A sequence is not known, or holds another number of tokens than the step says.
    #[error("sequence state does not fit the step: {0}")]
    Sequence(String),
    /// A value known only while running is out of range: a token id, an index.
    #[error("operation {index} `{operation}`: {reason}")]
    Value {
        /// Number of the operation in its program.
        index: usize,
        /// Its name in the contract.
        operation: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
    /// More memory than the engine may have, or than the system gives.
    #[error("{}", no_memory(*.wanted, *.in_use, *.limit))]
    Memory {
        /// Bytes that were asked for.
        wanted: usize,
        /// Bytes in use beside them.
        in_use: usize,
        /// Bytes that may be in use; none where it was the system that refused.
        limit: Option<usize>,
    },
    /// The time at which work must end, see [`Backend::stop_at`], came before its end.
    #[error("the engine was stopped, as the time for its work was over")]
    Stopped,
    /// A file of the weights became shorter, or could not be read any more, while it was in use.
    #[error(
        "`{}` became shorter, or could not be read any more, while the model was in use: the answer would be wrong\n\nhint: put the whole \
         file back, and open the model again",
        .path.display()
    )]
    FileLost {
        /// The file.
        path: PathBuf,
    },
    /// The device said no.
    #[error("the {engine} engine failed: {reason}")]
    Device {
        /// Which engine.
        engine: &'static str,
        /// Its own words.
        reason: String,
    },
}

fn no_memory(wanted: usize, in_use: usize, limit: Option<usize>) -> String {
    let refused = match limit {
        Some(limit) => format!("the limit is {limit}"),
        None => "the system gives no more".to_owned(),
    };
    format!(
        "the engine needs {wanted} bytes more than the {in_use} that it uses, and {refused}\n\nhint: use fewer or smaller pictures, a \
         shorter prompt, fewer `--max-tokens`, or raise `--memory-limit`"
    )
}

/// Why an engine's work ends in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// See [`BackendError::Memory`].
    Memory {
        /// Bytes that were asked for.
        wanted: usize,
        /// Bytes in use beside them.
        in_use: usize,
        /// Bytes that may be in use.
        limit: Option<usize>,
    },
    /// See [`BackendError::Stopped`].
    Stopped,
}

impl Interruption {
    /// Ends the work inside [`guarded`]. It unwinds, as a kernel's failure does: that is how work leaves the pool of threads and frees what it
    /// holds, from any depth. No panic hook runs, so nothing is printed.
    pub fn raise(self) -> ! {
        resume_unwind(Box::new(self))
    }
}

/// Runs an engine's work. A panic is a fault of the engine: it ends this request, and nothing else. So does an [`Interruption`].
pub fn guarded<T>(
    engine: &'static str,
    work: impl FnOnce() -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        match payload.downcast_ref::<Interruption>() {
            Some(&Interruption::Memory {
                wanted,
                in_use,
                limit,
            }) => {
                return Err(BackendError::Memory {
                    wanted,
                    in_use,
                    limit,
                });
            }
            Some(Interruption::Stopped) => return Err(BackendError::Stopped),
            None => {}
        }
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let reason = text.unwrap_or_else(|| "it panicked".to_owned());
        Err(BackendError::Device { engine, reason })
    })
}

/// What floats are computed in, on an engine that can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As most of the model's weights are stored.
    #[default]
    Stored,
    /// 32 bits.
    F32,
    /// bf16, the upper 16 of 32 bits: half the memory, between two and three decimal digits.
    Bf16,
    /// f16: half the memory, three decimal digits, nothing beyond 65 504.
    F16,
    /// 8-bit integers with a scale for each 32, for what quantised weights are multiplied with.
    Int8,
}

/// How an engine stores the keys and values of its sequences, where it can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyValueType {
    /// 32 bits.
    F32,
    /// bf16, the upper 16 of 32 bits.
    Bf16,
    /// f16: three decimal digits, nothing beyond 65 504.
    F16,
    /// 8 bits, with a scale for each 32 elements.
    Q8,
}

impl KeyValueType {
    /// Its name, as `--kv-type` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Q8 => "q8",
        }
    }
}

/// An engine.
pub trait Backend {
    /// Its name, as `--engine` takes it.
    fn name(&self) -> &'static str;

    /// What it runs on, for people: processor, instruction set, threads.
    fn device(&self) -> String;

    /// Told what weights will be loaded, before it is asked for any estimate: an engine may choose by them what it computes in.
    /// Nothing is allocated yet.
    fn announce(&mut self, _weights: &[Weight]) {}

    /// What people should know of how it holds these weights, which were announced: forms of storage for which it has no kernel.
    fn weight_notes(&self, _weights: &[Weight]) -> Vec<String> {
        Vec::new()
    }

    /// Takes the model's weights. A program's [`crate::operation::WeightId`] is an index into this list. `progress` is
    /// told the bytes done so far and in all.
    fn load(
        &mut self,
        weights: Arc<Vec<Weight>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), BackendError>;

    /// A new sequence with empty state.
    fn new_sequence(&mut self) -> SequenceId;

    /// Forgets a sequence and frees what it held and shares with no other.
    fn drop_sequence(&mut self, sequence: SequenceId);

    /// A new sequence that holds the first `tokens` tokens of this one, with the state as it was after them; none where that
    /// state is gone: a convolution that has moved on for more than a step, a sliding window. What the two share is stored once, until
    /// one of them writes to it.
    fn fork(&mut self, sequence: SequenceId, tokens: usize) -> Result<Option<SequenceId>, BackendError>;

    /// Cuts a sequence back to its first `tokens` tokens. To before the last step, failed or not, is always possible, and so is to 0.
    /// False where the state after them is gone: the sequence is good for nothing then but to be dropped.
    fn truncate(&mut self, sequence: SequenceId, tokens: usize) -> Result<bool, BackendError>;

    /// Copies floats to the device.
    fn upload(&mut self, shape: &[usize], values: Vec<f32>) -> Result<Tensor, BackendError>;

    /// Copies a float tensor to the host, waiting for it if need be.
    fn download(&mut self, tensor: &Tensor) -> Result<Vec<f32>, BackendError>;

    /// Runs a program. A step is given when (and only when) the program was recorded with a batch.
    fn run(
        &mut self,
        program: &Program,
        inputs: &[Tensor],
        step: Option<&Step>,
    ) -> Result<Vec<Tensor>, BackendError>;

    /// What is allocated.
    fn memory(&self) -> MemoryUse;

    /// Starts a new measurement of [`MemoryUse::peak`] from what is active now.
    fn reset_peak(&mut self);

    /// Hands back to the system what is kept for reuse ([`MemoryUse::cached`]). Nothing that is alive is touched; what comes
    /// after is the same, the next run takes a little longer. An engine that keeps nothing does nothing.
    fn clear_cache(&mut self) {}

    /// Waits until everything that was run is computed. An engine that computes while it runs has nothing to wait for.
    fn wait(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Whether [`Backend::run`] returns before its results are computed, so that it pays to ask for the next step before the
    /// last one's results are read.
    fn is_ahead(&self) -> bool {
        false
    }

    /// Told the most bytes that may be in use, with what is kept for reuse: an engine that runs ahead waits, and gives back what it
    /// keeps, rather than go beyond. Whether a request fits was decided before, by an estimate; an engine that counts what it allocates
    /// fails with [`BackendError::Memory`] where the estimate was too low.
    fn keep_within(&mut self, _bytes: usize) {}

    /// Told when the work to come must end, whatever runs: [`Backend::run`] fails with [`BackendError::Stopped`] soon after, and the sequences
    /// of its step are as after any failure. None: never. An engine whose device cannot be interrupted does nothing: its work ends with the
    /// program that runs.
    fn stop_at(&mut self, _time: Option<Instant>) {}

    /// The most bytes that the device should be asked for, where it has an opinion of its own.
    fn recommended_limit(&self) -> Option<usize> {
        None
    }

    /// Bytes that loading will allocate; weights that are used where they are stored take none.
    fn weight_bytes(&self, weights: &[Weight]) -> usize {
        weights.iter().map(Weight::stored_bytes).sum()
    }

    /// The most bytes that are allocated at once while weights are loaded: more than is left of it where they are converted on the way.
    fn load_peak_bytes(&self, weights: &[Weight]) -> usize {
        self.weight_bytes(weights)
    }

    /// The most bytes that a run of this program will have allocated at once, caches and inputs not counted: an estimate from
    /// shapes. Its sequence holds so many tokens once it has run, which tells how many keys its rows attend to; 0 where it has none.
    fn program_bytes(&self, program: &Program, _tokens: usize) -> usize {
        program.peak_bytes(FLOAT_BYTES)
    }

    /// Bytes of the caches and states (with those before the last step) of a sequence that holds so many tokens, by the first program of its forward pass: the one that brings
    /// the context of cross attention, if there is any.
    fn cache_bytes(&self, program: &Program, tokens: usize) -> usize {
        program
            .cached_elements()
            .saturating_mul(tokens)
            .saturating_add(program.kept_context().fold(0, usize::saturating_add))
            .saturating_add(program.kept_state().saturating_mul(2))
            .saturating_mul(FLOAT_BYTES)
    }

    /// Bytes of free buffers that it keeps for reuse after it has run these programs one after another, and after a sequence of so many tokens
    /// is dropped, whose first program is given too: an estimate from shapes, where nobody makes it give them back. 0 where it keeps nothing, or
    /// cannot tell.
    fn kept_bytes(&self, _programs: &[&Program], _sequence: (&Program, usize)) -> usize {
        0
    }
}
