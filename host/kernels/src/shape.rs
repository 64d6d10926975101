//! Operations that only move elements, on 32-bit words: floats and integers alike.

use crate::output::by_rows;
use crate::threads::Threads;

/// Sizes before, at and after a dimension, multiplied out.
pub fn split(shape: &[usize], axis: usize) -> [usize; 3] {
    [
        shape[..axis].iter().product(),
        shape[axis],
        shape[axis + 1..].iter().product(),
    ]
}

/// Dimension `i` of the result is dimension `axes[i]` of `x`.
pub fn permute(threads: &Threads, x: &[f32], shape: &[usize], axes: &[usize], out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    // Dimensions of size 1 do not matter, and neighbours that stay neighbours are one.
    let mut merged: Vec<[usize; 2]> = Vec::new();
    for &axis in axes.iter().filter(|&&axis| shape[axis] != 1) {
        let (size, stride) = (shape[axis], strides[axis]);
        match merged.last_mut() {
            Some(last) if last[1] == size * stride => *last = [last[0] * size, stride],
            _ => merged.push([size, stride]),
        }
    }
    let Some((&[size, stride], outer)) = merged.split_last() else {
        out.copy_from_slice(x);
        return;
    };
    by_rows(threads, out, size, size, |first, part| {
        for (row, part) in part.chunks_mut(size).enumerate() {
            let mut rest = first + row;
            let mut start = 0;
            for &[size, stride] in outer.iter().rev() {
                start += rest % size * stride;
                rest /= size;
            }
            if stride == 1 {
                part.copy_from_slice(&x[start..start + size]);
            } else {
                for (to, from) in part.iter_mut().zip(x[start..].iter().step_by(stride)) {
                    *to = *from;
                }
            }
        }
    });
}

/// Elements `start, start + step, ..` along the middle one of three dimensions.
pub fn slice(x: &[f32], [outer, size, inner]: [usize; 3], start: usize, step: usize, out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    let count = out.len() / (outer * inner);
    for (index, row) in out.chunks_exact_mut(inner * count).enumerate() {
        let from = &x[(index * size + start) * inner..];
        if step == 1 {
            row.copy_from_slice(&from[..count * inner]);
        } else {
            for (to, from) in row.chunks_exact_mut(inner).zip(from.chunks(inner).step_by(step)) {
                to.copy_from_slice(from);
            }
        }
    }
}

/// Copies `x` `[outer, size, inner]` to where it starts in `out` `[outer, total, inner]`.
pub fn place(x: &[f32], [outer, size, inner]: [usize; 3], total: usize, start: usize, out: &mut [f32]) {
    if x.is_empty() {
        return;
    }
    debug_assert_eq!(x.len(), outer * size * inner);
    for (from, to) in x
        .chunks_exact(size * inner)
        .zip(out.chunks_exact_mut(total * inner))
    {
        to[start * inner..][..size * inner].copy_from_slice(from);
    }
}
