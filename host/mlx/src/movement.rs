//! Operations that move elements or add them up.

use mlx_rs::Array;
use mlx_rs::ops::pad as pad_all;
use monocle_tensor::operation::Reduction;

use super::array::{dimension, dimensions, joined, number};
use super::error::Result;
use super::run::GraphBuilder;

pub fn reduce(x: &Array, reduction: Reduction, axes: &[usize], keep: bool) -> Result {
    let axes = dimensions(axes)?;
    Ok(match reduction {
        Reduction::Sum => x.sum_axes(&axes, keep)?,
        Reduction::Mean => x.mean_axes(&axes, keep)?,
        Reduction::Maximum => x.max_axes(&axes, keep)?,
    })
}

pub fn concat(run: &GraphBuilder<'_>, axis: usize) -> Result {
    let parts: Vec<Array> = (0..run.node().inputs.len())
        .map(|index| run.input(index).cloned())
        .collect::<Result<_>>()?;
    joined(&parts, axis)
}

pub fn pad(x: &Array, axis: usize, [before, after]: [usize; 2], value: f32) -> Result {
    let mut widths = vec![(0, 0); x.ndim()];
    widths[axis] = (dimension(before)?, dimension(after)?);
    Ok(pad_all(x, widths.as_slice(), number(value, x)?, None)?)
}
