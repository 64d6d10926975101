//! Norms, softmax and reductions.

use super::operands::{Inferred, Operands, by_rows, dimension, float, last};
use super::{Facts, Parts, Placement};
use crate::program::ValueType;

pub fn rms_norm() -> Facts<'static> {
    Facts::new("rms-norm", |operands| norm(operands, 1, 2)).parted_by(|_, output| by_rows(output))
}

pub fn layer_norm() -> Facts<'static> {
    Facts::new("layer-norm", |operands| norm(operands, 2, 3)).parted_by(|_, output| by_rows(output))
}

fn norm(operands: &Operands<'_>, least: usize, most: usize) -> Inferred {
    let inputs = operands.inputs;
    if inputs.len() < least || inputs.len() > most {
        return Err(format!("takes {least} to {most} operands, not {}", inputs.len()));
    }
    let size = last(float(inputs[0])?)?;
    for parameter in &inputs[1..] {
        if float(parameter)?.shape != [size] {
            return Err(format!(
                "expected a weight of [{size}], found {:?}",
                parameter.shape
            ));
        }
    }
    Ok(inputs[0].clone())
}

pub fn softmax() -> Facts<'static> {
    let facts = Facts::new("softmax", |operands| {
        let x = float(operands.one()?)?;
        last(x)?;
        Ok(x.clone())
    });
    facts
        .placed(Placement::InPlace)
        .parted_by(|_, output| by_rows(output))
}

pub fn reduce(axes: &[usize], keep: bool) -> Facts<'_> {
    let facts = Facts::new("reduce", move |operands| {
        let x = float(operands.one()?)?;
        if axes.is_empty() || !axes.is_sorted_by(|a, b| a < b) {
            return Err(format!("dimensions {axes:?} must be some, ascending"));
        }
        for &axis in axes {
            if dimension(x, axis)? == 0 {
                return Err(format!("nothing to reduce along dimension {axis}"));
            }
        }
        let sizes = x.shape.iter().enumerate();
        let shape = sizes.filter_map(|(axis, &size)| match (axes.contains(&axis), keep) {
            (false, _) => Some(size),
            (true, true) => Some(1),
            (true, false) => None,
        });
        Ok(ValueType::float(shape.collect::<Vec<_>>()))
    });
    facts.parted(match axes.contains(&0) {
        true => Parts::Together,
        false => Parts::First,
    })
}
