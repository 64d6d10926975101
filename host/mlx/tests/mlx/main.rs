//! Tests of the MLX engine: those of every engine, and its own.

#![cfg(any(target_os = "macos", feature = "installed"))]

#[path = "../../../tensor/tests/engines/batches.rs"]
mod batches;
mod fusing;
#[path = "../../../tensor/tests/engines/matrices.rs"]
mod matrices;
#[path = "../../../tensor/tests/engines/operations.rs"]
mod operations;
#[path = "../../../tensor/tests/engines/properties.rs"]
mod properties;
mod resources;
#[path = "../../../tensor/tests/engines/support.rs"]
mod support;

use monocle_mlx::{MlxBackend, Precision};
use monocle_tensor::backend::Backend;

/// Results beyond it may be infinite: MLX's vectorised exponential ends at 88.
const LARGEST: f32 = 1.6e38;

/// The engine, exact enough for the reference's numbers: operations one by one, and compiled.
fn engines() -> Vec<Box<dyn Backend>> {
    let engine = |fuses| Box::new(MlxBackend::new(Precision::Single).fusing(fuses)) as Box<dyn Backend>;
    vec![engine(false), engine(true)]
}
