//! Black and white as fax machines send it, in one dimension and in two (ITU-T T.4; TIFF 6.0, sections 10 and 11).
//!
//! Rows that cannot be read stay as far as they came, as with libtiff, and are counted.

use std::convert::Infallible;

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, ByteReader};

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    /// Rows begin with a mark (compression 3); else at a byte (compression 2).
    pub has_marks: bool,
    /// A bit after each mark says whether the row follows from the one before it.
    pub may_follow: bool,
    /// The lowest bit of a byte comes first.
    pub low_bit_first: bool,
}

/// The mark before a row is so many zeros, which no code has in a row, and a one.
const ZEROS: u8 = 11;
/// Codes are looked up by more bits than the last may have left.
const PADDING: [u8; 4] = [0; 4];

/// Reads `rows` rows of `width` pixels and hands out each as the places where its colour changes, beginning with white. Says how
/// many rows were flawed or missing.
pub(super) fn decode(data: &[u8], width: u32, rows: u32, coding: Coding, mut row: impl FnMut(&[u32])) -> u32 {
    let bytes = data
        .iter()
        .chain(&PADDING)
        .map(|byte| match coding.low_bit_first {
            true => Ok::<u8, Infallible>(byte.reverse_bits()),
            false => Ok(*byte),
        });
    let mut reader = match ByteReader::new(bytes) {
        Ok(reader) => reader,
        Err(never) => match never {},
    };
    let (mut before, mut changes): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut flawed = 0;
    for _ in 0..rows {
        changes.clear();
        let mut follows = false;
        if coding.has_marks {
            if find_mark(&mut reader) {
                follows = coding.may_follow && bit(&mut reader) == Some(0);
            } else if reader.peek(1).is_none() {
                flawed += 1;
                row(&[]);
                continue;
            }
        }
        let whole = match follows {
            true => follow(&mut reader, width, &before, &mut changes),
            false => runs(&mut reader, width, &mut changes),
        };
        flawed += u32::from(whole.is_none());
        row(&changes);
        if !coding.has_marks {
            skip(&mut reader, |reader| reader.bits_to_byte_boundary());
        }
        std::mem::swap(&mut before, &mut changes);
    }
    flawed
}

/// Goes behind the next mark, if zeros (of the mark, or to fill up to it) come next or a flawed row is before it.
fn find_mark(reader: &mut impl BitReader) -> bool {
    while let Some(next) = reader.peek(ZEROS) {
        if next == 0 {
            while reader.peek(1) == Some(0) {
                skip(reader, |_| 1);
            }
            return bit(reader).is_some();
        }
        skip(reader, |_| 1);
    }
    false
}

/// A row by itself: runs of white and black in turn.
fn runs(reader: &mut impl BitReader, width: u32, changes: &mut Vec<u32>) -> Option<()> {
    let (mut at, mut is_black) = (0, false);
    while at < width {
        at = run(reader, is_black)?.saturating_add(at).min(width);
        changes.push(at);
        is_black = !is_black;
    }
    Some(())
}

/// A row told by how it differs from the one before it.
fn follow(reader: &mut impl BitReader, width: u32, before: &[u32], changes: &mut Vec<u32>) -> Option<()> {
    // The change before the first pixel is one to white that was never black.
    let (mut at, mut is_black, mut is_first) = (0u32, false, true);
    // The first change of the row before that is beyond `at` and of the other colour, and the one after it.
    let next = |at: u32, is_black: bool, is_first: bool| {
        let start = before.partition_point(|change| *change < at || *change == at && !is_first);
        let start = start + (start % 2 != usize::from(is_black)) as usize;
        let change = |index: usize| before.get(index).copied().unwrap_or(width);
        (change(start), change(start + 1))
    };
    while at < width {
        let (first, second) = next(at, is_black, is_first);
        match mode::decode(reader)? {
            Mode::Pass => at = second,
            Mode::Vertical(by) => {
                let to = i64::from(first) + i64::from(by);
                if to < i64::from(at) {
                    return None;
                }
                at = (to as u32).min(width);
                changes.push(at);
                is_black = !is_black;
            }
            Mode::Horizontal => {
                for is_black in [is_black, !is_black] {
                    at = run(reader, is_black)?.saturating_add(at).min(width);
                    changes.push(at);
                }
            }
            Mode::Extension | Mode::EOF => return None,
        }
        is_first = false;
    }
    Some(())
}

/// The length of a run: codes of multiples of 64, and one of less.
fn run(reader: &mut impl BitReader, is_black: bool) -> Option<u32> {
    let mut sum = 0u32;
    loop {
        let part = match is_black {
            true => black::decode(reader)?,
            false => white::decode(reader)?,
        };
        sum = sum.saturating_add(part.into());
        if part < 64 {
            return Some(sum);
        }
    }
}

fn bit(reader: &mut impl BitReader) -> Option<u16> {
    let bit = reader.peek(1)?;
    skip(reader, |_| 1);
    Some(bit)
}

/// Passes over bits. Past the end there are none, which the next look tells.
fn skip<R: BitReader>(reader: &mut R, bits: impl Fn(&R) -> u8) {
    let bits = bits(reader);
    let _ = reader.consume(bits);
}
