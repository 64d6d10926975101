//! This engine's own values.

use super::value::Value;
use monocle_tensor::backend::{BackendError, Tensor};
use monocle_tensor::check::stranger;

/// Whether a tensor lives on this engine.
pub fn owns(tensor: &Tensor) -> bool {
    tensor.get::<Value>().is_some()
}

/// This engine's value of a tensor.
pub fn value_of(tensor: &Tensor) -> Result<&Value, BackendError> {
    tensor.get::<Value>().ok_or_else(|| stranger(tensor))
}
