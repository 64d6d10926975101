//! Attention over intervals of keys, in blocks of queries: no buffer grows with queries times keys.

use mlx_rs::fast::{ScaledDotProductAttentionMask as Mask, scaled_dot_product_attention};
use mlx_rs::ops::{arange, divide, ge, lt, matmul, multiply, select, softmax_axis, tanh};
use mlx_rs::{Array, Dtype, transforms};

use super::array::{dimension, dimensions, ints, joined, number, shape_of, slice};
use super::error::Result;

/// How scores become weights.
#[derive(Debug, Clone, Copy)]
pub struct Scoring {
    /// Multiplies the scores.
    pub scale: f32,
    /// `softcap · tanh(score / softcap)` before the softmax, when given.
    pub softcap: Option<f32>,
    /// Bytes of scores that one block of queries may make.
    pub block: usize,
}

/// q `[batch, heads, rows, dim]` over k `[batch, kv_heads, keys, dim]` and v `[batch, kv_heads, keys, value_dim]`: row `i`
/// sees keys `visible[i][0]..visible[i][1]`, and is zero if that is nothing. Gives `[batch, heads, rows, value_dim]`.
pub fn attend(q: &Array, k: &Array, v: &Array, scoring: Scoring, visible: &[[usize; 2]]) -> Result {
    let (q_shape, keys) = (shape_of(q), shape_of(k)[2]);
    let rows = visible.len();
    let score_row = (q_shape[0] * q_shape[1] * keys * 4).max(1);
    let block = (scoring.block / score_row).clamp(1, rows.max(1));
    if block >= rows {
        return attend_block(q, k, v, scoring, visible);
    }
    let mut parts = Vec::with_capacity(rows.div_ceil(block));
    for start in (0..rows).step_by(block) {
        let end = (start + block).min(rows);
        let part = attend_block(&slice(q, 2, [start, end])?, k, v, scoring, &visible[start..end])?;
        // Two blocks at a time: left to itself, MLX works on many at once.
        transforms::async_eval([&part])?;
        transforms::eval(parts.last())?;
        parts.push(part);
    }
    joined(&parts, 2)
}

fn attend_block(q: &Array, k: &Array, v: &Array, scoring: Scoring, visible: &[[usize; 2]]) -> Result {
    let mut shape = shape_of(q);
    shape[3] = shape_of(v)[3];
    let seeing = visible.iter().filter(|[start, end]| start < end);
    let start = seeing.clone().map(|[start, _]| *start).min();
    let end = seeing.clone().map(|[_, end]| *end).max();
    let ([Some(start), Some(end)], true) = ([start, end], shape.iter().all(|size| *size > 0)) else {
        return Ok(mlx_rs::ops::zeros_dtype(&dimensions(&shape)?, q.dtype())?);
    };
    let (k, v) = (slice(k, 2, [start, end])?, slice(v, 2, [start, end])?);
    let pattern = Pattern::of(visible, [start, end]);
    let out = match scoring.softcap {
        None => fused(q, &k, &v, scoring.scale, &pattern, visible, start)?,
        Some(softcap) => capped(q, &k, &v, scoring.scale, softcap, &pattern, visible, start)?,
    };
    if seeing.count() == visible.len() {
        return Ok(out);
    }
    let sees: Vec<i32> = visible
        .iter()
        .map(|[start, end]| i32::from(start < end))
        .collect();
    let sees = ints(&sees, &[visible.len(), 1])?.as_dtype(Dtype::Bool)?;
    Ok(select(&sees, &out, number(0.0, &out)?)?)
}

/// What the rows of a block see, among the keys that any of them sees.
enum Pattern {
    /// All of them.
    Everything,
    /// Each row one more than the row before, the last row all.
    Causal,
    /// Something else.
    Other,
}

impl Pattern {
    fn of(visible: &[[usize; 2]], [start, end]: [usize; 2]) -> Self {
        let rows = visible.len();
        if visible.iter().all(|row| *row == [start, end]) {
            return Self::Everything;
        }
        let mut ends = visible.iter().enumerate();
        match ends.all(|(row, seen)| seen[0] == start && seen[1] + rows == end + row + 1) {
            true => Self::Causal,
            false => Self::Other,
        }
    }
}

fn fused(
    q: &Array,
    k: &Array,
    v: &Array,
    scale: f32,
    pattern: &Pattern,
    visible: &[[usize; 2]],
    first: usize,
) -> Result {
    let mask = match pattern {
        Pattern::Everything => return Ok(scaled_dot_product_attention(q, k, v, scale, None, None)?),
        Pattern::Causal => return Ok(scaled_dot_product_attention(q, k, v, scale, Mask::Causal, None)?),
        Pattern::Other => mask(visible, first, shape_of(k)[2])?,
    };
    Ok(scaled_dot_product_attention(q, k, v, scale, &mask, None)?)
}

/// Scores between bounds, which MLX's own operation does not have.
#[expect(clippy::too_many_arguments, reason = "those of `fused`, and the bound")]
fn capped(
    q: &Array,
    k: &Array,
    v: &Array,
    scale: f32,
    softcap: f32,
    pattern: &Pattern,
    visible: &[[usize; 2]],
    first: usize,
) -> Result {
    let (shape, kv_heads) = (shape_of(q), shape_of(k)[1]);
    let grouped = [shape[0], kv_heads, shape[1] / kv_heads, shape[2], shape[3]];
    let q = multiply(q, number(scale / softcap, q)?)?.reshape(&dimensions(&grouped)?)?;
    let [k, v] = [k.expand_dims(2)?, v.expand_dims(2)?];
    // [batch, kv_heads, group, rows, keys]
    let scores = tanh(matmul(&q, k.swap_axes(-1, -2)?)?)?;
    let mut scores = divide(&scores, number(1.0 / softcap, &scores)?)?;
    if !matches!(pattern, Pattern::Everything) {
        let mask = mask(visible, first, shape_of(&k)[3])?;
        scores = select(&mask, &scores, number(f32::MIN, &scores)?)?;
    }
    let out = matmul(softmax_axis(&scores, -1, true)?, &v)?;
    let value_dim = shape_of(&v)[4];
    Ok(out.reshape(&dimensions(&[shape[0], shape[1], shape[2], value_dim])?)?)
}

/// `[rows, keys]`: whether the row sees the key; keys count from `first`.
fn mask(visible: &[[usize; 2]], first: usize, keys: usize) -> Result {
    let bound = |which: usize| -> Result {
        let bounds: Vec<i32> = visible
            .iter()
            .map(|row| dimension(row[which]))
            .collect::<Result<_>>()?;
        ints(&bounds, &[visible.len(), 1])
    };
    let first = dimension(first)?;
    let keys = arange::<i32, i32>(first, first + dimension(keys)?, 1)?.reshape(&[1, -1])?;
    Ok(ge(&keys, bound(0)?)?.logical_and(lt(&keys, bound(1)?)?)?)
}
