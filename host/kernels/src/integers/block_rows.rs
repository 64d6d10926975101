//! Rows of blocks as GGUF files store them: integers, and the scales of their groups among them.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};
use monocle_tensor::scheme::Scheme;

use crate::lanes::{Integers, Lanes};
use crate::matrix::{Float, decode_dense};

use super::stored_rows::{Bias, EIGHT, Parameters, StoredRows};

/// How blocks of a scheme hold integers, and where their scales are.
pub trait BlockScheme: Copy {
    /// Which scheme it is.
    const SCHEME: Scheme;
    /// Neighbours with a scale of their own: 16 or 32.
    const GROUP: usize;
    /// As [`StoredRows::PERIOD`].
    const PERIOD: usize;
    /// As [`StoredRows::BIAS`].
    const BIAS: Bias;

    /// Sixteen integers of a block: the `at`th sixteen of so many as [`Self::PERIOD`] groups have, the `chunk`th of these. `at` is known when
    /// this is compiled, where it matters how fast it is.
    ///
    /// # Safety
    /// A block must be readable there, and have so many integers.
    unsafe fn sixteen<I: Integers>(block: *const u8, chunk: usize, at: usize) -> I::Vector;

    /// Reads the scales of the groups of eight rows, and what is added to their numbers.
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>);
}

/// Integers of a group of this scheme.
pub fn group_of(scheme: Scheme) -> usize {
    match scheme {
        Scheme::Q2_K | Scheme::Q3_K | Scheme::Q6_K => 16,
        Scheme::Q4_0
        | Scheme::Q4_1
        | Scheme::Q5_0
        | Scheme::Q5_1
        | Scheme::Q8_0
        | Scheme::Q4_K
        | Scheme::Q5_K
        | Scheme::Iq4Nl
        | Scheme::Iq4Xs
        | Scheme::Mxfp4 => 32,
    }
}

/// Rows of blocks of one scheme.
#[derive(Clone, Copy)]
pub struct BlockRows<'a, S> {
    bytes: &'a [u8],
    row_bytes: usize,
    scheme: PhantomData<S>,
}

impl<'a, S: BlockScheme> BlockRows<'a, S> {
    const BYTES: usize = S::SCHEME.bytes();
    /// Of a block.
    const PERIODS: usize = S::SCHEME.elements() / (S::GROUP * S::PERIOD);

    /// Rows of so many numbers.
    pub fn new(bytes: &'a [u8], columns: usize) -> Self {
        Self {
            bytes,
            row_bytes: columns / S::SCHEME.elements() * Self::BYTES,
            scheme: PhantomData,
        }
    }
}

impl<S: BlockScheme> StoredRows for BlockRows<'_, S> {
    const BIAS: Bias = S::BIAS;
    const PERIOD: usize = S::PERIOD;
    const BEYOND: usize = 0;

    #[inline(always)]
    fn group(&self) -> usize {
        S::GROUP
    }

    #[inline(always)]
    fn period_bytes(&self) -> usize {
        Self::BYTES / Self::PERIODS
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.bytes
    }

    #[inline(always)]
    fn read<I: Integers>(&self, _: Range<usize>, stored: &[u8], parameters: &mut Parameters<'_>) {
        let rows = EightRows {
            stored,
            row_bytes: self.row_bytes,
            block_bytes: Self::BYTES,
        };
        S::read::<I::Floats>(rows, parameters);
    }

    #[inline(always)]
    unsafe fn dot<I: Integers>(&self, row: *const u8, period: usize, part: usize, x: *const i16) -> I::Sums {
        // SAFETY: the caller vouches for the period, whose block lies in the row, and for the activations.
        unsafe {
            let block = row.add(period / Self::PERIODS * Self::BYTES);
            let (chunk, at) = (period % Self::PERIODS, part * (S::GROUP / 16));
            let numbers = S::sixteen::<I>(block, chunk, at);
            let mut sums = I::add_products(I::no_sums(), numbers, I::load_integers(x));
            if S::GROUP == 32 {
                let numbers = S::sixteen::<I>(block, chunk, at + 1);
                sums = I::add_products(sums, numbers, I::load_integers(x.add(16)));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn unpack<I: Integers>(&self, row: *const u8, period: usize, part: usize, to: *mut i16) {
        // SAFETY: the caller vouches for the period, whose block lies in the row, and for the room.
        unsafe {
            let block = row.add(period / Self::PERIODS * Self::BYTES);
            let (chunk, at) = (period % Self::PERIODS, part * (S::GROUP / 16));
            I::store_integers(S::sixteen::<I>(block, chunk, at), to);
            if S::GROUP == 32 {
                I::store_integers(S::sixteen::<I>(block, chunk, at + 1), to.add(16));
            }
        }
    }
}

/// Eight rows of blocks.
#[derive(Clone, Copy)]
pub struct EightRows<'a> {
    stored: &'a [u8],
    row_bytes: usize,
    block_bytes: usize,
}

impl EightRows<'_> {
    /// Gives `out`, `[blocks][8]`, what is read of each block.
    #[inline(always)]
    pub fn each<T>(self, out: &mut [T], read: impl Fn(&[u8]) -> T) {
        let rows = self.stored.chunks_exact(self.row_bytes).take(EIGHT).enumerate();
        for (row, bytes) in rows {
            let blocks = bytes.chunks_exact(self.block_bytes);
            for (block, out) in blocks.zip(out.as_chunks_mut::<EIGHT>().0) {
                out[row] = read(block);
            }
        }
    }

    /// Gives `out`, `[blocks][8]`, the binary16 that begins there in each block. There must be room for as many floats.
    #[inline(always)]
    pub fn halves<V: Lanes>(self, at: usize, room: &mut [f32], out: &mut [f32]) {
        let count = self.row_bytes / self.block_bytes * EIGHT;
        let halves = &mut cast_slice_mut::<f32, [u8; 2]>(room)[..count];
        self.each(halves, |block| [block[at], block[at + 1]]);
        decode_dense::<V>(Float::F16, cast_slice(halves), &mut out[..count]);
    }

    /// Gives `out`, `[blocks * WORDS * 8][8]`, for each group of each block its byte of `words`, less `zero`, times the binary16 that
    /// begins there in the block, times `factor`.
    #[inline(always)]
    pub fn products<V: Lanes, const WORDS: usize>(
        self,
        at: usize,
        [zero, factor]: [f32; 2],
        words: impl Fn(&[u8]) -> [u64; WORDS],
        out: &mut [f32],
    ) {
        let out = out.as_chunks_mut::<{ EIGHT * EIGHT }>().0;
        for block in 0..self.row_bytes / self.block_bytes {
            let mut halves = [[0_u8; 2]; EIGHT];
            let mut bytes = [[[0_u8; EIGHT]; EIGHT]; WORDS];
            for row in 0..EIGHT {
                let from = row * self.row_bytes + block * self.block_bytes;
                let stored = &self.stored[from..from + self.block_bytes];
                halves[row] = [stored[at], stored[at + 1]];
                for (bytes, word) in bytes.iter_mut().zip(words(stored)) {
                    bytes[row] = word.to_le_bytes();
                }
            }
            for (bytes, out) in bytes.iter().zip(&mut out[block * WORDS..]) {
                let mut floats = [0.0_f32; EIGHT * EIGHT];
                // SAFETY: each is eight rows of eight, and the halves are eight.
                unsafe {
                    let scale = V::load_f16(halves.as_ptr().cast()).mul(V::splat(factor));
                    for (row, bytes) in bytes.iter().enumerate() {
                        V::unpack::<8>(bytes.as_ptr()).store(floats.as_mut_ptr().add(row * EIGHT));
                    }
                    V::transpose(floats.as_ptr(), EIGHT, out.as_mut_ptr(), EIGHT);
                    for group in 0..EIGHT {
                        let at = out.as_mut_ptr().add(group * EIGHT);
                        V::load(at).sub(V::splat(zero)).mul(scale).store(at);
                    }
                }
            }
        }
    }
}
