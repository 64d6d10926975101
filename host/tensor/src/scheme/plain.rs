//! Blocks of 32 elements. Where elements have 4 bits, byte `i` holds element `i` below and element `i + 16` above.

use super::f16;

/// The uneven levels of `IQ4_NL` and `IQ4_XS` (`kvalues_iq4nl` in `ggml-common.h`).
pub const LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
];

/// Floats with 2 exponent bits and 1 mantissa bit (Open Compute Project, Microscaling Formats 1.0, section 5.3.3).
pub const FLOATS: [f32; 16] = [
    0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0,
];

/// Gives each of 16 bytes' lower half to the first 16 elements, and its upper half to the others.
#[inline(always)]
pub fn nibbles(bytes: &[u8], out: &mut [f32], value: impl Fn(usize, u8) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (index, ((byte, low), high)) in bytes.iter().zip(low).zip(high).enumerate() {
        *low = value(index, byte & 15);
        *high = value(index + 16, byte >> 4);
    }
}

pub fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = f16(block, 0);
    nibbles(&block[2..], out, |_, value| f32::from(value as i8 - 8) * scale);
}

pub fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, least) = (f16(block, 0), f16(block, 2));
    nibbles(&block[4..], out, |_, value| f32::from(value) * scale + least);
}

/// The fifth bit of element `index`, in its place.
#[inline(always)]
fn fifth(bits: &[u8], index: usize) -> u8 {
    (bits[index / 8] >> (index % 8) & 1) << 4
}

pub fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let (scale, bits) = (f16(block, 0), &block[2..6]);
    nibbles(&block[6..], out, |index, value| {
        f32::from((value | fifth(bits, index)) as i8 - 16) * scale
    });
}

pub fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, least, bits) = (f16(block, 0), f16(block, 2), &block[4..8]);
    nibbles(&block[8..], out, |index, value| {
        f32::from(value | fifth(bits, index)) * scale + least
    });
}

pub fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = f16(block, 0);
    for (byte, out) in block[2..].iter().zip(out) {
        *out = f32::from(*byte as i8) * scale;
    }
}

pub fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = f16(block, 0);
    nibbles(&block[2..], out, |_, value| LEVELS[usize::from(value)] * scale);
}

pub fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    // Half the scale, for twice the floats. ggml gives every exponent a number, 255 too.
    let half = match block[0] {
        small @ 0..2 => 0x0020_0000 << small,
        other => u32::from(other - 1) << 23,
    };
    nibbles(&block[1..], out, |_, value| {
        2.0 * FLOATS[usize::from(value)] * f32::from_bits(half)
    });
}
