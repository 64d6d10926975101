//! Products of sixteen rows of 4-bit numbers, as they are stored, with a row of activations or two: the rows' words are turned in registers, so
//! that each lane sums for one output.

use bytemuck::cast_slice_mut;

use crate::lanes::{Integers, Lanes};
use crate::matrix::CACHE_LINE;

use super::stored_rows::{EIGHT, Parameters, StoredRows};
use super::unpacked::take;
use super::{BEYOND, Multiply, OUTPUTS};

impl Multiply<'_> {
    /// Sixteen outputs at a time, of `ROWS` rows of activations, which may be bytes: then two groups of 32 are worked on at a time.
    #[inline(always)]
    pub fn sixteen_rows<I: Integers, S: StoredRows, const ROWS: usize, const BYTES: bool>(mut self, rows: S) {
        let (k, m, group) = (self.product.matrix.columns(), self.m, rows.group());
        let (groups, row_bytes) = (k / group, self.product.row_bytes());
        let [first, end] = self.outputs;
        let scratch = std::mem::take(&mut self.scratch);
        let (mut low, rest) = Parameters::within(scratch, groups);
        let (mut high, rest) = Parameters::within(rest, groups);
        let copy = cast_slice_mut::<f32, u8>(rest);
        // Of numbers that are worked on at a time.
        let step = if BYTES { 2 * group } else { group };
        assert!(m == ROWS && step.is_multiple_of(64) && k.is_multiple_of(step));
        assert!(row_bytes * 2 == k && S::BEYOND <= BEYOND && (!BYTES || group == 32));
        assert!(self.rounded.integers.len() == m * k);
        assert!(self.rounded.scales.len() == groups * m && self.rounded.sums.len() == groups * m);
        for start in (first..end).step_by(OUTPUTS) {
            let count = OUTPUTS.min(end - start);
            let middle = start + EIGHT.min(count);
            let stored = self.stored(&rows, row_bytes, start, copy);
            rows.read::<I>(start..middle, stored, &mut low);
            rows.read::<I>(middle..start + count, &stored[EIGHT * row_bytes..], &mut high);
            let from = stored.as_ptr();
            let other = stored[EIGHT * row_bytes..].as_ptr();
            // SAFETY: sixteen floats are there.
            let nothing = unsafe { I::load_sixteen([0.0; OUTPUTS].as_ptr()) };
            let mut taken = [nothing; ROWS];
            for at in (0..k).step_by(step) {
                // The next sixteen rows lie behind these: as much of them as is read of these.
                let bytes = OUTPUTS * step / 2;
                let next = from.wrapping_add(OUTPUTS * row_bytes + OUTPUTS * at / 2);
                for line in (0..bytes).step_by(CACHE_LINE) {
                    I::Floats::prefetch(next.wrapping_add(line));
                }
                let index = at / group;
                // SAFETY: sixteen rows of so many groups are stored, and activations of all rows; and the groups exist.
                unsafe {
                    let words = from.add(at / 2);
                    if BYTES {
                        let x = self.activations::<i8, ROWS>(index / 2, step);
                        let sums = I::bytes_of_sixteen(words, row_bytes, x);
                        for part in 0..2 {
                            let parameters =
                                parameters::<I, S>(&rows, [from, other], [&low, &high], index + part);
                            for row in 0..ROWS {
                                let x = self.of_group(index + part, row);
                                taken[row] = take::<I, S>(sums[row][part], parameters, x, taken[row]);
                            }
                        }
                        continue;
                    }
                    let x = self.activations::<i16, ROWS>(index, step);
                    let mut sums = I::words_of_sixteen(words, row_bytes, x);
                    for at in (64..group).step_by(64) {
                        let more = I::words_of_sixteen(words.add(at / 2), row_bytes, x.map(|x| x.add(at)));
                        for row in 0..ROWS {
                            sums[row] = I::add_outputs(sums[row], more[row]);
                        }
                    }
                    let parameters = parameters::<I, S>(&rows, [from, other], [&low, &high], index);
                    for row in 0..ROWS {
                        taken[row] =
                            take::<I, S>(sums[row], parameters, self.of_group(index, row), taken[row]);
                    }
                }
            }
            for (row, taken) in taken.into_iter().enumerate() {
                self.write_sixteen::<I>(row, [start, count], taken);
            }
        }
    }

    /// Where the activations of each row begin that are worked on together: `size` of them each.
    #[inline(always)]
    fn activations<T, const ROWS: usize>(&self, index: usize, size: usize) -> [*const T; ROWS] {
        let mut x = [self.rounded.integers.as_ptr().cast::<T>(); ROWS];
        for (row, x) in x.iter_mut().enumerate() {
            *x = x.wrapping_add((index * ROWS + row) * size);
        }
        x
    }

    /// The scale of a row's group of activations, and what they come to.
    #[inline(always)]
    fn of_group(&self, index: usize, row: usize) -> [f32; 2] {
        let at = index * self.m + row;
        [self.rounded.scales[at], self.rounded.sums[at]]
    }
}

/// Scales of a group of sixteen rows, and what is added to its numbers.
///
/// # Safety
/// The bytes of eight rows must be stored at each of both, and the group exist.
#[inline(always)]
unsafe fn parameters<I: Integers, S: StoredRows>(
    rows: &S,
    [first, other]: [*const u8; 2],
    [low, high]: [&Parameters<'_>; 2],
    index: usize,
) -> [I::Sixteen; 2] {
    // SAFETY: the caller vouches for the rows and the group.
    unsafe {
        let [scales, biases] = rows.parameters::<I::Floats>(low, first, index);
        let [more_scales, more_biases] = rows.parameters::<I::Floats>(high, other, index);
        [
            I::sixteen([scales, more_scales]),
            I::sixteen([biases, more_biases]),
        ]
    }
}
