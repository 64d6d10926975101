//! Rows of integers in groups, whatever form they are stored in: what the products are written against.

use std::ops::Range;

use bytemuck::cast_slice_mut;

use crate::lanes::{Integers, Lanes};

use super::unpacked::pair;

/// Rows whose scales and biases are worked on together.
pub const EIGHT: usize = 8;

/// Rows of integers in groups of neighbours. Each group's numbers are `scale * integer + bias`.
///
/// Implementations mark what works with vectors `#[inline(always)]`.
pub trait StoredRows: Copy {
    /// What is added to each number of a group.
    const BIAS: Bias;
    /// How many groups in turn are read by code of their own, 1, 2 or 8: their integers lie in the same bytes.
    const PERIOD: usize;
    /// Bytes that are read beyond the last row.
    const BEYOND: usize;

    /// Where a group is 32 integers of 4 bits in 16 bytes: which of them are the lower halves.
    const NIBBLES: Option<Nibbles> = None;

    /// Those bytes of group `index` of a row. Only where there are [`Self::NIBBLES`].
    fn nibbles(&self, row: *const u8, _index: usize) -> *const u8 {
        row
    }

    /// Integers of a group: a multiple of 16.
    fn group(&self) -> usize;

    /// Bytes of as many groups as a period has.
    fn period_bytes(&self) -> usize;

    /// The bytes of all rows.
    fn bytes(&self) -> &[u8];

    /// Scales and biases of eight rows at most. `stored` has the bytes of eight rows, of those that are not there any.
    fn read<I: Integers>(&self, rows: Range<usize>, stored: &[u8], parameters: &mut Parameters<'_>);

    /// Scales of group `index` of eight rows, and what is added to its numbers: of what [`Self::read`] has read, or of what is stored.
    ///
    /// # Safety
    /// `stored` must have the bytes of eight rows, and the group exist.
    #[inline(always)]
    unsafe fn parameters<V: Lanes>(&self, read: &Parameters<'_>, _stored: *const u8, index: usize) -> [V; 2] {
        read.of(index, Self::BIAS)
    }

    /// Sums whose total is the dot product of a group with one of activations.
    ///
    /// # Safety
    /// `row` must have whole rows' bytes from there on, with [`Self::BEYOND`] after them, `period` be one of its periods,
    /// `part` less than [`Self::PERIOD`], and a group of activations be at `x`.
    unsafe fn dot<I: Integers>(&self, row: *const u8, period: usize, part: usize, x: *const i16) -> I::Sums;

    /// Unpacks a group, in the order in which activations are.
    ///
    /// # Safety
    /// As for [`Self::dot`]; a group must be writable at `to`.
    unsafe fn unpack<I: Integers>(&self, row: *const u8, period: usize, part: usize, to: *mut i16);

    /// Unpacks group `index` of sixteen rows, pairs of neighbours side by side: `pairs` is `[group / 2][16]`, each a pair. `numbers` is room for
    /// as much.
    ///
    /// # Safety
    /// Sixteen rows of so many bytes must be stored, with [`Self::BEYOND`] after them, and the group exist.
    #[inline(always)]
    unsafe fn pairs<I: Integers>(
        &self,
        stored: *const u8,
        row_bytes: usize,
        index: usize,
        numbers: &mut [f32],
        pairs: &mut [f32],
    ) {
        // SAFETY: the caller vouches for it.
        unsafe { self.unpack_and_pair::<I>(stored, row_bytes, index, numbers, pairs) }
    }

    /// [`Self::pairs`] for any rows, one after another.
    ///
    /// # Safety
    /// As for [`Self::pairs`].
    #[inline(always)]
    unsafe fn unpack_and_pair<I: Integers>(
        &self,
        stored: *const u8,
        row_bytes: usize,
        index: usize,
        numbers: &mut [f32],
        pairs: &mut [f32],
    ) {
        let group = self.group();
        let unpacked = cast_slice_mut::<f32, i16>(numbers);
        for (row, unpacked) in unpacked.chunks_exact_mut(group).enumerate() {
            // SAFETY: the caller vouches for the rows.
            unsafe {
                let from = stored.add(row * row_bytes);
                self.unpack::<I>(
                    from,
                    index / Self::PERIOD,
                    index % Self::PERIOD,
                    unpacked.as_mut_ptr(),
                );
            }
        }
        pair::<I::Floats>(numbers, group / 2, pairs);
    }
}

/// Which of a group's 32 integers of 4 bits are the lower halves of its 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nibbles {
    /// Those with even numbers.
    Even,
    /// The first sixteen.
    First,
}

/// What is added to each number of a group.
#[derive(Clone, Copy)]
pub enum Bias {
    /// Nothing.
    None,
    /// So many times the group's scale.
    OfScale(f32),
    /// What is stored for the group.
    Stored,
}

/// Scales and biases of eight stored rows.
pub struct Parameters<'a> {
    /// `[8][groups]`, and some more: room to read what is stored.
    pub scales: &'a mut [f32],
    /// The same.
    pub biases: &'a mut [f32],
    /// `[groups, rounded up to 8][8]`: outputs side by side.
    pub turned_scales: &'a mut [f32],
    /// The same.
    pub turned_biases: &'a mut [f32],
}

impl<'a> Parameters<'a> {
    /// Floats that those of so many groups take.
    pub fn len(groups: usize) -> usize {
        2 * eight_rows(groups) + 2 * EIGHT * groups.next_multiple_of(EIGHT)
    }

    /// In the beginning of this memory; the rest of it.
    pub fn within(memory: &'a mut [f32], groups: usize) -> (Self, &'a mut [f32]) {
        let turned = EIGHT * groups.next_multiple_of(EIGHT);
        let (scales, rest) = memory.split_at_mut(eight_rows(groups));
        let (biases, rest) = rest.split_at_mut(eight_rows(groups));
        let (turned_scales, rest) = rest.split_at_mut(turned);
        let (turned_biases, rest) = rest.split_at_mut(turned);
        let parameters = Self {
            scales,
            biases,
            turned_scales,
            turned_biases,
        };
        (parameters, rest)
    }

    /// Scales and biases of group `index`, for eight outputs.
    #[inline(always)]
    pub fn of<V: Lanes>(&self, index: usize, bias: Bias) -> [V; 2] {
        let from = index * EIGHT;
        let (scales, biases) = (
            &self.turned_scales[from..][..EIGHT],
            &self.turned_biases[from..][..EIGHT],
        );
        // SAFETY: there are eight of each.
        unsafe {
            let scale = V::load(scales.as_ptr());
            let bias = match bias {
                Bias::None => V::splat(0.0),
                Bias::OfScale(factor) => scale.mul(V::splat(factor)),
                Bias::Stored => V::load(biases.as_ptr()),
            };
            [scale, bias]
        }
    }
}

/// Numbers of eight rows of so many, with as many more as a vector may read beyond them.
fn eight_rows(length: usize) -> usize {
    EIGHT * length + EIGHT
}
