//! Rows of blocks as GGUF files store them: integers, and the scales of their groups among them.

use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;

use monocle_tensor::scheme::Scheme;

use crate::lanes::{Integers, Lanes};

use super::stored_rows::{Bias, EIGHT, Nibbles, Parameters, StoredRows};

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
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, chunk: usize, at: usize) -> I::Vector;

    /// Whether a block is a group and begins with its scale, a binary16, and with what is added to its numbers as another, where that is stored.
    /// They are read with the numbers then, and not before.
    const BEGINS_WITH_SCALE: bool = false;

    /// Where a block is a group of 32 integers of 4 bits, the first sixteen of them the lower halves of 16 bytes: where these begin.
    const NIBBLES_AT: Option<usize> = None;

    /// Reads the scales of the groups of eight rows, and what is added to their numbers.
    fn read<V: Lanes>(_rows: EightRows<'_>, _parameters: &mut Parameters<'_>) {}
}

/// What takes numbers of 4 bits out of bytes, unknown to the compiler. What it knows it does before bytes become numbers of 16 bits, and makes these
/// twice then: shuffles, of which products have too many already.
#[derive(Clone, Copy)]
pub struct Nibble {
    lower: i16,
    upper: u32,
}

impl Nibble {
    fn new() -> Self {
        Self {
            lower: black_box(15),
            upper: black_box(4),
        }
    }

    /// The lower or the upper four bits of bytes.
    #[inline(always)]
    pub fn of<I: Integers>(self, bytes: I::Vector, upper: bool) -> I::Vector {
        match upper {
            false => I::field(bytes, 0, self.lower),
            true => I::field(bytes, self.upper, -1),
        }
    }
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
    nibble: Nibble,
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
            nibble: Nibble::new(),
            scheme: PhantomData,
        }
    }
}

impl<S: BlockScheme> StoredRows for BlockRows<'_, S> {
    const BIAS: Bias = S::BIAS;
    const PERIOD: usize = S::PERIOD;
    const BEYOND: usize = 0;

    const NIBBLES: Option<Nibbles> = match S::NIBBLES_AT {
        Some(_) => Some(Nibbles::First),
        None => None,
    };

    #[inline(always)]
    fn nibbles(&self, row: *const u8, index: usize) -> *const u8 {
        row.wrapping_add(index * Self::BYTES + S::NIBBLES_AT.unwrap_or(0))
    }

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
    unsafe fn parameters<V: Lanes>(&self, read: &Parameters<'_>, stored: *const u8, index: usize) -> [V; 2] {
        if !S::BEGINS_WITH_SCALE {
            return read.of(index, S::BIAS);
        }
        // SAFETY: the caller vouches for eight rows and the group, which is a block of at least four bytes.
        unsafe {
            let block = stored.add(index * Self::BYTES);
            let scale = V::load_f16_apart(block, self.row_bytes);
            let bias = match S::BIAS {
                Bias::None => V::splat(0.0),
                Bias::OfScale(factor) => scale.mul(V::splat(factor)),
                Bias::Stored => V::load_f16_apart(block.add(2), self.row_bytes),
            };
            [scale, bias]
        }
    }

    #[inline(always)]
    unsafe fn dot<I: Integers>(&self, row: *const u8, period: usize, part: usize, x: *const i16) -> I::Sums {
        // SAFETY: the caller vouches for the period, whose block lies in the row, and for the activations.
        unsafe {
            let block = row.add(period / Self::PERIODS * Self::BYTES);
            let (chunk, at) = (period % Self::PERIODS, part * (S::GROUP / 16));
            let numbers = S::sixteen::<I>(self.nibble, block, chunk, at);
            let mut sums = I::add_products(I::no_sums(), numbers, I::load_integers(x));
            if S::GROUP == 32 {
                let numbers = S::sixteen::<I>(self.nibble, block, chunk, at + 1);
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
            I::store_integers(S::sixteen::<I>(self.nibble, block, chunk, at), to);
            if S::GROUP == 32 {
                I::store_integers(S::sixteen::<I>(self.nibble, block, chunk, at + 1), to.add(16));
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
        assert!(at + 2 <= self.block_bytes && self.stored.len() >= EIGHT * self.row_bytes);
        for block in 0..self.row_bytes / self.block_bytes {
            let mut bytes = [[[0_u8; EIGHT]; EIGHT]; WORDS];
            for row in 0..EIGHT {
                let from = row * self.row_bytes + block * self.block_bytes;
                let stored = &self.stored[from..from + self.block_bytes];
                for (bytes, word) in bytes.iter_mut().zip(words(stored)) {
                    bytes[row] = word.to_le_bytes();
                }
            }
            // SAFETY: eight rows of so many blocks are stored.
            let scale = unsafe {
                let from = self.stored.as_ptr().add(block * self.block_bytes + at);
                V::load_f16_apart(from, self.row_bytes).mul(V::splat(factor))
            };
            for (bytes, out) in bytes.iter().zip(&mut out[block * WORDS..]) {
                let mut floats = [0.0_f32; EIGHT * EIGHT];
                // SAFETY: each is eight rows of eight.
                unsafe {
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
