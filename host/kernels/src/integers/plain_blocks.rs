//! Blocks of 32 integers with one scale. Where these have 4 bits, byte `i` holds integer `i` below and integer `i + 16` above. The layouts are
//! those of `monocle_tensor::scheme`.

use monocle_tensor::scheme::Scheme;

use crate::lanes::{Integers, Lanes};

use super::block_rows::{BlockScheme, EightRows, Nibble};
use super::stored_rows::{Bias, Parameters};

/// The uneven levels of `IQ4_NL` and `IQ4_XS`.
pub const LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Twice the floats of `MXFP4`.
const DOUBLE_FLOATS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Four bits of each of sixteen bytes: the lower ones for the first sixteen integers, the upper ones for the others.
///
/// # Safety
/// Sixteen bytes must be readable at `from`.
#[inline(always)]
unsafe fn nibbles<I: Integers>(nibble: Nibble, from: *const u8, at: usize) -> I::Vector {
    // SAFETY: the caller vouches for it.
    nibble.of::<I>(unsafe { I::unpack_integers::<8>(from) }, at > 0)
}

/// The fifth bits of sixteen integers, in their place.
///
/// # Safety
/// Four bytes must be readable at `from`.
#[inline(always)]
unsafe fn fifth<I: Integers>(from: *const u8, at: usize) -> I::Vector {
    // SAFETY: the caller vouches for it.
    I::sixteens(u16::from_le_bytes(unsafe {
        from.add(2 * at).cast::<[u8; 2]>().read()
    }))
}

/// 4 bits, a scale.
#[derive(Clone, Copy)]
pub struct Q4_0;

impl BlockScheme for Q4_0 {
    const SCHEME: Scheme = Scheme::Q4_0;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BEGINS_WITH_SCALE: bool = true;
    const NIBBLES_AT: Option<usize> = Some(2);
    const BIAS: Bias = Bias::OfScale(-8.0);

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe { nibbles::<I>(nibble, block.add(2), at) }
    }
}

/// 4 bits, a scale and a least value.
#[derive(Clone, Copy)]
pub struct Q4_1;

impl BlockScheme for Q4_1 {
    const SCHEME: Scheme = Scheme::Q4_1;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BEGINS_WITH_SCALE: bool = true;
    const NIBBLES_AT: Option<usize> = Some(4);
    const BIAS: Bias = Bias::Stored;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe { nibbles::<I>(nibble, block.add(4), at) }
    }
}

/// 5 bits, a scale.
#[derive(Clone, Copy)]
pub struct Q5_0;

impl BlockScheme for Q5_0 {
    const SCHEME: Scheme = Scheme::Q5_0;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BEGINS_WITH_SCALE: bool = true;
    const BIAS: Bias = Bias::OfScale(-16.0);

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe {
            I::or(
                nibbles::<I>(nibble, block.add(6), at),
                fifth::<I>(block.add(2), at),
            )
        }
    }
}

/// 5 bits, a scale and a least value.
#[derive(Clone, Copy)]
pub struct Q5_1;

impl BlockScheme for Q5_1 {
    const SCHEME: Scheme = Scheme::Q5_1;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BEGINS_WITH_SCALE: bool = true;
    const BIAS: Bias = Bias::Stored;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(nibble: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe {
            I::or(
                nibbles::<I>(nibble, block.add(8), at),
                fifth::<I>(block.add(4), at),
            )
        }
    }
}

/// 8 bits, a scale.
#[derive(Clone, Copy)]
pub struct Q8_0;

impl BlockScheme for Q8_0 {
    const SCHEME: Scheme = Scheme::Q8_0;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BEGINS_WITH_SCALE: bool = true;
    const BIAS: Bias = Bias::None;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(_: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe { I::signed_bytes(block.add(2 + 16 * at)) }
    }
}

/// 4 bits that choose a level, a scale.
#[derive(Clone, Copy)]
pub struct Iq4Nl;

impl BlockScheme for Iq4Nl {
    const SCHEME: Scheme = Scheme::Iq4Nl;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BEGINS_WITH_SCALE: bool = true;
    const BIAS: Bias = Bias::None;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(_: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe { I::levels(block.add(2), at > 0, &LEVELS) }
    }
}

/// Floats of 4 bits, a power of two.
#[derive(Clone, Copy)]
pub struct Mxfp4;

impl BlockScheme for Mxfp4 {
    const SCHEME: Scheme = Scheme::Mxfp4;
    const GROUP: usize = 32;
    const PERIOD: usize = 1;
    const BIAS: Bias = Bias::None;

    #[inline(always)]
    unsafe fn sixteen<I: Integers>(_: Nibble, block: *const u8, _: usize, at: usize) -> I::Vector {
        // SAFETY: the caller vouches for the block.
        unsafe { I::levels(block.add(1), at > 0, &DOUBLE_FLOATS) }
    }

    #[inline(always)]
    fn read<V: Lanes>(rows: EightRows<'_>, parameters: &mut Parameters<'_>) {
        // Half the scale, for twice the floats.
        rows.each(parameters.turned_scales, |block| match block[0] {
            small @ 0..2 => f32::from_bits(0x0020_0000 << small),
            other => f32::from_bits(u32::from(other - 1) << 23),
        });
    }
}
