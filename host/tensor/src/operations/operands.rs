//! What rules say of operands: how many, which kind, which dimensions.

use super::Parts;
use crate::operation::{Kind, WeightId};
use crate::program::ValueType;
use crate::recorder::BatchShape;
use crate::stored::Weight;

/// The type of a result, or what is wrong with the operands.
pub type Inferred = Result<ValueType, String>;

/// What an operation is asked to work on.
pub struct Operands<'a> {
    /// The operands, in order.
    pub inputs: &'a [&'a ValueType],
    /// The shape that the result is to have, for operations that are given one.
    pub shape: Option<&'a [usize]>,
    /// The model's weights.
    pub weights: &'a [Weight],
    /// The batch, in a forward pass.
    pub batch: Option<&'a BatchShape>,
}

impl<'a> Operands<'a> {
    /// The batch, which only a forward pass has.
    pub fn batch(&self) -> Result<&'a BatchShape, String> {
        self.batch
            .ok_or_else(|| "only a forward pass has a batch".to_owned())
    }

    /// Exactly so many operands.
    pub fn take<const N: usize>(&self) -> Result<[&'a ValueType; N], String> {
        self.inputs
            .try_into()
            .map_err(|_| format!("takes {N} operands, not {}", self.inputs.len()))
    }

    /// The only operand.
    pub fn one(&self) -> Result<&'a ValueType, String> {
        self.take::<1>().map(|[x]| x)
    }

    /// Two operands, and a third that may be left out.
    pub fn two_or_three(&self) -> Result<(&'a ValueType, &'a ValueType, Option<&'a ValueType>), String> {
        match self.inputs {
            [a, b] => Ok((a, b, None)),
            [a, b, c] => Ok((a, b, Some(c))),
            other => Err(format!("takes 2 or 3 operands, not {}", other.len())),
        }
    }

    /// The wanted shape.
    pub fn shape(&self) -> Result<Vec<usize>, String> {
        self.shape
            .map(<[usize]>::to_vec)
            .ok_or_else(|| "a shape must be given".to_owned())
    }

    /// A weight.
    pub fn weight(&self, id: WeightId) -> Result<&'a Weight, String> {
        self.weights
            .get(id.0 as usize)
            .ok_or_else(|| "no such weight".to_owned())
    }
}

/// The operand, if it holds floats.
pub fn float(x: &ValueType) -> Result<&ValueType, String> {
    (x.kind == Kind::Float)
        .then_some(x)
        .ok_or_else(|| format!("expected floats, found {x}"))
}

/// The operand, if it holds integers.
pub fn int(x: &ValueType) -> Result<&ValueType, String> {
    (x.kind == Kind::Int)
        .then_some(x)
        .ok_or_else(|| format!("expected integers, found {x}"))
}

/// Both operands hold floats, or both integers.
pub fn same_kind(a: &ValueType, b: &ValueType) -> Result<(), String> {
    (a.kind == b.kind)
        .then_some(())
        .ok_or_else(|| format!("expected operands of one kind, found {a} and {b}"))
}

/// The size of the last dimension, which must not be 0.
pub fn last(x: &ValueType) -> Result<usize, String> {
    match x.shape.last() {
        Some(&size) if size > 0 => Ok(size),
        _ => Err(format!("{x} has no elements along its last dimension")),
    }
}

/// The size of one dimension.
pub fn dimension(x: &ValueType, axis: usize) -> Result<usize, String> {
    x.shape
        .get(axis)
        .copied()
        .ok_or_else(|| format!("{x} has no dimension {axis}"))
}

/// The sizes of all dimensions, of which there must be `N`.
pub fn dimensions<const N: usize>(shape: &[usize], what: &str) -> Result<[usize; N], String> {
    shape
        .try_into()
        .map_err(|_| format!("{what} must have {N} dimensions, found {shape:?}"))
}

/// The number of elements of a shape.
pub fn product(shape: &[usize]) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .ok_or_else(|| format!("{shape:?} is too large"))
}

/// One row for each of the batch's tokens.
pub fn rows(found: usize, batch: &BatchShape) -> Result<(), String> {
    (found == batch.tokens).then_some(()).ok_or_else(|| {
        format!(
            "expected one row for each of the batch's {} tokens, found {found}",
            batch.tokens
        )
    })
}

/// NumPy's rule: aligned at the last dimension, sizes are equal or one of them is 1.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| {
        let missing = rank.saturating_sub(shape.len());
        axis.checked_sub(missing).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => Err(format!(
                "shapes {a:?} and {b:?} do not broadcast: {x} and {y} at dimension {axis}"
            )),
        })
        .collect()
}

/// The parts of what is made row by row, along the last dimension.
pub fn by_rows(output: &ValueType) -> Parts {
    match output.shape.len() {
        0 | 1 => Parts::Together,
        _ => Parts::First,
    }
}
