//! Operations that look elements up by indices. MLX checks no index, so each is checked here if it is known before
//! anything is computed, and held within bounds on the device if not.

use mlx_rs::ops::indexing::{argmax_axis, scatter_single};
use mlx_rs::ops::{argsort_axis, dequantize, maximum, minimum, negative};
use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::{Op, WeightId};
use monocle_tensor::program::ValueId;

use super::array::{dimension, dimensions, shape_of, slice};
use super::error::Result;
use super::load::LoadedMatrix;
use super::run::GraphBuilder;

/// Indices, the operand of this number, that are safe to use on a dimension of this size.
pub fn indices(run: &GraphBuilder<'_>, operand: usize, size: usize) -> Result {
    let indices = run.input(operand)?.clone();
    let origin = origin(run, run.node().inputs[operand]);
    let origin = &run.program.nodes[origin.index()];
    if let Op::TopK { .. } = origin.op
        && let chosen_from = &run.program.value(origin.inputs[0]).shape
        && chosen_from.last().is_some_and(|most| *most <= size)
    {
        return Ok(indices);
    }
    let known = if let Op::Ints(values) = &origin.op {
        Some(&values[..])
    } else if origin.op == Op::Tokens && run.step.device_tokens.is_none() {
        Some(&run.step.tokens[..])
    } else if origin.op == Op::Positions {
        Some(&run.step.positions[..])
    } else {
        None
    };
    let Some(values) = known else {
        if size == 0 && indices.size() > 0 {
            return Err(run.value_error("an index is not among 0 rows".to_owned()).into());
        }
        let last = Array::from_int(dimension(size.saturating_sub(1))?);
        return Ok(minimum(maximum(indices, Array::from_int(0))?, last)?);
    };
    let outside = |index: &&i32| usize::try_from(**index).map_or(true, |index| index >= size);
    match values.iter().find(outside) {
        Some(index) => {
            let reason = format!("index {index} is not among {size} rows");
            Err(run.value_error(reason).into())
        }
        None => Ok(indices),
    }
}

/// Where a value's elements come from, all of them, in whatever order.
fn origin(run: &GraphBuilder<'_>, mut value: ValueId) -> ValueId {
    loop {
        let node = &run.program.nodes[value.index()];
        if !node.op.facts().only_moves {
            return value;
        }
        value = node.inputs[0];
    }
}

pub fn embed(run: &GraphBuilder<'_>, id: WeightId) -> Result {
    let (matrix, _) = run.matrix(id)?;
    match matrix {
        LoadedMatrix::Dense(table) => {
            let ids = indices(run, 0, shape_of(table)[0])?;
            Ok(table.take_axis(&ids, 0)?)
        }
        LoadedMatrix::Affine {
            packed,
            scales,
            biases,
            bits,
            group,
        } => {
            let ids = indices(run, 0, shape_of(packed)[0])?;
            let rows = |part: &Array| part.take_axis(&ids, 0);
            let (packed, scales, biases) = (rows(packed)?, rows(scales)?, rows(biases)?);
            Ok(dequantize(&packed, &scales, &biases, *group, *bits)?)
        }
    }
}

pub fn top_k(x: &Array, k: usize) -> Result {
    let order = match k {
        1 => argmax_axis(x, -1, true)?,
        _ => {
            let sorted = argsort_axis(negative(x)?, -1)?;
            slice(&sorted, x.ndim() - 1, [0, k])?
        }
    };
    Ok(order.as_dtype(Dtype::Int32)?)
}

pub fn gather_last(run: &GraphBuilder<'_>) -> Result {
    let size = run.input_shape(0).last().copied().unwrap_or(1);
    let indices = indices(run, 1, size)?;
    Ok(run.input(0)?.take_along_axis(&indices, -1)?)
}

pub fn take_rows(run: &GraphBuilder<'_>) -> Result {
    if run.node().output.is_empty() {
        return run.zeros();
    }
    let indices = indices(run, 1, run.input_shape(0)[0])?;
    Ok(run.input(0)?.take_axis(&indices, 0)?)
}

pub fn put_rows(run: &GraphBuilder<'_>) -> Result {
    let (x, rows) = (run.input(0)?, run.input(2)?);
    let indices = indices(run, 1, run.input_shape(0)[0])?;
    if indices.size() == 0 || x.size() == 0 {
        return Ok(x.clone());
    }
    let shape = run.input_shape(2);
    let updates = rows.reshape(&dimensions(&[&[shape[0], 1], &shape[1..]].concat())?)?;
    Ok(scatter_single(x, &indices, &updates, 0)?)
}
