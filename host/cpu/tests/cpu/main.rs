//! Tests of the CPU engine: those of every engine, and its own.

#[path = "../../../engine-tests/batches.rs"]
mod batches;
mod hostile;
mod integers;
mod key_values;
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

use monocle_cpu::{CpuBackend, Instructions};
use monocle_tensor::backend::Backend;

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
