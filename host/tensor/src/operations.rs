//! What is known of each operation without running it: what its operands must be and what comes out, and what engines and
//! estimates ask. Each group of operations has one file, with one function for each operation.

// Shapes are a plugin's: a size that wraps would pass a bound.
#![deny(clippy::arithmetic_side_effects)]

mod attention;
mod batch;
mod constants;
mod elementwise;
mod lookup;
mod movement;
mod normalisation;
mod operands;
mod pictures;
mod products;
mod sequences;

use std::fmt::Debug;
use std::sync::Arc;

pub use elementwise::Elementwise;
pub use movement::moves_nothing;
pub use operands::{Inferred, Operands};

use crate::operation::{Op, WeightId};
use crate::program::ValueType;

/// Where an engine whose tensors lie in dense buffers, row by row, may put a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Nowhere: it was there before the program ran.
    Given,
    /// Where its first operand lies: the elements are the same, in the same order.
    Shared,
    /// Over its first operand, where nobody else needs that.
    InPlace,
    /// In a buffer of its own.
    New,
}

/// What the first dimension of a result has to do with the step that a forward pass runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Nothing: the operation knows of no step.
    Free,
    /// One row for each token.
    Tokens,
    /// One row for each token, of the step's mark of this number.
    Mark(u32),
    /// `[axes, tokens]`
    AxesAndTokens,
    /// One row for each wanted row.
    Wanted,
    /// One row for each row of context that the step brings.
    Context,
}

/// What an operation keeps for later steps of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// All operands but the first: a row for each token.
    EachToken,
    /// All operands but the first, as they are: they come once for a sequence.
    Context,
    /// The sequence's last rows of its first operand.
    LastRows,
    /// A state of fixed size, in 32 bits: a matrix of keys by values for each head of its third operand.
    State,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An operation computes it.
    Computed,
    /// It is the program's input of this number.
    Input(u32),
    /// It is the same in each run, and needs no operand.
    Constant,
}

/// What one part of a result's first dimension is made of, where that dimension is cut into equal parts, and those of operands into as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Of all operands as they are, in a way of which nothing is said.
    Together,
    /// Of all operands as they are; all parts are the same.
    Alike,
    /// Of the same part of the first operand, and of the others as they are.
    First,
    /// Of the same part of each operand.
    Each,
    /// Of the same part of each operand that has the result's first dimension, and of those as they are that are repeated along it.
    Broadcast,
}

/// Numbers that are the same in each run.
#[derive(Debug, Clone, Copy)]
pub enum Constant<'a> {
    /// Floats, row by row.
    Floats(&'a Arc<[f32]>),
    /// Integers, row by row.
    Ints(&'a Arc<[i32]>),
}

type Rule<'a> = Box<dyn Fn(&Operands<'_>) -> Inferred + 'a>;
type PlacementRule<'a> = Box<dyn Fn(&[&ValueType], &ValueType) -> Placement + 'a>;
type PartsRule<'a> = Box<dyn Fn(&[&ValueType], &ValueType) -> Parts + 'a>;
type WorkRule<'a> = Box<dyn Fn(&[&ValueType]) -> usize + 'a>;

/// What is known of one operation.
pub struct Facts<'a> {
    /// The name that errors and the contract use.
    pub name: &'static str,
    /// Which one it is, where one name stands for several.
    pub detail: Option<&'a dyn Debug>,
    /// Where its result comes from.
    pub origin: Origin,
    /// The weight that it uses.
    pub weight: Option<WeightId>,
    /// Its numbers, if it is nothing else.
    pub constant: Option<Constant<'a>>,
    /// How many numbers of four bytes the plugin hands over with it.
    pub numbers: usize,
    /// What it does element by element, so that it can run as one with others that do.
    pub elementwise: Option<Elementwise>,
    /// Whether its result is another view of its first operand where tensors have strides.
    pub is_view: bool,
    /// Whether the result holds every element of the first operand, and nothing else.
    pub only_moves: bool,
    /// What its rows are.
    pub rows: Rows,
    /// What stays after the step.
    pub kept: Kept,
    /// The number of the state that it keeps. Operations of one name must not keep two with one number.
    pub state: Option<u32>,
    /// Whether it does nothing in a batch without features.
    pub needs_features: bool,
    rule: Rule<'a>,
    placement: PlacementRule<'a>,
    parts: PartsRule<'a>,
    work: WorkRule<'a>,
}

impl<'a> Facts<'a> {
    /// An operation of this name and with this rule, of which nothing else is to be said.
    fn new(name: &'static str, rule: impl Fn(&Operands<'_>) -> Inferred + 'a) -> Self {
        Self {
            name,
            detail: None,
            origin: Origin::Computed,
            weight: None,
            constant: None,
            numbers: 0,
            elementwise: None,
            is_view: false,
            only_moves: false,
            rows: Rows::Free,
            kept: Kept::Nothing,
            state: None,
            needs_features: false,
            rule: Box::new(rule),
            placement: Box::new(|_, _| Placement::New),
            parts: Box::new(|_, _| Parts::Together),
            work: Box::new(|_| 1),
        }
    }

    fn placed(self, placement: Placement) -> Self {
        self.placed_by(move |_, _| placement)
    }

    fn placed_by(self, placement: impl Fn(&[&ValueType], &ValueType) -> Placement + 'a) -> Self {
        Self {
            placement: Box::new(placement),
            ..self
        }
    }

    fn parted(self, parts: Parts) -> Self {
        self.parted_by(move |_, _| parts)
    }

    fn parted_by(self, parts: impl Fn(&[&ValueType], &ValueType) -> Parts + 'a) -> Self {
        Self {
            parts: Box::new(parts),
            ..self
        }
    }

    /// So many multiplications for each element of the result, or as much work.
    fn works(self, work: impl Fn(&[&ValueType]) -> usize + 'a) -> Self {
        Self {
            work: Box::new(work),
            ..self
        }
    }

    /// The type of the result, or what is wrong with the operands.
    pub fn output(&self, operands: &Operands<'_>) -> Inferred {
        (self.rule)(operands)
    }

    /// Where the result may lie, by the types of the operands and its own.
    pub fn placement(&self, inputs: &[&ValueType], output: &ValueType) -> Placement {
        (self.placement)(inputs, output)
    }

    /// What each part of the result is made of, by the types of the operands and its own.
    pub fn parts(&self, inputs: &[&ValueType], output: &ValueType) -> Parts {
        (self.parts)(inputs, output)
    }

    /// How much work it is, roughly: its multiplications, or what it writes where it multiplies nothing. What steps before kept is not known and
    /// does not count.
    pub fn work(&self, inputs: &[&ValueType], output: &ValueType) -> u64 {
        (output.len() as u64).saturating_mul((self.work)(inputs) as u64)
    }
}

impl Op {
    /// What is known of it.
    pub fn facts(&self) -> Facts<'_> {
        match self {
            Self::Input(number) => constants::input(*number),
            Self::Floats(values) => constants::floats(values),
            Self::Ints(values) => constants::ints(values),
            Self::Full(_) => constants::full(),
            Self::Weight(id) => constants::weight(*id),

            Self::Tokens => batch::tokens(),
            Self::Positions => batch::positions(),
            Self::Mark(mark) => batch::mark(*mark),
            Self::ImageMask => batch::image_mask(),
            Self::Context => batch::context(),
            Self::ContextMask => batch::context_mask(),
            Self::SpliceFeatures { set } => batch::features("batch.splice-features", *set),
            Self::AddFeatures { set } => batch::features("batch.add-features", *set),
            Self::SelectLogits => batch::select_logits(),

            Self::Unary(kind) => elementwise::unary(kind),
            Self::Binary(kind) => elementwise::binary(kind),
            Self::ScaleShift { scale, shift } => elementwise::scale_shift(*scale, *shift),
            Self::Clamp { low, high } => elementwise::clamp(*low, *high),
            Self::Select => elementwise::select(),
            Self::ToFloat => elementwise::to_float(),
            Self::ToInt => elementwise::to_int(),

            Self::Linear(id) => products::linear(*id),
            Self::LinearHeads {
                weight,
                heads,
                transposed,
            } => products::linear_heads(*weight, *heads, *transposed),
            Self::MatMul { transpose_right } => products::matmul(*transpose_right),
            Self::ExpertLinear(id) => products::expert_linear(*id),

            Self::RmsNorm { .. } => normalisation::rms_norm(),
            Self::LayerNorm { .. } => normalisation::layer_norm(),
            Self::Softmax => normalisation::softmax(),
            Self::Reduce { axes, keep, .. } => normalisation::reduce(axes, *keep),

            Self::Embed(id) => lookup::embed(*id),
            Self::TopK { k } => lookup::top_k(*k),
            Self::GatherLast => lookup::gather_last(),
            Self::TakeRows => lookup::take_rows(),
            Self::PutRows => lookup::put_rows(),

            Self::Reshape => movement::reshape(),
            Self::Permute(axes) => movement::permute(axes),
            Self::Slice {
                axis,
                start,
                end,
                step,
            } => movement::slice(*axis, *start, *end, *step),
            Self::Concat { axis } => movement::concat(*axis),
            Self::Broadcast => movement::broadcast(),
            Self::Pad {
                axis, before, after, ..
            } => movement::pad(*axis, *before, *after),

            Self::Conv2d { window, groups } => pictures::conv2d(window, *groups),
            Self::Pool2d { window, .. } => pictures::pool2d(window),
            Self::Interpolate { size, .. } => pictures::interpolate(*size),

            Self::Attention(attention) => attention::attention(attention),
            Self::Rope(rope) => attention::rope(rope),
            Self::Attend(cached) => attention::attend(cached),
            Self::AttendShared(cached, heads) => attention::attend_shared(cached, heads),
            Self::CrossAttend(cached) => attention::cross_attend(cached),

            Self::ShortConv { layer } => sequences::short_conv(*layer),
            Self::Recurrent { layer } => sequences::recurrent(*layer),
        }
    }

    /// The name that errors and the contract use.
    pub fn name(&self) -> &'static str {
        self.facts().name
    }

    /// The name, and which one it is where one name stands for several.
    pub fn full_name(&self) -> String {
        let facts = self.facts();
        match facts.detail {
            Some(detail) => format!("{} {detail:?}", facts.name),
            None => facts.name.to_owned(),
        }
    }
}
