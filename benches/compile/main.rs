//! What the engine `mlx` gains when it compiles groups of operations: `cargo xtask bench --engine mlx compile`.
//!
//! Prints what activations take by themselves, then a decode step and an encoder run of a model of SmolVLM-256M's size: one operation
//! after another, and compiled, in turns, so that whatever else the machine does befalls both.

mod activations;
mod models;

use monocle_runtime::engines::{EngineName, EngineOptions, Precision};
use monocle_tensor::backend::Backend;

fn main() {
    for precision in [Precision::F32, Precision::Bf16] {
        activations::compare(precision);
        models::compare(precision);
    }
}

/// Two engines: one by one, and compiled.
fn engines(precision: Precision) -> [Box<dyn Backend>; 2] {
    [false, true].map(|fuses| {
        let options = EngineOptions {
            precision,
            fuses: Some(fuses),
            ..EngineOptions::default()
        };
        let engine = EngineName::Mlx.start(options);
        let engine = engine.unwrap_or_else(|error| panic!("{error}"));
        let fused = engine.device().ends_with("fused");
        assert_eq!(fused, fuses, "MLX cannot compile on this machine");
        engine
    })
}

/// What work takes with each of two, in seconds: the middle one of several tries, after one in which things are made ready.
fn compared<T, const N: usize>(
    both: &mut [T; 2],
    tries: usize,
    mut work: impl FnMut(&mut T) -> [f64; N],
) -> [[f64; N]; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for one in both.iter_mut() {
        work(one);
    }
    for index in 0..tries {
        // Whoever comes second finds another machine.
        for which in [index % 2, (index + 1) % 2] {
            found[which].push(work(&mut both[which]));
        }
    }
    found.map(|tries| {
        std::array::from_fn(|phase| {
            let mut seconds: Vec<f64> = tries.iter().map(|phases| phases[phase]).collect();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        })
    })
}

/// One line of the results.
fn line(precision: Precision, what: &str, [without, with]: [f64; 2]) {
    let [before, after] = [without, with].map(|seconds| seconds * 1e3);
    println!(
        "{precision:?}: {what}: {before:.3} ms one by one, {after:.3} ms compiled: {:.2} of it",
        with / without
    );
}
