//! Weights as the engine uses them: matrices as they are stored, everything else as floats.

use super::matrix::StoredMatrix;
use super::memory::{Memory, rounded};
use super::value::Value;
use crate::backend::BackendError;
use crate::stored::{StoredTensor, StoredType, Weight};

/// A weight made ready.
pub enum Loaded {
    /// Used as a tensor.
    Tensor(Value),
    /// A matrix with what is added to its products.
    Matrix {
        /// A stack of experts is one matrix with all their rows.
        matrix: StoredMatrix,
        /// One a row.
        bias: Option<Value>,
    },
}

/// Bytes that [`load`] allocates: what is used as a tensor becomes floats, matrices stay where they are stored.
pub fn converted_bytes(weight: &Weight) -> usize {
    let tensor = |tensor: &StoredTensor| rounded(tensor.len()) * size_of::<f32>();
    match weight {
        Weight::Tensor(stored) => tensor(stored),
        Weight::Embedding(_) => 0,
        Weight::Linear { bias, .. } | Weight::Experts { bias, .. } => bias.as_ref().map_or(0, tensor),
    }
}

/// Checks a weight and converts what is small.
pub fn load(memory: &Memory, weight: &Weight) -> Result<Loaded, BackendError> {
    let error = |name: &str, reason: String| BackendError::Weight {
        name: name.to_owned(),
        reason,
    };
    let tensor = |tensor: &StoredTensor| floats(memory, tensor).map_err(|reason| error(&tensor.name, reason));
    let (matrix, bias) = match weight {
        Weight::Tensor(stored) => return tensor(stored).map(Loaded::Tensor),
        Weight::Embedding(matrix) => (matrix, None),
        Weight::Linear { matrix, bias } | Weight::Experts { matrix, bias } => (matrix, bias.as_ref()),
    };
    let stored = StoredMatrix::new(matrix).map_err(|reason| error(matrix.name(), reason))?;
    let bias = bias.map(tensor).transpose()?;
    if let Some(bias) = &bias
        && bias.len() != stored.view().rows()
    {
        let reason = format!(
            "expected a bias of {} elements, found {}",
            stored.view().rows(),
            bias.len()
        );
        return Err(error(matrix.name(), reason));
    }
    Ok(Loaded::Matrix { matrix: stored, bias })
}

fn floats(memory: &Memory, tensor: &StoredTensor) -> Result<Value, String> {
    let bytes = tensor.bytes.as_slice();
    let (len, size) = (tensor.len(), tensor.kind.size());
    if Some(bytes.len()) != len.checked_mul(size) {
        return Err(format!(
            "expected {len} elements of {size} bytes, found {} bytes",
            bytes.len()
        ));
    }
    let mut buffer = memory.take(len);
    for (to, from) in buffer.floats_mut().iter_mut().zip(bytes.chunks_exact(size)) {
        *to = float(tensor.kind, from);
    }
    Ok(Value::new(buffer, len))
}

/// One stored number; `bytes` has as many as one takes.
fn float(kind: StoredType, bytes: &[u8]) -> f32 {
    let mut eight = [0_u8; 8];
    eight[..bytes.len()].copy_from_slice(bytes);
    let word = u64::from_le_bytes(eight);
    match kind {
        StoredType::F64 => f64::from_bits(word) as f32,
        StoredType::F32 => f32::from_bits(word as u32),
        StoredType::F16 => half::f16::from_bits(word as u16).to_f32(),
        StoredType::BF16 => half::bf16::from_bits(word as u16).to_f32(),
        StoredType::F8E4M3 => f8e4m3(word as u8),
        StoredType::I64 => word as i64 as f32,
        StoredType::I32 => word as i32 as f32,
        StoredType::I16 => f32::from(word as i16),
        StoredType::I8 => f32::from(word as i8),
        StoredType::U64 | StoredType::U32 | StoredType::U16 | StoredType::U8 => word as f32,
        StoredType::Bool => f32::from(u8::from(word != 0)),
    }
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
