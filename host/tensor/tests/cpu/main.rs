//! Tests of the CPU engine: those of every engine, and its own.

#[path = "../engines/batches.rs"]
mod batches;
#[path = "../engines/matrices.rs"]
mod matrices;
#[path = "../engines/operations.rs"]
mod operations;
#[path = "../engines/properties.rs"]
mod properties;
mod resources;
#[path = "../engines/support.rs"]
mod support;

use monocle_tensor::backend::Backend;
use monocle_tensor::cpu::{CpuBackend, Instructions};

/// Results beyond it may be infinite.
const LARGEST: f32 = f32::MAX;

/// The engine in every form that this processor can run.
fn engines() -> Vec<Box<dyn Backend>> {
    let forms = Instructions::available()
        .into_iter()
        .flat_map(|instructions| [1, 3].map(|threads| (instructions, threads)));
    forms
        .map(|(instructions, threads)| -> Box<dyn Backend> {
            Box::new(CpuBackend::with_instructions(Some(threads), instructions).expect("it is available"))
        })
        .collect()
}
