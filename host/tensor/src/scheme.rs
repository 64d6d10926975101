//! Quantised rows that are made of blocks, each with its own scales: how llama.cpp stores weights.
//!
//! A row is a whole number of blocks, one after another, so any row can be read by itself and a file can be used as it is mapped.
//! The layouts are those of ggml (`ggml/src/ggml-common.h`, its `dequantize_row_*` in `ggml-quants.c`); tests compare every one
//! with the numbers that the package `gguf` gives.

mod affine;
mod plain;
mod super_blocks;

use std::fmt;

/// How a block of neighbours along a row is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types)]
pub enum Scheme {
    /// 4 bits, a scale for each 32.
    Q4_0,
    /// 4 bits, a scale and a least value for each 32.
    Q4_1,
    /// 5 bits, a scale for each 32.
    Q5_0,
    /// 5 bits, a scale and a least value for each 32.
    Q5_1,
    /// 8 bits, a scale for each 32.
    Q8_0,
    /// 2 bits, a scale and a least value of 4 bits for each 16.
    Q2_K,
    /// 3 bits, a scale of 6 bits for each 16.
    Q3_K,
    /// 4 bits, a scale and a least value of 6 bits for each 32.
    Q4_K,
    /// 5 bits, a scale and a least value of 6 bits for each 32.
    Q5_K,
    /// 6 bits, a scale of 8 bits for each 16.
    Q6_K,
    /// 4 bits that choose one of 16 uneven levels, a scale for each 32.
    Iq4Nl,
    /// As `Iq4Nl`, with scales of 6 bits.
    Iq4Xs,
    /// Floats of 4 bits, a power of two for each 32.
    Mxfp4,
}

/// Elements of the largest block.
pub const LARGEST_BLOCK: usize = 256;

impl Scheme {
    /// All that are known.
    pub const ALL: [Self; 13] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Mxfp4,
    ];

    /// Elements of a block.
    pub const fn elements(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Iq4Nl | Self::Mxfp4 => 32,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K | Self::Iq4Xs => LARGEST_BLOCK,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Iq4Nl => 2 + 16,
            Self::Q4_1 => 4 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 4 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Mxfp4 => 1 + 16,
            Self::Q2_K => 16 + 64 + 4,
            Self::Q3_K => 32 + 64 + 12 + 2,
            Self::Q4_K => 4 + 12 + 128,
            Self::Q5_K => 4 + 12 + 32 + 128,
            Self::Q6_K => 128 + 64 + 16 + 2,
            Self::Iq4Xs => 2 + 2 + 4 + 128,
        }
    }

    /// Bytes of a row of so many elements; nothing where it is not whole blocks, or too long.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        let blocks = columns / self.elements();
        columns
            .is_multiple_of(self.elements())
            .then(|| blocks.checked_mul(self.bytes()))?
    }

    /// The name that llama.cpp gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2_K => "Q2_K",
            Self::Q3_K => "Q3_K",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::Iq4Nl => "IQ4_NL",
            Self::Iq4Xs => "IQ4_XS",
            Self::Mxfp4 => "MXFP4",
        }
    }

    /// Turns whole blocks to floats. `blocks` must have [`Self::bytes`] for each [`Self::elements`] of `out`.
    pub fn decode(self, blocks: &[u8], out: &mut [f32]) {
        assert_eq!(Some(blocks.len()), self.row_bytes(out.len()));
        match self {
            Self::Q4_0 => each(blocks, out, plain::q4_0),
            Self::Q4_1 => each(blocks, out, plain::q4_1),
            Self::Q5_0 => each(blocks, out, plain::q5_0),
            Self::Q5_1 => each(blocks, out, plain::q5_1),
            Self::Q8_0 => each(blocks, out, plain::q8_0),
            Self::Iq4Nl => each(blocks, out, plain::iq4_nl),
            Self::Mxfp4 => each(blocks, out, plain::mxfp4),
            Self::Q2_K => each(blocks, out, super_blocks::q2),
            Self::Q3_K => each(blocks, out, super_blocks::q3),
            Self::Q4_K => each(blocks, out, super_blocks::q4),
            Self::Q5_K => each(blocks, out, super_blocks::q5),
            Self::Q6_K => each(blocks, out, super_blocks::q6),
            Self::Iq4Xs => each(blocks, out, super_blocks::iq4_xs),
        }
    }

    /// Turns the elements `start..start + out.len()` of a row to floats, wherever they begin within a block.
    pub fn decode_part(self, row: &[u8], start: usize, out: &mut [f32]) {
        let (elements, bytes) = (self.elements(), self.bytes());
        let mut done = 0;
        while done < out.len() {
            let at = start + done;
            let (block, within) = (at / elements, at % elements);
            let left = out.len() - done;
            let whole = left / elements;
            if within == 0 && whole > 0 {
                let part = &row[block * bytes..(block + whole) * bytes];
                self.decode(part, &mut out[done..done + whole * elements]);
                done += whole * elements;
            } else {
                let mut values = [0.0; LARGEST_BLOCK];
                let values = &mut values[..elements];
                self.decode(&row[block * bytes..(block + 1) * bytes], values);
                let count = left.min(elements - within);
                out[done..done + count].copy_from_slice(&values[within..within + count]);
                done += count;
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls `decode` for each block.
#[inline(always)]
fn each<const BYTES: usize, const ELEMENTS: usize>(
    blocks: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    let (blocks, out) = (blocks.as_chunks::<BYTES>().0, out.as_chunks_mut::<ELEMENTS>().0);
    for (block, out) in blocks.iter().zip(out) {
        decode(block, out);
    }
}

/// The binary16 that begins at `at`.
#[inline(always)]
fn f16(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}
