//! An engine that tells what it is asked for, may be said to work ahead or not, and may fail.

use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, MemoryUse, SequenceId, Step, Tensor};
use monocle_tensor::program::Program;
use monocle_tensor::stored::Weight;

/// What an engine is asked for.
pub enum Event<'a> {
    /// A program is about to run over a batch.
    Run(&'a Step),
    /// A result was read.
    Read(&'a Tensor),
    /// A program without a batch is about to run: an encoder's, or a piece of it.
    Encode,
    /// A sequence begins.
    Begin,
    /// One was dropped; so many bytes are left in tensors and caches.
    Drop(usize),
}

/// See the module.
pub struct Observed<F> {
    /// What computes.
    pub engine: Box<dyn Backend>,
    /// What it says of itself.
    pub ahead: bool,
    /// Is told.
    pub observer: F,
    /// Which steps fail, midway.
    pub refuses: fn(&Step) -> bool,
}

impl<F: FnMut(Event<'_>)> Backend for Observed<F> {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn device(&self) -> String {
        self.engine.device()
    }

    fn announce(&mut self, weights: &[Weight]) {
        self.engine.announce(weights);
    }

    fn load(
        &mut self,
        weights: Arc<Vec<Weight>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), BackendError> {
        self.engine.load(weights, progress)
    }

    fn new_sequence(&mut self) -> SequenceId {
        (self.observer)(Event::Begin);
        self.engine.new_sequence()
    }

    fn drop_sequence(&mut self, sequence: SequenceId) {
        self.engine.drop_sequence(sequence);
        (self.observer)(Event::Drop(self.engine.memory().active));
    }

    fn fork(&mut self, sequence: SequenceId, tokens: usize) -> Result<Option<SequenceId>, BackendError> {
        let forked = self.engine.fork(sequence, tokens)?;
        if forked.is_some() {
            (self.observer)(Event::Begin);
        }
        Ok(forked)
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: usize) -> Result<bool, BackendError> {
        self.engine.truncate(sequence, tokens)
    }

    fn upload(&mut self, shape: &[usize], values: Vec<f32>) -> Result<Tensor, BackendError> {
        self.engine.upload(shape, values)
    }

    fn download(&mut self, tensor: &Tensor) -> Result<Vec<f32>, BackendError> {
        let values = self.engine.download(tensor);
        (self.observer)(Event::Read(tensor));
        values
    }

    fn run(
        &mut self,
        program: &Program,
        inputs: &[Tensor],
        step: Option<&Step>,
    ) -> Result<Vec<Tensor>, BackendError> {
        (self.observer)(step.map_or(Event::Encode, Event::Run));
        let results = self.engine.run(program, inputs, step)?;
        match step.is_some_and(self.refuses) {
            true => Err(BackendError::Device {
                engine: "observed",
                reason: "a step was to fail".to_owned(),
            }),
            false => Ok(results),
        }
    }

    fn memory(&self) -> MemoryUse {
        self.engine.memory()
    }

    fn reset_peak(&mut self) {
        self.engine.reset_peak();
    }

    fn clear_cache(&mut self) {
        self.engine.clear_cache();
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.engine.wait()
    }

    fn is_ahead(&self) -> bool {
        self.ahead
    }

    fn keep_within(&mut self, bytes: usize) {
        self.engine.keep_within(bytes);
    }

    fn recommended_limit(&self) -> Option<usize> {
        self.engine.recommended_limit()
    }

    fn weight_bytes(&self, weights: &[Weight]) -> usize {
        self.engine.weight_bytes(weights)
    }

    fn program_bytes(&self, program: &Program, tokens: usize) -> usize {
        self.engine.program_bytes(program, tokens)
    }

    fn cache_bytes(&self, program: &Program, tokens: usize) -> usize {
        self.engine.cache_bytes(program, tokens)
    }

    fn kept_bytes(&self, programs: &[&Program], sequence: (&Program, usize)) -> usize {
        self.engine.kept_bytes(programs, sequence)
    }
}
