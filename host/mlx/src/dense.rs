//! Products with weights, and norms.

use mlx_rs::ops::{arange, expand_dims, gather_mm, gather_qmm, matmul as product, quantized_matmul};
use mlx_rs::{Array, Dtype, fast};
use monocle_tensor::backend::BackendError;
use monocle_tensor::operation::WeightId;

use super::array::{dimension, dimensions, number, shape_of};
use super::error::Result;
use super::indexing::indices;
use super::load::LoadedMatrix;
use super::run::GraphBuilder;

pub fn linear(run: &GraphBuilder<'_>, id: WeightId) -> Result {
    let (matrix, bias) = run.matrix(id)?;
    let x = run.input(0)?;
    let shape = &run.node().output.shape;
    if run.node().output.is_empty() {
        return run.zeros();
    }
    // [rows, in]
    let inner = run.input_shape(0).last().copied().unwrap_or(1);
    let flat = match x.ndim() {
        2 => x.clone(),
        _ => x.reshape(&[-1, dimension(inner)?])?,
    };
    let mut y = match matrix {
        LoadedMatrix::Dense(w) => product(&flat, w.transpose_axes(&[1, 0])?)?,
        LoadedMatrix::Affine {
            packed,
            scales,
            biases,
            bits,
            group,
        } => quantized_matmul(&flat, packed, scales, biases, true, *group, *bits)?,
    };
    if let Some(bias) = bias {
        y = y.add(bias)?;
    }
    if y.size() != run.node().output.len() {
        let reason = format!("weight {} is not what the program was recorded with", id.0);
        return Err(BackendError::Input(reason).into());
    }
    match shape.len() {
        2 => Ok(y),
        _ => Ok(y.reshape(&dimensions(shape)?)?),
    }
}

pub fn matmul(a: &Array, b: &Array, transpose_right: bool) -> Result {
    if !transpose_right {
        return Ok(product(a, b)?);
    }
    Ok(product(a, b.swap_axes(-1, -2)?)?)
}

pub fn linear_heads(run: &GraphBuilder<'_>, id: WeightId, heads: usize, transposed: bool) -> Result {
    let (matrix, _) = run.matrix(id)?;
    if run.node().output.is_empty() {
        return run.zeros();
    }
    // [heads, tokens, ..]
    let x = run.input(0)?.transpose_axes(&[1, 0, 2])?;
    let heads = dimension(heads)?;
    let split = |part: &Array| -> Result { Ok(part.reshape(&[heads, -1, part.dim(-1)])?) };
    let y = match matrix {
        LoadedMatrix::Dense(w) => {
            let w = split(w)?;
            let w = if transposed { w } else { w.swap_axes(-1, -2)? };
            product(&x, &w)?
        }
        LoadedMatrix::Affine {
            packed,
            scales,
            biases,
            bits,
            group,
        } => {
            let each = arange::<u32, u32>(0, heads as u32, 1)?;
            gather_qmm(
                &x,
                &split(packed)?,
                &split(scales)?,
                &split(biases)?,
                None,
                &each,
                !transposed,
                *group,
                *bits,
                false,
            )?
        }
    };
    Ok(y.transpose_axes(&[1, 0, 2])?)
}

pub fn expert_linear(run: &GraphBuilder<'_>, id: WeightId) -> Result {
    let (matrix, bias) = run.matrix(id)?;
    if run.node().output.is_empty() {
        return run.zeros();
    }
    let experts = match matrix {
        LoadedMatrix::Dense(w) => shape_of(w)[0],
        LoadedMatrix::Affine { packed, .. } => shape_of(packed)[0],
    };
    let chosen = indices(run, 1, experts)?.as_dtype(Dtype::Uint32)?;
    let x = run.input(0)?;
    // [tokens, 1 or k, 1, in]: one row for each product.
    let rows = match x.ndim() {
        2 => expand_dims(expand_dims(x, 1)?, 1)?,
        _ => expand_dims(x, 2)?,
    };
    let y = match matrix {
        // On a processor, MLX multiplies by chosen matrices in 32 bits only. The estimate does not count
        // the copy: it knows no weights' sizes.
        LoadedMatrix::Dense(w) if !run.habits.is_graphics_processor && rows.dtype() != Dtype::Float32 => {
            let [wide, w] = [&rows, w].map(|array| array.as_dtype(Dtype::Float32));
            let w = w?.swap_axes(-1, -2)?;
            gather_mm(&wide?, w, None, &chosen, false)?.as_dtype(rows.dtype())?
        }
        LoadedMatrix::Dense(w) => gather_mm(&rows, w.swap_axes(-1, -2)?, None, &chosen, false)?,
        LoadedMatrix::Affine {
            packed,
            scales,
            biases,
            bits,
            group,
        } => gather_qmm(
            &rows, packed, scales, biases, None, &chosen, true, *group, *bits, false,
        )?,
    };
    // [tokens, k, 1, out] to [tokens, k, out]
    let y = y.reshape(&dimensions(&run.node().output.shape)?)?;
    match bias {
        Some(bias) => {
            let bias = bias.reshape(&[dimension(experts)?, -1])?;
            Ok(y.add(bias.take_axis(&chosen, 0)?)?)
        }
        None => Ok(y),
    }
}

pub fn rms_norm(run: &GraphBuilder<'_>, epsilon: f32, offset: f32) -> Result {
    let x = run.input(0)?;
    if x.size() == 0 {
        return run.zeros();
    }
    let weight = match run.optional(1)? {
        Some(weight) if offset != 0.0 => Some(weight.add(number(offset, weight)?)?),
        Some(weight) => Some(weight.clone()),
        None => None,
    };
    Ok(fast::rms_norm(x, weight.as_ref(), epsilon)?)
}

pub fn layer_norm(run: &GraphBuilder<'_>, epsilon: f32) -> Result {
    let x = run.input(0)?;
    if x.size() == 0 {
        return run.zeros();
    }
    Ok(fast::layer_norm(x, run.optional(1)?, run.optional(2)?, epsilon)?)
}
