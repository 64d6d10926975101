//! Quantised matrices times activations that are rounded to 16-bit integers, with a scale for each group: integer multiply-adds do twice as much
//! at a time as those of floats, and their sums are exact.
//!
//! What is rounded afterwards is rounded in one fixed order. For each output, group after group:
//! `sum = fused(dot, weight scale · activation scale, sum)`, then `sum = fused(weight bias, sum of activations, sum)`. So the bits do not
//! depend on the number of rows, on threads, or on the kernel.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};

use crate::lanes::{IntegerKernel, Integers, Lanes, Processor};
use crate::matrix::{Affine, CACHE_LINE, Data, MatrixView, decode_dense, with_scratch};
use crate::memory::Memory;
use crate::output::Shared;
use crate::threads::Threads;

mod tiles;

/// The largest activation: 127 · 257, so that it is `256 high + low` with two signed bytes.
const LARGEST: f32 = 32639.0;
/// What is smaller counts as nothing: its scale could not be inverted.
const SMALLEST: f32 = 1e-30;
/// Rows of activations that are rounded at a time.
const BLOCK_ROWS: usize = 384;
/// Up to how many rows of activations stored rows are read as they lie; beyond it, they are unpacked once for all rows.
const MOST_ROW_BY_ROW: usize = 2;
/// Outputs of a task are a multiple of this, so that tasks do not share a line of the cache.
const OUTPUTS: usize = 16;
/// Outputs whose floats are worked on together.
const EIGHT: usize = 8;
/// Bytes that a kernel may read beyond the last element.
const BEYOND: usize = 16;

/// Rows of activations times a quantised matrix: `x` is `[m, k]`, `out` `[m, n]`.
pub struct IntegerProduct<'a> {
    /// Rows of `x` and `out`.
    pub m: usize,
    /// `[m, k]`
    pub x: &'a [f32],
    /// `[n, k]`
    pub matrix: MatrixView<'a>,
    /// The same matrix's rows.
    pub affine: Affine<'a>,
    /// `[n]`, added to each row.
    pub bias: Option<&'a [f32]>,
}

impl<'a> IntegerProduct<'a> {
    /// The product, where the matrix is quantised.
    pub fn of(m: usize, x: &'a [f32], matrix: MatrixView<'a>, bias: Option<&'a [f32]>) -> Option<Self> {
        match matrix.data() {
            Data::Affine(affine) => Some(Self {
                m,
                x,
                matrix,
                affine,
                bias,
            }),
            Data::Dense(..) | Data::Blocks(..) | Data::Scaled(..) => None,
        }
    }

    /// Computes it with all threads.
    pub fn run(&self, processor: Processor, threads: &Threads, memory: &Memory, out: &mut [f32]) {
        let (n, k, group) = (self.matrix.rows(), self.matrix.columns(), self.affine.group);
        assert_eq!((self.x.len(), out.len()), (self.m * k, self.m * n));
        assert!(self.bias.is_none_or(|bias| bias.len() == n));
        if out.is_empty() {
            return;
        }
        let groups = k / group;
        for first in (0..self.m).step_by(BLOCK_ROWS) {
            let m = BLOCK_ROWS.min(self.m - first);
            let mut buffer = memory.take(m * (k / 2 + 2 * groups));
            let (integers, rest) = buffer.floats_mut().split_at_mut(m * k / 2);
            let (scales, sums) = rest.split_at_mut(m * groups);
            let sums = &mut sums[..m * groups];
            let way = Way::of(m);
            let shared_integers = Shared::new(cast_slice_mut::<f32, i16>(integers));
            let (shared_scales, shared_sums) = (Shared::new(scales), Shared::new(sums));
            let chunk = (32 * 1024 / k.max(1)).max(1);
            threads.parallel(m.div_ceil(chunk), |index| {
                for row in index * chunk..((index + 1) * chunk).min(m) {
                    processor.run_integers(Round {
                        x: &self.x[(first + row) * k..][..k],
                        affine: self.affine,
                        row: [row, m],
                        integers: &shared_integers,
                        scales: &shared_scales,
                        sums: &shared_sums,
                    });
                }
            });
            let rounded = Rounded {
                integers: cast_slice(integers),
                scales,
                sums,
            };
            let shared = Shared::new(&mut out[first * n..(first + m) * n]);
            let chunk = if m * n * k < 64 * 1024 || threads.count() == 1 {
                n
            } else {
                let least = match way {
                    Way::RowByRow => 16 * 1024 / k.max(1),
                    Way::Tiles => 4 * OUTPUTS,
                };
                n.div_ceil(threads.count() * 8).min(512).max(least)
            };
            let chunk = chunk.next_multiple_of(OUTPUTS);
            threads.parallel(n.div_ceil(chunk), |index| {
                let outputs = [index * chunk, ((index + 1) * chunk).min(n)];
                with_scratch(self.scratch_len(way, m), |scratch| {
                    processor.run_integers(Multiply {
                        product: self,
                        way,
                        m,
                        rounded,
                        outputs,
                        out: &shared,
                        scratch,
                    });
                });
            });
        }
    }

    /// Floats of scratch that a task needs.
    fn scratch_len(&self, way: Way, m: usize) -> usize {
        let group = self.affine.group;
        let of_eight_rows = Parameters::len(self.matrix.columns() / group) + self.copy_len();
        match way {
            Way::RowByRow => of_eight_rows,
            Way::Tiles => 2 * of_eight_rows + tiles::scratch_len(m, group),
        }
    }

    /// Floats that hold eight stored rows, and what may be read after them.
    fn copy_len(&self) -> usize {
        (EIGHT * self.row_bytes() + BEYOND).div_ceil(4)
    }

    fn row_bytes(&self) -> usize {
        self.matrix.columns() * self.affine.bits / 8
    }
}

/// Which kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Stored rows as they lie, one after another: the memory's speed is the limit.
    RowByRow,
    /// A group of sixteen rows unpacked, for many rows of activations.
    Tiles,
}

impl Way {
    fn of(m: usize) -> Self {
        match m {
            ..=MOST_ROW_BY_ROW => Self::RowByRow,
            _ => Self::Tiles,
        }
    }
}

/// Whether a group of 4 bits fills whole vectors, so that numbers may be taken from 16-bit words in the order in which these hold them.
/// Activations are put into the order of words then: of each 64, first every fourth from the first on, then from the second on.
#[inline(always)]
fn takes_words<I: Integers>(bits: usize, group: usize) -> bool {
    I::HAS_WORDS && bits == 4 && group.is_multiple_of(64)
}

/// Numbers of eight rows of so many, with as many more as a vector may read beyond them.
fn eight_rows(length: usize) -> usize {
    EIGHT * length + EIGHT
}

/// Rounded activations, a group of all rows after another.
#[derive(Clone, Copy)]
struct Rounded<'a> {
    /// `[groups, m, group]`
    integers: &'a [i16],
    /// `[groups, m]`
    scales: &'a [f32],
    /// What each group comes to: `[groups, m]`
    sums: &'a [f32],
}

/// Rounds one row.
struct Round<'a> {
    x: &'a [f32],
    affine: Affine<'a>,
    /// Its number, and how many there are.
    row: [usize; 2],
    integers: &'a Shared<'a, i16>,
    scales: &'a Shared<'a, f32>,
    sums: &'a Shared<'a, f32>,
}

impl IntegerKernel for Round<'_> {
    #[inline(always)]
    fn run<I: Integers>(self) {
        let Affine { group, bits, .. } = self.affine;
        let [row, m] = self.row;
        for (index, x) in self.x.chunks_exact(group).enumerate() {
            let at = index * m + row;
            // SAFETY: each row is rounded by one thread.
            let (integers, scale, sum) = unsafe {
                (
                    self.integers.part(at * group, group),
                    self.scales.part(at, 1),
                    self.sums.part(at, 1),
                )
            };
            let rounded = round::<I>(x, takes_words::<I>(bits, group), integers);
            (scale[0], sum[0]) = (rounded.0, rounded.0 * rounded.1);
        }
    }
}

/// Rounds a group; gives its scale and the sum of its integers.
#[inline(always)]
fn round<I: Integers>(x: &[f32], words: bool, out: &mut [i16]) -> (f32, f32) {
    assert!(x.len() == out.len() && x.len().is_multiple_of(16) && I::Floats::COUNT == EIGHT);
    let zero = I::Floats::splat(0.0);
    let [mut largest, mut broken] = [zero; 2];
    for x in x.chunks_exact(EIGHT) {
        // SAFETY: a vector is there.
        let x = unsafe { I::Floats::load(x.as_ptr()) };
        largest = zero.sub(x).max(x.max(largest));
        // Nothing, unless it is no number or infinite.
        broken = x.mul_add(zero, broken);
    }
    let largest = largest.largest();
    // What is not a number makes the group's results none; so does infinity.
    let (scale, factor) = if broken.sum() != 0.0 {
        (f32::NAN, 0.0)
    } else if largest > SMALLEST {
        (largest / LARGEST, LARGEST / largest)
    } else {
        (0.0, 0.0)
    };
    let factor = I::Floats::splat(factor);
    let ones = I::integers_of(I::Floats::splat(1.0), I::Floats::splat(1.0));
    let mut totals = I::no_sums();
    // SAFETY: sixteen numbers, or four times as many, are there at each step, and room for them.
    unsafe {
        let from = x.as_ptr();
        if words {
            for at in (0..x.len()).step_by(64) {
                let integers = [
                    sixteen::<I>(from.add(at), factor),
                    sixteen::<I>(from.add(at + 16), factor),
                    sixteen::<I>(from.add(at + 32), factor),
                    sixteen::<I>(from.add(at + 48), factor),
                ];
                for integers in integers {
                    totals = I::add_products(totals, integers, ones);
                }
                I::store_words(integers, out.as_mut_ptr().add(at));
            }
        } else {
            for at in (0..x.len()).step_by(16) {
                let integers = sixteen::<I>(from.add(at), factor);
                totals = I::add_products(totals, integers, ones);
                I::store_integers(integers, out.as_mut_ptr().add(at));
            }
        }
    }
    let mut sums = [I::no_sums(); EIGHT];
    sums[0] = totals;
    let mut total = [0.0; EIGHT];
    // SAFETY: the array holds a vector.
    unsafe { I::totals(sums).store(total.as_mut_ptr()) };
    (scale, total[0])
}

/// Sixteen numbers times a factor, as integers.
///
/// # Safety
/// They must be readable at `from`.
#[inline(always)]
unsafe fn sixteen<I: Integers>(from: *const f32, factor: I::Floats) -> I::Vector {
    // SAFETY: the caller vouches for them.
    let [low, high] = unsafe { [I::Floats::load(from), I::Floats::load(from.add(EIGHT))] };
    I::integers_of(low.mul(factor), high.mul(factor))
}

/// Some outputs of a product.
struct Multiply<'a> {
    product: &'a IntegerProduct<'a>,
    way: Way,
    m: usize,
    rounded: Rounded<'a>,
    /// From the first to one past the last.
    outputs: [usize; 2],
    /// `[m, n]`
    out: &'a Shared<'a, f32>,
    scratch: &'a mut [f32],
}

impl IntegerKernel for Multiply<'_> {
    #[inline(always)]
    fn run<I: Integers>(self) {
        // Floats are worked on eight at a time.
        assert_eq!(I::Floats::COUNT, EIGHT);
        match self.product.affine.bits {
            2 => self.bits::<I, 2>(),
            3 => self.bits::<I, 3>(),
            4 => self.bits::<I, 4>(),
            5 => self.bits::<I, 5>(),
            6 => self.bits::<I, 6>(),
            _ => self.bits::<I, 8>(),
        }
    }
}

/// Scales and biases of eight stored rows.
struct Parameters<'a> {
    /// `[8][groups]`, and some more: as they are stored.
    scales: &'a mut [f32],
    /// The same.
    biases: &'a mut [f32],
    /// `[groups, rounded up to 8][8]`: turned, so that outputs lie side by side.
    turned_scales: &'a mut [f32],
    /// The same.
    turned_biases: &'a mut [f32],
}

impl Parameters<'_> {
    /// Floats that those of so many groups take.
    fn len(groups: usize) -> usize {
        2 * (eight_rows(groups) + EIGHT * groups.next_multiple_of(EIGHT))
    }

    /// Reads those of eight rows at most.
    #[inline(always)]
    fn read<V: Lanes>(&mut self, affine: Affine<'_>, groups: usize, rows: Range<usize>) {
        let size = affine.parameters.size();
        let (bytes, count) = (
            rows.start * groups * size..rows.end * groups * size,
            rows.len() * groups,
        );
        let (scales, biases) = (&affine.scales[bytes.clone()], &affine.biases[bytes]);
        decode_dense::<V>(affine.parameters, scales, &mut self.scales[..count]);
        decode_dense::<V>(affine.parameters, biases, &mut self.biases[..count]);
        turn::<V>(self.scales, groups, self.turned_scales);
        turn::<V>(self.biases, groups, self.turned_biases);
    }

    /// Scales and biases of group `index`, for eight outputs.
    #[inline(always)]
    fn of<V: Lanes>(&self, index: usize) -> [V; 2] {
        let from = index * EIGHT;
        let (scales, biases) = (
            &self.turned_scales[from..][..EIGHT],
            &self.turned_biases[from..][..EIGHT],
        );
        // SAFETY: there are eight of each.
        unsafe { [V::load(scales.as_ptr()), V::load(biases.as_ptr())] }
    }
}

/// Turns eight rows of `length` floats into rows of eight; some more come after them.
#[inline(always)]
fn turn<V: Lanes>(rows: &[f32], length: usize, out: &mut [f32]) {
    let columns = length.next_multiple_of(EIGHT);
    assert!(rows.len() >= (EIGHT - 1) * length + columns && out.len() >= columns * EIGHT);
    for column in (0..columns).step_by(EIGHT) {
        // SAFETY: eight rows of `columns` are there to read, if the last ones overlap, and `columns` rows of eight to write.
        unsafe {
            V::transpose(
                rows.as_ptr().add(column),
                length,
                out.as_mut_ptr().add(column * EIGHT),
                EIGHT,
            );
        }
    }
}

impl<'a> Multiply<'a> {
    #[inline(always)]
    fn bits<I: Integers, const BITS: usize>(mut self) {
        // What is most used is compiled with the group's size known; the rest once for each number of bits.
        match (self.way, self.product.affine.group) {
            (Way::RowByRow, 64) if BITS == 4 => self.row_by_row::<I, BITS, 64>(),
            (Way::RowByRow, 32) if BITS == 4 => self.row_by_row::<I, BITS, 32>(),
            (Way::RowByRow, _) => self.row_by_row::<I, BITS, 0>(),
            (Way::Tiles, _) => self.tiles::<I, BITS>(),
        }
    }

    /// Room for what eight stored rows need, and what is left of the scratch.
    fn split(&self, scratch: &'a mut [f32]) -> (Parameters<'a>, &'a mut [u8], &'a mut [f32]) {
        let groups = self.product.matrix.columns() / self.product.affine.group;
        let padded = groups.next_multiple_of(EIGHT);
        let (scales, rest) = scratch.split_at_mut(eight_rows(groups));
        let (biases, rest) = rest.split_at_mut(eight_rows(groups));
        let (turned_scales, rest) = rest.split_at_mut(EIGHT * padded);
        let (turned_biases, rest) = rest.split_at_mut(EIGHT * padded);
        let (copy, rest) = rest.split_at_mut(self.product.copy_len());
        let parameters = Parameters {
            scales,
            biases,
            turned_scales,
            turned_biases,
        };
        (parameters, cast_slice_mut(copy), rest)
    }

    /// The bytes of eight stored rows, with as many after them as a kernel may read. Of rows that are not there, anything.
    #[inline(always)]
    fn stored<'b>(&self, rows: Range<usize>, copy: &'b mut [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        let (packed, bytes) = (self.product.affine.packed, self.product.row_bytes());
        let start = rows.start * bytes;
        match packed.get(start..start + EIGHT * bytes + BEYOND) {
            Some(stored) => stored,
            None => {
                let length = rows.len() * bytes;
                copy[..length].copy_from_slice(&packed[start..start + length]);
                &copy[..EIGHT * bytes + BEYOND]
            }
        }
    }

    /// Eight outputs at a time, and of their rows one group after another; `GROUP` is the group's size where that is known beforehand,
    /// else 0.
    #[inline(always)]
    fn row_by_row<I: Integers, const BITS: usize, const GROUP: usize>(&mut self) {
        let group = if GROUP == 0 {
            self.product.affine.group
        } else {
            GROUP
        };
        let (n, k, m) = (self.product.matrix.rows(), self.product.matrix.columns(), self.m);
        let (groups, row_bytes, bytes) = (k / group, k * BITS / 8, group * BITS / 8);
        let [first, end] = self.outputs;
        let scratch = std::mem::take(&mut self.scratch);
        let (mut parameters, copy, _) = self.split(scratch);
        assert!(self.rounded.integers.len() == groups * m * group);
        for start in (first..end).step_by(EIGHT) {
            let count = EIGHT.min(end - start);
            parameters.read::<I::Floats>(self.product.affine, groups, start..start + count);
            let stored = self.stored(start..start + count, copy);
            for row in 0..m {
                let mut sum = I::Floats::splat(0.0);
                for index in 0..groups {
                    // The next eight rows lie behind these: as much of them as is read of these.
                    if row == 0 {
                        let next = stored.as_ptr().wrapping_add(EIGHT * (row_bytes + index * bytes));
                        for line in (0..EIGHT * bytes).step_by(CACHE_LINE) {
                            I::Floats::prefetch(next.wrapping_add(line));
                        }
                    }
                    let at = index * m + row;
                    // SAFETY: `at < groups * m`, and eight rows of `groups` groups are stored, with enough bytes after them.
                    let dots = unsafe {
                        let x = self.rounded.integers.as_ptr().add(at * group);
                        let from = stored.as_ptr().add(index * bytes);
                        eight_dots::<I, BITS>(from, row_bytes, x, group)
                    };
                    sum = self.with_group(parameters.of(index), at, dots, sum);
                }
                self.write(sum, row * n, start, count);
            }
        }
    }

    /// Takes one group into the sums of eight outputs: the one order in which floats are added.
    #[inline(always)]
    fn with_group<V: Lanes>(&self, [scale, bias]: [V; 2], at: usize, dot: V, sum: V) -> V {
        let (x_scale, x_sum) = (self.rounded.scales[at], self.rounded.sums[at]);
        let sum = dot.fused(scale.mul(V::splat(x_scale)), sum);
        bias.fused(V::splat(x_sum), sum)
    }

    /// Writes `count` outputs from `start` on of the row that begins at `row`.
    #[inline(always)]
    fn write<V: Lanes>(&self, sums: V, row: usize, start: usize, count: usize) {
        let mut values = [0.0_f32; EIGHT];
        // SAFETY: the array holds a vector, as `run` has checked.
        unsafe { sums.store(values.as_mut_ptr()) };
        // SAFETY: these outputs are this task's own.
        let out = unsafe { self.out.part(row + start, count) };
        match self.product.bias {
            Some(bias) => {
                for ((out, value), bias) in out.iter_mut().zip(values).zip(&bias[start..]) {
                    *out = value + bias;
                }
            }
            None => out.copy_from_slice(&values[..count]),
        }
    }
}

/// Unpacks a group, in the order in which it is stored.
#[inline(always)]
fn unpack_group<I: Integers, const BITS: usize>(stored: &[u8], out: &mut [i16]) {
    let group = out.len();
    assert!(stored.len() >= group * BITS / 8 + BEYOND && group.is_multiple_of(16));
    for at in (0..group).step_by(16) {
        // SAFETY: the group's numbers are there, with enough bytes after them, and room for all.
        unsafe {
            let numbers = I::unpack_integers::<BITS>(stored.as_ptr().add(at * BITS / 8));
            I::store_integers(numbers, out.as_mut_ptr().add(at));
        }
    }
}

/// The dot products of a group of eight rows, so many bytes apart, with one of activations, as floats.
///
/// # Safety
/// A group of integers must be at `x`, and of each row's stored numbers at `from`, with [`BEYOND`] bytes after the last.
#[inline(always)]
unsafe fn eight_dots<I: Integers, const BITS: usize>(
    from: *const u8,
    row_bytes: usize,
    x: *const i16,
    group: usize,
) -> I::Floats {
    // Not in a loop, so that the sums stay in registers.
    // SAFETY: the caller vouches for it.
    unsafe {
        I::totals([
            group_dot::<I, BITS>(from, x, group),
            group_dot::<I, BITS>(from.add(row_bytes), x, group),
            group_dot::<I, BITS>(from.add(2 * row_bytes), x, group),
            group_dot::<I, BITS>(from.add(3 * row_bytes), x, group),
            group_dot::<I, BITS>(from.add(4 * row_bytes), x, group),
            group_dot::<I, BITS>(from.add(5 * row_bytes), x, group),
            group_dot::<I, BITS>(from.add(6 * row_bytes), x, group),
            group_dot::<I, BITS>(from.add(7 * row_bytes), x, group),
        ])
    }
}

/// The eight sums whose total is a group's dot product.
///
/// # Safety
/// A group of integers must be at `x`, and of stored numbers at `from`, with [`BEYOND`] bytes after them.
#[inline(always)]
unsafe fn group_dot<I: Integers, const BITS: usize>(from: *const u8, x: *const i16, group: usize) -> I::Sums {
    let mut sums = I::no_sums();
    // SAFETY: the caller vouches for it.
    unsafe {
        if takes_words::<I>(BITS, group) {
            for at in (0..group).step_by(64) {
                sums = I::add_words(sums, from.add(at / 2), x.add(at));
            }
        } else {
            for at in (0..group).step_by(16) {
                let numbers = I::unpack_integers::<BITS>(from.add(at * BITS / 8));
                sums = I::add_products(sums, numbers, I::load_integers(x.add(at)));
            }
        }
    }
    sums
}
