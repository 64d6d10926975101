//! Blocks of 256 elements, whose parts have scales that are quantised themselves.

use super::f16;
use super::plain::{LEVELS, nibbles};

pub fn q2(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, rest) = block.split_at(16);
    let (values, ends) = rest.split_at(64);
    let (scale, least) = (f16(ends, 0), f16(ends, 2));
    for (part, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // 128 elements share 32 bytes: two bits of each byte for 32 of them.
        let (half, within) = (part / 8, part % 8);
        let (shift, first) = (within / 2 * 2, half * 32 + within % 2 * 16);
        let factor = scale * f32::from(scales[part] & 15);
        let offset = least * f32::from(scales[part] >> 4);
        for (byte, out) in values[first..first + 16].iter().zip(out) {
            *out = factor * f32::from(byte >> shift & 3) - offset;
        }
    }
}

pub fn q3(block: &[u8; 110], out: &mut [f32; 256]) {
    let (highest, rest) = block.split_at(32);
    let (values, rest) = rest.split_at(64);
    let (packed, ends) = rest.split_at(12);
    let scale = f16(ends, 0);
    for (part, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = match part {
            0..8 => packed[part] & 15,
            _ => packed[part - 8] >> 4,
        };
        let high = packed[8 + part % 4] >> (part / 4 * 2) & 3;
        let factor = scale * f32::from((low | high << 4) as i8 - 32);
        let (half, within) = (part / 8, part % 8);
        let (shift, first) = (within / 2 * 2, within % 2 * 16);
        let bit = half * 4 + within / 2;
        let bytes = &values[half * 32 + first..][..16];
        for ((byte, third), out) in bytes.iter().zip(&highest[first..first + 16]).zip(out) {
            let value = (byte >> shift & 3) as i8 - if third >> bit & 1 == 0 { 4 } else { 0 };
            *out = factor * f32::from(value);
        }
    }
}

/// Scale and least value of one of eight parts: 6 bits each, in 12 bytes.
#[inline(always)]
fn six_bits(packed: &[u8], part: usize) -> [f32; 2] {
    let (scale, least) = match part {
        0..4 => (packed[part] & 63, packed[part + 4] & 63),
        _ => (
            packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
            packed[part + 4] >> 4 | packed[part] >> 6 << 4,
        ),
    };
    [f32::from(scale), f32::from(least)]
}

pub fn q4(block: &[u8; 144], out: &mut [f32; 256]) {
    let (scale, least) = (f16(block, 0), f16(block, 2));
    let (packed, values) = (&block[4..16], &block[16..]);
    for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let [factor, offset] = six_bits(packed, part);
        let (factor, offset) = (scale * factor, least * offset);
        let shift = part % 2 * 4;
        for (byte, out) in values[part / 2 * 32..][..32].iter().zip(out) {
            *out = factor * f32::from(byte >> shift & 15) - offset;
        }
    }
}

pub fn q5(block: &[u8; 176], out: &mut [f32; 256]) {
    let (scale, least) = (f16(block, 0), f16(block, 2));
    let (packed, fifth, values) = (&block[4..16], &block[16..48], &block[48..]);
    for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let [factor, offset] = six_bits(packed, part);
        let (factor, offset) = (scale * factor, least * offset);
        let shift = part % 2 * 4;
        for ((byte, fifth), out) in values[part / 2 * 32..][..32].iter().zip(fifth).zip(out) {
            let value = byte >> shift & 15 | (fifth >> part & 1) << 4;
            *out = factor * f32::from(value) - offset;
        }
    }
}

pub fn q6(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, ends) = rest.split_at(16);
    let scale = f16(ends, 0);
    for (part, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        // Each half of the block: 64 bytes with four bits of two elements, 32 bytes with two bits of four.
        let (half, quarter, first) = (part / 8, part % 8 / 2, part % 2 * 16);
        let low = &low[half * 64 + quarter % 2 * 32 + first..][..16];
        let high = &high[half * 32 + first..][..16];
        let factor = scale * f32::from(scales[part] as i8);
        for ((low, high), out) in low.iter().zip(high).zip(out) {
            let value = low >> (quarter / 2 * 4) & 15 | (high >> (quarter * 2) & 3) << 4;
            *out = factor * f32::from(value as i8 - 32);
        }
    }
}

pub fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let scale = f16(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    let (low, values) = (&block[4..8], &block[8..]);
    for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = low[part / 2] >> (part % 2 * 4) & 15;
        let high = (high >> (part * 2) & 3) as u8;
        let factor = scale * f32::from((low | high << 4) as i8 - 32);
        nibbles(&values[part * 16..][..16], out, |_, value| {
            factor * LEVELS[usize::from(value)]
        });
    }
}
