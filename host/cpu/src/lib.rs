//! The engine for plain processors: several threads, weights as they are stored, sums in 32-bit floats.

mod batch_operations;
mod dense;
mod estimate;
mod indexing;
mod load;
mod movement;
mod own_values;
mod prepared_program;
mod recurrence;
#[cfg(test)]
mod refusals;
mod run;
mod sequence_operations;
mod sequence_state;
mod value;
mod watchdog;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

pub use monocle_kernels::lanes::Instructions;
pub use run::Activations;

use load::Loaded;
use monocle_kernels::lanes::Processor;
use monocle_kernels::memory::Memory;
use monocle_kernels::threads::Threads;
use monocle_tensor::backend::{
    Backend, BackendError, KeyValueType, MemoryUse, SequenceId, Step, Tensor, guarded,
};
use monocle_tensor::check::check;
use monocle_tensor::program::{Program, ProgramId, ValueType};
use monocle_tensor::sequences::Sequences;
use monocle_tensor::stored::{Weight, stored_bytes};
use prepared_program::PreparedProgram;
use run::ProgramRun;
use sequence_state::Sequence;
use value::Value;
use watchdog::Watchdog;

/// Programs that are kept prepared.
const MOST_PREPARED: usize = 64;

/// The engine.
pub struct CpuBackend {
    watchdog: Watchdog,
    threads: Threads,
    processor: Processor,
    key_values: KeyValueType,
    activations: Activations,
    memory: Memory,
    weights: Vec<Loaded>,
    sequences: Sequences<Sequence>,
    prepared: HashMap<ProgramId, Rc<PreparedProgram>>,
    /// Bytes that should be in use at most, those of weights where they are stored included.
    limit: usize,
    /// Bytes of those.
    in_place: usize,
}

impl CpuBackend {
    /// An engine that works with this many threads; by default with as many as there are processors.
    pub fn new(threads: Option<usize>) -> Self {
        Self::with_processor(threads, Processor::best())
    }

    /// An engine that uses this instruction set, if the processor has it.
    pub fn with_instructions(threads: Option<usize>, instructions: Instructions) -> Option<Self> {
        Processor::with(instructions).map(|processor| Self::with_processor(threads, processor))
    }

    fn with_processor(threads: Option<usize>, processor: Processor) -> Self {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::new(threads.unwrap_or(available).clamp(1, 256));
        Self {
            watchdog: Watchdog::new(Arc::clone(threads.interrupt())),
            threads,
            processor,
            key_values: KeyValueType::F32,
            activations: Activations::Floats,
            memory: Memory::default(),
            weights: Vec::new(),
            sequences: Sequences::default(),
            prepared: HashMap::new(),
            limit: usize::MAX,
            in_place: 0,
        }
    }

    fn bound_memory(&self) {
        self.memory.keep_within(self.limit.saturating_sub(self.in_place));
    }

    /// Stores keys and values so, in sequences that are new from here on; in f32 if nothing is said.
    pub fn storing(mut self, key_values: KeyValueType) -> Self {
        self.key_values = key_values;
        self
    }

    /// Multiplies quantised matrices with these; with floats if nothing is said.
    pub fn multiplying(mut self, activations: Activations) -> Self {
        self.activations = activations;
        self
    }

    fn prepare(&mut self, program: &Program) -> Rc<PreparedProgram> {
        if let Some(prepared) = self.prepared.get(&program.id) {
            return Rc::clone(prepared);
        }
        if self.prepared.len() >= MOST_PREPARED {
            self.prepared.clear();
        }
        let prepared = Rc::new(PreparedProgram::new(program, &self.memory));
        self.prepared.insert(program.id, Rc::clone(&prepared));
        prepared
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> String {
        format!(
            "{} processor, {} instructions, {} threads, {}, keys and values in {}",
            std::env::consts::ARCH,
            self.processor.instructions().name(),
            self.threads.count(),
            match self.activations {
                Activations::Floats => "floats for quantised weights",
                Activations::Integers => "16-bit integers for quantised weights",
                Activations::Bytes => "8-bit integers for quantised weights",
                Activations::Bf16 if self.processor.multiplies_bf16() => {
                    "16-bit integers for quantised weights, bf16 for weights of bf16"
                }
                Activations::Bf16 => {
                    "16-bit integers for quantised weights, bf16 for weights of bf16 (without instructions for it)"
                }
            },
            self.key_values.name()
        )
    }

    fn load(
        &mut self,
        weights: Arc<Vec<Weight>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), BackendError> {
        self.weights.clear();
        self.in_place = stored_bytes(&weights).saturating_sub(self.weight_bytes(&weights));
        self.bound_memory();
        let bytes: Vec<usize> = weights.iter().map(Weight::stored_bytes).collect();
        let (mut done, all) = (0, bytes.iter().sum());
        for (weight, bytes) in weights.iter().zip(bytes) {
            self.weights
                .push(guarded("cpu", || load::load(&self.memory, weight))?);
            done += bytes;
            progress(done, all);
        }
        Ok(())
    }

    fn new_sequence(&mut self) -> SequenceId {
        self.sequences.create()
    }

    fn drop_sequence(&mut self, sequence: SequenceId) {
        self.sequences.drop(sequence);
    }

    fn fork(&mut self, sequence: SequenceId, tokens: usize) -> Result<Option<SequenceId>, BackendError> {
        self.sequences.fork(sequence, tokens, |state| state.part(tokens))
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: usize) -> Result<bool, BackendError> {
        self.sequences
            .truncate(sequence, tokens, |state| state.truncate(tokens))
    }

    fn upload(&mut self, shape: &[usize], values: Vec<f32>) -> Result<Tensor, BackendError> {
        let kind = ValueType::float(shape);
        if kind.len() != values.len() {
            return Err(BackendError::Input(format!(
                "{} values do not fill {kind}",
                values.len()
            )));
        }
        let value = guarded("cpu", || Ok(Value::from_floats(&self.memory, &values)))?;
        Ok(Tensor::new(kind, value))
    }

    fn download(&mut self, tensor: &Tensor) -> Result<Vec<f32>, BackendError> {
        let value = own_values::value_of(tensor)?;
        Ok(match tensor.value_type().kind {
            monocle_tensor::operation::Kind::Float => value.floats().to_vec(),
            monocle_tensor::operation::Kind::Int => value.ints().iter().map(|x| *x as f32).collect(),
        })
    }

    fn run(
        &mut self,
        program: &Program,
        inputs: &[Tensor],
        step: Option<&Step>,
    ) -> Result<Vec<Tensor>, BackendError> {
        let prepared = guarded("cpu", || Ok(self.prepare(program)))?;
        check(program, inputs, step, own_values::owns)?;
        let nothing = Step::default();
        let step = step.unwrap_or(&nothing);
        if self.watchdog.is_late() {
            return Err(BackendError::Stopped);
        }
        self.sequences.begin(step)?;
        let run = ProgramRun {
            program,
            prepared: &prepared,
            inputs,
            step,
            weights: &self.weights,
            sequences: &mut self.sequences,
            memory: &self.memory,
            threads: &self.threads,
            processor: self.processor,
            key_values: self.key_values,
            activations: self.activations,
            values: Vec::new(),
            tables: Vec::new(),
            rounded: RefCell::default(),
            index: 0,
        };
        // After a panic the sequences stay marked.
        let results = guarded("cpu", || run.run())?;
        self.sequences.finish(step);
        Ok(results)
    }

    fn memory(&self) -> MemoryUse {
        self.memory.usage()
    }

    fn reset_peak(&mut self) {
        self.memory.reset_peak();
    }

    fn clear_cache(&mut self) {
        // Prepared programs hold constants.
        self.prepared.clear();
        self.memory.clear_cache();
    }

    fn weight_bytes(&self, weights: &[Weight]) -> usize {
        weights.iter().map(load::converted_bytes).sum()
    }

    // Scores of attention are made a tile at a time: what is taken does not grow with keys.
    fn program_bytes(&self, program: &Program, _tokens: usize) -> usize {
        estimate::program_bytes(program, self.activations)
    }

    fn cache_bytes(&self, program: &Program, tokens: usize) -> usize {
        estimate::cache_bytes(program, tokens, self.key_values)
    }

    fn kept_bytes(&self, programs: &[&Program], sequence: (&Program, usize)) -> usize {
        estimate::kept_bytes(programs, sequence, self.key_values, self.activations)
    }

    fn stop_at(&mut self, time: Option<Instant>) {
        self.watchdog.set_at(time);
    }

    fn keep_within(&mut self, bytes: usize) {
        self.limit = bytes;
        self.bound_memory();
    }
}
