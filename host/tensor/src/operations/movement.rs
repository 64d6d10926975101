//! The same elements in another order or shape.

use super::operands::{broadcast as broadcast_shapes, dimension, product, same_kind};
use super::{Facts, Parts, Placement};
use crate::program::ValueType;

/// Whether a permutation leaves all elements where they are: only dimensions of size 1 change their place.
pub fn moves_nothing(shape: &[usize], axes: &[usize]) -> bool {
    axes.iter().filter(|&&axis| shape[axis] != 1).is_sorted()
}

/// The place of a result that is a part of its operand's memory where this holds, and a copy otherwise.
pub fn part(is_part: bool) -> Placement {
    if is_part {
        Placement::Shared
    } else {
        Placement::New
    }
}

/// The parts of a result that is made along this dimension.
fn along(axis: usize, beside: Parts) -> Parts {
    match axis {
        0 => Parts::Together,
        _ => beside,
    }
}

pub fn reshape() -> Facts<'static> {
    let facts = Facts::new("reshape", |operands| {
        let x = operands.one()?;
        let wanted = operands.shape()?;
        let elements = product(&wanted)?;
        if elements != x.len() {
            return Err(format!(
                "{} elements do not fill {wanted:?}, which has {elements}",
                x.len()
            ));
        }
        Ok(ValueType {
            shape: wanted,
            kind: x.kind,
        })
    });
    Facts {
        is_view: true,
        only_moves: true,
        ..facts.placed(Placement::Shared).parted(Parts::First).works(|_| 0)
    }
}

pub fn permute(axes: &[usize]) -> Facts<'_> {
    let facts = Facts::new("permute", move |operands| {
        let x = operands.one()?;
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if sorted != (0..x.shape.len()).collect::<Vec<_>>() {
            return Err(format!("{axes:?} is no order of {} dimensions", x.shape.len()));
        }
        Ok(ValueType {
            shape: axes.iter().map(|&axis| x.shape[axis]).collect(),
            kind: x.kind,
        })
    });
    let facts = facts.parted_by(move |_, _| match axes.first() {
        Some(0) => Parts::First,
        _ => Parts::Together,
    });
    // No view: what reads the result wants its rows in one piece.
    Facts {
        only_moves: true,
        ..facts.placed_by(move |inputs, _| part(moves_nothing(&inputs[0].shape, axes)))
    }
}

pub fn slice(axis: usize, start: usize, end: usize, step: usize) -> Facts<'static> {
    let facts = Facts::new("slice", move |operands| {
        let x = operands.one()?;
        let size = dimension(x, axis)?;
        if start >= end || end > size || step == 0 {
            return Err(format!(
                "slice {start}..{end} by {step} of dimension {axis}, which has {size}"
            ));
        }
        let mut shape = x.shape.clone();
        shape[axis] = end.saturating_sub(start).div_ceil(step);
        Ok(ValueType { shape, kind: x.kind })
    });
    let facts = facts.placed_by(move |inputs, output| {
        let leading: usize = inputs[0].shape[..axis].iter().product();
        part(leading == 1 && (step == 1 || output.shape[axis] == 1))
    });
    Facts {
        is_view: true,
        ..facts.parted(along(axis, Parts::First))
    }
}

pub fn concat(axis: usize) -> Facts<'static> {
    let facts = Facts::new("concat", move |operands| {
        let Some(first) = operands.inputs.first() else {
            return Err("there is nothing to concatenate".to_owned());
        };
        let mut total = 0_usize;
        for x in operands.inputs {
            same_kind(first, x)?;
            let size = dimension(x, axis)?;
            let mut others = x.shape.clone();
            others[axis] = dimension(first, axis)?;
            if others != first.shape {
                return Err(format!(
                    "{:?} and {:?} differ beside dimension {axis}",
                    first.shape, x.shape
                ));
            }
            total = total.checked_add(size).ok_or("the result is too large")?;
        }
        let mut shape = first.shape.clone();
        shape[axis] = total;
        Ok(ValueType {
            shape,
            kind: first.kind,
        })
    });
    facts
        .placed_by(|inputs, _| part(inputs.len() == 1))
        .parted(along(axis, Parts::Each))
}

pub fn broadcast() -> Facts<'static> {
    let facts = Facts::new("broadcast", |operands| {
        let x = operands.one()?;
        let wanted = operands.shape()?;
        if broadcast_shapes(&x.shape, &wanted)? != wanted {
            return Err(format!("{:?} cannot be repeated to {wanted:?}", x.shape));
        }
        Ok(ValueType {
            shape: wanted,
            kind: x.kind,
        })
    });
    let facts = facts.parted_by(|inputs, output| {
        let from = &inputs[0].shape;
        match (from.first(), output.shape.first()) {
            (Some(1), _) => Parts::Alike,
            (Some(size), Some(all)) if from.len() == output.shape.len() && size == all => Parts::First,
            _ if from.len() < output.shape.len() => Parts::Alike,
            _ => Parts::Together,
        }
    });
    Facts {
        is_view: true,
        only_moves: true,
        ..facts.placed_by(|inputs, output| part(inputs[0].shape == output.shape))
    }
}

pub fn pad(axis: usize, before: usize, after: usize) -> Facts<'static> {
    let facts = Facts::new("pad", move |operands| {
        let x = operands.one()?;
        let size = dimension(x, axis)?;
        let mut shape = x.shape.clone();
        shape[axis] = size
            .checked_add(before)
            .and_then(|size| size.checked_add(after))
            .ok_or("the padded dimension is too large")?;
        Ok(ValueType { shape, kind: x.kind })
    });
    facts.parted(along(axis, Parts::First))
}
