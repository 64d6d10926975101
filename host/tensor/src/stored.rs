//! Weights as a checkpoint stores them: shared bytes (usually a mapped file), a stored type, a shape.
//!
//! Nothing here converts or copies a weight: engines read the stored form, and decide themselves what to keep.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::scaled::{ScaledRows, SmallFloat};
use crate::scheme::Scheme;

/// How one element of a stored tensor is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// 8-bit float, 4 exponent and 3 mantissa bits, no infinities.
    F8E4M3,
    /// 8-bit float, 5 exponent and 2 mantissa bits: the upper half of a binary16.
    F8E5M2,
    /// A power of two, 8 exponent bits: the scale of a block.
    F8E8M0,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer; packed quantised weights are stored in these.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl StoredType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::F8E8M0 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether it is a float that engines read; 64 bits are read as 32.
    pub fn is_float(self) -> bool {
        self == Self::F64 || self.holds_matrices()
    }

    /// Whether engines compute with matrices that are stored in it.
    pub fn holds_matrices(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }

    /// One stored number; `bytes` has as many as one takes.
    pub fn decode(self, bytes: &[u8]) -> f32 {
        let mut eight = [0_u8; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(eight);
        match self {
            Self::F64 => f64::from_bits(word) as f32,
            Self::F32 => f32::from_bits(word as u32),
            Self::F16 => half::f16::from_bits(word as u16).to_f32(),
            Self::BF16 => half::bf16::from_bits(word as u16).to_f32(),
            Self::F8E4M3 => f8e4m3(word as u8),
            Self::F8E5M2 => half::f16::from_bits((word as u16) << 8).to_f32(),
            Self::F8E8M0 => f8e8m0(word as u8),
            Self::I64 => word as i64 as f32,
            Self::I32 => word as i32 as f32,
            Self::I16 => f32::from(word as i16),
            Self::I8 => f32::from(word as i8),
            Self::U64 | Self::U32 | Self::U16 | Self::U8 => word as f32,
            Self::Bool => f32::from(u8::from(word != 0)),
        }
    }

    /// The name that safetensors headers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::F8E8M0 => "F8_E8M0",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }
}

/// A shared, immutable range of bytes: part of a mapped file or of a buffer.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of `owner`.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Self {
            owner: Arc::new(owner),
            range,
        }
    }

    /// So many bytes that `owner` makes when they are first read.
    pub fn later(len: usize, owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self {
            owner: Arc::new(owner),
            range: 0..len,
        }
    }

    /// How many they are; reads none.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The same for the same part of the same owner, and for nothing else that lives; reads none.
    pub fn id(&self) -> (usize, usize, usize) {
        let owner = Arc::as_ptr(&self.owner).cast::<()>().addr();
        (owner, self.range.start, self.range.end)
    }

    /// A part of these bytes, sharing their owner; `None` when it does not lie inside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        (start <= end && end <= self.range.end).then(|| Self {
            owner: Arc::clone(&self.owner),
            range: start..end,
        })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.range.len())
    }
}

/// A named tensor of a checkpoint, row-major, little-endian.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// The name that the checkpoint gives it (after renaming).
    pub name: String,
    /// How its elements are encoded.
    pub kind: StoredType,
    /// Its dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements: exactly `shape.product() * kind.size()` bytes. They need not be aligned to an element: a file may
    /// put them at any byte, and files written by MLX do.
    pub bytes: Bytes,
}

impl StoredTensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, if there are as many as its shape and type need.
    pub fn checked_bytes(&self) -> Result<&[u8], String> {
        let (bytes, size) = (self.bytes.as_slice(), self.kind.size());
        if Some(bytes.len()) != self.len().checked_mul(size) {
            return Err(format!(
                "expected {} elements of {size} bytes, found {} bytes",
                self.len(),
                bytes.len()
            ));
        }
        Ok(bytes)
    }

    /// Its elements, decoded one by one.
    pub fn floats(&self) -> Result<impl Iterator<Item = f32>, String> {
        let bytes = self.checked_bytes()?;
        Ok(bytes
            .chunks_exact(self.kind.size())
            .map(|element| self.kind.decode(element)))
    }
}

/// A matrix (or a stack of them) that multiplies activations: `[.., out, in]`.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// One stored number an element.
    Dense(StoredTensor),
    /// MLX's affine quantisation: `value = scale * q + bias` with one scale and bias a group of `group_size`
    /// neighbours along `in`; `q` has `bits` bits, packed little-endian without gaps into the row's u32 words.
    Affine {
        /// `[.., out, in * bits / 32]`, u32.
        packed: StoredTensor,
        /// `[.., out, in / group_size]`, any float type.
        scales: StoredTensor,
        /// As `scales`.
        biases: StoredTensor,
        /// 2, 3, 4, 5, 6 or 8.
        bits: u32,
        /// 32, 64 or 128.
        group_size: usize,
    },
    /// Blocks of neighbours along `in`, each with its own scales.
    Blocks {
        /// `[.., out, bytes of a row]`, U8.
        blocks: StoredTensor,
        /// How a block is stored.
        scheme: Scheme,
    },
    /// Small floats, each times the scale of its block of rows and columns.
    Scaled {
        /// `[.., out, bytes of a row]`, U8 or an 8-bit float.
        elements: StoredTensor,
        /// How an element is stored.
        float: SmallFloat,
        /// `[.., ceil(out / block[0]), ceil(in / block[1])]`, F32, F16, BF16 or F8E8M0.
        scales: StoredTensor,
        /// Rows and columns that share a scale.
        block: [usize; 2],
    },
}

impl Matrix {
    /// The shape of the matrix that it stands for: `[.., out, in]`.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Dense(tensor) => tensor.shape.clone(),
            Self::Affine {
                scales, group_size, ..
            } => {
                let mut shape = scales.shape.clone();
                if let Some(last) = shape.last_mut() {
                    *last *= group_size;
                }
                shape
            }
            Self::Blocks { blocks, scheme } => {
                let mut shape = blocks.shape.clone();
                if let Some(last) = shape.last_mut() {
                    *last = *last / scheme.bytes() * scheme.elements();
                }
                shape
            }
            Self::Scaled { elements, float, .. } => {
                let mut shape = elements.shape.clone();
                if let Some(last) = shape.last_mut() {
                    *last *= 8 / float.bits();
                }
                shape
            }
        }
    }

    /// The rows of small floats, where it has such. Its parts must fit together: see [`Matrix::check`].
    pub fn scaled_rows(&self) -> Option<ScaledRows<'_>> {
        let Self::Scaled {
            elements,
            float,
            scales,
            block,
        } = self
        else {
            return None;
        };
        let shape = self.shape();
        let [.., rows_each, columns] = shape[..] else {
            return None;
        };
        Some(ScaledRows {
            elements: elements.bytes.as_slice(),
            float: *float,
            scales: scales.bytes.as_slice(),
            scale: scales.kind,
            block: *block,
            rows_each,
            columns,
        })
    }

    /// Checks that its parts are there and fit together; gives all its rows (of a stack: of all its matrices) and its
    /// columns.
    pub fn check(&self) -> Result<[usize; 2], String> {
        let shape = self.shape();
        let (Some(&columns), true) = (shape.last(), shape.len() >= 2) else {
            return Err(format!("expected a matrix, found shape {shape:?}"));
        };
        let rows = shape[..shape.len() - 1].iter().product();
        match self {
            Self::Dense(tensor) => {
                if !tensor.kind.holds_matrices() {
                    return Err(format!(
                        "expected a matrix of F32, F16 or BF16, found {}; convert the checkpoint",
                        tensor.kind.name()
                    ));
                }
                holds(tensor, rows * columns)?;
            }
            Self::Affine {
                packed,
                scales,
                biases,
                bits,
                group_size,
            } => {
                if !matches!(bits, 2 | 3 | 4 | 5 | 6 | 8) || !matches!(group_size, 32 | 64 | 128) {
                    return Err(format!(
                        "expected 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128, found {bits} bits in groups of {group_size}"
                    ));
                }
                let words = columns * *bits as usize / 32;
                if packed.kind != StoredType::U32 || packed.shape.last() != Some(&words) {
                    return Err(format!(
                        "expected rows of {words} U32 words, found {} {:?}",
                        packed.kind.name(),
                        packed.shape
                    ));
                }
                if !scales.kind.holds_matrices() || biases.kind != scales.kind {
                    return Err(format!(
                        "expected scales and biases of one float type, found {} and {}",
                        scales.kind.name(),
                        biases.kind.name()
                    ));
                }
                holds(packed, rows * words)?;
                for parameters in [scales, biases] {
                    holds(parameters, rows * columns / group_size)?;
                }
            }
            Self::Blocks { blocks, scheme } => {
                let row = scheme.row_bytes(columns);
                if blocks.kind != StoredType::U8 || row.is_none() || blocks.shape.last().copied() != row {
                    return Err(format!(
                        "expected rows of whole {scheme} blocks of {} bytes, found {} {:?}",
                        scheme.bytes(),
                        blocks.kind.name(),
                        blocks.shape
                    ));
                }
                holds(blocks, rows * row.unwrap_or_default())?;
            }
            Self::Scaled {
                elements,
                scales,
                block,
                ..
            } => {
                let scale = matches!(
                    scales.kind,
                    StoredType::F32 | StoredType::F16 | StoredType::BF16 | StoredType::F8E8M0
                );
                if elements.kind.size() != 1 || !scale {
                    return Err(format!(
                        "expected elements of bytes and scales of floats or exponents, found {} and {}",
                        elements.kind.name(),
                        scales.kind.name()
                    ));
                }
                let mut grid = shape.clone();
                let across = grid.len() - 2;
                for (size, block) in grid[across..].iter_mut().zip(block) {
                    *size = size.checked_div(*block).map_or(0, |_| size.div_ceil(*block));
                }
                if block.contains(&0) || scales.shape != grid {
                    return Err(format!(
                        "expected scales of shape {grid:?} for blocks of {} rows and {} columns, found {:?}",
                        block[0], block[1], scales.shape
                    ));
                }
                holds(elements, elements.len())?;
                holds(scales, scales.len())?;
            }
        }
        Ok([rows, columns])
    }

    /// How it is stored, in words.
    pub fn form(&self) -> String {
        match self {
            Self::Dense(tensor) => tensor.kind.name().to_owned(),
            Self::Affine {
                scales,
                bits,
                group_size,
                ..
            } => format!(
                "{bits} bits in groups of {group_size} with {} scales",
                scales.kind.name()
            ),
            Self::Blocks { scheme, .. } => scheme.name().to_owned(),
            Self::Scaled {
                float, scales, block, ..
            } => format!(
                "{} in blocks of {} by {} with {} scales",
                float.name(),
                block[0],
                block[1],
                scales.kind.name()
            ),
        }
    }

    /// The checkpoint's name of its main tensor.
    pub fn name(&self) -> &str {
        match self {
            Self::Dense(tensor)
            | Self::Affine { packed: tensor, .. }
            | Self::Blocks { blocks: tensor, .. }
            | Self::Scaled { elements: tensor, .. } => &tensor.name,
        }
    }

    /// The tensors that it consists of.
    pub fn parts(&self) -> impl Iterator<Item = &StoredTensor> {
        let parts = match self {
            Self::Dense(tensor) | Self::Blocks { blocks: tensor, .. } => [Some(tensor), None, None],
            Self::Affine {
                packed,
                scales,
                biases,
                ..
            } => [packed, scales, biases].map(Some),
            Self::Scaled { elements, scales, .. } => [Some(elements), Some(scales), None],
        };
        parts.into_iter().flatten()
    }
}

/// A weight in the role in which a plugin asked for it.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Used as a tensor: norms, position embeddings, convolution kernels.
    Tensor(StoredTensor),
    /// `y = x Wᵀ + b`.
    Linear {
        /// `[out, in]`
        matrix: Matrix,
        /// `[out]`
        bias: Option<StoredTensor>,
    },
    /// Rows looked up by token id: `[vocabulary, hidden]`.
    Embedding(Matrix),
    /// One linear layer an expert: matrix `[experts, out, in]`, bias `[experts, out]`.
    Experts {
        /// `[experts, out, in]`
        matrix: Matrix,
        /// `[experts, out]`
        bias: Option<StoredTensor>,
    },
    /// As `Experts`, each stored by itself: matrices `[out, in]` of one shape and form, biases `[out]` for all or none.
    Stack(Vec<(Matrix, Option<StoredTensor>)>),
}

impl Weight {
    /// The checkpoint's name of its main tensor.
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor(tensor) => &tensor.name,
            Self::Linear { matrix, .. } | Self::Embedding(matrix) | Self::Experts { matrix, .. } => {
                matrix.name()
            }
            Self::Stack(layers) => layers.first().map_or("", |(matrix, _)| matrix.name()),
        }
    }

    /// Whether it, or a part of it, is integers in groups: with scale and bias, or in blocks.
    pub fn is_quantised(&self) -> bool {
        let is_quantised = |matrix: &Matrix| matches!(matrix, Matrix::Affine { .. } | Matrix::Blocks { .. });
        match self {
            Self::Tensor(_) => false,
            Self::Linear { matrix, .. } | Self::Embedding(matrix) | Self::Experts { matrix, .. } => {
                is_quantised(matrix)
            }
            Self::Stack(layers) => layers.iter().any(|(matrix, _)| is_quantised(matrix)),
        }
    }

    /// The tensors that it consists of.
    pub fn parts(&self) -> impl Iterator<Item = &StoredTensor> {
        let (matrix, other, layers) = match self {
            Self::Tensor(tensor) => (None, Some(tensor), &[][..]),
            Self::Embedding(matrix) => (Some(matrix), None, &[][..]),
            Self::Linear { matrix, bias } | Self::Experts { matrix, bias } => {
                (Some(matrix), bias.as_ref(), &[][..])
            }
            Self::Stack(layers) => (None, None, layers.as_slice()),
        };
        let layers = layers
            .iter()
            .flat_map(|(matrix, bias)| matrix.parts().chain(bias));
        matrix
            .into_iter()
            .flat_map(Matrix::parts)
            .chain(other)
            .chain(layers)
    }

    /// Its matrices.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let (one, layers) = match self {
            Self::Tensor(_) => (None, &[][..]),
            Self::Linear { matrix, .. } | Self::Embedding(matrix) | Self::Experts { matrix, .. } => {
                (Some(matrix), &[][..])
            }
            Self::Stack(layers) => (None, layers.as_slice()),
        };
        one.into_iter().chain(layers.iter().map(|(matrix, _)| matrix))
    }

    /// Bytes that it takes as stored.
    pub fn stored_bytes(&self) -> usize {
        self.parts().map(|part| part.len() * part.kind.size()).sum()
    }

    /// The shape of its main tensor, as the plugin sees it.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Tensor(tensor) => tensor.shape.clone(),
            Self::Linear { matrix, .. } | Self::Embedding(matrix) | Self::Experts { matrix, .. } => {
                matrix.shape()
            }
            Self::Stack(layers) => {
                let one = layers.first().map(|(matrix, _)| matrix.shape());
                std::iter::once(layers.len())
                    .chain(one.unwrap_or_default())
                    .collect()
            }
        }
    }
}

/// Bytes of weights as stored. A table that two layers share is asked for twice, and there once.
pub fn stored_bytes(weights: &[Weight]) -> usize {
    let mut counted = HashSet::new();
    let parts = weights.iter().flat_map(Weight::parts);
    let parts = parts.filter(|part| counted.insert(part.bytes.id()));
    parts.map(|part| part.len() * part.kind.size()).sum()
}

/// 8-bit float with 4 exponent bits and 3 mantissa bits, arXiv:2209.05433: no infinities, one NaN.
fn f8e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2.0_f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2.0_f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

/// 8-bit power of two (Open Compute Project, Microscaling Formats 1.0, section 5.4.1): 2^-127 to 2^127, and one NaN.
fn f8e8m0(byte: u8) -> f32 {
    match byte {
        255 => f32::NAN,
        _ => 2.0_f32.powi(i32::from(byte) - 127),
    }
}

/// Checks that a tensor has so many elements, and the bytes for them.
fn holds(tensor: &StoredTensor, elements: usize) -> Result<(), String> {
    let expected = elements * tensor.kind.size();
    let found = tensor.bytes.len();
    if tensor.len() != elements || found != expected {
        return Err(format!(
            "expected {expected} bytes in `{}` for {elements} elements, found {found} for shape {:?}",
            tensor.name, tensor.shape
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the OCP 8-bit Floating Point Specification 1.0 (table 1) and Microscaling Formats 1.0 name.
    #[test]
    fn small_floats_are_what_their_specifications_say() {
        for (kind, byte, expected) in [
            (StoredType::F8E4M3, 0x7e, 448.0),
            (StoredType::F8E4M3, 0x01, 2.0_f32.powi(-9)),
            (StoredType::F8E5M2, 0x3c, 1.0),
            (StoredType::F8E5M2, 0xfb, -57344.0),
            (StoredType::F8E5M2, 0x01, 2.0_f32.powi(-16)),
            (StoredType::F8E5M2, 0x7c, f32::INFINITY),
            (StoredType::F8E8M0, 127, 1.0),
            (StoredType::F8E8M0, 130, 8.0),
            (StoredType::F8E8M0, 254, 2.0_f32.powi(127)),
            (StoredType::F8E8M0, 0, 2.0_f32.powi(-126) / 2.0),
        ] {
            assert_eq!(kind.decode(&[byte]), expected, "{} {byte}", kind.name());
        }
        for (kind, byte) in [
            (StoredType::F8E4M3, 0x7f),
            (StoredType::F8E5M2, 0x7e),
            (StoredType::F8E8M0, 255),
        ] {
            assert!(kind.decode(&[byte]).is_nan(), "{}", kind.name());
        }
    }
}
