//! Rounding of activations: a scale for each group, and the order that products want.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::lanes::{IntegerKernel, Integers, Lanes, Processor};
use crate::memory::{Buffer, Memory};
use crate::output::Shared;
use crate::threads::Threads;

use super::affine_rows::takes_words;
use super::stored_rows::{EIGHT, Nibbles};
use super::{MOST_GROUP, Way};

/// What is smaller counts as nothing: its scale could not be inverted.
const SMALLEST: f32 = 1e-30;

/// Rounded activations, a group of all rows after another.
#[derive(Clone, Copy)]
pub struct Rounded<'a> {
    /// `[groups, m, group]` for [`Way::RowByRow`]; else `[panels, groups, group / 2, rows of the panel, 2]`. Bytes: `[groups / 2, m, 64]`, of two
    /// groups' first halves and then of their others; else `[panels, groups, group / 4, rows of the panel, 4]`.
    pub integers: &'a [i16],
    /// `[groups, m]` or `[panels, groups, rows of the panel]`
    pub scales: &'a [f32],
    /// What each group comes to; likewise.
    pub sums: &'a [f32],
}

/// Activations that are rounded, for products of them with several matrices.
pub struct RoundedRows {
    buffer: Buffer,
    form: Form,
}

/// What activations were rounded to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Form {
    /// The first row, and how many.
    pub rows: [usize; 2],
    pub columns: usize,
    pub group: usize,
    /// The largest integer.
    pub largest: f32,
    /// Whether they are multiplied with affine numbers of 4 bits.
    pub is_affine_of_four: bool,
    /// How those numbers are stored that bytes are multiplied with, where there are instructions for bytes.
    pub bytes: Option<Nibbles>,
}

impl RoundedRows {
    /// Rounds rows `[m, k]` with all threads.
    pub fn of(x: &[f32], form: Form, processor: Processor, threads: &Threads, memory: &Memory) -> Self {
        let ([_, m], k) = (form.rows, form.columns);
        let groups = k / form.group;
        let mut rows = Self {
            buffer: memory.take(m * (k / 2 + 2 * groups)),
            form,
        };
        let (integers, rest) = rows.buffer.floats_mut().split_at_mut(m * k / 2);
        let (scales, sums) = rest.split_at_mut(m * groups);
        let sums = &mut sums[..m * groups];
        let shared_integers = Shared::new(cast_slice_mut::<f32, i16>(integers));
        let (shared_scales, shared_sums) = (Shared::new(scales), Shared::new(sums));
        let chunk = (32 * 1024 / k.max(1)).max(1);
        threads.parallel(m.div_ceil(chunk), |index| {
            for row in index * chunk..((index + 1) * chunk).min(m) {
                processor.run_integers(Round {
                    form,
                    x: &x[row * k..][..k],
                    row: [row, m],
                    integers: &shared_integers,
                    scales: &shared_scales,
                    sums: &shared_sums,
                });
            }
        });
        rows
    }

    /// Whether rows were rounded so.
    pub fn is_of(&self, form: Form) -> bool {
        self.form == form
    }

    /// What was rounded.
    pub fn view(&self) -> Rounded<'_> {
        let Form {
            rows: [_, m],
            columns,
            group,
            ..
        } = self.form;
        let groups = columns / group;
        let (integers, rest) = self.buffer.floats().split_at(m * columns / 2);
        let (scales, sums) = rest.split_at(m * groups);
        Rounded {
            integers: cast_slice(integers),
            scales,
            sums: &sums[..m * groups],
        }
    }
}

/// Rounds one row.
struct Round<'a> {
    form: Form,
    x: &'a [f32],
    /// Its number, and how many there are.
    row: [usize; 2],
    integers: &'a Shared<'a, i16>,
    scales: &'a Shared<'a, f32>,
    sums: &'a Shared<'a, f32>,
}

impl IntegerKernel for Round<'_> {
    #[inline(always)]
    fn run<I: Integers>(self) {
        let (group, [row, m]) = (self.form.group, self.row);
        let words = self.form.is_affine_of_four && takes_words::<I>(4, group);
        let bytes = self.form.bytes.filter(|_| I::HAS_BYTES);
        let way = Way::of(m);
        let [first, height] = match way {
            Way::RowByRow => [row, 1],
            Way::Unpacked => panel::<I>(row, m),
        };
        let mut integers = [0_i16; MOST_GROUP];
        let integers = &mut integers[..group];
        let groups = self.x.len() / group;
        for (index, x) in self.x.chunks_exact(group).enumerate() {
            let rounded = round::<I>(x, self.form.largest, words, integers);
            let at = match way {
                Way::RowByRow => index * m + row,
                Way::Unpacked => first * groups + index * height + row - first,
            };
            // SAFETY: each row is rounded by one thread, and its numbers of a panel are its own.
            unsafe {
                match (bytes, way) {
                    (None, _) => {
                        let to = (at - (row - first)) * group + 2 * (row - first);
                        assert!(to + height * group <= self.x.len() * m + 2 * (row - first));
                        let to = self.integers.at(to);
                        for (pair, integers) in integers.as_chunks::<2>().0.iter().enumerate() {
                            to.add(2 * pair * height)
                                .cast::<[i16; 2]>()
                                .write_unaligned(*integers);
                        }
                    }
                    (Some(nibbles), Way::RowByRow) => {
                        let to = (index / 2 * m + row) * 2 * group + index % 2 * 16;
                        assert!(to + 2 * group <= 2 * self.x.len() * m);
                        let [low, high] = nibbles.split(integers);
                        let to = self.integers.at(0).cast::<i8>().add(to);
                        to.cast::<[i8; 16]>().write_unaligned(low);
                        to.add(32).cast::<[i8; 16]>().write_unaligned(high);
                    }
                    (Some(nibbles), Way::Unpacked) => {
                        let to = (at - (row - first)) * group + 4 * (row - first);
                        assert!(to + height * group <= self.x.len() * m + 4 * (row - first));
                        let to = self.integers.at(0).cast::<i8>().add(to);
                        let halves = nibbles.split(integers);
                        let fours = halves.as_flattened().as_chunks::<4>().0;
                        for (four, bytes) in fours.iter().enumerate() {
                            to.add(4 * four * height)
                                .cast::<[i8; 4]>()
                                .write_unaligned(*bytes);
                        }
                    }
                }
                self.scales.part(at, 1)[0] = rounded.0;
                self.sums.part(at, 1)[0] = rounded.0 * rounded.1;
            }
        }
    }
}

/// The panel of rows that a row belongs to: the first one, and how many rows are multiplied with unpacked rows together. Pairs of numbers of a panel's
/// rows lie side by side.
#[inline(always)]
pub fn panel<I: Integers>(row: usize, m: usize) -> [usize; 2] {
    let twelves = match I::HAS_MANY_REGISTERS {
        true => m / 12 * 12,
        false => 0,
    };
    let fours = twelves + (m - twelves) / 4 * 4;
    match row {
        _ if row < twelves => [row / 12 * 12, 12],
        _ if row < fours => [twelves + (row - twelves) / 4 * 4, 4],
        _ => [row, 1],
    }
}

/// Rounds a group; gives its scale and the sum of its integers.
#[inline(always)]
fn round<I: Integers>(x: &[f32], most: f32, words: bool, out: &mut [i16]) -> (f32, f32) {
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
        (largest / most, most / largest)
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
