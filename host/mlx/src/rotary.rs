//! Rotary position embeddings: MLX's own where there is one position a token, else sines and cosines as tables.

use mlx_rs::ops::{broadcast_to, cos, multiply, sin};
use mlx_rs::{Array, Dtype, fast};
use monocle_tensor::operation::{Pairing, Rope};

use super::array::{dimension, dimensions, floats, ints, joined, shape_of, slice, stepped};
use super::compile::Function;
use super::error::{Result, device};

/// Radians a position, inverted: MLX asks for periods.
pub fn periods(rope: &Rope) -> Result {
    let periods: Vec<f32> = rope.frequencies.iter().map(|frequency| 1.0 / frequency).collect();
    floats(&periods, &[periods.len()], Dtype::Float32)
}

/// Whether MLX's own operation does it.
pub fn is_plain(rope: &Rope) -> bool {
    rope.scale == 1.0 && !rope.frequencies.is_empty() && rope.axes.iter().all(|axis| *axis == 0)
}

/// MLX's own: every token is a batch of one, so that each has its own position.
pub fn plain(x: &Array, positions: &Array, rope: &Rope, periods: &Array) -> Result {
    let shape = shape_of(x);
    let [heads, dim] = [shape[shape.len() - 2], shape[shape.len() - 1]];
    let tokens = shape[shape.len() - 3];
    let rows: usize = shape[..shape.len() - 2].iter().product();
    let mut offsets = slice(positions, 0, [0, 1])?.reshape(&[dimension(tokens)?])?;
    if rows != tokens {
        let batch = rows / tokens.max(1);
        offsets = broadcast_to(&offsets, &dimensions(&[batch, tokens])?)?.reshape(&[dimension(rows)?])?;
    }
    let flat = x.reshape(&dimensions(&[rows, heads, 1, dim])?)?;
    let turned = fast::rope_dynamic(
        &flat,
        dimension(rope.frequencies.len() * 2)?,
        rope.pairing == Pairing::Neighbours,
        None,
        1.0,
        &offsets,
        periods,
    )?;
    Ok(turned.reshape(&dimensions(&shape)?)?)
}

/// Cosines and sines of some tokens: `[tokens, 1, pairs]` each.
pub type Table = [Array; 2];

/// The table of positions `[axes, tokens]`.
pub fn table(positions: &Array, rope: &Rope) -> Result<Table> {
    let pairs = rope.frequencies.len();
    let tokens = shape_of(positions)[1];
    let axes: Vec<i32> = (0..pairs)
        .map(|pair| rope.axes.get(pair).map_or(0, |axis| i32::from(*axis)))
        .collect();
    let axes = ints(&axes, &[pairs])?;
    let frequencies = floats(&rope.frequencies, &[pairs, 1], Dtype::Float32)?;
    // [pairs, tokens]
    let positions = positions.take_axis(&axes, 0)?.as_dtype(Dtype::Float32)?;
    let angles = multiply(&positions, &frequencies)?.transpose_axes(&[1, 0])?;
    let angles = angles.reshape(&dimensions(&[tokens, 1, pairs])?)?;
    let scale = Array::from_f32(rope.scale);
    Ok([multiply(cos(&angles)?, &scale)?, multiply(sin(&angles)?, &scale)?])
}

/// Turns x `[.., tokens, heads, dim]` by a table; `compiled` is [`turn_halves`] when it is compiled.
pub fn turn(x: &Array, rope: &Rope, [cosines, sines]: &Table, compiled: Option<&Function>) -> Result {
    let shape = shape_of(x);
    let last = shape.len() - 1;
    let (dim, pairs) = (shape[last], rope.frequencies.len());
    let [first, second] = match rope.pairing {
        Pairing::Halves => [slice(x, last, [0, pairs])?, slice(x, last, [pairs, 2 * pairs])?],
        Pairing::Neighbours => [
            stepped(x, last, [0, 2 * pairs], 2)?,
            stepped(x, last, [1, 2 * pairs], 2)?,
        ],
    };
    let operands = [first, second, cosines.clone(), sines.clone()];
    let turned = match compiled {
        Some(function) => function.call(&operands)?,
        None => turn_halves(&operands)?,
    };
    let mut parts = match rope.pairing {
        Pairing::Halves => turned,
        Pairing::Neighbours => {
            let rank = dimension(shape.len())?;
            let turned = mlx_rs::ops::stack(&turned, rank)?;
            vec![turned.reshape(&dimensions(&[&shape[..last], &[2 * pairs]].concat())?)?]
        }
    };
    if 2 * pairs < dim {
        parts.push(slice(x, last, [2 * pairs, dim])?);
    }
    joined(&parts, last)
}

/// The elements that make pairs, by cosines and sines: computed in 32 bits, of the type that they had.
pub fn turn_halves(operands: &[Array]) -> Result<Vec<Array>> {
    let [first, second, cosines, sines] = operands else {
        return Err(device(format!("{} operands of a rotation", operands.len())).into());
    };
    let dtype = first.dtype();
    let [first, second] = [first.as_dtype(Dtype::Float32)?, second.as_dtype(Dtype::Float32)?];
    let turned = [
        multiply(&first, cosines)?.subtract(multiply(&second, sines)?)?,
        multiply(&second, cosines)?.add(multiply(&first, sines)?)?,
    ];
    let turned = turned.iter().map(|half| Ok(half.as_dtype(dtype)?));
    turned.collect()
}
