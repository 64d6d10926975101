//! Replays a program into MLX's graph, one operation after another, and queues its results for evaluation.

use std::collections::HashMap;

use mlx_rs::ops::broadcast_to;
use mlx_rs::{Array, Dtype, transforms};
use monocle_tensor::backend::{BackendError, Step, Tensor};
use monocle_tensor::interpolation::Sampling;
use monocle_tensor::operation::{Kind, Op, WeightId};
use monocle_tensor::operations::Elementwise;
use monocle_tensor::program::{Node, Program, ValueId};
use monocle_tensor::sequences::Sequences;

use super::array::{dimensions, floats, ints};
use super::compile::Function;
use super::device::Habits;
use super::engine::array_of;
use super::error::{Result, device};
use super::load::{Loaded, LoadedMatrix};
use super::pieces::Pieces;
use super::prepared_program::{PreparedProgram, Runs};
use super::rotary::{self, Table};
use super::sequence_operations::SequenceState;
use super::{batch, dense, elementwise, indexing, movement, picture, recurrence, sequence_operations};

/// One run of a program.
pub struct GraphBuilder<'a> {
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
    pub sequences: &'a mut Sequences<SequenceState>,
    /// What floats are.
    pub float: Dtype,
    /// How MLX works here.
    pub habits: &'a Habits,
    /// The rotation of pairs, where it is compiled.
    pub turn: Option<&'a Function>,
    /// Results that are alive.
    pub values: Vec<Option<Array>>,
    /// Rotary tables made so far, by node.
    pub tables: HashMap<usize, Table>,
    /// State that this run changed: it is evaluated with the results, or graphs would grow from step to step.
    pub touched: Vec<Array>,
    /// The operation that is running.
    pub index: usize,
}

impl<'a> GraphBuilder<'a> {
    /// Replays all operations and gives the program's results, which are being computed.
    pub fn run(mut self) -> Result<Vec<Tensor>> {
        let (program, prepared) = (self.program, self.prepared);
        self.values = vec![None; program.nodes.len()];
        // A decode step is small, and the loop wants all of it asked for at once.
        let decodes = !self.step.sequences.is_empty() && self.step.tokens.len() == self.step.sequences.len();
        let mut pieces = Pieces::of((!decodes).then_some(self.habits.piece));
        for (index, node) in program.nodes.iter().enumerate() {
            self.index = index;
            self.values[index] = match &prepared.runs[index] {
                Runs::Later => None,
                Runs::Compiled(inputs, function) => Some(function.call(self.all(inputs)?)?),
                Runs::Alone => Some(self.operation(node)?),
            };
            for dying in &prepared.dying[index] {
                self.values[dying.index()] = None;
            }
            if let Some(result) = &self.values[index] {
                let alive = || {
                    self.values
                        .iter()
                        .flatten()
                        .chain(&self.touched)
                        .cloned()
                        .collect()
                };
                pieces.add(prepared.bytes[index], result, alive)?;
            }
        }
        let results = self.all(&program.outputs)?;
        // Everything else dies now, so that MLX may reuse its memory while it computes.
        self.values.clear();
        transforms::async_eval(results.iter().chain(&self.touched))?;
        let results = program.outputs.iter().zip(results);
        Ok(results
            .map(|(id, array)| Tensor::new(program.value(*id).clone(), array))
            .collect())
    }

    /// The program's node that runs now.
    pub fn node(&self) -> &'a Node {
        &self.program.nodes[self.index]
    }

    /// An operand of the node that runs now.
    pub fn input(&self, index: usize) -> Result<&Array> {
        self.value(self.node().inputs[index])
    }

    /// An operand that may not be there.
    pub fn optional(&self, index: usize) -> Result<Option<&Array>> {
        match index < self.node().inputs.len() {
            true => self.input(index).map(Some),
            false => Ok(None),
        }
    }

    /// The shape of an operand.
    pub fn input_shape(&self, index: usize) -> &'a [usize] {
        &self.program.value(self.node().inputs[index]).shape
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
    pub fn matrix(&self, id: WeightId) -> Result<(&'a LoadedMatrix, Option<&'a Array>)> {
        match self.weights.get(id.0 as usize) {
            Some(Loaded::Matrix { matrix, bias }) => Ok((matrix, bias.as_ref())),
            _ => Err(BackendError::Input(format!("weight {} is not loaded as a matrix", id.0)).into()),
        }
    }

    fn value(&self, id: ValueId) -> Result<&Array> {
        self.values[id.index()]
            .as_ref()
            .ok_or_else(|| device(format!("value {} is used after its last use", id.0)).into())
    }

    fn all(&self, ids: &[ValueId]) -> Result<Vec<Array>> {
        ids.iter().map(|id| self.value(*id).cloned()).collect()
    }

    fn weight(&self, id: WeightId) -> Result {
        match self.weights.get(id.0 as usize) {
            Some(Loaded::Tensor(value)) if value.size() == self.node().output.len() => Ok(value.clone()),
            _ => Err(BackendError::Input(format!(
                "weight {} is not loaded as a tensor {}",
                id.0,
                self.node().output
            ))
            .into()),
        }
    }

    fn rope(&mut self, rope: &monocle_tensor::operation::Rope) -> Result {
        let (x, positions) = (self.input(0)?.clone(), self.input(1)?.clone());
        if rope.frequencies.is_empty() || x.size() == 0 {
            return Ok(x);
        }
        if let (true, Some(periods)) = (rotary::is_plain(rope), &self.prepared.constants[self.index]) {
            return rotary::plain(&x, &positions, rope, periods);
        }
        let number = self.prepared.tables[self.index];
        let table = match self.tables.get(&number) {
            Some(table) => table.clone(),
            None => {
                let table = rotary::table(&positions, rope)?;
                self.tables.insert(number, table.clone());
                table
            }
        };
        rotary::turn(&x, rope, &table, self.turn)
    }

    fn operation(&mut self, node: &'a Node) -> Result {
        match &node.op {
            Op::Input(index) => Ok(array_of(&self.inputs[*index as usize])?.clone()),
            Op::Weight(id) => self.weight(*id),
            Op::Full(value) => {
                let value = floats(&[*value], &[], self.float)?;
                Ok(broadcast_to(&value, &dimensions(&node.output.shape)?)?)
            }
            Op::Floats(_) | Op::Ints(_) => match &self.prepared.constants[self.index] {
                Some(constant) => Ok(constant.clone()),
                None => Err(device("a constant is missing".to_owned()).into()),
            },

            Op::Unary(unary) => self.elementwise(node, Elementwise::Unary(*unary)),
            Op::Binary(binary) => self.elementwise(node, Elementwise::Binary(*binary)),
            &Op::ScaleShift { scale, shift } => {
                self.elementwise(node, Elementwise::ScaleShift { scale, shift })
            }
            &Op::Clamp { low, high } => self.elementwise(node, Elementwise::Clamp { low, high }),
            Op::Select => self.elementwise(node, Elementwise::Select),
            Op::ToFloat => self.elementwise(node, Elementwise::ToFloat),
            Op::ToInt => self.elementwise(node, Elementwise::ToInt),

            Op::Linear(id) => dense::linear(self, *id),
            Op::MatMul { transpose_right } => dense::matmul(self.input(0)?, self.input(1)?, *transpose_right),
            Op::LinearHeads {
                weight,
                heads,
                transposed,
            } => dense::linear_heads(self, *weight, *heads, *transposed),
            Op::ExpertLinear(id) => dense::expert_linear(self, *id),
            Op::RmsNorm { epsilon, offset } => dense::rms_norm(self, *epsilon, *offset),
            Op::LayerNorm { epsilon } => dense::layer_norm(self, *epsilon),
            Op::Softmax => Ok(mlx_rs::ops::softmax_axis(self.input(0)?, -1, true)?),
            Op::Reduce {
                reduction,
                axes,
                keep,
            } => movement::reduce(self.input(0)?, *reduction, axes, *keep),

            Op::Embed(id) => indexing::embed(self, *id),
            // MLX chooses nothing of nothing.
            Op::TopK { .. } if node.output.is_empty() => self.zeros(),
            Op::TopK { k } => indexing::top_k(self.input(0)?, *k),
            Op::GatherLast => indexing::gather_last(self),
            Op::TakeRows => indexing::take_rows(self),
            Op::PutRows => indexing::put_rows(self),

            Op::Reshape => Ok(self.input(0)?.reshape(&dimensions(&node.output.shape)?)?),
            Op::Broadcast => Ok(broadcast_to(self.input(0)?, &dimensions(&node.output.shape)?)?),
            Op::Permute(axes) => Ok(self.input(0)?.transpose_axes(&dimensions(axes)?)?),
            Op::Slice {
                axis,
                start,
                end,
                step,
            } => super::array::stepped(self.input(0)?, *axis, [*start, *end], *step),
            Op::Concat { axis } => movement::concat(self, *axis),
            Op::Pad {
                axis,
                before,
                after,
                value,
            } => movement::pad(self.input(0)?, *axis, [*before, *after], *value),

            Op::Conv2d { window, groups } => picture::conv2d(self, window, *groups),
            Op::Pool2d { pooling, window } => picture::pool2d(self, *pooling, window),
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
                picture::interpolate(self, *size, sampling)
            }

            Op::Tokens => batch::tokens(self.step),
            Op::Positions => ints(&self.step.positions, &node.output.shape),
            Op::Mark(mark) => ints(&self.step.marks[*mark as usize], &node.output.shape),
            Op::ImageMask => batch::image_mask(self.step),
            Op::Context => batch::context(self),
            Op::ContextMask => batch::context_mask(self.step),
            Op::SpliceFeatures { set } => batch::features(self, *set as usize, false),
            Op::AddFeatures { set } => batch::features(self, *set as usize, true),
            Op::SelectLogits => batch::select_logits(self),

            Op::Rope(rope) => self.rope(rope),
            Op::Attention(attention) => sequence_operations::attention(self, attention),
            Op::Attend(attention) => sequence_operations::attend(self, attention),
            Op::AttendShared(attention, heads) => sequence_operations::attend_shared(self, attention, *heads),
            Op::CrossAttend(attention) => sequence_operations::cross_attend(self, attention),
            Op::Recurrent { layer } => recurrence::recurrent(self, *layer),
            Op::ShortConv { layer } => sequence_operations::short_conv(self, *layer),
        }
    }

    fn elementwise(&self, node: &Node, op: Elementwise) -> Result {
        let inputs = self.all(&node.inputs)?;
        let operands: Vec<&Array> = inputs.iter().chain(&self.prepared.numbers[self.index]).collect();
        elementwise::apply(op, &operands, self.float)
    }

    /// Zeros of the result's type.
    pub fn zeros(&self) -> Result {
        let dtype = match self.node().output.kind {
            Kind::Float => self.float,
            Kind::Int => Dtype::Int32,
        };
        Ok(mlx_rs::ops::zeros_dtype(
            &dimensions(&self.node().output.shape)?,
            dtype,
        )?)
    }
}
