//! Convolution, pooling and interpolation of `[batch, height, width, channels]`.

use mlx_rs::ops::{as_strided, conv2d as convolve, divide, matmul, pad};
use mlx_rs::{Array, Dtype};
use monocle_tensor::interpolation::Sampling;
use monocle_tensor::operation::{Interpolation, Pooling, Window};

use super::array::{dimension, dimensions, floats, ints, number, shape_of};
use super::error::Result;
use super::run::GraphBuilder;

pub fn conv2d(run: &GraphBuilder<'_>, window: &Window, groups: usize) -> Result {
    if run.node().output.is_empty() || run.input(0)?.size() == 0 {
        return run.zeros();
    }
    let pair =
        |[a, b]: [u32; 2]| -> Result<(i32, i32)> { Ok((dimension(a as usize)?, dimension(b as usize)?)) };
    // [out, height, width, in / groups]
    let kernel = run.input(1)?.transpose_axes(&[0, 2, 3, 1])?;
    let y = convolve(
        run.input(0)?,
        &kernel,
        pair(window.stride)?,
        pair(window.padding)?,
        None,
        dimension(groups)?,
    )?;
    Ok(match run.optional(2)? {
        Some(bias) => y.add(bias)?,
        None => y,
    })
}

pub fn pool2d(run: &GraphBuilder<'_>, pooling: Pooling, window: &Window) -> Result {
    if run.node().output.is_empty() {
        return run.zeros();
    }
    let x = run.input(0)?;
    let [below, beside] = window.padding.map(|padding| padding as i32);
    let nothing = match pooling {
        Pooling::Average => 0.0,
        Pooling::Maximum => f32::NEG_INFINITY,
    };
    let padded = match [below, beside] {
        [0, 0] => x.clone(),
        _ => {
            let widths = [(0, 0), (below, below), (beside, beside), (0, 0)];
            pad(x, &widths, number(nothing, x)?, None)?
        }
    };
    let windows = windows(&padded, &run.node().output.shape, window)?;
    if pooling == Pooling::Maximum {
        return Ok(windows.max_axes(&[3, 4], false)?);
    }
    let sums = windows.sum_axes(&[3, 4], false)?;
    Ok(divide(sums, counts(run, window)?)?)
}

/// `[batch, rows, columns, height, width, channels]`: every window, without a copy.
fn windows(x: &Array, output: &[usize], window: &Window) -> Result {
    let x_shape = shape_of(x);
    let (width, channels) = (x_shape[2], x_shape[3]);
    let [height, across] = window.size.map(|size| size as usize);
    let shape = [output[0], output[1], output[2], height, across, channels];
    let [down, right] = window.stride.map(|stride| stride as usize);
    let line = width * channels;
    let strides = [
        x_shape[1] * line,
        down * line,
        right * channels,
        line,
        channels,
        1,
    ];
    let strides: Vec<i64> = strides.iter().map(|stride| *stride as i64).collect();
    Ok(as_strided(
        x,
        dimensions(&shape)?.as_slice(),
        strides.as_slice(),
        0,
    )?)
}

/// `[rows, columns, 1]`: how many elements of the picture each window covers.
fn counts(run: &GraphBuilder<'_>, window: &Window) -> Result {
    let (input, output) = (run.input_shape(0), &run.node().output.shape);
    let covered = |axis: usize, index: usize| -> usize {
        let start = index * window.stride[axis] as usize;
        let padding = window.padding[axis] as usize;
        let end = (start + window.size[axis] as usize).min(input[1 + axis] + padding);
        end.saturating_sub(start.max(padding))
    };
    let counts: Vec<f32> = (0..output[1])
        .flat_map(|row| (0..output[2]).map(move |column| (row, column)))
        .map(|(row, column)| (covered(0, row) * covered(1, column)) as f32)
        .collect();
    floats(&counts, &[output[1], output[2], 1], run.float)
}

pub fn interpolate(run: &GraphBuilder<'_>, size: [usize; 2], sampling: Sampling) -> Result {
    if run.node().output.is_empty() {
        return run.zeros();
    }
    let x = run.input(0)?;
    let [batch, height, width, channels] = {
        let shape = run.input_shape(0);
        [shape[0], shape[1], shape[2], shape[3]]
    };
    let (rows, columns) = (
        sampling.windows(height, size[0]),
        sampling.windows(width, size[1]),
    );
    if sampling.method == Interpolation::Nearest {
        let pick = |windows: &[Vec<(usize, f32)>]| -> Result {
            let samples: Vec<i32> = windows.iter().map(|window| window[0].0 as i32).collect();
            ints(&samples, &[samples.len()])
        };
        return Ok(x.take_axis(&pick(&columns)?, 2)?.take_axis(&pick(&rows)?, 1)?);
    }
    // Along the width, then along the height, each as a product with a matrix.
    let wide = x.as_dtype(Dtype::Float32)?;
    let narrowed = matmul(&filter(&columns, width)?, &wide)?;
    let narrowed = narrowed.reshape(&dimensions(&[batch, height, size[1] * channels])?)?;
    let y = matmul(&filter(&rows, height)?, &narrowed)?;
    Ok(y.reshape(&dimensions(&run.node().output.shape)?)?
        .as_dtype(x.dtype())?)
}

/// `[to, from]`: how much each sample counts for each result.
fn filter(windows: &[Vec<(usize, f32)>], from: usize) -> Result {
    let mut weights = vec![0.0; windows.len() * from];
    for (row, window) in weights.chunks_exact_mut(from.max(1)).zip(windows) {
        for &(sample, weight) in window {
            // Samples beyond an edge are the edge's: one may come several times.
            row[sample] += weight;
        }
    }
    floats(&weights, &[windows.len(), from], Dtype::Float32)
}
