//! Weights as the engine uses them: matrices as they are stored, everything else as floats.

use super::value::Value;
use monocle_kernels::matrix::{MatrixView, StoredMatrix};
use monocle_kernels::memory::{Memory, rounded};
use monocle_tensor::backend::BackendError;
use monocle_tensor::stored::{Matrix, StoredTensor, Weight};

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
    /// Matrices of one shape, with what is added to their products.
    Stack {
        /// One an expert.
        matrices: Vec<StoredMatrix>,
        /// One a row of each.
        bias: Option<Value>,
    },
}

/// Matrices of experts, however they are stored.
#[derive(Clone, Copy)]
pub enum Experts<'a> {
    /// One after another, so many rows each.
    Whole(MatrixView<'a>, usize),
    /// By themselves.
    Stack(&'a [StoredMatrix]),
}

impl<'a> Experts<'a> {
    /// How many.
    pub fn count(self) -> usize {
        match self {
            Self::Whole(matrix, rows) => matrix.rows() / rows.max(1),
            Self::Stack(matrices) => matrices.len(),
        }
    }

    /// The matrix of one.
    pub fn matrix(self, expert: usize) -> MatrixView<'a> {
        match self {
            Self::Whole(matrix, rows) => matrix.part(expert * rows, rows),
            Self::Stack(matrices) => matrices[expert].view(),
        }
    }
}

/// Bytes that [`load`] allocates: what is used as a tensor becomes floats, matrices stay where they are stored.
pub fn converted_bytes(weight: &Weight) -> usize {
    let tensor = |tensor: &StoredTensor| rounded(tensor.len()) * size_of::<f32>();
    match weight {
        Weight::Tensor(stored) => tensor(stored),
        Weight::Embedding(_) => 0,
        Weight::Linear { bias, .. } | Weight::Experts { bias, .. } => bias.as_ref().map_or(0, tensor),
        Weight::Stack(layers) => {
            let biases = layers.iter().filter_map(|(_, bias)| bias.as_ref());
            rounded(biases.map(StoredTensor::len).sum()) * size_of::<f32>()
        }
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
        Weight::Stack(layers) => return stack(memory, layers),
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

fn stack(memory: &Memory, layers: &[(Matrix, Option<StoredTensor>)]) -> Result<Loaded, BackendError> {
    let error = |name: &str, reason: String| BackendError::Weight {
        name: name.to_owned(),
        reason,
    };
    let (mut matrices, mut biases) = (Vec::with_capacity(layers.len()), Vec::new());
    for (matrix, bias) in layers {
        let stored = StoredMatrix::new(matrix).map_err(|reason| error(matrix.name(), reason))?;
        let rows = stored.view().rows();
        if let Some(bias) = bias {
            let values = bias.floats().map_err(|reason| error(&bias.name, reason))?;
            let before = biases.len();
            biases.extend(values);
            if biases.len() - before != rows {
                let reason = format!("expected a bias of {rows} elements, found {}", bias.len());
                return Err(error(matrix.name(), reason));
            }
        }
        matrices.push(stored);
    }
    let bias = (!biases.is_empty()).then(|| Value::from_floats(memory, &biases));
    Ok(Loaded::Stack { matrices, bias })
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
