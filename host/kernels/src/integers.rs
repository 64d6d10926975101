//! Quantised matrices times activations that are rounded to 16-bit integers, with a scale for each group: integer multiply-adds do twice as much
//! at a time as those of floats, and their sums are exact.
//!
//! What is rounded afterwards is rounded in one fixed order. For each output, group after group:
//! `sum = fused(dot, weight scale · activation scale, sum)`, then `sum = fused(weight bias, sum of activations, sum)`, where there are biases. So
//! the bits do not depend on the number of rows, on threads, or on the kernel.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

mod affine_rows;
mod block_rows;
mod plain_blocks;
mod stored_rows;
mod super_blocks;

use bytemuck::{cast_slice, cast_slice_mut};
use monocle_tensor::scheme::Scheme;

use crate::lanes::{IntegerKernel, Integers, Lanes, Processor};
use crate::matrix::{Affine, CACHE_LINE, Data, MatrixView, with_scratch};
use crate::memory::Memory;
use crate::output::Shared;
use crate::threads::Threads;

use affine_rows::{AffineRows, takes_words};
use block_rows::{BlockRows, group_of};
use plain_blocks::{Iq4Nl, Mxfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use stored_rows::{Bias, EIGHT, Parameters, StoredRows};
use super_blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};

/// The largest activation: 127 · 257, so that it is `256 high + low` with two signed bytes.
const LARGEST: f32 = 32639.0;
/// What is smaller counts as nothing: its scale could not be inverted.
const SMALLEST: f32 = 1e-30;
/// Rows of activations that are rounded at a time.
const BLOCK_ROWS: usize = 384;
/// Up to how many rows of activations stored rows are read as they lie; beyond it, they are unpacked once for all rows.
const MOST_ROW_BY_ROW: usize = 2;
/// Outputs that are unpacked together. Those of a task are a multiple of it, so that tasks do not share a line of the cache.
const OUTPUTS: usize = 16;
/// Rows of activations that are multiplied with unpacked rows together: with a sum for each of their products there are registers left.
const TILE_X: usize = 4;
/// Bytes that a kernel may read beyond the last element, at most.
const BEYOND: usize = 16;

/// Rows of activations times a quantised matrix: `x` is `[m, k]`, `out` `[m, n]`.
pub struct IntegerProduct<'a> {
    /// Rows of `x` and `out`.
    pub m: usize,
    /// `[m, k]`
    pub x: &'a [f32],
    /// `[n, k]`
    pub matrix: MatrixView<'a>,
    /// `[n]`, added to each row.
    pub bias: Option<&'a [f32]>,
}

impl<'a> IntegerProduct<'a> {
    /// The product, where the matrix consists of integers in groups.
    pub fn of(m: usize, x: &'a [f32], matrix: MatrixView<'a>, bias: Option<&'a [f32]>) -> Option<Self> {
        match matrix.data() {
            Data::Affine(..) | Data::Blocks(..) if matrix.columns() > 0 => Some(Self { m, x, matrix, bias }),
            _ => None,
        }
    }

    /// Neighbours that have a scale of their own, in the matrix and in what activations become.
    fn group(&self) -> usize {
        match self.matrix.data() {
            Data::Affine(affine) => affine.group,
            Data::Blocks(scheme, _) => group_of(scheme),
            Data::Dense(..) | Data::Scaled(..) => self.matrix.columns(),
        }
    }

    /// Bytes of one stored row.
    fn row_bytes(&self) -> usize {
        let columns = self.matrix.columns();
        match self.matrix.data() {
            Data::Affine(affine) => columns * affine.bits / 8,
            Data::Blocks(scheme, _) => columns / scheme.elements() * scheme.bytes(),
            Data::Dense(..) | Data::Scaled(..) => 0,
        }
    }

    /// Computes it with all threads.
    pub fn run(&self, processor: Processor, threads: &Threads, memory: &Memory, out: &mut [f32]) {
        let (n, k, group) = (self.matrix.rows(), self.matrix.columns(), self.group());
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
                        group,
                        nibbles: matches!(self.matrix.data(), Data::Affine(affine) if affine.bits == 4),
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
                    Way::Unpacked => 4 * OUTPUTS,
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
        let group = self.group();
        let eights = way.outputs() / EIGHT;
        let unpacked = match way {
            Way::RowByRow => 0,
            // The integers twice, of 16 bits each; then sums.
            Way::Unpacked => 2 * OUTPUTS * group / 2 + m * OUTPUTS,
        };
        eights * Parameters::len(self.matrix.columns() / group) + self.copy_len(way) + unpacked
    }

    /// Floats that hold the stored rows that are worked on together, and what may be read after them.
    fn copy_len(&self, way: Way) -> usize {
        (way.outputs() * self.row_bytes() + BEYOND).div_ceil(4)
    }
}

/// Which kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Stored rows as they lie, one after another: the memory's speed is the limit.
    RowByRow,
    /// A group of sixteen rows unpacked, for many rows of activations.
    Unpacked,
}

impl Way {
    fn of(m: usize) -> Self {
        match m {
            ..=MOST_ROW_BY_ROW => Self::RowByRow,
            _ => Self::Unpacked,
        }
    }

    /// Outputs, and so stored rows, that are worked on together.
    fn outputs(self) -> usize {
        match self {
            Self::RowByRow => EIGHT,
            Self::Unpacked => OUTPUTS,
        }
    }
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
    group: usize,
    /// Whether it is multiplied with affine numbers of 4 bits.
    nibbles: bool,
    /// Its number, and how many there are.
    row: [usize; 2],
    integers: &'a Shared<'a, i16>,
    scales: &'a Shared<'a, f32>,
    sums: &'a Shared<'a, f32>,
}

impl IntegerKernel for Round<'_> {
    #[inline(always)]
    fn run<I: Integers>(self) {
        let (group, [row, m]) = (self.group, self.row);
        let words = self.nibbles && takes_words::<I>(4, group);
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
            let rounded = round::<I>(x, words, integers);
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
        let k = self.product.matrix.columns();
        match self.product.matrix.data() {
            Data::Affine(affine) => match affine.bits {
                2 => self.affine::<I, 2>(affine),
                3 => self.affine::<I, 3>(affine),
                4 => self.affine::<I, 4>(affine),
                5 => self.affine::<I, 5>(affine),
                6 => self.affine::<I, 6>(affine),
                _ => self.affine::<I, 8>(affine),
            },
            Data::Blocks(scheme, bytes) => match scheme {
                Scheme::Q4_0 => self.multiply::<I, _>(BlockRows::<Q4_0>::new(bytes, k)),
                Scheme::Q4_1 => self.multiply::<I, _>(BlockRows::<Q4_1>::new(bytes, k)),
                Scheme::Q5_0 => self.multiply::<I, _>(BlockRows::<Q5_0>::new(bytes, k)),
                Scheme::Q5_1 => self.multiply::<I, _>(BlockRows::<Q5_1>::new(bytes, k)),
                Scheme::Q8_0 => self.multiply::<I, _>(BlockRows::<Q8_0>::new(bytes, k)),
                Scheme::Q2_K => self.multiply::<I, _>(BlockRows::<Q2K>::new(bytes, k)),
                Scheme::Q3_K => self.multiply::<I, _>(BlockRows::<Q3K>::new(bytes, k)),
                Scheme::Q4_K => self.multiply::<I, _>(BlockRows::<Q4K>::new(bytes, k)),
                Scheme::Q5_K => self.multiply::<I, _>(BlockRows::<Q5K>::new(bytes, k)),
                Scheme::Q6_K => self.multiply::<I, _>(BlockRows::<Q6K>::new(bytes, k)),
                Scheme::Iq4Nl => self.multiply::<I, _>(BlockRows::<Iq4Nl>::new(bytes, k)),
                Scheme::Iq4Xs => self.multiply::<I, _>(BlockRows::<Iq4Xs>::new(bytes, k)),
                Scheme::Mxfp4 => self.multiply::<I, _>(BlockRows::<Mxfp4>::new(bytes, k)),
            },
            // `IntegerProduct::of` makes no product of these.
            Data::Dense(..) | Data::Scaled(..) => {}
        }
    }
}

impl<'a> Multiply<'a> {
    #[inline(always)]
    fn affine<I: Integers, const BITS: usize>(self, affine: Affine<'a>) {
        let columns = self.product.matrix.columns();
        // What is most used is compiled with the group's size known; the rest once for each number of bits.
        match (self.way, affine.group) {
            (Way::RowByRow, 64) if BITS == 4 => {
                self.row_by_row::<I, _>(AffineRows::<BITS, 64> { affine, columns });
            }
            (Way::RowByRow, 32) if BITS == 4 => {
                self.row_by_row::<I, _>(AffineRows::<BITS, 32> { affine, columns });
            }
            (Way::RowByRow, _) => self.row_by_row::<I, _>(AffineRows::<BITS, 0> { affine, columns }),
            (Way::Unpacked, 64) if BITS == 4 => {
                self.unpacked::<I, _>(AffineRows::<BITS, 64> { affine, columns });
            }
            (Way::Unpacked, _) => self.unpacked::<I, _>(AffineRows::<BITS, 0> { affine, columns }),
        }
    }

    #[inline(always)]
    fn multiply<I: Integers, S: StoredRows>(self, rows: S) {
        match self.way {
            Way::RowByRow => self.row_by_row::<I, S>(rows),
            Way::Unpacked => self.unpacked::<I, S>(rows),
        }
    }

    /// The bytes of as many stored rows, of `size` bytes each, as are worked on together, with as many after them as a kernel may read. Of
    /// rows that are not there, anything.
    #[inline(always)]
    fn stored<'b, S: StoredRows>(
        &self,
        rows: &'b S,
        size: usize,
        start: usize,
        copy: &'b mut [u8],
    ) -> &'b [u8] {
        let bytes = rows.bytes();
        let length = self.way.outputs() * size + S::BEYOND;
        match bytes.get(start * size..start * size + length) {
            Some(stored) => stored,
            None => {
                let there = &bytes[start * size..];
                let there = &there[..there.len().min(length)];
                copy[..there.len()].copy_from_slice(there);
                &copy[..length]
            }
        }
    }

    /// Eight outputs at a time, and of their rows one group after another.
    #[inline(always)]
    fn row_by_row<I: Integers, S: StoredRows>(mut self, rows: S) {
        let (n, k, m) = (self.product.matrix.rows(), self.product.matrix.columns(), self.m);
        let (groups, row_bytes, bytes) = (k / rows.group(), self.product.row_bytes(), rows.period_bytes());
        let periods = groups / S::PERIOD;
        let [first, end] = self.outputs;
        let (mut parameters, rest) = Parameters::within(std::mem::take(&mut self.scratch), groups);
        let copy = cast_slice_mut::<f32, u8>(rest);
        assert!(self.rounded.integers.len() == m * k && periods * bytes == row_bytes && S::BEYOND <= BEYOND);
        assert!(self.rounded.scales.len() == groups * m && self.rounded.sums.len() == groups * m);
        for start in (first..end).step_by(EIGHT) {
            let count = EIGHT.min(end - start);
            let stored = self.stored(&rows, row_bytes, start, copy);
            rows.read::<I>(start..start + count, stored, &mut parameters);
            for row in 0..m {
                let mut sum = I::Floats::splat(0.0);
                for period in 0..periods {
                    // The next eight rows lie behind these: as much of them as is read of these.
                    if row == 0 {
                        let next = stored.as_ptr().wrapping_add(EIGHT * (row_bytes + period * bytes));
                        for line in (0..EIGHT * bytes).step_by(CACHE_LINE) {
                            I::Floats::prefetch(next.wrapping_add(line));
                        }
                    }
                    let group = Group {
                        stored: stored.as_ptr(),
                        row_bytes,
                        period,
                        row,
                    };
                    // SAFETY: eight rows of so many periods are stored, with enough bytes after them, and there are `m` rows of activations.
                    unsafe {
                        // Not a loop: each part is compiled by itself.
                        sum = self.group::<I, S>(&rows, &parameters, group, 0, sum);
                        if S::PERIOD > 1 {
                            sum = self.group::<I, S>(&rows, &parameters, group, 1, sum);
                        }
                        if S::PERIOD > 2 {
                            sum = self.group::<I, S>(&rows, &parameters, group, 2, sum);
                            sum = self.group::<I, S>(&rows, &parameters, group, 3, sum);
                            sum = self.group::<I, S>(&rows, &parameters, group, 4, sum);
                            sum = self.group::<I, S>(&rows, &parameters, group, 5, sum);
                            sum = self.group::<I, S>(&rows, &parameters, group, 6, sum);
                            sum = self.group::<I, S>(&rows, &parameters, group, 7, sum);
                        }
                    }
                }
                self.write(sum, row * n, start, count);
            }
        }
    }

    /// Adds one group's products to the sums of eight outputs.
    ///
    /// # Safety
    /// Eight rows must be stored there, with as many bytes after them as are read beyond them; the period, the part and the row of activations
    /// must exist.
    #[inline(always)]
    unsafe fn group<I: Integers, S: StoredRows>(
        &self,
        rows: &S,
        parameters: &Parameters<'_>,
        group: Group,
        part: usize,
        sum: I::Floats,
    ) -> I::Floats {
        let index = group.period * S::PERIOD + part;
        let at = index * self.m + group.row;
        let (from, bytes, period) = (group.stored, group.row_bytes, group.period);
        // SAFETY: the caller vouches for it. Not a loop: the sums stay in registers.
        let dots = unsafe {
            let x = self.rounded.integers.as_ptr().add(at * rows.group());
            I::totals([
                rows.dot::<I>(from, period, part, x),
                rows.dot::<I>(from.add(bytes), period, part, x),
                rows.dot::<I>(from.add(2 * bytes), period, part, x),
                rows.dot::<I>(from.add(3 * bytes), period, part, x),
                rows.dot::<I>(from.add(4 * bytes), period, part, x),
                rows.dot::<I>(from.add(5 * bytes), period, part, x),
                rows.dot::<I>(from.add(6 * bytes), period, part, x),
                rows.dot::<I>(from.add(7 * bytes), period, part, x),
            ])
        };
        // SAFETY: the caller vouches for eight rows and the group.
        let parameters = unsafe { rows.parameters::<I::Floats>(parameters, from, index) };
        self.with_group::<I::Floats, S>(parameters, at, dots, sum)
    }

    /// Sixteen outputs at a time: a group of their rows is unpacked, and multiplied by that of all rows of activations.
    #[inline(always)]
    fn unpacked<I: Integers, S: StoredRows>(mut self, rows: S) {
        let (n, k, m, group) = (
            self.product.matrix.rows(),
            self.product.matrix.columns(),
            self.m,
            rows.group(),
        );
        let (groups, row_bytes) = (k / group, self.product.row_bytes());
        let [first, end] = self.outputs;
        let scratch = std::mem::take(&mut self.scratch);
        let (mut low, rest) = Parameters::within(scratch, groups);
        let (mut high, rest) = Parameters::within(rest, groups);
        let (copy, rest) = rest.split_at_mut(self.product.copy_len(self.way));
        let copy = cast_slice_mut::<f32, u8>(copy);
        // `[16][group]`, then `[group / 2][16][2]`, then `[m][16]`.
        let (numbers, rest) = rest.split_at_mut(OUTPUTS * group / 2);
        let (pairs, totals) = rest.split_at_mut(OUTPUTS * group / 2);
        let totals = &mut totals[..m * OUTPUTS];
        assert!(self.rounded.integers.len() == m * k && group.is_multiple_of(16) && S::BEYOND <= BEYOND);
        assert!(self.rounded.scales.len() == groups * m && self.rounded.sums.len() == groups * m);
        // Unknown to the compiler: a short group's loop, unrolled as a whole, needs more registers than there are.
        let length = std::hint::black_box(group);
        for start in (first..end).step_by(OUTPUTS) {
            let count = OUTPUTS.min(end - start);
            let middle = start + EIGHT.min(count);
            let stored = self.stored(&rows, row_bytes, start, copy);
            rows.read::<I>(start..middle, stored, &mut low);
            rows.read::<I>(middle..start + count, &stored[EIGHT * row_bytes..], &mut high);
            totals.fill(0.0);
            for index in 0..groups {
                // Of rows that are not there, what is left is not written anywhere.
                let unpacked = cast_slice_mut::<f32, i16>(numbers);
                for (row, unpacked) in unpacked.chunks_exact_mut(group).enumerate() {
                    // SAFETY: sixteen rows of so many groups are stored, with enough bytes after them.
                    unsafe {
                        let from = stored.as_ptr().add(row * row_bytes);
                        rows.unpack::<I>(from, index / S::PERIOD, index % S::PERIOD, unpacked.as_mut_ptr());
                    }
                }
                pair::<I::Floats>(numbers, group / 2, pairs);
                let tile = Tile {
                    pairs: cast_slice(pairs),
                    // SAFETY: sixteen rows of so many groups are stored.
                    parameters: unsafe {
                        let from = stored.as_ptr();
                        [
                            rows.parameters::<I::Floats>(&low, from, index),
                            rows.parameters::<I::Floats>(&high, from.add(EIGHT * row_bytes), index),
                        ]
                    },
                    first: index * m,
                    group: length,
                };
                let tiled = m / TILE_X * TILE_X;
                for row in (0..tiled).step_by(TILE_X) {
                    self.tile::<I, S, TILE_X>(&tile, row, totals);
                }
                for row in tiled..m {
                    self.tile::<I, S, 1>(&tile, row, totals);
                }
            }
            for (row, total) in totals.chunks_exact(OUTPUTS).enumerate() {
                for (total, first) in total.chunks_exact(EIGHT).zip([0, EIGHT]) {
                    // SAFETY: `total` has eight.
                    let sum = unsafe { I::Floats::load(total.as_ptr()) };
                    let count = count.saturating_sub(first).min(EIGHT);
                    if count > 0 {
                        self.write(sum, row * n, start + first, count);
                    }
                }
            }
        }
    }

    /// One group of sixteen outputs times that of `M` rows of activations, from `row` on.
    #[inline(always)]
    fn tile<I: Integers, S: StoredRows, const M: usize>(
        &self,
        tile: &Tile<'_, I::Floats>,
        row: usize,
        totals: &mut [f32],
    ) {
        let (group, at) = (tile.group, tile.first + row);
        let x = &self.rounded.integers[at * group..][..M * group];
        let totals = &mut totals[row * OUTPUTS..][..M * OUTPUTS];
        assert!(tile.pairs.len() >= OUTPUTS * group);
        let mut sums = [I::no_outputs(); M];
        for column in (0..group).step_by(2) {
            for (index, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the group's pairs are there for sixteen outputs, and `M` groups of activations.
                unsafe {
                    let weights = tile.pairs.as_ptr().add(column * OUTPUTS);
                    *sums = I::add_pairs(*sums, weights, x.as_ptr().add(index * group + column));
                }
            }
        }
        for (index, sums) in sums.into_iter().enumerate() {
            let dots = I::floats(sums);
            for half in 0..2 {
                let total = &mut totals[index * OUTPUTS + half * EIGHT..][..EIGHT];
                // SAFETY: `total` has eight.
                unsafe {
                    let sum = I::Floats::load(total.as_ptr());
                    let sum = self.with_group::<_, S>(tile.parameters[half], at + index, dots[half], sum);
                    sum.store(total.as_mut_ptr());
                }
            }
        }
    }

    /// Takes one group into the sums of eight outputs: the one order in which floats are added.
    #[inline(always)]
    fn with_group<V: Lanes, S: StoredRows>(&self, [scale, bias]: [V; 2], at: usize, dot: V, sum: V) -> V {
        let sum = dot.fused(scale.mul(V::splat(self.rounded.scales[at])), sum);
        match S::BIAS {
            Bias::None => sum,
            Bias::OfScale(_) | Bias::Stored => bias.fused(V::splat(self.rounded.sums[at]), sum),
        }
    }

    /// Writes `count` outputs from `start` on of the row that begins at `row`.
    #[inline(always)]
    fn write<V: Lanes>(&self, sums: V, row: usize, start: usize, count: usize) {
        // SAFETY: these outputs are this task's own.
        let out = unsafe { self.out.part(row + start, count) };
        let bias = self.product.bias.map(|bias| &bias[start..start + count]);
        if count == EIGHT {
            // SAFETY: there are eight of each, which is a vector, as `run` has checked.
            unsafe {
                let sums = match bias {
                    Some(bias) => sums.add(V::load(bias.as_ptr())),
                    None => sums,
                };
                sums.store(out.as_mut_ptr());
            }
            return;
        }
        let mut values = [0.0_f32; EIGHT];
        // SAFETY: the array holds a vector.
        unsafe { sums.store(values.as_mut_ptr()) };
        for (index, (out, value)) in out.iter_mut().zip(values).enumerate() {
            *out = match bias {
                Some(bias) => value + bias[index],
                None => value,
            };
        }
    }
}

/// Which group is multiplied: all but its part of the period.
#[derive(Clone, Copy)]
struct Group {
    /// Eight rows.
    stored: *const u8,
    row_bytes: usize,
    period: usize,
    /// Of activations.
    row: usize,
}

/// A group of sixteen outputs, unpacked.
struct Tile<'a, V> {
    /// `[group / 2][16][2]`
    pairs: &'a [i16],
    /// Of the first eight outputs, and of the others.
    parameters: [[V; 2]; 2],
    /// Where the group's activations begin.
    first: usize,
    group: usize,
}

/// Puts pairs of sixteen rows side by side: `[16][length]` to `[length][16]`. Each pair is moved as a float.
#[inline(always)]
fn pair<V: Lanes>(rows: &[f32], length: usize, out: &mut [f32]) {
    assert!(rows.len() == OUTPUTS * length && out.len() == OUTPUTS * length && length.is_multiple_of(EIGHT));
    for first in [0, EIGHT] {
        for column in (0..length).step_by(EIGHT) {
            // SAFETY: eight rows of eight pairs are there from `first` on, and room for them.
            unsafe {
                V::transpose(
                    rows.as_ptr().add(first * length + column),
                    length,
                    out.as_mut_ptr().add(column * OUTPUTS + first),
                    OUTPUTS,
                );
            }
        }
    }
}
