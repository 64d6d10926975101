//! Making MLX arrays and cutting them.

use std::ffi::c_void;

use mlx_rs::ops::concatenate;
use mlx_rs::ops::indexing::{ArrayIndex, ArrayIndexOp, IntoStrideBy, TryIndexOp};
use mlx_rs::{Array, Dtype};
use monocle_tensor::backend::BackendError;

use super::error::Result;

/// A shape as MLX counts.
pub fn dimensions(shape: &[usize]) -> Result<Vec<i32>> {
    let sizes = shape.iter().map(|size| dimension(*size));
    sizes.collect()
}

/// A size, index or count as MLX counts.
pub fn dimension(size: usize) -> Result<i32> {
    i32::try_from(size)
        .map_err(|_| BackendError::Input(format!("a dimension of {size} is more than MLX can count")).into())
}

/// The shape of an array.
pub fn shape_of(array: &Array) -> Vec<usize> {
    array.shape().iter().map(|size| *size as usize).collect()
}

/// Copies floats.
pub fn floats(values: &[f32], shape: &[usize], float: Dtype) -> Result {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    let shape = dimensions(shape)?;
    // SAFETY: the pointer is to as many floats as the shape holds, and they are copied before this returns.
    let array = unsafe { Array::from_raw_data(values.as_ptr().cast::<c_void>(), &shape, Dtype::Float32) };
    Ok(match float {
        Dtype::Float32 => array,
        other => array.as_dtype(other)?,
    })
}

/// Copies integers.
pub fn ints(values: &[i32], shape: &[usize]) -> Result {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    let shape = dimensions(shape)?;
    // SAFETY: the pointer is to as many integers as the shape holds, and they are copied before this returns.
    Ok(unsafe { Array::from_raw_data(values.as_ptr().cast::<c_void>(), &shape, Dtype::Int32) })
}

/// One number of an array's own type, so that nothing is promoted.
pub fn number(value: f32, like: &Array) -> Result {
    scalar(value, like.dtype())
}

/// One number. What MLX converts is a kernel more at every step: the engine's own types are made here.
pub fn scalar(value: f32, dtype: Dtype) -> Result {
    let bits = match dtype {
        Dtype::Float32 => return Ok(Array::from_f32(value)),
        Dtype::Bfloat16 => half::bf16::from_f32(value).to_bits(),
        Dtype::Float16 => half::f16::from_f32(value).to_bits(),
        other => return Ok(Array::from_f32(value).as_dtype(other)?),
    };
    // SAFETY: the pointer is to one number of this type, and it is copied before this returns.
    Ok(unsafe { Array::from_raw_data(std::ptr::from_ref(&bits).cast::<c_void>(), &[], dtype) })
}

/// Elements `start, start + step, ..` before `end` along one dimension.
pub fn stepped(x: &Array, axis: usize, [start, end]: [usize; 2], step: usize) -> Result {
    if start == 0 && step == 1 && shape_of(x).get(axis) == Some(&end) {
        return Ok(x.clone());
    }
    let range = dimension(start)?..dimension(end)?;
    let along = range.stride_by(dimension(step)?).index_op();
    let mut operations: Vec<ArrayIndexOp<'_>> = (0..axis).map(|_| (..).index_op()).collect();
    operations.push(along);
    Ok(x.try_index(operations.as_slice())?)
}

/// Elements from `start` up to `end` along one dimension.
pub fn slice(x: &Array, axis: usize, range: [usize; 2]) -> Result {
    stepped(x, axis, range, 1)
}

/// Arrays one after another.
pub fn joined(parts: &[Array], axis: usize) -> Result {
    match parts {
        [only] => Ok(only.clone()),
        _ => Ok(concatenate(parts, dimension(axis)?)?),
    }
}
