//! Blocks of 32 whose levels are evenly spaced, as MLX's affine quantisation with groups of 32: the same numbers, arranged anew.

use half::f16;

use super::Scheme;
use crate::stored::{Bytes, Matrix, StoredTensor, StoredType};

impl Scheme {
    /// Bits of an element, where the levels of each 32 are evenly spaced and their scale is a binary16.
    pub fn affine_bits(self) -> Option<u32> {
        match self {
            Self::Q4_0 | Self::Q4_1 => Some(4),
            Self::Q5_0 | Self::Q5_1 => Some(5),
            Self::Q8_0 => Some(8),
            _ => None,
        }
    }
}

impl Matrix {
    /// The same numbers as [`Matrix::Affine`], in new memory: of blocks that allow it exactly. Scales and biases are binary16.
    pub fn blocks_as_affine(&self) -> Option<Self> {
        let Self::Blocks { blocks, scheme } = self else {
            return None;
        };
        let bits = scheme.affine_bits()?;
        let [rows, columns] = self.check().ok()?;
        let groups = rows * columns / 32;
        let mut packed = Vec::with_capacity(groups * 4 * bits as usize);
        let [mut scales, mut biases] = [0; 2].map(|_| Vec::with_capacity(groups * 2));
        for block in blocks.bytes.as_slice().chunks_exact(scheme.bytes()) {
            let scale = f16::from_le_bytes([block[0], block[1]]);
            let own = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
            // A power of two times a binary16 is one too, unless it is too large.
            let times = |factor: f32| f16::from_f32(scale.to_f32() * factor);
            let (bias, levels) = match scheme {
                Scheme::Q4_0 => (times(-8.0), nibbles(&block[2..], &[])),
                Scheme::Q4_1 => (own(2), nibbles(&block[4..], &[])),
                Scheme::Q5_0 => (times(-16.0), nibbles(&block[6..], &block[2..6])),
                Scheme::Q5_1 => (own(2), nibbles(&block[8..], &block[4..8])),
                _ => {
                    let mut levels = [0; 32];
                    levels.copy_from_slice(&block[2..]);
                    // From signed to counted from the least.
                    (times(-128.0), levels.map(|byte| byte ^ 0x80))
                }
            };
            if !bias.is_finite() {
                return None;
            }
            scales.extend(scale.to_le_bytes());
            biases.extend(bias.to_le_bytes());
            pack(&levels, bits, &mut packed);
        }
        let shape = |last: usize| {
            let (_, rows) = blocks.shape.split_last()?;
            Some([rows, &[last]].concat())
        };
        let tensor = |kind, shape, bytes: Vec<u8>| StoredTensor {
            name: blocks.name.clone(),
            kind,
            shape,
            bytes: Bytes::new(bytes),
        };
        let parameters = shape(columns / 32)?;
        Some(Self::Affine {
            packed: tensor(StoredType::U32, shape(columns * bits as usize / 32)?, packed),
            scales: tensor(StoredType::F16, parameters.clone(), scales),
            biases: tensor(StoredType::F16, parameters, biases),
            bits,
            group_size: 32,
        })
    }
}

/// Elements in order; `fifth` has a further bit of each, if there is one.
fn nibbles(bytes: &[u8], fifth: &[u8]) -> [u8; 32] {
    let mut levels = [0; 32];
    for (index, level) in levels.iter_mut().enumerate() {
        let low = bytes[index % 16] >> (index / 16 * 4) & 15;
        let high = fifth.get(index / 8).map_or(0, |bits| bits >> (index % 8) & 1);
        *level = low | high << 4;
    }
    levels
}

/// Appends 32 levels without gaps, from the lowest bit on.
fn pack(levels: &[u8; 32], bits: u32, out: &mut Vec<u8>) {
    let (mut word, mut held) = (0_u32, 0);
    for level in levels {
        word |= u32::from(*level) << held;
        held += bits;
        while held >= 8 {
            out.push(word as u8);
            word >>= 8;
            held -= 8;
        }
    }
}
