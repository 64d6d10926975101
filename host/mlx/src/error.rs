//! What goes wrong inside the engine: MLX's own errors, and the contract's.

use mlx_rs::error::{AsSliceError, Exception};
use monocle_tensor::backend::BackendError;

/// An array, or why there is none.
pub type Result<T = mlx_rs::Array> = std::result::Result<T, Error>;

/// Either kind of error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// MLX refused an operation, or could not compute it.
    #[error("{}", .0.what())]
    Mlx(#[from] Exception),
    /// Values could not be read back.
    #[error(transparent)]
    Read(#[from] AsSliceError),
    /// What the host is told.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl From<Error> for BackendError {
    fn from(error: Error) -> Self {
        match error {
            Error::Backend(error) => error,
            other => device(other.to_string()),
        }
    }
}

/// A fault of the device, in its own words.
pub fn device(reason: String) -> BackendError {
    BackendError::Device {
        engine: "mlx",
        reason,
    }
}
