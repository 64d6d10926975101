//! Quantised matrices times activations that are rounded to integers, of 16 bits or of 8, with a scale for each group: integer multiply-adds do twice
//! as much at a time as those of floats, or four times as much, and their sums are exact.
//!
//! What is rounded afterwards is rounded in one fixed order. For each output, group after group:
//! `sum = fused(dot, weight scale · activation scale, sum)`, then `sum = fused(weight bias, sum of activations, sum)`, where there are biases. So
//! the bits do not depend on the number of rows, on threads, or on the kernel.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

mod affine_rows;
mod block_rows;
mod nibbles;
mod plain_blocks;
mod rounding;
mod stored_rows;
mod super_blocks;
mod unpacked;

use bytemuck::{cast_slice, cast_slice_mut};
use monocle_tensor::scheme::Scheme;

use crate::lanes::{IntegerKernel, Integers, Lanes, Processor};
use crate::matrix::{Affine, CACHE_LINE, Data, MatrixView, with_scratch};
use crate::memory::Memory;
use crate::output::Shared;
use crate::threads::Threads;

use affine_rows::AffineRows;
use block_rows::{BlockRows, group_of};
use plain_blocks::{Iq4Nl, Mxfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use rounding::RoundedRows;
use rounding::{Form, Rounded};
use stored_rows::{Bias, EIGHT, Nibbles, Parameters, StoredRows};
use super_blocks::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
use unpacked::groups_of_block;

/// How many bits activations are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 16, in groups as large as the matrix has.
    Sixteen,
    /// 8, in groups of 32 at most.
    Eight,
}

impl Width {
    /// The largest integer. Of 16 bits it is 127 · 257, so that it is `256 high + low` with two signed bytes.
    fn largest(self) -> f32 {
        match self {
            Self::Sixteen => 32639.0,
            Self::Eight => 127.0,
        }
    }
}

/// Rows of activations that are rounded at a time.
const BLOCK_ROWS: usize = 512;
/// Up to how many rows of activations stored rows are read as they lie; beyond it, they are unpacked once for all rows.
const MOST_ROW_BY_ROW: usize = 2;
/// Outputs that are unpacked together. Those of a task are a multiple of it, so that tasks do not share a line of the cache.
const OUTPUTS: usize = 16;
/// The most numbers that have a scale of their own, of any scheme.
const MOST_GROUP: usize = 128;
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
    /// Of the integers that `x` is rounded to.
    pub width: Width,
}

impl<'a> IntegerProduct<'a> {
    /// The product, where the matrix consists of integers in groups.
    pub fn of(
        m: usize,
        x: &'a [f32],
        matrix: MatrixView<'a>,
        bias: Option<&'a [f32]>,
        width: Width,
    ) -> Option<Self> {
        let has_groups = match matrix.data() {
            Data::Affine(affine) => affine.group <= MOST_GROUP,
            Data::Blocks(..) => true,
            Data::Dense(..) | Data::Scaled(..) => false,
        };
        (has_groups && matrix.columns() > 0).then_some(Self {
            m,
            x,
            matrix,
            bias,
            width,
        })
    }

    /// Neighbours that have a scale of their own in what activations become: those of the matrix, or fewer.
    fn group(&self) -> usize {
        let group = match self.matrix.data() {
            Data::Affine(affine) => affine.group,
            Data::Blocks(scheme, _) => group_of(scheme),
            Data::Dense(..) | Data::Scaled(..) => self.matrix.columns(),
        };
        match self.width {
            Width::Sixteen => group,
            Width::Eight => group.min(32),
        }
    }

    /// How the matrix stores numbers of 4 bits, where there are kernels that multiply them with bytes.
    fn nibbles(&self) -> Option<Nibbles> {
        match (self.width, self.matrix.data()) {
            (Width::Eight, Data::Affine(affine)) if affine.bits == 4 => Some(Nibbles::Even),
            (Width::Eight, Data::Blocks(Scheme::Q4_0 | Scheme::Q4_1, _)) => Some(Nibbles::First),
            _ => None,
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

    /// Computes it with all threads. Rows that were rounded for another product of the same activations are taken from `kept`, and left there.
    pub fn run(
        &self,
        processor: Processor,
        threads: &Threads,
        memory: &Memory,
        kept: &mut Option<RoundedRows>,
        out: &mut [f32],
    ) {
        let (n, k) = (self.matrix.rows(), self.matrix.columns());
        assert_eq!((self.x.len(), out.len()), (self.m * k, self.m * n));
        assert!(self.bias.is_none_or(|bias| bias.len() == n));
        if out.is_empty() {
            return;
        }
        for first in (0..self.m).step_by(BLOCK_ROWS) {
            let m = BLOCK_ROWS.min(self.m - first);
            let form = self.form([first, m]);
            if kept.as_ref().is_none_or(|kept| !kept.is_of(form)) {
                // What is there goes back before more is taken.
                *kept = None;
                *kept = Some(RoundedRows::of(
                    &self.x[first * k..][..m * k],
                    form,
                    processor,
                    threads,
                    memory,
                ));
            }
            let Some(rows) = kept else { return };
            let way = Way::of(m);
            let rounded = rows.view();
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

    /// What rows of activations become.
    fn form(&self, rows: [usize; 2]) -> Form {
        Form {
            rows,
            columns: self.matrix.columns(),
            group: self.group(),
            largest: self.width.largest(),
            is_affine_of_four: matches!(self.matrix.data(), Data::Affine(affine) if affine.bits == 4),
            bytes: self.nibbles(),
        }
    }

    /// Floats of scratch that a task needs.
    fn scratch_len(&self, way: Way, m: usize) -> usize {
        let group = self.group();
        let eights = way.outputs() / EIGHT;
        let unpacked = match way {
            Way::RowByRow => 0,
            // A group of integers of 16 bits, then those of a block, its scales and biases, and totals.
            Way::Unpacked => {
                let groups = groups_of_block(group);
                OUTPUTS * (group / 2 + groups * (group / 2 + 2) + m)
            }
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
        let (columns, group) = (self.product.matrix.columns(), self.product.group());
        // What is most used is compiled with the group's size known; the rest once for each number of bits.
        match (self.way, group) {
            (_, 32) if BITS == 4 && (self.way == Way::RowByRow || self.product.width == Width::Eight) => {
                self.multiply::<I, _>(AffineRows::<BITS, 32> {
                    affine,
                    columns,
                    group,
                });
            }
            (_, 64) if BITS == 4 => {
                self.multiply::<I, _>(AffineRows::<BITS, 64> {
                    affine,
                    columns,
                    group,
                });
            }
            _ => self.multiply::<I, _>(AffineRows::<BITS, 0> {
                affine,
                columns,
                group,
            }),
        }
    }

    #[inline(always)]
    fn multiply<I: Integers, S: StoredRows>(self, rows: S) {
        let bytes = I::HAS_BYTES && S::NIBBLES.is_some() && self.product.width == Width::Eight;
        match (self.way, bytes) {
            (Way::RowByRow, false) => self.row_by_row::<I, S>(rows),
            (Way::RowByRow, true) => self.row_by_row_of_bytes::<I, S>(rows),
            (Way::Unpacked, false) => self.unpacked::<I, S, false>(rows),
            (Way::Unpacked, true) => self.unpacked::<I, S, true>(rows),
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
                        prefetch::<I::Floats>(next, EIGHT * bytes);
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

    /// As [`Self::row_by_row`], of numbers of 4 bits and bytes, two groups at a time.
    #[inline(always)]
    fn row_by_row_of_bytes<I: Integers, S: StoredRows>(mut self, rows: S) {
        let (n, k, m) = (self.product.matrix.rows(), self.product.matrix.columns(), self.m);
        let (groups, row_bytes, bytes) = (k / 32, self.product.row_bytes(), rows.period_bytes());
        let [first, end] = self.outputs;
        let (mut parameters, rest) = Parameters::within(std::mem::take(&mut self.scratch), groups);
        let copy = cast_slice_mut::<f32, u8>(rest);
        assert!(rows.group() == 32 && S::PERIOD == 1 && groups * bytes == row_bytes && S::BEYOND <= BEYOND);
        assert!(self.rounded.scales.len() == groups * m && self.rounded.sums.len() == groups * m);
        let x: &[i8] = cast_slice(self.rounded.integers);
        assert!(x.len() >= groups.div_ceil(2) * m * 64);
        for start in (first..end).step_by(EIGHT) {
            let count = EIGHT.min(end - start);
            let stored = self.stored(&rows, row_bytes, start, copy);
            rows.read::<I>(start..start + count, stored, &mut parameters);
            let from = stored.as_ptr();
            for row in 0..m {
                let mut sum = I::Floats::splat(0.0);
                for a in (0..groups).step_by(2) {
                    // The next eight rows lie behind these: as much of them as is read of these.
                    if row == 0 {
                        let next = from.wrapping_add(EIGHT * (row_bytes + a * bytes));
                        prefetch::<I::Floats>(next, 2 * EIGHT * bytes);
                    }
                    // What comes of a group that is not there is not taken.
                    let b = (a + 1).min(groups - 1);
                    // SAFETY: eight rows of so many groups are stored, and activations for two.
                    sum = unsafe {
                        let x = x.as_ptr().add((a / 2 * m + row) * 64);
                        let sums = |row: usize| {
                            let from = from.add(row * row_bytes);
                            I::nibbles_and_bytes(rows.nibbles(from, a), rows.nibbles(from, b), x)
                        };
                        let [of_a, of_b] = I::totals_of_two([
                            sums(0),
                            sums(1),
                            sums(2),
                            sums(3),
                            sums(4),
                            sums(5),
                            sums(6),
                            sums(7),
                        ]);
                        let values = rows.parameters::<I::Floats>(&parameters, from, a);
                        let sum = self.with_group::<_, S>(values, a * m + row, of_a, sum);
                        match a < b {
                            true => {
                                let values = rows.parameters::<I::Floats>(&parameters, from, b);
                                self.with_group::<_, S>(values, b * m + row, of_b, sum)
                            }
                            false => sum,
                        }
                    };
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

/// Asks for so many bytes that are read soon.
#[inline(always)]
fn prefetch<V: Lanes>(from: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(CACHE_LINE) {
        V::prefetch(from.wrapping_add(line));
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
