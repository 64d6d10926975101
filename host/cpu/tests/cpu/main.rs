//! Tests of the CPU engine: those of every engine, and its own.

#[path = "../../../engine-tests/batches.rs"]
mod batches;
mod bf16;
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

use std::io::Write;

use monocle_cpu::{CpuBackend, Instructions};
use monocle_kernels::lanes::Processor;
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

/// Which kernels the tests here run, and which ones only another machine can run. Written past the test's own output, which is not shown.
#[test]
fn kernels_that_are_not_run_are_named() {
    let (known, available) = (Instructions::known(), Instructions::available());
    let mut said = std::io::stderr();
    for instructions in &known {
        let engine = CpuBackend::with_instructions(Some(1), *instructions);
        assert_eq!(
            engine.is_some(),
            available.contains(instructions),
            "{instructions:?}"
        );
        match engine {
            Some(engine) => {
                let name = format!("{} instructions", instructions.name());
                assert!(engine.device().contains(&name), "{}", engine.device());
            }
            None => writeln!(
                said,
                "kernels that were not run here: {} (this processor has no such instructions)",
                instructions.name()
            )
            .expect("errors can be written"),
        }
    }
    if !Processor::best().multiplies_bf16() {
        writeln!(
            said,
            "kernels that were not run here: products of bf16 (this processor has no such instructions)"
        )
        .expect("errors can be written");
    }
    // Nothing is run that this list does not know, so what it leaves out was run.
    assert!(available.iter().all(|instructions| known.contains(instructions)));
    assert_eq!(known.last(), Some(&Instructions::Portable));
}
