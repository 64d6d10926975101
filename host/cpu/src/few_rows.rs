//! A few rows of activations times a stored matrix: the decode step. Each stored row is read once, for all rows of
//! activations, in the form in which it is stored; the memory's speed is the limit.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Kernel, Lanes};
use super::matrix::{AHEAD, Affine, CACHE_LINE, Data, Float, MatrixView, decode, decode_dense, scalar};
use super::output::Shared;

/// Up to how many rows of activations this is faster than the blocked product.
pub const MOST_ROWS: usize = 10;

/// Stored rows `first..first + count` times all rows of `x`.
pub struct FewRows<'a> {
    /// `[m, columns]`; for a matrix of 4 bits, arranged by [`EvenThenOdd`].
    pub x: &'a [f32],
    /// Rows of `x`.
    pub m: usize,
    /// For a quantised matrix, the sums of `x` over each group: `[m, groups]`
    pub sums: &'a [f32],
    /// `[rows, columns]`
    pub matrix: MatrixView<'a>,
    /// `[rows]`
    pub bias: Option<&'a [f32]>,
    /// First stored row.
    pub first: usize,
    /// How many stored rows.
    pub count: usize,
    /// `[m, rows]`; this writes columns `first..first + count`.
    pub out: &'a Shared<'a, f32>,
    /// Holds scales and biases of one stored row, or the floats of one row of blocks.
    pub scratch: &'a mut [f32],
}

/// Sums of each group of neighbours, which the biases of a quantised matrix multiply.
pub fn group_sums(x: &[f32], group: usize, out: &mut [f32]) {
    for (sum, values) in out.iter_mut().zip(x.chunks_exact(group)) {
        let mut parts = [0.0_f32; 8];
        for eight in values.chunks_exact(8) {
            for (part, value) in parts.iter_mut().zip(eight) {
                *part += value;
            }
        }
        *sum = parts.iter().sum();
    }
}

/// Puts the even elements of each two vectors before the odd ones: a byte of 4-bit numbers holds one of each.
pub struct EvenThenOdd<'a> {
    /// Whole vectors, an even number of them.
    pub x: &'a [f32],
    /// As many.
    pub out: &'a mut [f32],
}

impl Kernel for EvenThenOdd<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let width = 2 * V::COUNT;
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let (even, odd) = out.split_at_mut(V::COUNT);
            for (pair, (even, odd)) in x.chunks_exact(2).zip(even.iter_mut().zip(odd)) {
                (*even, *odd) = (pair[0], pair[1]);
            }
        }
    }
}

/// How many floats of scratch a stored row of this matrix needs.
pub fn scratch_len(matrix: MatrixView<'_>) -> usize {
    match matrix.data() {
        Data::Dense(..) => 0,
        Data::Affine(affine) => 2 * (matrix.columns() / affine.group),
        Data::Blocks(..) | Data::Scaled(..) => matrix.columns(),
    }
}

impl Kernel for FewRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(mut self) {
        let columns = self.matrix.columns();
        assert!(self.first + self.count <= self.matrix.rows() && self.x.len() >= self.m * columns);
        for row in self.first..self.first + self.count {
            let mut done = 0;
            while done < self.m {
                let step = match self.m - done {
                    4.. => self.rows::<V, 4>(row, done),
                    2 | 3 => self.rows::<V, 2>(row, done),
                    _ => self.rows::<V, 1>(row, done),
                };
                done += step;
            }
        }
    }
}

impl FewRows<'_> {
    /// One stored row times `M` rows of activations.
    #[inline(always)]
    fn rows<V: Lanes, const M: usize>(&mut self, row: usize, from: usize) -> usize {
        let columns = self.matrix.columns();
        let x = &self.x[from * columns..(from + M) * columns];
        let dots: [f32; M] = match self.matrix.data() {
            Data::Dense(float, bytes) => {
                let stored = &bytes[row * columns * float.size()..][..columns * float.size()];
                match float {
                    Float::F32 => dense::<V, M, F32>(stored, x, columns),
                    Float::F16 => dense::<V, M, F16>(stored, x, columns),
                    Float::BF16 => dense::<V, M, BF16>(stored, x, columns),
                }
            }
            Data::Affine(affine) => {
                let groups = columns / affine.group;
                let (scales, biases) = self.scratch.split_at_mut(groups);
                if from == 0 {
                    let size = affine.parameters.size() * groups;
                    decode_dense::<V>(affine.parameters, &affine.scales[row * size..][..size], scales);
                    decode_dense::<V>(
                        affine.parameters,
                        &affine.biases[row * size..][..size],
                        &mut biases[..groups],
                    );
                }
                let sums = &self.sums[from * groups..(from + M) * groups];
                match affine.bits {
                    2 => quantised::<V, M, 2>(affine, row, x, columns, scales, biases, sums),
                    3 => quantised::<V, M, 3>(affine, row, x, columns, scales, biases, sums),
                    4 => nibbles::<V, M>(affine, row, x, columns, scales, biases, sums),
                    5 => quantised::<V, M, 5>(affine, row, x, columns, scales, biases, sums),
                    6 => quantised::<V, M, 6>(affine, row, x, columns, scales, biases, sums),
                    _ => quantised::<V, M, 8>(affine, row, x, columns, scales, biases, sums),
                }
            }
            Data::Blocks(..) | Data::Scaled(..) => {
                let values = &mut self.scratch[..columns];
                if from == 0 {
                    decode::<V>(self.matrix, row, 0, values);
                }
                dense::<V, M, F32>(bytemuck::cast_slice(values), x, columns)
            }
        };
        let bias = self.bias.map_or(0.0, |bias| bias[row]);
        for (index, dot) in dots.into_iter().enumerate() {
            // SAFETY: `row` is one of this kernel's own columns of the result.
            unsafe {
                self.out
                    .at((from + index) * self.matrix.rows() + row)
                    .write(dot + bias)
            };
        }
        M
    }
}

/// A stored float type, chosen when the kernel is compiled.
trait Stored {
    const FLOAT: Float;
    /// # Safety
    /// `V::COUNT` stored floats must be readable at `from`.
    unsafe fn load<V: Lanes>(from: *const u8) -> V;
}

struct F32;
struct F16;
struct BF16;

impl Stored for F32 {
    const FLOAT: Float = Float::F32;
    #[inline(always)]
    unsafe fn load<V: Lanes>(from: *const u8) -> V {
        // SAFETY: the caller vouches for it.
        unsafe { V::load(from.cast()) }
    }
}

impl Stored for F16 {
    const FLOAT: Float = Float::F16;
    #[inline(always)]
    unsafe fn load<V: Lanes>(from: *const u8) -> V {
        // SAFETY: the caller vouches for it.
        unsafe { V::load_f16(from) }
    }
}

impl Stored for BF16 {
    const FLOAT: Float = Float::BF16;
    #[inline(always)]
    unsafe fn load<V: Lanes>(from: *const u8) -> V {
        // SAFETY: the caller vouches for it.
        unsafe { V::load_bf16(from) }
    }
}

#[inline(always)]
fn dense<V: Lanes, const M: usize, S: Stored>(stored: &[u8], x: &[f32], columns: usize) -> [f32; M] {
    let size = S::FLOAT.size();
    assert!(stored.len() == columns * size && x.len() == M * columns);
    // Independent sums hide the multiply-add's latency; more than eight would not fit in the registers.
    let parts = const { if M > 2 { 2 } else { 4 } };
    let mut sums = [[V::splat(0.0); 4]; M];
    let block = parts * V::COUNT;
    let mut column = 0;
    // SAFETY: `column + block <= columns`, which both slices hold.
    unsafe {
        while column + block <= columns {
            let at = stored.as_ptr().add(column * size);
            for line in (0..block * size).step_by(CACHE_LINE) {
                V::prefetch(at.wrapping_add(line + AHEAD));
            }
            for part in 0..parts {
                let at = column + part * V::COUNT;
                let weights = S::load::<V>(stored.as_ptr().add(at * size));
                for row in 0..M {
                    let values = V::load(x.as_ptr().add(row * columns + at));
                    sums[row][part] = weights.mul_add(values, sums[row][part]);
                }
            }
            column += block;
        }
        while column + V::COUNT <= columns {
            let weights = S::load::<V>(stored.as_ptr().add(column * size));
            for row in 0..M {
                let values = V::load(x.as_ptr().add(row * columns + column));
                sums[row][0] = weights.mul_add(values, sums[row][0]);
            }
            column += V::COUNT;
        }
    }
    let mut out = [0.0; M];
    for row in 0..M {
        let [a, b, c, d] = sums[row];
        out[row] = a.add(b).add(c.add(d)).sum();
    }
    for column in column..columns {
        let weight = scalar(S::FLOAT, stored, column);
        for row in 0..M {
            out[row] += weight * x[row * columns + column];
        }
    }
    out
}

#[inline(always)]
fn quantised<V: Lanes, const M: usize, const BITS: usize>(
    affine: Affine<'_>,
    row: usize,
    x: &[f32],
    columns: usize,
    scales: &[f32],
    biases: &[f32],
    sums: &[f32],
) -> [f32; M] {
    let groups = columns / affine.group;
    let stored = &affine.packed[row * columns * BITS / 8..][..columns * BITS / 8];
    assert!(x.len() == M * columns && sums.len() == M * groups && affine.group.is_multiple_of(2 * V::COUNT));
    assert!(scales.len() >= groups && biases.len() >= groups);
    let mut totals = [V::splat(0.0); M];
    let mut offsets = [0.0_f32; M];
    for group in 0..groups {
        let start = group * affine.group;
        let mut parts = [[V::splat(0.0); 2]; M];
        for column in (start..start + affine.group).step_by(2 * V::COUNT) {
            for part in 0..2 {
                let at = column + part * V::COUNT;
                // SAFETY: `at + COUNT <= columns`: the group is a multiple of two vectors.
                unsafe {
                    let weights = V::unpack::<BITS>(stored.as_ptr().add(at * BITS / 8));
                    for row in 0..M {
                        let values = V::load(x.as_ptr().add(row * columns + at));
                        parts[row][part] = weights.mul_add(values, parts[row][part]);
                    }
                }
            }
        }
        let scale = V::splat(scales[group]);
        for row in 0..M {
            totals[row] = parts[row][0].add(parts[row][1]).mul_add(scale, totals[row]);
            offsets[row] += biases[group] * sums[row * groups + group];
        }
    }
    let mut out = [0.0; M];
    for row in 0..M {
        out[row] = totals[row].sum() + offsets[row];
    }
    out
}

/// As [`quantised`], for 4 bits: two numbers are taken from each byte at once.
#[inline(always)]
fn nibbles<V: Lanes, const M: usize>(
    affine: Affine<'_>,
    row: usize,
    x: &[f32],
    columns: usize,
    scales: &[f32],
    biases: &[f32],
    sums: &[f32],
) -> [f32; M] {
    let groups = columns / affine.group;
    let stored = &affine.packed[row * columns / 2..][..columns / 2];
    let width = 2 * V::COUNT;
    assert!(x.len() == M * columns && sums.len() == M * groups && affine.group.is_multiple_of(width));
    assert!(scales.len() >= groups && biases.len() >= groups);
    let mut totals = [[V::splat(0.0); 2]; M];
    let mut offsets = [0.0_f32; M];
    for group in 0..groups {
        let start = group * affine.group;
        let mut parts = [[V::splat(0.0); 2]; M];
        for column in (start..start + affine.group).step_by(width) {
            // SAFETY: `column + width <= columns`: the group is a multiple of two vectors.
            unsafe {
                let (even, odd) = V::unpack_nibbles(stored.as_ptr().add(column / 2));
                for row in 0..M {
                    let values = x.as_ptr().add(row * columns + column);
                    parts[row][0] = even.mul_add(V::load(values), parts[row][0]);
                    parts[row][1] = odd.mul_add(V::load(values.add(V::COUNT)), parts[row][1]);
                }
            }
        }
        let scale = V::splat(scales[group]);
        for row in 0..M {
            totals[row][0] = parts[row][0].mul_add(scale, totals[row][0]);
            totals[row][1] = parts[row][1].mul_add(scale, totals[row][1]);
            offsets[row] += biases[group] * sums[row * groups + group];
        }
    }
    let mut out = [0.0; M];
    for row in 0..M {
        out[row] = totals[row][0].add(totals[row][1]).sum() + offsets[row];
    }
    out
}
