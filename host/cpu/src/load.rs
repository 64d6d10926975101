//! Weights as the engine uses them: matrices as they are stored, everything else as floats.

use super::matrix::StoredMatrix;
use super::memory::{Memory, rounded};
use super::value::Value;
use monocle_tensor::backend::BackendError;
use monocle_tensor::stored::{StoredTensor, Weight};

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
    let values = tensor.floats()?;
    let mut buffer = memory.take(tensor.len());
    buffer
        .floats_mut()
        .iter_mut()
        .zip(values)
        .for_each(|(to, from)| *to = from);
    Ok(Value::new(buffer, tensor.len()))
}
