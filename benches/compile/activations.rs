//! Activations alone, where a model's products with weights hide them.

use std::sync::Arc;
use std::time::Instant;

use monocle_mlx::{MlxBackend, Precision};
use monocle_tensor::backend::{Backend, Tensor};
use monocle_tensor::operation::{Binary, Op, Unary};
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{Recorder, RecordingLimits};

use super::measure::median;

const TRIES: usize = 31;
/// Activations one after another, as many as a decoder has layers.
const LAYERS: usize = 30;

/// Prints what one activation takes, one by one and compiled: those of a decode step and of a picture's patches.
pub fn compare(precision: Precision) {
    for (name, kind, shape) in [
        ("SwiGLU", Unary::Silu, [1, 1536]),
        ("SwiGLU", Unary::Silu, [256, 1536]),
        ("tanh GELU", Unary::GeluTanh, [1, 3072]),
        ("tanh GELU", Unary::GeluTanh, [256, 3072]),
    ] {
        let program = program(kind, shape);
        let mut engines = [false, true].map(|fuses| MlxBackend::new(precision).fusing(fuses));
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..=TRIES {
            for (engine, found) in engines.iter_mut().zip(&mut found) {
                found.push(run(engine, &program, shape));
            }
        }
        // The first run of each compiles.
        let [without, with] = found.map(|seconds| 1e6 * median(seconds[1..].to_vec()) / LAYERS as f64);
        println!(
            "{precision:?}: {name} of {shape:?}: {without:.1} µs one by one, {with:.1} µs compiled: {:.3} of it",
            with / without
        );
    }
}

/// `x ← activation(x) · x`, or without the product.
fn program(kind: Unary, shape: [usize; 2]) -> Program {
    let inputs = vec![ValueType::float(shape)];
    let mut recorder = Recorder::new(Arc::default(), inputs, None, RecordingLimits::default());
    let mut x = recorder.input_values()[0];
    let mut push = |op, operands: &[_], shape: Option<&[usize]>| {
        recorder.push(op, operands, shape).expect("the shapes fit")
    };
    for _ in 0..LAYERS {
        let active = push(Op::Unary(kind), &[x], None);
        let next = match kind {
            Unary::Silu => push(Op::Binary(Binary::Multiply), &[active, x], None),
            _ => active,
        };
        // A layer's end: what comes after it is another group's.
        let flat = push(Op::Reshape, &[next], Some(&[shape[0] * shape[1]]));
        x = push(Op::Reshape, &[flat], Some(&shape));
    }
    recorder.finish(vec![x])
}

fn run(engine: &mut MlxBackend, program: &Program, shape: [usize; 2]) -> f64 {
    let values = (0..shape[0] * shape[1]).map(|index| (index % 17) as f32 / 8.0 - 1.0);
    let x: Tensor = engine
        .upload(&shape, values.collect())
        .expect("it can be uploaded");
    engine.wait().expect("it can be computed");
    let started = Instant::now();
    let results = engine.run(program, &[x], None).expect("it can be run");
    engine.wait().expect("it can be computed");
    drop(results);
    started.elapsed().as_secs_f64()
}
