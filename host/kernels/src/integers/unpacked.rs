//! Products of unpacked rows with many rows of activations.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::lanes::{Integers, Lanes};

use super::nibbles::fours;
use super::rounding::panel;
use super::stored_rows::{Bias, EIGHT, Parameters, StoredRows};
use super::{BEYOND, Multiply, OUTPUTS, prefetch};

/// Inner elements that are unpacked together, about: a few of them and rows of activations fit into the fastest cache.
const BLOCK_INNER: usize = 768;

/// Groups that are unpacked before rows of activations are multiplied with them.
pub fn groups_of_block(group: usize) -> usize {
    (BLOCK_INNER / group).max(1)
}

impl Multiply<'_> {
    /// Sixteen outputs at a time: some groups of their rows are unpacked, and multiplied by those of all rows of activations.
    #[inline(always)]
    pub fn unpacked<I: Integers, S: StoredRows, const BYTES: bool>(mut self, rows: S) {
        let (k, m, group) = (self.product.matrix.columns(), self.m, rows.group());
        let (groups, row_bytes) = (k / group, self.product.row_bytes());
        let [first, end] = self.outputs;
        let scratch = std::mem::take(&mut self.scratch);
        let (mut low, rest) = Parameters::within(scratch, groups);
        let (mut high, rest) = Parameters::within(rest, groups);
        let (copy, rest) = rest.split_at_mut(self.product.copy_len(self.way));
        let copy = cast_slice_mut::<f32, u8>(copy);
        let most = groups_of_block(group);
        let (numbers, rest) = rest.split_at_mut(OUTPUTS * group / 2);
        let (pairs, rest) = rest.split_at_mut(most * OUTPUTS * group / 2);
        let (scales, rest) = rest.split_at_mut(most * OUTPUTS);
        let (biases, rest) = rest.split_at_mut(most * OUTPUTS);
        let totals = &mut rest[..m * OUTPUTS];
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
            for before in (0..groups).step_by(most) {
                let here = most.min(groups - before);
                for index in 0..here {
                    // The next sixteen rows lie behind these: as much of them as is read of these.
                    let bytes = OUTPUTS * rows.period_bytes() / S::PERIOD;
                    let next = stored
                        .as_ptr()
                        .wrapping_add(OUTPUTS * row_bytes + (before + index) * bytes);
                    prefetch::<I::Floats>(next, bytes);
                    let pairs = &mut pairs[index * OUTPUTS * group / 2..][..OUTPUTS * group / 2];
                    let at = index * OUTPUTS;
                    // SAFETY: sixteen rows of so many groups are stored, with enough bytes after them. Of rows that are not there, what is
                    // left is not written anywhere.
                    unsafe {
                        let (from, index) = (stored.as_ptr(), before + index);
                        match BYTES {
                            true => fours::<I, S>(&rows, from, row_bytes, index, numbers, pairs),
                            false => rows.pairs::<I>(from, row_bytes, index, numbers, pairs),
                        }
                        let parameters = rows.parameters::<I::Floats>(&low, from, index);
                        let more = rows.parameters::<I::Floats>(&high, from.add(EIGHT * row_bytes), index);
                        for (which, out) in [&mut *scales, &mut *biases].into_iter().enumerate() {
                            let out = &mut out[at..][..OUTPUTS];
                            parameters[which].store(out.as_mut_ptr());
                            more[which].store(out[EIGHT..].as_mut_ptr());
                        }
                    }
                }
                let block = Block {
                    pairs: &cast_slice(pairs)[..here * OUTPUTS * group],
                    scales: &scales[..here * OUTPUTS],
                    biases: &biases[..here * OUTPUTS],
                    all: groups,
                    before,
                    is_last: before + here == groups,
                    group: length,
                    outputs: [start, count],
                };
                let mut row = 0;
                while row < m {
                    let [_, height] = panel::<I>(row, m);
                    match height {
                        12 if I::HAS_MANY_REGISTERS => self.tile::<I, S, 12, BYTES>(&block, row, totals),
                        4 => self.tile::<I, S, 4, BYTES>(&block, row, totals),
                        _ => self.tile::<I, S, 1, BYTES>(&block, row, totals),
                    }
                    row += height;
                }
            }
        }
    }

    /// The groups of a block, of sixteen outputs, times those of a panel of activations, from `row` on; `totals` is `[m][16]`.
    #[inline(always)]
    fn tile<I: Integers, S: StoredRows, const ROWS: usize, const BYTES: bool>(
        &self,
        block: &Block<'_>,
        row: usize,
        totals: &mut [f32],
    ) {
        let group = block.group;
        assert!(block.pairs.len() == block.scales.len() * group && block.biases.len() == block.scales.len());
        let bytes: &[i8] = cast_slice(self.rounded.integers);
        let mut taken = [self.taken::<I>(block, row, totals); ROWS];
        for at in 1..ROWS {
            taken[at] = self.taken::<I>(block, row + at, totals);
        }
        for index in 0..block.scales.len() / OUTPUTS {
            let first = row * block.all + (block.before + index) * ROWS;
            let x = &self.rounded.integers[first * group..][..ROWS * group];
            let x_scales = &self.rounded.scales[first..][..ROWS];
            let x_sums = &self.rounded.sums[first..][..ROWS];
            let mut sums = [I::no_outputs(); ROWS];
            // SAFETY: the group's numbers are there for sixteen outputs, and those of the panel.
            unsafe {
                let weights = block.pairs.as_ptr().add(index * group * OUTPUTS);
                if BYTES {
                    for column in (0..group).step_by(4) {
                        let x = bytes.as_ptr().add(first * group + column * ROWS);
                        I::add_fours(&mut sums, weights.cast::<u8>().add(column * OUTPUTS), x);
                    }
                } else {
                    for column in (0..group).step_by(2) {
                        I::add_pairs(
                            &mut sums,
                            weights.add(column * OUTPUTS),
                            x.as_ptr().add(column * ROWS),
                        );
                    }
                }
            }
            let parameters = block.parameters::<I>(index);
            for at in 0..ROWS {
                taken[at] = take::<I, S>(sums[at], parameters, [x_scales[at], x_sums[at]], taken[at]);
            }
        }
        for (at, taken) in taken.into_iter().enumerate() {
            self.put::<I>(block, row + at, taken, totals);
        }
    }

    /// The totals of a row before this block.
    #[inline(always)]
    fn taken<I: Integers>(&self, block: &Block<'_>, row: usize, totals: &[f32]) -> I::Sixteen {
        let nothing = [0.0; OUTPUTS];
        let totals = match block.before {
            0 => &nothing,
            _ => &totals[row * OUTPUTS..][..OUTPUTS],
        };
        // SAFETY: there are sixteen.
        unsafe { I::load_sixteen(totals.as_ptr()) }
    }

    /// Writes the totals of a row after the last block, else keeps them.
    #[inline(always)]
    fn put<I: Integers>(&self, block: &Block<'_>, row: usize, taken: I::Sixteen, totals: &mut [f32]) {
        let totals = &mut totals[row * OUTPUTS..][..OUTPUTS];
        let ([start, count], n) = (block.outputs, self.product.matrix.rows());
        if block.is_last && count == OUTPUTS && self.product.bias.is_none() {
            // SAFETY: these outputs are this task's own, and there are sixteen.
            unsafe { I::store_sixteen(taken, self.out.part(row * n + start, OUTPUTS).as_mut_ptr()) };
            return;
        }
        // SAFETY: there are sixteen totals.
        unsafe { I::store_sixteen(taken, totals.as_mut_ptr()) };
        if block.is_last {
            for (total, first) in totals.chunks_exact(EIGHT).zip([0, EIGHT]) {
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

/// Some groups of sixteen outputs, unpacked.
struct Block<'a> {
    /// `[groups][group / 2][16][2]`; of bytes `[groups][group / 4][16][4]` and as much room after each group.
    pairs: &'a [i16],
    /// `[groups][16]`
    scales: &'a [f32],
    /// `[groups][16]`
    biases: &'a [f32],
    /// Groups of a row.
    all: usize,
    /// Those before these.
    before: usize,
    /// Whether there are none after them.
    is_last: bool,
    group: usize,
    /// The first output, and how many.
    outputs: [usize; 2],
}

impl Block<'_> {
    /// Scales of a group, and what is added to its numbers.
    #[inline(always)]
    fn parameters<I: Integers>(&self, index: usize) -> [I::Sixteen; 2] {
        let at = index * OUTPUTS;
        let (scales, biases) = (&self.scales[at..][..OUTPUTS], &self.biases[at..][..OUTPUTS]);
        // SAFETY: there are sixteen of each.
        unsafe { [I::load_sixteen(scales.as_ptr()), I::load_sixteen(biases.as_ptr())] }
    }
}

/// Takes one group into the totals of sixteen outputs, in the same order as [`Multiply::with_group`].
#[inline(always)]
fn take<I: Integers, S: StoredRows>(
    sums: I::Outputs,
    parameters: [I::Sixteen; 2],
    x: [f32; 2],
    totals: I::Sixteen,
) -> I::Sixteen {
    match S::BIAS {
        Bias::None => I::take_group::<false>(sums, parameters, x, totals),
        Bias::OfScale(_) | Bias::Stored => I::take_group::<true>(sums, parameters, x, totals),
    }
}

/// Puts pairs of sixteen rows side by side: `[16][length]` to `[length][16]`. Each pair is moved as a float.
#[inline(always)]
pub fn pair<V: Lanes>(rows: &[f32], length: usize, out: &mut [f32]) {
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
