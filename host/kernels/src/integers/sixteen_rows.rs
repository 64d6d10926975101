//! Products of sixteen rows of 4-bit numbers, as they are stored, with a row of activations or two: the rows' words are turned in registers, so
//! that each lane sums for one output.

use bytemuck::cast_slice_mut;

use crate::lanes::{Integers, Lanes};
use crate::matrix::CACHE_LINE;

use super::stored_rows::{EIGHT, Parameters, StoredRows};
use super::unpacked::take;
use super::{BEYOND, Multiply, OUTPUTS};

impl Multiply<'_> {
    /// Sixteen outputs at a time, of `ROWS` rows of activations.
    #[inline(always)]
    pub fn sixteen_rows<I: Integers, S: StoredRows, const ROWS: usize>(mut self, rows: S) {
        let (k, m, group) = (self.product.matrix.columns(), self.m, rows.group());
        let (groups, row_bytes) = (k / group, self.product.row_bytes());
        let [first, end] = self.outputs;
        let scratch = std::mem::take(&mut self.scratch);
        let (mut low, rest) = Parameters::within(scratch, groups);
        let (mut high, rest) = Parameters::within(rest, groups);
        let copy = cast_slice_mut::<f32, u8>(rest);
        assert!(m == ROWS && group.is_multiple_of(64) && row_bytes * 2 == k && S::BEYOND <= BEYOND);
        assert!(self.rounded.integers.len() == m * k);
        assert!(self.rounded.scales.len() == groups * m && self.rounded.sums.len() == groups * m);
        for start in (first..end).step_by(OUTPUTS) {
            let count = OUTPUTS.min(end - start);
            let middle = start + EIGHT.min(count);
            let stored = self.stored(&rows, row_bytes, start, copy);
            rows.read::<I>(start..middle, stored, &mut low);
            rows.read::<I>(middle..start + count, &stored[EIGHT * row_bytes..], &mut high);
            let from = stored.as_ptr();
            // SAFETY: sixteen floats are there.
            let nothing = unsafe { I::load_sixteen([0.0; OUTPUTS].as_ptr()) };
            let mut taken = [nothing; ROWS];
            for index in 0..groups {
                // The next sixteen rows lie behind these: as much of them as is read of these.
                let bytes = OUTPUTS * group / 2;
                let next = from.wrapping_add(OUTPUTS * row_bytes + index * bytes);
                for line in (0..bytes).step_by(CACHE_LINE) {
                    I::Floats::prefetch(next.wrapping_add(line));
                }
                // SAFETY: sixteen rows of so many groups are stored, and activations of all rows.
                unsafe {
                    let mut x = [self.rounded.integers.as_ptr(); ROWS];
                    for (row, x) in x.iter_mut().enumerate() {
                        *x = x.add((index * m + row) * group);
                    }
                    let from = from.add(index * group / 2);
                    let mut sums = I::words_of_sixteen(from, row_bytes, x);
                    for at in (64..group).step_by(64) {
                        let more = I::words_of_sixteen(from.add(at / 2), row_bytes, x.map(|x| x.add(at)));
                        for row in 0..ROWS {
                            sums[row] = I::add_outputs(sums[row], more[row]);
                        }
                    }
                    let [scales, biases] = rows.parameters::<I::Floats>(&low, from, index);
                    let [more_scales, more_biases] = rows.parameters::<I::Floats>(&high, from, index);
                    let parameters = [
                        I::sixteen([scales, more_scales]),
                        I::sixteen([biases, more_biases]),
                    ];
                    for row in 0..ROWS {
                        let at = index * m + row;
                        let x = [self.rounded.scales[at], self.rounded.sums[at]];
                        taken[row] = take::<I, S>(sums[row], parameters, x, taken[row]);
                    }
                }
            }
            for (row, taken) in taken.into_iter().enumerate() {
                self.write_sixteen::<I>(row, [start, count], taken);
            }
        }
    }
}
