//! Blocks of 256 integers, whose groups have scales that are integers themselves. The layouts are those of `monocle_tensor::scheme`.

use monocle_tensor::scheme::Scheme;

use crate::lanes::{Integers, Lanes};

use super::block_rows::{BlockScheme, EightRows, Nibble};
use super::plain_blocks::LEVELS;
use super::stored_rows::{Bias, Parameters};

/// Four bits of each byte.
const FOUR: u64 = 0x0f0f_0f0f_0f0f_0f0f;
/// Two bits of each byte.
const TWO: u64 = 0x0303_0303_0303_0303;

/// Eight bytes of a block, from there on.
#[inline(always)]
fn eight(block: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Four bytes of a block, from there on.
#[inline(always)]
fn four(block: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&block[at..at + 4]);
    u64::from(u32::from_le_bytes(bytes))
}

/// Sixteen bytes as integers.
///
/// # Safety
/// They must be readable at `from`.
#[inline(always)]
unsafe fn bytes<I: Integers>(from: *const u8) -> I::Vector {
    // SAFETY: the caller vouches for them.
    unsafe { I::unpack_integers::<8>(from) }
}

/// 2 bits, a scale and a least value for each 16.
#[derive(Clone, Copy)]
pub struct Q2K;

impl BlockScheme for Q2K {
    const SCHEME: Scheme = Scheme::Q2_K;
    const GROUP: usize = 16;
    const PERIOD: usize = 8;
    const BIAS: Bias = Bias::Stored;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(_: Nibble, block: *const u8, chunk: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        let bytes = unsafe { bytes::<I>(block.add(16 + chunk * 32 + at % 2 * 16)) };
        I::field(bytes, at as u32 / 2 * 2, 3)
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        let scales = |block: &[u8]| [eight(block, 0) & FOUR, eight(block, 8) & FOUR];
        let least = |block: &[u8]| [eight(block, 0) >> 4 & FOUR, eight(block, 8) >> 4 & FOUR];
        rows.products::<V, 2>(80, [0.0, 1.0], scales, parameters.turned_scales);
        rows.products::<V, 2>(82, [0.0, -1.0], least, parameters.turned_biases);
    }
}

/// 3 bits, a scale for each 16.
#[derive(Clone, Copy)]
pub struct Q3K;

impl BlockScheme for Q3K {
    const SCHEME: Scheme = Scheme::Q3_K;
    const GROUP: usize = 16;
    const PERIOD: usize = 8;
    const BIAS: Bias = Bias::OfScale(-4.0);

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(_: Nibble, block: *const u8, chunk: usize, at: usize) -> I::Vector {
        let first = at % 2 * 16;
        // SAFETY: the caller vouches for the block.
        let [low, third] = unsafe {
            [
                bytes::<I>(block.add(32 + chunk * 32 + first)),
                bytes::<I>(block.add(first)),
            ]
        };
        let third = I::field(third, (chunk * 4 + at / 2) as u32, 1);
        I::or(I::field(low, at as u32 / 2 * 2, 3), I::shifted_left(third, 2))
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        // Four bits of sixteen scales, and two of four in each byte.
        let scales = |block: &[u8]| {
            let (low, high) = (eight(block, 96), four(block, 104));
            let high = [high | (high >> 2) << 32, high >> 4 | (high >> 6) << 32];
            [
                low & FOUR | (high[0] & TWO) << 4,
                low >> 4 & FOUR | (high[1] & TWO) << 4,
            ]
        };
        rows.products::<V, 2>(108, [32.0, 1.0], scales, parameters.turned_scales);
    }
}

/// Scales of eight groups, 6 bits each, in 12 bytes.
#[inline(always)]
fn six_bits(block: &[u8]) -> [u64; 1] {
    let (first, last) = (four(block, 4), four(block, 12));
    [first & 0x3f3f_3f3f | (last & 0x0f0f_0f0f | first >> 2 & 0x3030_3030) << 32]
}

/// Their least values in the same bytes.
#[inline(always)]
fn six_bits_least(block: &[u8]) -> [u64; 1] {
    let (first, last) = (four(block, 8), four(block, 12));
    [first & 0x3f3f_3f3f | (last >> 4 & 0x0f0f_0f0f | first >> 2 & 0x3030_3030) << 32]
}

/// 4 bits, a scale and a least value for each 32.
#[derive(Clone, Copy)]
pub struct Q4K;

impl BlockScheme for Q4K {
    const SCHEME: Scheme = Scheme::Q4_K;
    const GROUP: usize = 32;
    const PERIOD: usize = 2;
    const BIAS: Bias = Bias::Stored;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, chunk: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        let bytes = unsafe { bytes::<I>(block.add(16 + chunk * 32 + at % 2 * 16)) };
        nibble.of::<I>(bytes, at > 1)
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        rows.products::<V, 1>(0, [0.0, 1.0], six_bits, parameters.turned_scales);
        rows.products::<V, 1>(2, [0.0, -1.0], six_bits_least, parameters.turned_biases);
    }
}

/// 5 bits, a scale and a least value for each 32.
#[derive(Clone, Copy)]
pub struct Q5K;

impl BlockScheme for Q5K {
    const SCHEME: Scheme = Scheme::Q5_K;
    const GROUP: usize = 32;
    const PERIOD: usize = 8;
    const BIAS: Bias = Bias::Stored;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        let (part, first) = (at / 2, at % 2 * 16);
        // SAFETY: the caller vouches for the block.
        let [low, fifth] = unsafe {
            [
                bytes::<I>(block.add(48 + part / 2 * 32 + first)),
                bytes::<I>(block.add(16 + first)),
            ]
        };
        let fifth = I::shifted_left(I::field(fifth, part as u32, 1), 4);
        I::or(nibble.of::<I>(low, part % 2 > 0), fifth)
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        rows.products::<V, 1>(0, [0.0, 1.0], six_bits, parameters.turned_scales);
        rows.products::<V, 1>(2, [0.0, -1.0], six_bits_least, parameters.turned_biases);
    }
}

/// 6 bits, a scale of 8 bits for each 16.
#[derive(Clone, Copy)]
pub struct Q6K;

impl BlockScheme for Q6K {
    const SCHEME: Scheme = Scheme::Q6_K;
    const GROUP: usize = 16;
    const PERIOD: usize = 8;
    const BIAS: Bias = Bias::OfScale(-32.0);

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, chunk: usize, at: usize) -> I::Vector {
        // Each half of the block: 64 bytes with four bits of two integers, 32 bytes with two bits of four.
        let (quarter, first) = (at / 2, at % 2 * 16);
        // SAFETY: the caller vouches for the block.
        let [low, high] = unsafe {
            [
                bytes::<I>(block.add(chunk * 64 + quarter % 2 * 32 + first)),
                bytes::<I>(block.add(128 + chunk * 32 + first)),
            ]
        };
        let high = I::shifted_left(I::field(high, quarter as u32 * 2, 3), 4);
        I::or(nibble.of::<I>(low, quarter / 2 > 0), high)
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        // Signed bytes, counted from the least.
        let scales = |block: &[u8]| [192, 200].map(|at| eight(block, at) ^ 0x8080_8080_8080_8080);
        rows.products::<V, 2>(208, [128.0, 1.0], scales, parameters.turned_scales);
    }
}

/// 4 bits that choose a level, a scale of 6 bits for each 32.
#[derive(Clone, Copy)]
pub struct Iq4Xs;

impl BlockScheme for Iq4Xs {
    const SCHEME: Scheme = Scheme::Iq4Xs;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BIAS: Bias = Bias::None;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(_: Nibble, block: *const u8, chunk: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe { I::levels(block.add(8 + chunk * 16), at > 0, &LEVELS) }
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        // Four bits of two scales in each byte, and two bits of eight in two bytes.
        let scales = |block: &[u8]| {
            let (low, high) = (four(block, 4), u64::from(block[2]) | u64::from(block[3]) << 8);
            let part = |part: usize| low >> (4 * part) & 15 | (high >> (2 * part) & 3) << 4;
            [(0..8).fold(0, |word, at| word | part(at) << (8 * at))]
        };
        rows.products::<V, 1>(0, [32.0, 1.0], scales, parameters.turned_scales);
    }
}
