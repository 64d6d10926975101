//! Many rows of activations: a group of sixteen stored rows is unpacked, two numbers of each row side by side, and multiplied by that group of
//! all rows of activations, a few rows at a time. Each output has a lane of its own, so that sums need not be put together.

use bytemuck::cast_slice_mut;

use super::{EIGHT, Multiply, Parameters, takes_words, unpack_group};
use crate::lanes::{Integers, Lanes};

/// Outputs worked on together.
const SIXTEEN: usize = 2 * EIGHT;
/// The most rows of activations whose sums fit into registers.
const ROWS: usize = 6;

/// Floats of scratch that a task needs for its tiles.
pub fn scratch_len(m: usize, group: usize) -> usize {
    // Numbers of 16 bits, eight rows as they are unpacked and sixteen turned, and sums.
    EIGHT * group / 2 + SIXTEEN * group / 2 + m * SIXTEEN
}

/// A group of sixteen rows: `[pairs][16][2]`
struct Numbers<'a> {
    turned: &'a [i16],
    pairs: usize,
}

impl Multiply<'_> {
    #[inline(always)]
    pub(super) fn tiles<I: Integers, const BITS: usize>(&mut self) {
        let group = self.product.affine.group;
        let (n, k, m) = (self.product.matrix.rows(), self.product.matrix.columns(), self.m);
        let groups = k / group;
        let [first, end] = self.outputs;
        let scratch = std::mem::take(&mut self.scratch);
        let (low, low_copy, rest) = self.split(scratch);
        let (high, high_copy, rest) = self.split(rest);
        let (mut parameters, mut copies) = ([low, high], [low_copy, high_copy]);
        let (plain, rest) = rest.split_at_mut(EIGHT * group / 2);
        let (turned, totals) = rest.split_at_mut(SIXTEEN * group / 2);
        let turned = cast_slice_mut::<f32, i16>(turned);
        let totals = &mut totals[..m * SIXTEEN];
        assert!(self.rounded.integers.len() == groups * m * group);
        for start in (first..end).step_by(SIXTEEN) {
            let halves = [start, start + EIGHT].map(|from| from.min(end)..(from + EIGHT).min(end));
            for (parameters, half) in parameters.iter_mut().zip(&halves) {
                parameters.read::<I::Floats>(self.product.affine, groups, half.clone());
            }
            totals.fill(0.0);
            let [low, high] = &mut copies;
            let stored = [
                self.stored(halves[0].clone(), low),
                self.stored(halves[1].clone(), high),
            ];
            for index in 0..groups {
                // Of rows that are not there, what is left is not written anywhere.
                for (half, stored) in stored.into_iter().enumerate() {
                    let from = &stored[index * group * BITS / 8..];
                    turn_eight::<I, BITS>(from, self.product.row_bytes(), plain, turned, half);
                }
                let numbers = Numbers {
                    turned,
                    pairs: group / 2,
                };
                let mut row = 0;
                while row < m {
                    row += match m - row {
                        ROWS.. => self.tile::<I, ROWS>(&numbers, &parameters, index, row, totals),
                        5 => self.tile::<I, 5>(&numbers, &parameters, index, row, totals),
                        4 => self.tile::<I, 4>(&numbers, &parameters, index, row, totals),
                        3 => self.tile::<I, 3>(&numbers, &parameters, index, row, totals),
                        2 => self.tile::<I, 2>(&numbers, &parameters, index, row, totals),
                        _ => self.tile::<I, 1>(&numbers, &parameters, index, row, totals),
                    };
                }
            }
            for (row, total) in totals.chunks_exact(SIXTEEN).enumerate() {
                for (half, rows) in halves.iter().enumerate() {
                    // SAFETY: `total` has sixteen.
                    let sum = unsafe { I::Floats::load(total[half * EIGHT..][..EIGHT].as_ptr()) };
                    self.write(sum, row * n, rows.start, rows.len());
                }
            }
        }
    }

    /// One group of some rows of activations, into the totals `[m][16]`; gives how many rows.
    #[inline(always)]
    fn tile<I: Integers, const COUNT: usize>(
        &self,
        numbers: &Numbers<'_>,
        parameters: &[Parameters<'_>; 2],
        index: usize,
        row: usize,
        totals: &mut [f32],
    ) -> usize {
        let (m, group) = (self.m, 2 * numbers.pairs);
        let first = index * m + row;
        let x = &self.rounded.integers[first * group..][..COUNT * group];
        let turned = &numbers.turned[..numbers.pairs * 2 * SIXTEEN];
        let mut sums = [I::no_sixteen(); COUNT];
        for pair in 0..numbers.pairs {
            // SAFETY: both have as many pairs, as the slices above say: of sixteen outputs, and of so many rows.
            unsafe {
                let numbers = turned.as_ptr().add(pair * 2 * SIXTEEN);
                for (row, sums) in sums.iter_mut().enumerate() {
                    *sums = I::add_pair(*sums, numbers, x.as_ptr().add(row * group + 2 * pair));
                }
            }
        }
        let of_group = [
            parameters[0].of::<I::Floats>(index),
            parameters[1].of::<I::Floats>(index),
        ];
        let totals = &mut totals[row * SIXTEEN..][..COUNT * SIXTEEN];
        for (at, (sums, totals)) in sums.into_iter().zip(totals.chunks_exact_mut(SIXTEEN)).enumerate() {
            let [low, high] = I::sixteen_floats(sums);
            let (from, to) = (totals.as_ptr(), totals.as_mut_ptr());
            // SAFETY: `totals` has sixteen.
            unsafe {
                self.with_group(of_group[0], first + at, low, I::Floats::load(from))
                    .store(to);
                self.with_group(of_group[1], first + at, high, I::Floats::load(from.add(EIGHT)))
                    .store(to.add(EIGHT));
            }
        }
        COUNT
    }
}

/// Unpacks a group of eight rows, so many bytes apart, into the first or second eight outputs of `turned`: `[pairs][16][2]`. The pairs stand in
/// the order in which activations do.
#[inline(always)]
fn turn_eight<I: Integers, const BITS: usize>(
    stored: &[u8],
    row_bytes: usize,
    plain: &mut [f32],
    turned: &mut [i16],
    half: usize,
) {
    let group = turned.len() / SIXTEEN;
    let pairs = group / 2;
    assert!(group.is_multiple_of(16) && half < 2 && plain.len() >= EIGHT * pairs);
    if takes_words::<I>(BITS, group) {
        assert!(stored.len() >= 7 * row_bytes + group / 2);
        for at in (0..group).step_by(64) {
            // SAFETY: eight rows of 32 bytes are there, and room for their words: `[8 pairs of words][8 outputs]`. Then 32 of these make
            // four times sixteen numbers, and of each eight outputs' pairs there are as many as `turned` has room for.
            unsafe {
                let from = stored.as_ptr().add(at / 2).cast::<f32>();
                I::Floats::transpose(from, row_bytes / 4, plain.as_mut_ptr(), EIGHT);
                for word in 0..EIGHT {
                    let places = I::unpack_words(plain.as_ptr().add(word * EIGHT).cast());
                    for (place, numbers) in places.into_iter().enumerate() {
                        let pair = at / 2 + place * EIGHT + word;
                        let to = turned.as_mut_ptr().add(pair * 2 * SIXTEEN + half * SIXTEEN);
                        I::store_integers(numbers, to);
                    }
                }
            }
        }
    } else {
        let plain = &mut plain[..EIGHT * pairs];
        for (row, numbers) in cast_slice_mut::<f32, i16>(plain)
            .chunks_exact_mut(group)
            .enumerate()
        {
            unpack_group::<I, BITS>(&stored[row * row_bytes..], numbers);
        }
        for pair in (0..pairs).step_by(EIGHT) {
            // SAFETY: eight rows of eight pairs are there, and room for them among those of sixteen outputs. A pair is 32 bits, as a float.
            unsafe {
                let to = turned.as_mut_ptr().add(pair * 2 * SIXTEEN + half * SIXTEEN);
                I::Floats::transpose(plain.as_ptr().add(pair), pairs, to.cast(), SIXTEEN);
            }
        }
    }
}
