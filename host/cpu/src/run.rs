//! Runs a prepared program, one operation after another.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use super::load::{Experts, Loaded};
use super::prepared_program::PreparedProgram;
use super::sequence_state::Sequence;
use super::value::Value;
use monocle_kernels::integers::RoundedRows;
use monocle_kernels::lanes::Processor;
use monocle_kernels::matrix::StoredMatrix;
use monocle_kernels::memory::Memory;
use monocle_kernels::threads::Threads;
use monocle_tensor::backend::{BackendError, KeyValueType, Step, Tensor};
use monocle_tensor::interpolation::Sampling;
use monocle_tensor::operation::{Op, Unary, WeightId};
use monocle_tensor::program::{Node, Program, ValueId};
use monocle_tensor::sequences::Sequences;

use super::{batch_operations, dense, indexing, movement, recurrence, sequence_operations};
use monocle_kernels::elementwise::{self, Function};

/// What matrices are multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// Floats, as they are.
    #[default]
    Floats,
    /// Quantised ones with 16-bit integers that have a scale for each group of the matrix, others with floats.
    Integers,
    /// Quantised ones with 8-bit integers that have a scale for each 32, others with floats.
    Bytes,
    /// As [`Activations::Integers`], and those of bf16 with bf16.
    Bf16,
}

/// Whether what was rounded for a product is kept while this runs: it lies between products of the same activations, and needs no memory but
/// for its result.
pub fn keeps_rounded(op: &Op) -> bool {
    matches!(
        op,
        Op::Linear(_) | Op::Reshape | Op::Unary(_) | Op::ScaleShift { .. } | Op::Clamp { .. } | Op::Binary(_)
    )
}

/// One run of a program.
pub struct ProgramRun<'a> {
    /// What is run.
    pub program: &'a Program,
    /// What is known of it.
    pub prepared: &'a PreparedProgram,
    /// Its inputs, checked.
    pub inputs: &'a [Tensor],
    /// The batch, checked.
    pub step: &'a Step,
    /// The model's weights.
    pub weights: &'a [Loaded],
    /// State of sequences.
    pub sequences: &'a mut Sequences<Sequence>,
    /// Where results go.
    pub memory: &'a Memory,
    /// Who works.
    pub threads: &'a Threads,
    /// On what.
    pub processor: Processor,
    /// What quantised matrices are multiplied with.
    pub activations: Activations,
    /// How caches store keys and values.
    pub key_values: KeyValueType,
    /// Results that are alive.
    pub values: Vec<Option<Value>>,
    /// Rotary tables made so far.
    pub tables: Vec<Option<Value>>,
    /// What was rounded last, and of which value: several matrices are often multiplied with the same.
    pub rounded: RefCell<Option<(ValueId, RoundedRows)>>,
    /// The operation that is running.
    pub index: usize,
}

impl<'a> ProgramRun<'a> {
    /// Runs all operations and gives the program's results.
    pub fn run(mut self) -> Result<Vec<Tensor>, BackendError> {
        let (program, prepared) = (self.program, self.prepared);
        self.values = vec![None; program.nodes.len()];
        self.tables = vec![None; prepared.tables];
        for (index, node) in program.nodes.iter().enumerate() {
            self.index = index;
            if self.threads.interrupt().load(Ordering::Relaxed) {
                return Err(BackendError::Stopped);
            }
            if !keeps_rounded(&node.op) {
                self.rounded.take();
            }
            let value = match &prepared.constants[index] {
                Some(constant) => constant.clone(),
                None => self.operation(node)?,
            };
            debug_assert_eq!(value.len(), node.output.len());
            self.values[index] = Some(value);
            for dying in &prepared.dying[index] {
                self.values[dying.index()] = None;
                if self
                    .rounded
                    .borrow()
                    .as_ref()
                    .is_some_and(|kept| kept.0 == *dying)
                {
                    self.rounded.take();
                }
            }
        }
        program
            .outputs
            .iter()
            .map(|id| Ok(Tensor::new(program.value(*id).clone(), self.value(*id)?.clone())))
            .collect()
    }

    /// The program's node that runs now.
    pub fn node(&self) -> &'a Node {
        &self.program.nodes[self.index]
    }

    /// An operand of the node that runs now.
    pub fn input(&self, index: usize) -> Result<&Value, BackendError> {
        self.value(self.node().inputs[index])
    }

    /// The shape of an operand.
    pub fn input_shape(&self, index: usize) -> &'a [usize] {
        &self.program.value(self.node().inputs[index]).shape
    }

    /// The operand, taken when nothing needs it later.
    pub fn take_input(&mut self, index: usize) -> Result<Value, BackendError> {
        let id = self.node().inputs[index];
        let slot = &mut self.values[id.index()];
        let value = if self.prepared.dies_at(self.index, id) {
            slot.take()
        } else {
            slot.clone()
        };
        value.ok_or_else(|| lost(id))
    }

    fn value(&self, id: ValueId) -> Result<&Value, BackendError> {
        self.values[id.index()].as_ref().ok_or_else(|| lost(id))
    }

    /// An error of a value that is known only now.
    pub fn value_error(&self, reason: String) -> BackendError {
        BackendError::Value {
            index: self.index,
            operation: self.node().op.name(),
            reason,
        }
    }

    /// A matrix and what is added to its products.
    pub fn matrix(&self, id: WeightId) -> Result<(&'a StoredMatrix, Option<&'a [f32]>), BackendError> {
        match self.weights.get(id.0 as usize) {
            Some(Loaded::Matrix { matrix, bias }) => Ok((matrix, bias.as_ref().map(Value::floats))),
            _ => Err(BackendError::Input(format!(
                "weight {} is not loaded as a matrix",
                id.0
            ))),
        }
    }

    /// The matrices of experts, each of so many rows, and what is added to their products.
    pub fn experts(
        &self,
        id: WeightId,
        rows: usize,
    ) -> Result<(Experts<'a>, Option<&'a [f32]>), BackendError> {
        if let Some(Loaded::Stack { matrices, bias }) = self.weights.get(id.0 as usize) {
            return Ok((Experts::Stack(matrices), bias.as_ref().map(Value::floats)));
        }
        let (matrix, bias) = self.matrix(id)?;
        Ok((Experts::Whole(matrix.view(), rows), bias))
    }

    fn weight(&self, id: WeightId) -> Result<Value, BackendError> {
        match self.weights.get(id.0 as usize) {
            Some(Loaded::Tensor(value)) if value.len() == self.node().output.len() => Ok(value.clone()),
            _ => Err(BackendError::Input(format!(
                "weight {} is not loaded as a tensor {}",
                id.0,
                self.node().output
            ))),
        }
    }

    /// A new result of floats, filled by `fill`.
    pub fn floats(&self, fill: impl FnOnce(&mut [f32])) -> Value {
        let len = self.node().output.len();
        let mut buffer = self.memory.take(len);
        fill(&mut buffer.floats_mut()[..len]);
        Value::new(buffer, len)
    }

    /// A new result of integers, filled by `fill`.
    pub fn ints(&self, fill: impl FnOnce(&mut [i32])) -> Value {
        let len = self.node().output.len();
        let mut buffer = self.memory.take(len);
        fill(&mut buffer.ints_mut()[..len]);
        Value::new(buffer, len)
    }

    fn operation(&mut self, node: &'a Node) -> Result<Value, BackendError> {
        match &node.op {
            Op::Input(index) => Ok(super::own_values::value_of(&self.inputs[*index as usize])?.clone()),
            Op::Weight(id) => self.weight(*id),
            Op::Full(value) => Ok(self.floats(|out| out.fill(*value))),
            Op::Floats(_) | Op::Ints(_) => Err(BackendError::Input("a constant is missing".to_owned())),

            Op::Unary(unary) => self.unary(*unary),
            Op::ScaleShift { scale, shift } => self.function(Function::ScaleShift(*scale, *shift)),
            Op::Clamp { low, high } => self.function(Function::Clamp(*low, *high)),
            Op::Binary(binary) => movement::binary(self, *binary),
            Op::Select => movement::select(self),
            Op::ToFloat => movement::to_float(self),
            Op::ToInt => movement::to_int(self),

            Op::Linear(id) => dense::linear(self, *id),
            Op::MatMul { transpose_right } => dense::matmul(self, *transpose_right),
            Op::LinearHeads {
                weight,
                heads,
                transposed,
            } => dense::linear_heads(self, *weight, *heads, *transposed),
            Op::ExpertLinear(id) => dense::expert_linear(self, *id),
            Op::Conv2d { window, groups } => dense::conv2d(self, window, *groups),
            Op::Pool2d { pooling, window } => dense::pool2d(self, *pooling, window),
            Op::Interpolate {
                size,
                method,
                align_corners,
                antialias,
            } => {
                let sampling = Sampling {
                    method: *method,
                    align_corners: *align_corners,
                    antialias: *antialias,
                };
                dense::interpolate(self, *size, sampling)
            }

            Op::RmsNorm { epsilon, offset } => dense::rms_norm(self, *epsilon, *offset),
            Op::LayerNorm { epsilon } => dense::layer_norm(self, *epsilon),
            Op::Softmax => dense::softmax(self),
            Op::Reduce { reduction, axes, .. } => movement::reduce(self, *reduction, axes),

            Op::Embed(id) => indexing::embed(self, *id),
            Op::TopK { k } => indexing::top_k(self, *k),
            Op::GatherLast => indexing::gather_last(self),
            Op::TakeRows => indexing::take_rows(self),
            Op::PutRows => indexing::put_rows(self),

            Op::Reshape => self.take_input(0),
            Op::Permute(axes) => movement::permute(self, axes),
            Op::Slice {
                axis, start, step, ..
            } => movement::slice(self, *axis, *start, *step),
            Op::Concat { axis } => movement::concat(self, *axis),
            Op::Broadcast => movement::broadcast(self),
            Op::Pad {
                axis, before, value, ..
            } => movement::pad(self, *axis, *before, *value),

            Op::Tokens => batch_operations::tokens(self),
            Op::Positions => Ok(Value::from_ints(self.memory, &self.step.positions)),
            Op::Mark(mark) => Ok(Value::from_ints(self.memory, &self.step.marks[*mark as usize])),
            Op::ImageMask => Ok(batch_operations::image_mask(self)),
            Op::Context => batch_operations::context(self),
            Op::ContextMask => Ok(batch_operations::context_mask(self)),
            Op::SpliceFeatures { set } => batch_operations::features(self, *set as usize, false),
            Op::AddFeatures { set } => batch_operations::features(self, *set as usize, true),
            Op::SelectLogits => batch_operations::select_logits(self),

            Op::Rope(rope) => sequence_operations::rope(self, rope),
            Op::Attention(attention) => sequence_operations::attention(self, attention),
            Op::Attend(attention) => sequence_operations::attend(self, attention),
            Op::AttendShared(attention, heads) => sequence_operations::attend_shared(self, attention, *heads),
            Op::CrossAttend(attention) => sequence_operations::cross_attend(self, attention),
            Op::Recurrent { layer } => recurrence::recurrent(self, *layer),
            Op::ShortConv { layer } => sequence_operations::short_conv(self, *layer),
        }
    }

    fn unary(&mut self, unary: Unary) -> Result<Value, BackendError> {
        if self.node().output.kind == monocle_tensor::operation::Kind::Int {
            let x = self.input(0)?;
            return Ok(self.ints(|out| elementwise::apply_ints(unary, x.ints(), out)));
        }
        self.function(Function::Unary(unary))
    }

    fn function(&mut self, function: Function) -> Result<Value, BackendError> {
        let (processor, threads) = (self.processor, self.threads);
        let mut x = self.take_input(0)?;
        if let Some(values) = x.unique_floats() {
            elementwise::apply(processor, threads, function, None, values);
            return Ok(x);
        }
        Ok(self.floats(|out| elementwise::apply(processor, threads, function, Some(x.floats()), out)))
    }
}

fn lost(id: ValueId) -> BackendError {
    BackendError::Device {
        engine: "cpu",
        reason: format!("value {} is used after its last use", id.0),
    }
}
