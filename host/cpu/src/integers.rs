//! Quantised matrices times activations that are rounded to 16-bit integers, with a scale for each group: integer multiply-adds do twice as much
//! at a time as those of floats, and their sums are exact.
//!
//! What is rounded afterwards is rounded in one fixed order. For each output, group after group:
//! `sum = fused(dot, weight scale · activation scale, sum)`, then `sum = fused(weight bias, sum of activations, sum)`. So the bits do not
//! depend on the number of rows, on threads, or on the kernel.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

use bytemuck::{cast_slice, cast_slice_mut};

use super::lanes::{Kernel, Lanes, Processor};
use super::matrix::{Affine, Data, MatrixView, decode_dense, with_scratch};
use super::memory::Memory;
use super::output::Shared;
use super::threads::Threads;

/// The largest activation: 127 · 257, so that it is `256 high + low` with two signed bytes.
const LARGEST: f32 = 32639.0;
/// What is smaller counts as nothing: its scale could not be inverted.
const SMALLEST: f32 = 1e-30;
/// Rows of activations that are rounded at a time.
const BLOCK_ROWS: usize = 768;
/// Up to how many rows of activations stored rows are read as they lie; beyond it, they are unpacked once for all rows.
const MOST_ROW_BY_ROW: usize = 2;
/// Outputs of a panel of unpacked rows.
const PANEL: usize = 16;
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
            Data::Dense(..) => None,
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
            let way = Way::of(self.affine, m);
            let shared_integers = Shared::new(cast_slice_mut::<f32, i16>(integers));
            let (shared_scales, shared_sums) = (Shared::new(scales), Shared::new(sums));
            let chunk = (32 * 1024 / k.max(1)).max(1);
            threads.parallel(m.div_ceil(chunk), |index| {
                for row in index * chunk..((index + 1) * chunk).min(m) {
                    // SAFETY: each row is rounded by one thread.
                    let (integers, scales, sums) = unsafe {
                        (
                            shared_integers.part(row * k, k),
                            shared_scales.part(row * groups, groups),
                            shared_sums.part(row * groups, groups),
                        )
                    };
                    processor.run(Round {
                        x: &self.x[(first + row) * k..][..k],
                        group,
                        way,
                        integers,
                        scales,
                        sums,
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
                    Way::RowByRow { .. } => 16 * 1024 / k.max(1),
                    Way::Panels => 4 * PANEL,
                };
                n.div_ceil(threads.count() * 8).min(512).max(least)
            };
            let chunk = chunk.next_multiple_of(PANEL);
            threads.parallel(n.div_ceil(chunk), |index| {
                let outputs = [index * chunk, ((index + 1) * chunk).min(n)];
                with_scratch(self.scratch_len(way, m), |scratch| {
                    processor.run(Multiply {
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
        let k = self.matrix.columns();
        let groups = (k / self.affine.group).next_multiple_of(EIGHT);
        let row = self.row_bytes() + BEYOND;
        let parameters = 2 * EIGHT * groups + 2 * PANEL * groups;
        parameters
            + row.div_ceil(4)
            + match way {
                Way::RowByRow { .. } => (m + 1) * EIGHT * groups,
                Way::Panels => (PANEL + EIGHT) * k / 2,
            }
    }

    fn row_bytes(&self) -> usize {
        self.matrix.columns() * self.affine.bits / 8
    }
}

/// Which kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Stored rows as they lie, one after another: the memory's speed is the limit.
    RowByRow {
        /// Whether a group of 4 bits fills whole vectors, so that numbers may be taken from 16-bit words in the order in which these hold them.
        words: bool,
    },
    /// Sixteen rows unpacked side by side, for many rows of activations.
    Panels,
}

impl Way {
    fn of(affine: Affine<'_>, m: usize) -> Self {
        match m {
            ..=MOST_ROW_BY_ROW => Self::RowByRow {
                words: affine.bits == 4 && affine.group.is_multiple_of(64),
            },
            _ => Self::Panels,
        }
    }

    /// Whether activations are put in the order of words: of each 64, first every fourth from the first on, then from the second on.
    fn takes_words<V: Lanes>(self) -> bool {
        V::HAS_WORDS && self == Self::RowByRow { words: true }
    }
}

/// Rounded activations.
#[derive(Clone, Copy)]
struct Rounded<'a> {
    /// `[m, k]`
    integers: &'a [i16],
    /// `[m, groups]`
    scales: &'a [f32],
    /// What each group comes to: `[m, groups]`
    sums: &'a [f32],
}

/// Rounds one row.
struct Round<'a> {
    x: &'a [f32],
    group: usize,
    way: Way,
    integers: &'a mut [i16],
    scales: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let words = self.way.takes_words::<V>();
        for (index, (x, out)) in self
            .x
            .chunks_exact(self.group)
            .zip(self.integers.chunks_exact_mut(self.group))
            .enumerate()
        {
            let (mut largest, mut broken) = (0.0_f32, false);
            for x in x {
                largest = if x.abs() > largest { x.abs() } else { largest };
                broken |= x.is_nan();
            }
            let usable = largest > SMALLEST;
            // What is not a number makes the group's results none; so does infinity.
            let (scale, factor) = match (broken || largest.is_infinite(), usable) {
                (true, _) => (f32::NAN, 0.0),
                (_, true) => (largest / LARGEST, LARGEST / largest),
                (_, false) => (0.0, 0.0),
            };
            let mut total = 0_i32;
            let factor = V::splat(factor);
            for (block, x) in x.chunks_exact(V::COUNT).enumerate() {
                let mut rounded = [0.0_f32; 32];
                // SAFETY: a vector is there, and 32 floats hold one.
                unsafe {
                    V::load(x.as_ptr())
                        .mul(factor)
                        .round()
                        .store(rounded.as_mut_ptr())
                };
                for lane in 0..V::COUNT {
                    let number = rounded[lane] as i32;
                    total += number;
                    let at = block * V::COUNT + lane;
                    let at = if words {
                        at / 64 * 64 + at % 4 * 16 + at % 64 / 4
                    } else {
                        at
                    };
                    out[at] = number as i16;
                }
            }
            self.scales[index] = scale;
            self.sums[index] = scale * total as f32;
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

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        // Floats are worked on eight at a time.
        assert_eq!(V::COUNT, EIGHT);
        match self.product.affine.bits {
            2 => self.bits::<V, 2>(),
            3 => self.bits::<V, 3>(),
            4 => self.bits::<V, 4>(),
            5 => self.bits::<V, 5>(),
            6 => self.bits::<V, 6>(),
            _ => self.bits::<V, 8>(),
        }
    }
}

/// Scales and biases of stored rows.
struct Parameters<'a> {
    /// `[8][groups, rounded up to 8]`: as they are stored.
    scales: &'a mut [f32],
    /// The same.
    biases: &'a mut [f32],
    /// `[groups, rounded up to 8][16]`: turned, so that outputs lie side by side.
    turned_scales: &'a mut [f32],
    /// The same.
    turned_biases: &'a mut [f32],
}

impl Parameters<'_> {
    /// Reads those of row `row`, which is the `index`th of eight.
    #[inline(always)]
    fn read<V: Lanes>(&mut self, affine: Affine<'_>, groups: usize, row: usize, index: usize) {
        let size = affine.parameters.size() * groups;
        let at = index * groups.next_multiple_of(EIGHT);
        let range = at..at + groups;
        decode_dense::<V>(
            affine.parameters,
            &affine.scales[row * size..][..size],
            &mut self.scales[range.clone()],
        );
        decode_dense::<V>(
            affine.parameters,
            &affine.biases[row * size..][..size],
            &mut self.biases[range],
        );
    }

    /// Turns those of eight rows, which are the first or the second half of a panel.
    #[inline(always)]
    fn turn<V: Lanes>(&mut self, half: usize) {
        turn::<V>(self.scales, &mut self.turned_scales[half * EIGHT..], PANEL);
        turn::<V>(self.biases, &mut self.turned_biases[half * EIGHT..], PANEL);
    }
}

/// Turns eight rows of a multiple of eight floats into rows of eight, `stride` apart.
#[inline(always)]
fn turn<V: Lanes>(rows: &[f32], out: &mut [f32], stride: usize) {
    let columns = rows.len() / EIGHT;
    assert!(columns.is_multiple_of(EIGHT) && out.len() + stride >= columns * stride + EIGHT);
    for column in (0..columns).step_by(EIGHT) {
        // SAFETY: eight rows of `columns` are there to read, and `columns` rows of eight to write.
        unsafe {
            V::transpose(
                rows.as_ptr().add(column),
                columns,
                out.as_mut_ptr().add(column * stride),
                stride,
            );
        }
    }
}

impl<'a> Multiply<'a> {
    #[inline(always)]
    fn bits<V: Lanes, const BITS: usize>(mut self) {
        match self.way {
            Way::RowByRow { .. } => self.row_by_row::<V, BITS>(),
            Way::Panels => self.panels::<V, BITS>(),
        }
    }

    /// The scratch of both ways, and what is left of it.
    fn split(&mut self) -> (Parameters<'a>, &'a mut [u8], &'a mut [f32]) {
        let groups = (self.product.matrix.columns() / self.product.affine.group).next_multiple_of(EIGHT);
        let row = (self.product.row_bytes() + BEYOND).div_ceil(4);
        let (scales, rest) = std::mem::take(&mut self.scratch).split_at_mut(EIGHT * groups);
        let (biases, rest) = rest.split_at_mut(EIGHT * groups);
        let (turned_scales, rest) = rest.split_at_mut(PANEL * groups);
        let (turned_biases, rest) = rest.split_at_mut(PANEL * groups);
        let (row, rest) = rest.split_at_mut(row);
        let parameters = Parameters {
            scales,
            biases,
            turned_scales,
            turned_biases,
        };
        (parameters, cast_slice_mut(row), rest)
    }

    /// The bytes of a stored row, with as many after them as a kernel may read.
    #[inline(always)]
    fn stored<'b>(&self, row: usize, copy: &'b mut [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        let (packed, bytes) = (self.product.affine.packed, self.product.row_bytes());
        let start = row * bytes;
        match packed.get(start..start + bytes + BEYOND) {
            Some(stored) => stored,
            None => {
                copy[..bytes].copy_from_slice(&packed[start..start + bytes]);
                &copy[..bytes + BEYOND]
            }
        }
    }

    #[inline(always)]
    fn row_by_row<V: Lanes, const BITS: usize>(&mut self) {
        let Affine { group, .. } = self.product.affine;
        let (n, k) = (self.product.matrix.rows(), self.product.matrix.columns());
        let (m, words) = (self.m, self.way.takes_words::<V>());
        let groups = k / group;
        let padded = groups.next_multiple_of(EIGHT);
        let [first, end] = self.outputs;
        let (mut parameters, copy, rest) = self.split();
        // `[m][8][padded]`, then `[padded][8]`.
        let (dots, turned) = rest.split_at_mut(m * EIGHT * padded);
        for start in (first..end).step_by(EIGHT) {
            let count = EIGHT.min(end - start);
            for index in 0..count {
                let row = start + index;
                parameters.read::<V>(self.product.affine, groups, row, index);
                let stored = self.stored(row, copy);
                for x_row in 0..m {
                    let x = &self.rounded.integers[x_row * k..][..k];
                    let dots = &mut dots[(x_row * EIGHT + index) * padded..][..padded];
                    group_dots::<V, BITS>(stored, x, group, words, dots);
                }
            }
            parameters.turn::<V>(0);
            for x_row in 0..m {
                turn::<V>(&dots[x_row * EIGHT * padded..][..EIGHT * padded], turned, EIGHT);
                let mut sum = V::splat(0.0);
                for index in 0..groups {
                    let at = x_row * groups + index;
                    // SAFETY: there are eight of each for every group.
                    unsafe {
                        let dot = V::load(turned[index * EIGHT..][..EIGHT].as_ptr());
                        sum = with_group(&parameters, index, 0, dot, self.rounded, at, sum);
                    }
                }
                self.write(sum, x_row * n, start, count);
            }
        }
    }

    #[inline(always)]
    fn panels<V: Lanes, const BITS: usize>(&mut self) {
        let Affine { group, .. } = self.product.affine;
        let k = self.product.matrix.columns();
        let groups = k / group;
        let [first, end] = self.outputs;
        let (mut parameters, copy, rest) = self.split();
        // Pairs of integers: `[k / 2][16]` and `[8][k / 2]`.
        let (panel, rows) = rest.split_at_mut(PANEL * k / 2);
        let rows = &mut rows[..EIGHT * k / 2];
        for start in (first..end).step_by(PANEL) {
            for half in 0..2 {
                for index in 0..EIGHT {
                    let row = start + half * EIGHT + index;
                    if row >= end {
                        continue; // what is there is not written anywhere
                    }
                    parameters.read::<V>(self.product.affine, groups, row, index);
                    let stored = self.stored(row, copy);
                    let out = cast_slice_mut::<f32, i16>(&mut rows[index * k / 2..][..k / 2]);
                    for (step, out) in out.chunks_exact_mut(PANEL).enumerate() {
                        // SAFETY: the row has these 16 numbers and enough bytes after them; `out` holds 16.
                        unsafe {
                            let numbers = V::unpack_integers::<BITS>(stored.as_ptr().add(step * 2 * BITS));
                            V::store_integers(numbers, out.as_mut_ptr());
                        }
                    }
                }
                parameters.turn::<V>(half);
                turn::<V>(rows, &mut panel[half * EIGHT..], PANEL);
            }
            let count = PANEL.min(end - start);
            let mut row = 0;
            while row < self.m {
                row += match self.m - row {
                    4.. => self.tile::<V, 4>(panel, &parameters, row, start, count),
                    2 | 3 => self.tile::<V, 2>(panel, &parameters, row, start, count),
                    _ => self.tile::<V, 1>(panel, &parameters, row, start, count),
                };
            }
        }
    }

    /// Sixteen outputs of `M` rows.
    #[inline(always)]
    fn tile<V: Lanes, const M: usize>(
        &self,
        panel: &[f32],
        parameters: &Parameters<'_>,
        row: usize,
        start: usize,
        count: usize,
    ) -> usize {
        let group = self.product.affine.group;
        let (n, k) = (self.product.matrix.rows(), self.product.matrix.columns());
        let groups = k / group;
        let x = &self.rounded.integers[row * k..][..M * k];
        assert_eq!(panel.len(), PANEL * k / 2);
        let mut totals = [[V::splat(0.0); 2]; M];
        for index in 0..groups {
            let mut sums = [[V::no_sums(); 2]; M];
            for pair in index * group / 2..(index + 1) * group / 2 {
                // SAFETY: the panel has sixteen pairs, and each row of `x` one, for `pair < k / 2`.
                unsafe {
                    let at = panel.as_ptr().add(pair * PANEL).cast::<i16>();
                    let weights = [V::load_integers(at), V::load_integers(at.add(PANEL))];
                    for row in 0..M {
                        let x = V::splat_pair(x.as_ptr().add(row * k + 2 * pair));
                        sums[row][0] = V::add_products(sums[row][0], weights[0], x);
                        sums[row][1] = V::add_products(sums[row][1], weights[1], x);
                    }
                }
            }
            for tile_row in 0..M {
                let at = (row + tile_row) * groups + index;
                for half in 0..2 {
                    let dot = V::floats_of(sums[tile_row][half]);
                    let total = &mut totals[tile_row][half];
                    // SAFETY: there are sixteen of each for every group.
                    *total = unsafe { with_group(parameters, index, half, dot, self.rounded, at, *total) };
                }
            }
        }
        for tile_row in 0..M {
            for half in 0..2 {
                if count > half * EIGHT {
                    let count = EIGHT.min(count - half * EIGHT);
                    self.write(
                        totals[tile_row][half],
                        (row + tile_row) * n,
                        start + half * EIGHT,
                        count,
                    );
                }
            }
        }
        M
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

/// Takes one group into the sums of eight outputs: the one order in which floats are added.
///
/// # Safety
/// The parameters of group `index` must be there.
#[inline(always)]
unsafe fn with_group<V: Lanes>(
    parameters: &Parameters<'_>,
    index: usize,
    half: usize,
    dot: V,
    rounded: Rounded<'_>,
    at: usize,
    sum: V,
) -> V {
    let from = index * PANEL + half * EIGHT;
    // SAFETY: the caller vouches for it, and slices are checked.
    let (scale, bias) = unsafe {
        (
            V::load(parameters.turned_scales[from..][..EIGHT].as_ptr()),
            V::load(parameters.turned_biases[from..][..EIGHT].as_ptr()),
        )
    };
    let sum = dot.fused(scale.mul(V::splat(rounded.scales[at])), sum);
    bias.fused(V::splat(rounded.sums[at]), sum)
}

/// The dot product of each group of a stored row, as floats.
#[inline(always)]
fn group_dots<V: Lanes, const BITS: usize>(
    stored: &[u8],
    x: &[i16],
    group: usize,
    words: bool,
    out: &mut [f32],
) {
    assert!(stored.len() >= x.len() * BITS / 8 + BEYOND);
    let groups = x.len() / group;
    for (block, out) in out.chunks_exact_mut(EIGHT).enumerate() {
        let mut sums = [V::no_sums(); EIGHT];
        for (lane, sums) in sums.iter_mut().enumerate() {
            let index = block * EIGHT + lane;
            if index >= groups {
                break;
            }
            let start = index * group;
            // SAFETY: the group's numbers and integers are there, with enough bytes after them.
            unsafe {
                let (from, x) = (stored.as_ptr().add(start * BITS / 8), x.as_ptr().add(start));
                if words {
                    for at in (0..group).step_by(64) {
                        let numbers = V::unpack_words(from.add(at / 2));
                        for (part, numbers) in numbers.into_iter().enumerate() {
                            *sums = V::add_products(*sums, numbers, V::load_integers(x.add(at + part * 16)));
                        }
                    }
                } else {
                    for at in (0..group).step_by(16) {
                        let numbers = V::unpack_integers::<BITS>(from.add(at * BITS / 8));
                        *sums = V::add_products(*sums, numbers, V::load_integers(x.add(at)));
                    }
                }
            }
        }
        // SAFETY: there is room for eight.
        unsafe { V::totals(sums).store(out.as_mut_ptr()) };
    }
}
