//! Rows of affine quantisation: numbers of a few bits without gaps, scales and biases beside them.

use std::ops::Range;

use bytemuck::cast_slice_mut;

use crate::lanes::{Half, Integers, Lanes};
use crate::matrix::{Affine, Float, decode_dense};

use super::stored_rows::{Bias, EIGHT, Nibbles, Parameters, StoredRows};
use super::{OUTPUTS, prefetch};

/// Rows with numbers of `BITS` bits. `GROUP` is the group's size where that is known when this is compiled, else 0. What is multiplied as a group
/// may be a part of what has a scale of its own.
#[derive(Clone, Copy)]
pub struct AffineRows<'a, const BITS: usize, const GROUP: usize> {
    /// What is stored.
    pub affine: Affine<'a>,
    /// Numbers in a row.
    pub columns: usize,
    /// Numbers that are multiplied as a group.
    pub group: usize,
}

/// Whether a group of 4 bits fills whole vectors, so that numbers may be taken from 16-bit words in the order in which these hold them.
/// Activations are put into the order of words then: of each 64, first every fourth from the first on, then from the second on.
#[inline(always)]
pub fn takes_words<I: Integers>(bits: usize, group: usize) -> bool {
    I::HAS_WORDS && bits == 4 && group.is_multiple_of(64)
}

impl<const BITS: usize, const GROUP: usize> StoredRows for AffineRows<'_, BITS, GROUP> {
    const BIAS: Bias = Bias::Stored;
    const PERIOD: usize = 1;
    const BEYOND: usize = 16;
    const NIBBLES: Option<Nibbles> = match BITS {
        4 => Some(Nibbles::Even),
        _ => None,
    };

    #[inline(always)]
    fn group(&self) -> usize {
        if GROUP == 0 { self.group } else { GROUP }
    }

    #[inline(always)]
    fn period_bytes(&self) -> usize {
        self.group() * BITS / 8
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.affine.packed
    }

    #[inline(always)]
    fn read<I: Integers>(&self, rows: Range<usize>, _: &[u8], parameters: &mut Parameters<'_>) {
        let (affine, groups) = (self.affine, self.columns / self.affine.group);
        let size = affine.parameters.size();
        let (from, to) = (rows.start * groups * size, rows.end * groups * size);
        let both = [
            (
                affine.scales,
                &mut *parameters.scales,
                &mut *parameters.turned_scales,
            ),
            (
                affine.biases,
                &mut *parameters.biases,
                &mut *parameters.turned_biases,
            ),
        ];
        for (stored, room, turned) in both {
            let half = match affine.parameters {
                Float::F16 => Half::Binary16,
                Float::BF16 => Half::Bfloat16,
                Float::F32 => {
                    let count = rows.len() * groups;
                    decode_dense::<I::Floats>(Float::F32, &stored[from..to], &mut room[..count]);
                    turn::<I::Floats>(room, groups, turned);
                    continue;
                }
            };
            turn_halves::<I::Floats>(half, &stored[from..], groups, room, turned);
        }
    }

    #[inline(always)]
    unsafe fn parameters<V: Lanes>(&self, read: &Parameters<'_>, _: *const u8, index: usize) -> [V; 2] {
        read.of(index * self.group() / self.affine.group, Self::BIAS)
    }

    #[inline(always)]
    fn nibbles(&self, row: *const u8, index: usize) -> *const u8 {
        row.wrapping_add(index * 16)
    }

    #[inline(always)]
    unsafe fn dot<I: Integers>(&self, row: *const u8, period: usize, _: usize, x: *const i16) -> I::Sums {
        let group = self.group();
        let mut sums = I::no_sums();
        // SAFETY: the caller vouches for it.
        unsafe {
            let from = row.add(period * self.period_bytes());
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

    #[inline(always)]
    unsafe fn unpack<I: Integers>(&self, row: *const u8, period: usize, _: usize, to: *mut i16) {
        let group = self.group();
        // SAFETY: the caller vouches for it.
        unsafe {
            let from = row.add(period * self.period_bytes());
            if takes_words::<I>(BITS, group) {
                for at in (0..group).step_by(64) {
                    let numbers = I::unpack_words(from.add(at / 2));
                    for (part, numbers) in numbers.into_iter().enumerate() {
                        I::store_integers(numbers, to.add(at + part * 16));
                    }
                }
            } else {
                for at in (0..group).step_by(16) {
                    let numbers = I::unpack_integers::<BITS>(from.add(at * BITS / 8));
                    I::store_integers(numbers, to.add(at));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn pairs<I: Integers>(
        &self,
        stored: *const u8,
        row_bytes: usize,
        index: usize,
        numbers: &mut [f32],
        pairs: &mut [f32],
    ) {
        let group = self.group();
        if !takes_words::<I>(BITS, group) || !row_bytes.is_multiple_of(4) {
            // SAFETY: the caller vouches for it.
            return unsafe { self.unpack_and_pair::<I>(stored, row_bytes, index, numbers, pairs) };
        }
        let (turned, _) = numbers.split_at_mut(EIGHT * OUTPUTS);
        let pairs = cast_slice_mut::<f32, i16>(pairs);
        assert!(pairs.len() == OUTPUTS * group);
        for at in (0..group).step_by(64) {
            // Eight times two words of four numbers a row, first turned and then unpacked: a pair is the same number of two words.
            for half in 0..2 {
                // SAFETY: the caller vouches for 32 bytes of each row, and there is room for eight rows of sixteen.
                unsafe {
                    let from = stored.add(half * EIGHT * row_bytes + (index * group + at) / 2);
                    let to = turned.as_mut_ptr().add(half * EIGHT);
                    I::Floats::transpose(from.cast(), row_bytes / 4, to, OUTPUTS);
                }
            }
            let pairs = &mut pairs[at * OUTPUTS..][..64 * OUTPUTS];
            for (place, words) in turned.chunks_exact(EIGHT).enumerate() {
                // SAFETY: eight times two words are there, and there is room for the pairs of eight rows in each of four places.
                unsafe {
                    let words = I::load_integers(words.as_ptr().cast());
                    let to = pairs.as_mut_ptr().add(16 * place);
                    I::store_integers(I::field(words, 0, 15), to);
                    I::store_integers(I::field(words, 4, 15), to.add(16 * OUTPUTS));
                    I::store_integers(I::field(words, 8, 15), to.add(32 * OUTPUTS));
                    I::store_integers(I::field(words, 12, 15), to.add(48 * OUTPUTS));
                }
            }
        }
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

/// Turns eight rows of `length` floats of 16 bits into rows of eight floats; some more come after them. Of rows that are not there, anything.
#[inline(always)]
fn turn_halves<V: Lanes>(half: Half, stored: &[u8], length: usize, room: &mut [f32], out: &mut [f32]) {
    let (columns, row_bytes) = (length.next_multiple_of(EIGHT), length * 2);
    let read = (EIGHT - 1) * row_bytes + columns * 2;
    let bytes = match stored.get(..read) {
        Some(bytes) => bytes,
        None => {
            let room = &mut cast_slice_mut::<f32, u8>(room)[..read];
            room[..stored.len()].copy_from_slice(stored);
            room
        }
    };
    // What is read next lies behind.
    prefetch::<V>(stored.as_ptr().wrapping_add(EIGHT * row_bytes), EIGHT * row_bytes);
    assert!(out.len() >= columns * EIGHT);
    for column in (0..columns).step_by(EIGHT) {
        // SAFETY: eight rows of `columns` are there to read, if the last ones overlap, and `columns` rows of eight to write.
        unsafe {
            let from = bytes.as_ptr().add(column * 2);
            V::transpose_halves(half, from, row_bytes, out.as_mut_ptr().add(column * EIGHT), EIGHT);
        }
    }
}
