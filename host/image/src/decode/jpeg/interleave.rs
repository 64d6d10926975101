//! Sequential pictures whose components come in several scans, written anew with one scan of all.
//!
//! The decoder makes a wrong picture of the former (zune-jpeg 0.5.15). The coefficients stay as they are; only their codes change.

use super::scans::{self, Frame, Lack};
use super::segments::Segments;

/// Sizes of a coefficient: 0 to 10 bits (ITU-T T.81, table F.2), behind 0 to 15 zeros; each pair is a code of eight bits.
const SIZES: u8 = 11;
/// Sizes of a first coefficient's difference: 0 to 11 bits (table F.1); each is a code of four bits.
const FIRST_SIZES: u8 = 12;

/// The file with one scan, and what its scans lacked; `None` if the scans cannot be followed.
pub(super) fn rewritten(bytes: &[u8]) -> Option<(Vec<u8>, Option<Lack>)> {
    let (frame, lack) = scans::coefficients(bytes)?;
    let mut file = b"\xff\xd8".to_vec();
    let mut has_scans = false;
    for segment in Segments::new(bytes) {
        match segment.marker {
            0xd9 => break,
            // Tables of codes, restarts and scans are made anew.
            0xd8 | 0xc4 | 0xdd => {}
            0xda => has_scans = true,
            // Quantisation that changes on the way belongs to the scans after it.
            0xdb if has_scans => return None,
            marker => push_segment(&mut file, marker, &[segment.data]),
        }
    }
    let codes = |length: usize, count: u8| {
        let mut counts = [0; 16];
        counts[length - 1] = count;
        counts
    };
    let firsts: Vec<u8> = (0..FIRST_SIZES).collect();
    let others: Vec<u8> = (0..16)
        .flat_map(|zeros| (0..SIZES).map(move |size| zeros << 4 | size))
        .collect();
    push_segment(&mut file, 0xc4, &[&[0x00], &codes(4, FIRST_SIZES), &firsts]);
    push_segment(&mut file, 0xc4, &[&[0x10], &codes(8, 16 * SIZES), &others]);
    let ids: Vec<u8> = frame
        .components
        .iter()
        .flat_map(|component| [component.id, 0])
        .collect();
    push_segment(
        &mut file,
        0xda,
        &[&[frame.components.len() as u8], &ids, &[0, 63, 0]],
    );
    let mut bits = Bits {
        file,
        held: 0,
        count: 0,
    };
    write_scan(&frame, &mut bits);
    let mut file = bits.finish();
    file.extend(b"\xff\xd9");
    Some((file, lack))
}

fn push_segment(file: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    file.extend([0xff, marker]);
    // It was read with a length of 16 bits, or is one of the short ones made here.
    file.extend((length as u16 + 2).to_be_bytes());
    parts.iter().for_each(|part| file.extend_from_slice(part));
}

fn write_scan(frame: &Frame, bits: &mut Bits) {
    let mut before = [0; 4];
    for unit in 0..frame.units.0 * frame.units.1 {
        let (column, row) = (unit % frame.units.0, unit / frame.units.0);
        for (component, before) in frame.components.iter().zip(&mut before) {
            let (wide, high) = (u64::from(component.wide), u64::from(component.high));
            for part in 0..wide * high {
                let (x, y) = (column * wide + part % wide, row * high + part / wide);
                write_block(
                    &component.values[(y * component.stride + x) as usize],
                    before,
                    bits,
                );
            }
        }
    }
}

fn write_block(values: &[i16; 64], before: &mut i32, bits: &mut Bits) {
    // No 8-bit picture has larger ones; damaged ones may.
    let difference = (i32::from(values[0]) - *before).clamp(-2047, 2047);
    *before += difference;
    let size = size(difference);
    bits.push(size, 4);
    bits.push_value(difference, size);
    let mut zeros = 0;
    for value in &values[1..] {
        if *value == 0 {
            zeros += 1;
            continue;
        }
        while zeros > 15 {
            bits.push(15 * u32::from(SIZES), 8);
            zeros -= 16;
        }
        let value = i32::from(*value).clamp(-1023, 1023);
        let size = self::size(value);
        bits.push(zeros * u32::from(SIZES) + size, 8);
        bits.push_value(value, size);
        zeros = 0;
    }
    if zeros > 0 {
        bits.push(0, 8);
    }
}

/// How many bits a value has.
fn size(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

struct Bits {
    file: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn push_value(&mut self, value: i32, size: u32) {
        let negative = u32::from(value < 0);
        self.push((value as u32).wrapping_sub(negative) & ((1 << size) - 1), size);
    }

    /// The lowest `count` bits, of which there may be 16.
    fn push(&mut self, bits: u32, count: u32) {
        self.held = self.held << count | bits;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.held >> self.count) as u8;
            self.file.push(byte);
            if byte == 0xff {
                self.file.push(0);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.push(0x7f, 7);
        }
        self.file
    }
}
