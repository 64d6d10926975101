//! Weights as a checkpoint stores them: shared bytes (usually a mapped file), a stored type, a shape.
//!
//! Nothing here converts or copies a weight: engines read the stored form, and decide themselves what to keep.

use std::ops::Range;
use std::sync::Arc;

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
            Self::F8E4M3 | Self::I8 | Self::U8 | Self::Bool => 1,
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
        }
    }

    /// The checkpoint's name of its main tensor.
    pub fn name(&self) -> &str {
        match self {
            Self::Dense(tensor) | Self::Affine { packed: tensor, .. } => &tensor.name,
        }
    }

    /// Bytes that it takes as stored.
    pub fn stored_bytes(&self) -> usize {
        let size = |tensor: &StoredTensor| tensor.len() * tensor.kind.size();
        match self {
            Self::Dense(tensor) => size(tensor),
            Self::Affine {
                packed,
                scales,
                biases,
                ..
            } => size(packed) + size(scales) + size(biases),
        }
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
}

impl Weight {
    /// The checkpoint's name of its main tensor.
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor(tensor) => &tensor.name,
            Self::Linear { matrix, .. } | Self::Embedding(matrix) | Self::Experts { matrix, .. } => {
                matrix.name()
            }
        }
    }

    /// Bytes that it takes as stored.
    pub fn stored_bytes(&self) -> usize {
        let tensor = |tensor: &StoredTensor| tensor.len() * tensor.kind.size();
        match self {
            Self::Tensor(stored) => tensor(stored),
            Self::Embedding(matrix) => matrix.stored_bytes(),
            Self::Linear { matrix, bias } | Self::Experts { matrix, bias } => {
                matrix.stored_bytes() + bias.as_ref().map_or(0, tensor)
            }
        }
    }

    /// The shape of its main tensor, as the plugin sees it.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Tensor(tensor) => tensor.shape.clone(),
            Self::Linear { matrix, .. } | Self::Embedding(matrix) | Self::Experts { matrix, .. } => {
                matrix.shape()
            }
        }
    }
}
