//! The engine itself: what it keeps between runs.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use half::{bf16, f16};
use mlx_rs::error::AsSliceError;
use mlx_rs::{Array, ArrayElement, Dtype, memory, transforms};
use monocle_tensor::backend::{
    Backend, BackendError, MemoryUse, Precision, SequenceId, Step, Tensor, guarded,
};
use monocle_tensor::check::{check, stranger};
use monocle_tensor::program::{Program, ProgramId, ValueType};
use monocle_tensor::sequences::Sequences;
use monocle_tensor::stored::Weight;

use super::array::floats;
use super::cache::GROWTH;
use super::compile::{self, Function};
use super::device::{self, Habits};
use super::error::{Error, Result};
use super::estimate;
use super::load::{self, Loaded, Loader, load_peak_bytes, loaded_bytes};
use super::precision::{self, float};
use super::prepared_program::PreparedProgram;
use super::rotary;
use super::run::GraphBuilder;
use super::sequence_operations::SequenceState;

/// Programs that are kept prepared.
const MOST_PREPARED: usize = 64;

/// The engine.
pub struct MlxBackend {
    precision: Precision,
    /// What that comes to with the weights of the model.
    float: Dtype,
    habits: Habits,
    fuses: bool,
    /// [`rotary::turn_halves`], compiled where operations are fused.
    turn: Option<Function>,
    weights: Vec<Loaded>,
    sequences: Sequences<SequenceState>,
    prepared: HashMap<ProgramId, Rc<PreparedProgram>>,
    /// Results of the last run, which may still be computed.
    running: Vec<Array>,
}

impl MlxBackend {
    /// An engine on MLX's default device: the graphics processor where MLX has one.
    pub fn new(precision: Precision) -> Self {
        let habits = Habits::here();
        Self {
            precision,
            float: float(precision, &[]),
            habits,
            fuses: habits.is_graphics_processor,
            turn: compiled_turn(habits.is_graphics_processor),
            weights: Vec::new(),
            sequences: Sequences::default(),
            prepared: HashMap::new(),
            running: Vec::new(),
        }
    }

    /// Whether operations element by element run as one where they can, compiled by MLX. By default they do on a graphics
    /// processor; on a processor they do so only where MLX finds a compiler.
    pub fn fusing(mut self, fuses: bool) -> Self {
        self.fuses = fuses && (self.habits.is_graphics_processor || compile::available());
        self.turn = compiled_turn(self.fuses);
        self.prepared.clear();
        self
    }

    /// Whether it does so.
    pub fn fuses(&self) -> bool {
        self.fuses
    }

    fn prepare(&mut self, program: &Program) -> Result<Rc<PreparedProgram>> {
        if let Some(prepared) = self.prepared.get(&program.id) {
            return Ok(Rc::clone(prepared));
        }
        if self.prepared.len() >= MOST_PREPARED {
            self.prepared.clear();
        }
        let prepared = Rc::new(PreparedProgram::new(
            program,
            self.float,
            self.fuses,
            &self.habits,
        )?);
        self.prepared.insert(program.id, Rc::clone(&prepared));
        Ok(prepared)
    }

    fn load_all(&mut self, weights: &[Weight], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        self.weights.clear();
        let bytes: Vec<usize> = weights.iter().map(Weight::stored_bytes).collect();
        let (mut done, all) = (0, bytes.iter().sum());
        let mut loader = Loader::new(self.float);
        for (weight, bytes) in weights.iter().zip(bytes) {
            self.weights.push(loader.load(weight)?);
            done += bytes;
            progress(done, all);
        }
        loader.finish()
    }

    fn replay(&mut self, program: &Program, inputs: &[Tensor], step: &Step) -> Result<Vec<Tensor>> {
        let prepared = self.prepare(program)?;
        self.sequences.begin(step)?;
        let run = GraphBuilder {
            program,
            prepared: &prepared,
            inputs,
            step,
            weights: &self.weights,
            sequences: &mut self.sequences,
            float: self.float,
            habits: &self.habits,
            turn: self.turn.as_ref(),
            values: Vec::new(),
            tables: HashMap::new(),
            touched: Vec::new(),
            index: 0,
        };
        let results = run.run()?;
        self.sequences.finish(step);
        // Whatever ran before is part of it, or dead.
        self.running = results
            .iter()
            .filter_map(|result| result.get().cloned())
            .collect();
        Ok(results)
    }
}

impl Backend for MlxBackend {
    fn name(&self) -> &'static str {
        "mlx"
    }

    fn device(&self) -> String {
        let device = match self.habits.is_graphics_processor {
            true => "graphics processor",
            false => "processor",
        };
        let float = precision::name(self.float);
        let fused = if self.fuses { ", operations fused" } else { "" };
        format!("MLX on the {} {device}, {float}{fused}", std::env::consts::ARCH)
    }

    fn announce(&mut self, weights: &[Weight]) {
        self.float = float(self.precision, weights);
        self.prepared.clear();
    }

    fn weight_notes(&self, weights: &[Weight]) -> Vec<String> {
        load::notes(weights, self.float)
    }

    fn load(
        &mut self,
        weights: Arc<Vec<Weight>>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> std::result::Result<(), BackendError> {
        self.announce(&weights);
        let loaded = self.load_all(&weights, progress);
        if loaded.is_err() {
            self.weights.clear();
        }
        Ok(loaded?)
    }

    fn new_sequence(&mut self) -> SequenceId {
        self.sequences.create()
    }

    fn drop_sequence(&mut self, sequence: SequenceId) {
        self.sequences.drop(sequence);
    }

    fn fork(
        &mut self,
        sequence: SequenceId,
        tokens: usize,
    ) -> std::result::Result<Option<SequenceId>, BackendError> {
        self.sequences.fork(sequence, tokens, |state| state.part(tokens))
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: usize) -> std::result::Result<bool, BackendError> {
        self.sequences
            .truncate(sequence, tokens, |state| state.truncate(tokens))
    }

    fn upload(&mut self, shape: &[usize], values: Vec<f32>) -> std::result::Result<Tensor, BackendError> {
        let kind = ValueType::float(shape);
        if kind.len() != values.len() {
            return Err(BackendError::Input(format!(
                "{} values do not fill {kind}",
                values.len()
            )));
        }
        let array = floats(&values, shape, self.float)?;
        Ok(Tensor::new(kind, array))
    }

    fn download(&mut self, tensor: &Tensor) -> std::result::Result<Vec<f32>, BackendError> {
        Ok(read(array_of(tensor)?)?)
    }

    fn run(
        &mut self,
        program: &Program,
        inputs: &[Tensor],
        step: Option<&Step>,
    ) -> std::result::Result<Vec<Tensor>, BackendError> {
        check(program, inputs, step, |tensor| tensor.get::<Array>().is_some())?;
        let nothing = Step::default();
        let step = step.unwrap_or(&nothing);
        // After a panic the sequences stay marked.
        guarded("mlx", || Ok(self.replay(program, inputs, step)?))
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse {
            active: memory::active_memory().unwrap_or(0),
            peak: memory::peak_memory().unwrap_or(0),
            cached: memory::cache_memory().unwrap_or(0),
        }
    }

    fn reset_peak(&mut self) {
        // It cannot fail: a counter is set.
        let _ = memory::reset_peak_memory();
    }

    fn clear_cache(&mut self) {
        // What stays is only kept longer than it need be.
        let _ = memory::clear_cache();
    }

    fn wait(&mut self) -> std::result::Result<(), BackendError> {
        let computed = transforms::eval(&self.running).map_err(Error::from);
        self.running.clear();
        Ok(computed?)
    }

    fn is_ahead(&self) -> bool {
        true
    }

    fn keep_within(&mut self, bytes: usize) {
        device::keep_within(bytes);
    }

    fn recommended_limit(&self) -> Option<usize> {
        device::recommended_limit()
    }

    fn weight_bytes(&self, weights: &[Weight]) -> usize {
        loaded_bytes(weights, self.float)
    }

    fn load_peak_bytes(&self, weights: &[Weight]) -> usize {
        load_peak_bytes(weights, self.float, self.habits.piece)
    }

    fn program_bytes(&self, program: &Program, tokens: usize) -> usize {
        estimate::program_bytes(
            program,
            tokens,
            precision::bytes(self.float),
            &self.habits,
            self.fuses,
        )
    }

    fn cache_bytes(&self, program: &Program, tokens: usize) -> usize {
        let room = tokens.checked_next_multiple_of(GROWTH).unwrap_or(usize::MAX);
        program
            .cached_elements()
            .saturating_mul(room)
            .saturating_add(program.kept_context().fold(0, usize::saturating_add))
            .saturating_mul(precision::bytes(self.float))
            .saturating_add(program.kept_state().saturating_mul(2 * size_of::<f32>()))
    }
}

fn compiled_turn(fuses: bool) -> Option<Function> {
    fuses.then(|| Function::new(rotary::turn_halves))
}

/// This engine's value of a tensor.
pub fn array_of(tensor: &Tensor) -> std::result::Result<&Array, BackendError> {
    tensor.get::<Array>().ok_or_else(|| stranger(tensor))
}

/// Waits for an array, and for nothing that was asked for after it: reading queues no operation, or it would come behind the next
/// step.
fn read(array: &Array) -> Result<Vec<f32>> {
    if array.size() == 0 {
        return Ok(Vec::new());
    }
    let values = match array.dtype() {
        Dtype::Int32 => values(array, |x: i32| x as f32),
        Dtype::Bfloat16 => values(array, bf16::to_f32),
        Dtype::Float16 => values(array, f16::to_f32),
        _ => values(array, |x: f32| x),
    };
    match values {
        // A view in another order: a copy has to be made.
        Err(AsSliceError::NotContiguous) => read(&array.contiguous()?),
        values => Ok(values?),
    }
}

fn values<T: ArrayElement + Copy>(
    array: &Array,
    convert: impl Fn(T) -> f32,
) -> std::result::Result<Vec<f32>, AsSliceError> {
    Ok(array.try_as_slice::<T>()?.iter().map(|x| convert(*x)).collect())
}
