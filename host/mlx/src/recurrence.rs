//! The gated delta rule (arXiv:2412.06464, equation 10), token by token, in 32 bits.

use mlx_rs::ops::{broadcast_to, exp, multiply, zeros_dtype};
use mlx_rs::{Array, Dtype};
use monocle_tensor::backend::BackendError;

use super::array::{dimensions, joined, shape_of, slice};
use super::error::Result;
use super::run::GraphBuilder;
use super::sequence_operations::State;

pub fn recurrent(run: &mut GraphBuilder<'_>, layer: u32) -> Result {
    let (q_shape, v_shape) = (run.input_shape(0), run.input_shape(2));
    let ([tokens, heads, dim], [_, value_heads, value_dim]) = (three(q_shape), three(v_shape));
    // Keys' heads once for each value head: [tokens, value heads, 1, dim]
    let spread = |index: usize| -> Result {
        let x = run.input(index)?.as_dtype(Dtype::Float32)?.expand_dims(2)?;
        let each = [tokens, heads, value_heads / heads, dim];
        Ok(broadcast_to(&x, &dimensions(&each)?)?.reshape(&dimensions(&[tokens, value_heads, 1, dim])?)?)
    };
    let (q, k) = (spread(0)?, spread(1)?);
    // [tokens, value heads, value dim or 1, 1]
    let column = |index: usize, size: usize| -> Result {
        let x = run.input(index)?.as_dtype(Dtype::Float32)?;
        Ok(x.reshape(&dimensions(&[tokens, value_heads, size, 1])?)?)
    };
    let (v, decay, beta) = (column(2, value_dim)?, exp(column(3, 1)?)?, column(4, 1)?);
    let step = run.step;
    let (mut parts, mut first) = (Vec::with_capacity(tokens), 0);
    for rows in step.sequences.iter().filter(|rows| rows.rows > 0) {
        let shape = [value_heads, value_dim, dim];
        let empty = zeros_dtype(&dimensions(&shape)?, Dtype::Float32)?;
        let state = run.sequences.get(rows.sequence)?;
        let state = state.states.entry(layer).or_insert(State {
            values: empty,
            tokens: 0,
            before: None,
        });
        if state.tokens != rows.past || shape_of(&state.values) != shape {
            let reason = format!(
                "the state of layer {layer} of sequence {} has seen {} tokens and is {:?}, not {} and {shape:?}",
                rows.sequence.0,
                state.tokens,
                shape_of(&state.values),
                rows.past
            );
            return Err(BackendError::Sequence(reason).into());
        }
        let mut values = state.values.clone();
        for token in first..first + rows.rows {
            let at = |x: &Array| -> Result { Ok(slice(x, 0, [token, token + 1])?.squeeze_axes(&[0])?) };
            let (q, k) = (at(&q)?, at(&k)?);
            values = multiply(&values, at(&decay)?)?;
            // [value heads, value dim, 1]
            let known = multiply(&values, &k)?.sum_axes(&[2], true)?;
            let change = multiply(at(&v)?.subtract(&known)?, at(&beta)?)?;
            values = values.add(multiply(&change, &k)?)?;
            let out = multiply(&values, &q)?.sum_axes(&[2], false)?;
            parts.push(out.expand_dims(0)?);
        }
        state.before = Some((std::mem::replace(&mut state.values, values.clone()), state.tokens));
        state.tokens += rows.rows;
        run.touched.push(values);
        first += rows.rows;
    }
    match parts.is_empty() {
        true => run.zeros(),
        false => Ok(joined(&parts, 0)?.as_dtype(run.float)?),
    }
}

fn three(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2]]
}
