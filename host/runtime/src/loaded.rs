//! An engine and what of a model it holds: the weights, and how much memory there is for all else.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_tensor::backend::{Backend, BackendError, MemoryUse, SequenceId, Tensor};
use monocle_tensor::operation::Op;
use monocle_tensor::program::ValueType;
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use monocle_tensor::stored::{Weight, stored_bytes};
use monocle_weights::gguf::{files_of, is_gguf};
use monocle_weights::mapped;

use crate::error::RequestError;
use crate::memory::{self, MemoryEstimate, MemoryLimit, MemoryPolicy};
use crate::plugin::error::{Fault, PluginError};
use crate::recordings::Recordings;
use crate::report::PhaseMemory;
use crate::request::prepare::{PreparedRequest, PromptEncoder};
use crate::scheduler::batch::{self, Part};

/// See the module.
pub struct Loaded {
    pub backend: Box<dyn Backend>,
    pub memory: MemoryPolicy,
    /// What loading took, in memory and in time.
    pub load_memory: PhaseMemory,
    pub load_time: Duration,
    /// Where the files of the weights are: a folder, or each of them.
    files: Vec<PathBuf>,
    recordings: Recordings,
    weights: Option<Arc<Vec<Weight>>>,
    /// What weights alone take: looked at after each step.
    weights_estimate: MemoryEstimate,
    on_engine: bool,
}

impl Loaded {
    /// An engine that holds nothing yet.
    pub fn new(mut backend: Box<dyn Backend>, memory_limit: Option<usize>, recordings: Recordings) -> Self {
        let memory = MemoryPolicy::new(MemoryLimit::choose(memory_limit, backend.as_ref()));
        if let Some(limit) = memory.limit {
            backend.keep_within(limit.bytes);
        }
        Self {
            files: files(recordings.folder()),
            backend,
            memory,
            load_memory: PhaseMemory::default(),
            load_time: Duration::ZERO,
            recordings,
            weights: None,
            weights_estimate: MemoryEstimate::default(),
            on_engine: false,
        }
    }

    /// The weights that the plugin asks for; the engine is told of them the first time.
    pub fn weights(&mut self) -> Result<Arc<Vec<Weight>>, PluginError> {
        if let Some(weights) = &self.weights {
            return Ok(Arc::clone(weights));
        }
        let weights = self.recordings.weights()?;
        self.backend.announce(&weights);
        self.weights_estimate = MemoryEstimate {
            weights_bytes: stored_bytes(&weights),
            engine_weights_bytes: self.backend.weight_bytes(&weights),
            load_peak_bytes: self.backend.load_peak_bytes(&weights),
            ..MemoryEstimate::default()
        };
        self.weights = Some(Arc::clone(&weights));
        Ok(weights)
    }

    /// What people should know of how the engine holds the weights that were asked for.
    pub fn notes(&self) -> Vec<String> {
        let weights = self.weights.as_ref();
        weights.map_or_else(Vec::new, |weights| self.backend.weight_notes(weights))
    }

    /// Bytes of the weights, as stored; 0 before the plugin asked for them.
    pub fn weight_bytes(&self) -> usize {
        self.weights_estimate.weights_bytes
    }

    /// Hands the weights to the engine, once.
    pub fn load(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Result<(), RequestError> {
        if self.on_engine {
            return Ok(());
        }
        let started = Instant::now();
        let weights = self.weights()?;
        self.check_memory(&self.weights_estimate)?;
        self.backend.reset_peak();
        self.backend.load(weights, progress)?;
        self.check_files()?;
        self.files.iter().for_each(|path| mapped::let_go(path));
        self.load_memory = PhaseMemory::now(self.backend.as_ref());
        self.on_engine = true;
        self.load_time += started.elapsed();
        Ok(())
    }

    /// Whether the files of the weights are as they were when they were opened: else what was computed may be wrong.
    pub fn check_files(&self) -> Result<(), BackendError> {
        match self.files.iter().find_map(|path| mapped::lost(path)) {
            Some(path) => Err(BackendError::FileLost { path }),
            None => Ok(()),
        }
    }

    /// Asks the engine what a request will take, alone, unless that is known.
    pub fn note_estimate(&mut self, prepared: &mut PreparedRequest) -> Result<(), PluginError> {
        if !prepared.is_estimated {
            prepared.estimate = self.estimate(prepared)?;
            prepared.is_estimated = true;
        }
        Ok(())
    }

    fn estimate(&mut self, prepared: &PreparedRequest) -> Result<MemoryEstimate, PluginError> {
        self.weights()?;
        let weights = self.weights_estimate;
        let mut estimate = memory::estimate(self.backend.as_ref(), weights, prepared);
        // What is beyond is given back.
        let most = self
            .memory
            .most_kept(weights.weights_bytes.max(weights.engine_weights_bytes));
        estimate.kept_bytes = estimate.kept_bytes.min(most);
        Ok(estimate)
    }

    /// Refuses what cannot fit, before anything is allocated for it.
    pub fn check_memory(&self, estimate: &MemoryEstimate) -> Result<(), RequestError> {
        match self.memory.limit {
            Some(limit) if estimate.total() > limit.bytes => Err(RequestError::TooLarge {
                estimate: Box::new(*estimate),
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// Gives back what the engine keeps for reuse when little is left.
    pub fn relieve_memory(&mut self) {
        let MemoryUse { active, cached, .. } = self.backend.memory();
        if cached == 0 {
            return;
        }
        // Of weights that the engine copies, its copies count, which are active.
        let weights = self.weights_estimate;
        let in_place = weights.weights_bytes.saturating_sub(weights.engine_weights_bytes);
        if self.memory.is_tight(in_place + active + cached) {
            self.backend.clear_cache();
        }
    }

    /// After a request, answered or not.
    pub fn settle_memory(&mut self) {
        // A step that nobody needs may still be running. If it fails, nobody needs to know.
        let _ = self.backend.wait();
        if self.memory.count_request() {
            self.backend.clear_cache();
        }
        self.relieve_memory();
    }

    /// Several feature sets as one, one after another: what cross attention reads.
    pub fn join(&mut self, parts: &[Tensor]) -> Result<Tensor, RequestError> {
        if let [only] = parts {
            return Ok(only.clone());
        }
        let types: Vec<ValueType> = parts.iter().map(|tensor| tensor.value_type().clone()).collect();
        let mut recorder = Recorder::new(self.weights()?, types, None, RecordingLimits::default());
        let inputs = recorder.input_values();
        let joined = recorder
            .push(Op::Concat { axis: 0 }, &inputs, None)
            .map_err(|error| BackendError::Input(format!("features of several pictures: {error}")))?;
        let program = recorder.finish(vec![joined]);
        Ok(self.backend.run(&program, parts, None)?.remove(0))
    }

    /// Drops a sequence, if there is one.
    pub fn drop_sequence(&mut self, sequence: Option<SequenceId>) {
        if let Some(sequence) = sequence {
            self.backend.drop_sequence(sequence);
        }
    }

    /// Bytes of the caches of a sequence of this request that holds so many tokens.
    pub fn cache_bytes(&self, prepared: &PreparedRequest, tokens: usize) -> usize {
        let first = prepared.programs.first();
        first.map_or(0, |(program, _)| self.backend.cache_bytes(program, tokens))
    }

    /// An engine's error while a program ran. Where the program is at fault, so is the plugin that asked for it.
    pub fn blame(&self, function: &'static str, error: BackendError) -> RequestError {
        match error {
            BackendError::Device { .. }
            | BackendError::Weight { .. }
            | BackendError::Memory { .. }
            | BackendError::Stopped
            | BackendError::FileLost { .. } => error.into(),
            BackendError::Input(_) | BackendError::Sequence(_) | BackendError::Value { .. } => {
                self.recordings.error(function, Fault::Run(error)).into()
            }
        }
    }

    /// What an encoder makes of its prompt, with pictures' features in it: rows of context.
    pub fn encode_prompt(
        &mut self,
        encoder: &PromptEncoder,
        features: &[Option<Rc<[Tensor]>>],
    ) -> Result<Tensor, RequestError> {
        let prompt = &encoder.prompt;
        // Nothing of it is kept.
        let sequence = self.backend.new_sequence();
        let part = Part {
            sequence,
            rows: prompt.rows(0..prompt.len(), &[], features),
            new_context: None,
            wants_logits: false,
        };
        let step = batch::join(vec![part], prompt.axes(), prompt.mark_names().len());
        let outputs = self.backend.run(&encoder.program, &[], Some(&step));
        self.backend.drop_sequence(sequence);
        let mut outputs = outputs.map_err(|error| self.blame("network.encode-prompt", error))?;
        Ok(outputs.remove(0))
    }
}

/// The files of a model that is named by one of them; else its folder.
fn files(path: PathBuf) -> Vec<PathBuf> {
    match path.is_file() && is_gguf(&path) {
        true => files_of(&path),
        false => vec![path],
    }
}
