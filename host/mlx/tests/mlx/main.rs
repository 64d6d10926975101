//! Tests of the MLX engine: those of every engine, and its own.

#![cfg(any(target_os = "macos", feature = "installed"))]

#[path = "../../../engine-tests/batches.rs"]
mod batches;
mod fusing;
#[path = "../../../engine-tests/matrices.rs"]
mod matrices;
#[path = "../../../engine-tests/operations.rs"]
mod operations;
#[path = "../../../engine-tests/programs.rs"]
mod programs;
#[path = "../../../engine-tests/properties.rs"]
mod properties;
mod random;
mod resources;
#[path = "../../../engine-tests/sequences.rs"]
mod sequences;
#[path = "../../../engine-tests/steps.rs"]
mod steps;
#[path = "../../../engine-tests/support.rs"]
mod support;

use monocle_mlx::{MlxBackend, Precision};
use monocle_tensor::backend::Backend;

/// Results beyond it may be infinite: MLX's vectorised exponential ends at 88.
const LARGEST: f32 = 1.6e38;

/// The engine, exact enough for the reference's numbers: operations one by one, and compiled.
fn engines() -> Vec<Box<dyn Backend>> {
    let engine = |fuses| Box::new(MlxBackend::new(Precision::F32).fusing(fuses)) as Box<dyn Backend>;
    vec![engine(false), engine(true)]
}
