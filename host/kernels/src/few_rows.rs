//! A few rows of activations times a stored matrix: the decode step. Each stored row is read once, for all rows of
//! activations, in the form in which it is stored; the memory's speed is the limit.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;

use crate::lanes::{Kernel, Lanes};
use crate::matrix::{AHEAD, Affine, CACHE_LINE, Data, Float, MatrixView, decode, decode_dense, scalar};
use crate::output::Shared;

/// Up to how many rows of activations this is faster than the blocked product.
pub fn most_rows(matrix: MatrixView<'_>) -> usize {
    match matrix.data() {
        Data::Affine(..) => MOST_ROWS_OF_AFFINE,
        Data::Dense(..) | Data::Blocks(..) | Data::Scaled(..) => MOST_ROWS,
    }
}

/// Of quantised rows: each of their numbers is unpacked for every four rows of activations.
pub const MOST_ROWS_OF_AFFINE: usize = 10;
/// Of others.
pub const MOST_ROWS: usize = 64;

/// Stored rows and rows of activations that are multiplied together: with one sum for each of their products there is a register left.
pub const TILE_STORED: usize = 3;
const TILE_X: usize = 4;

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
    /// Holds scales and biases of one stored row, or the floats of a tile's stored rows.
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
        Data::Blocks(..) | Data::Scaled(..) => TILE_STORED * matrix.columns(),
    }
}

impl Kernel for FewRows<'_> {
    type Output = ();

    // How the matrix is stored is asked once, and not for each row: a row is short.
    #[inline(always)]
    fn run<V: Lanes>(self) {
        let columns = self.matrix.columns();
        assert!(self.first + self.count <= self.matrix.rows() && self.x.len() >= self.m * columns);
        match self.matrix.data() {
            Data::Dense(Float::F32, bytes) => self.dense::<V, F32>(bytes),
            Data::Dense(Float::F16, bytes) => self.dense::<V, F16>(bytes),
            Data::Dense(Float::BF16, bytes) => self.dense::<V, BF16>(bytes),
            Data::Affine(affine) => self.affine::<V>(affine),
            Data::Blocks(..) | Data::Scaled(..) => self.decoded::<V>(),
        }
    }
}

impl FewRows<'_> {
    /// Dense rows, in tiles as far as there are enough of both.
    #[inline(always)]
    fn dense<V: Lanes, S: Stored>(mut self, bytes: &[u8]) {
        let size = self.matrix.columns() * S::FLOAT.size();
        let end = self.first + self.count;
        for first in (self.first..end).step_by(TILE_STORED) {
            let count = TILE_STORED.min(end - first);
            self.dense_rows::<V, S>(first, &bytes[first * size..][..count * size]);
        }
    }

    /// The same for rows that are turned to floats first.
    #[inline(always)]
    fn decoded<V: Lanes>(mut self) {
        let columns = self.matrix.columns();
        let scratch = std::mem::take(&mut self.scratch);
        let end = self.first + self.count;
        for first in (self.first..end).step_by(TILE_STORED) {
            let floats = &mut scratch[..TILE_STORED.min(end - first) * columns];
            for (index, floats) in floats.chunks_exact_mut(columns).enumerate() {
                decode::<V>(self.matrix, first + index, 0, floats);
            }
            self.dense_rows::<V, F32>(first, bytemuck::cast_slice(floats));
        }
    }

    /// Up to as many rows as a tile has, from `first` on, times all rows of activations.
    #[inline(always)]
    fn dense_rows<V: Lanes, S: Stored>(&mut self, first: usize, bytes: &[u8]) {
        let columns = self.matrix.columns();
        let count = bytes.len() / (columns * S::FLOAT.size());
        let tiled = if count < TILE_STORED {
            0
        } else {
            self.m / TILE_X * TILE_X
        };
        for from in (0..tiled).step_by(TILE_X) {
            let x = &self.x[from * columns..][..TILE_X * columns];
            for (index, dots) in tile::<V, S>(bytes, x, columns).into_iter().enumerate() {
                self.write(first + index, from, dots);
            }
        }
        let stored = DenseRows::<S> {
            first,
            bytes,
            float: PhantomData,
        };
        for row in first..first + count {
            self.rest::<V>(&stored, row, tiled);
        }
    }

    /// Quantised rows times all rows of activations.
    #[inline(always)]
    fn affine<V: Lanes>(mut self, affine: Affine<'_>) {
        let groups = self.matrix.columns() / affine.group;
        let size = affine.parameters.size() * groups;
        let scratch = std::mem::take(&mut self.scratch);
        let (scales, biases) = scratch[..2 * groups].split_at_mut(groups);
        for row in self.first..self.first + self.count {
            decode_dense::<V>(affine.parameters, &affine.scales[row * size..][..size], scales);
            decode_dense::<V>(affine.parameters, &affine.biases[row * size..][..size], biases);
            let stored = AffineRows {
                affine,
                groups,
                scales,
                biases,
                sums: self.sums,
            };
            self.rest::<V>(&stored, row, 0);
        }
    }

    /// One stored row times the rows of activations from `done` on.
    #[inline(always)]
    fn rest<V: Lanes>(&mut self, stored: &impl StoredRows, row: usize, mut done: usize) {
        while done < self.m {
            done += match self.m - done {
                4.. => self.rows::<V, 4>(stored, row, done),
                2 | 3 => self.rows::<V, 2>(stored, row, done),
                _ => self.rows::<V, 1>(stored, row, done),
            };
        }
    }

    /// One stored row times `M` rows of activations.
    #[inline(always)]
    fn rows<V: Lanes, const M: usize>(&mut self, stored: &impl StoredRows, row: usize, from: usize) -> usize {
        let columns = self.matrix.columns();
        let x = &self.x[from * columns..(from + M) * columns];
        let dots = stored.dots::<V, M>(row, from, x, columns);
        self.write(row, from, dots);
        M
    }

    /// One stored row's products with the rows of activations from `from` on.
    #[inline(always)]
    fn write<const M: usize>(&mut self, row: usize, from: usize, dots: [f32; M]) {
        let bias = self.bias.map_or(0.0, |bias| bias[row]);
        for (index, dot) in dots.into_iter().enumerate() {
            // SAFETY: `row` is one of this kernel's own columns of the result.
            unsafe {
                self.out
                    .at((from + index) * self.matrix.rows() + row)
                    .write(dot + bias)
            };
        }
    }
}

/// Rows in one form of storage.
trait StoredRows {
    /// The row times `x`, `[M, columns]`: the rows of activations from `from` on.
    fn dots<V: Lanes, const M: usize>(&self, row: usize, from: usize, x: &[f32], columns: usize) -> [f32; M];
}

/// Rows of floats, from `first` on.
struct DenseRows<'a, S> {
    first: usize,
    bytes: &'a [u8],
    float: PhantomData<S>,
}

impl<S: Stored> StoredRows for DenseRows<'_, S> {
    #[inline(always)]
    fn dots<V: Lanes, const M: usize>(&self, row: usize, _: usize, x: &[f32], columns: usize) -> [f32; M] {
        let size = columns * S::FLOAT.size();
        dense::<V, M, S>(&self.bytes[(row - self.first) * size..][..size], x, columns)
    }
}

/// Quantised rows, with the parameters of one of them.
struct AffineRows<'a> {
    affine: Affine<'a>,
    /// In a row.
    groups: usize,
    scales: &'a [f32],
    biases: &'a [f32],
    sums: &'a [f32],
}

impl StoredRows for AffineRows<'_> {
    #[inline(always)]
    fn dots<V: Lanes, const M: usize>(&self, row: usize, from: usize, x: &[f32], columns: usize) -> [f32; M] {
        let Self {
            affine,
            groups,
            scales,
            biases,
            ..
        } = *self;
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

/// Some stored rows times some rows of activations: each number that is read is used several times, and a sum for each product fills the registers.
#[inline(always)]
fn tile<V: Lanes, S: Stored>(stored: &[u8], x: &[f32], columns: usize) -> [[f32; TILE_X]; TILE_STORED] {
    let size = S::FLOAT.size();
    assert!(stored.len() == TILE_STORED * columns * size && x.len() == TILE_X * columns);
    let mut sums = [[V::splat(0.0); TILE_X]; TILE_STORED];
    let whole = columns / V::COUNT * V::COUNT;
    for column in (0..whole).step_by(V::COUNT) {
        // SAFETY: `column + COUNT <= columns`, which each row of both has.
        unsafe {
            let mut weights = [V::splat(0.0); TILE_STORED];
            for row in 0..TILE_STORED {
                let at = stored.as_ptr().add((row * columns + column) * size);
                V::prefetch(at.wrapping_add(TILE_STORED * columns * size));
                weights[row] = S::load::<V>(at);
            }
            for index in 0..TILE_X {
                let values = V::load(x.as_ptr().add(index * columns + column));
                for row in 0..TILE_STORED {
                    sums[row][index] = weights[row].mul_add(values, sums[row][index]);
                }
            }
        }
    }
    let mut out = [[0.0; TILE_X]; TILE_STORED];
    for row in 0..TILE_STORED {
        for index in 0..TILE_X {
            out[row][index] = sums[row][index].sum();
            for column in whole..columns {
                let weight = scalar(S::FLOAT, stored, row * columns + column);
                out[row][index] += weight * x[index * columns + column];
            }
        }
    }
    out
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
