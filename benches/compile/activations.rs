//! Activations alone, which products with weights hide in a model.

use std::sync::Arc;
use std::time::Instant;

use monocle_runtime::engines::Precision;
use monocle_tensor::backend::Backend;
use monocle_tensor::operation::{Binary, Op, Unary};
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{Recorder, RecordingLimits};

use super::{compared, engines, line};

const TRIES: usize = 15;
/// Activations one after another, as many as a decoder has layers.
const LAYERS: usize = 30;

/// Prints what 30 of them take: those of a decode step, and those of a picture's patches.
pub fn compare(precision: Precision) {
    for (name, kind, shape) in [
        ("SwiGLU", Unary::Silu, [1, 1536]),
        ("SwiGLU", Unary::Silu, [64, 1536]),
        ("tanh GELU", Unary::GeluTanh, [1, 3072]),
        ("tanh GELU", Unary::GeluTanh, [64, 3072]),
    ] {
        let program = program(kind, shape);
        let [[without], [with]] = compared(&mut engines(precision), TRIES, |engine| {
            [run(engine.as_mut(), &program, shape)]
        });
        let what = format!("{LAYERS} times {name} of {shape:?}");
        line(precision, &what, [without, with]);
    }
}

/// `x ← silu(x) · x`, or `x ← gelu(x)`.
fn program(kind: Unary, shape: [usize; 2]) -> Program {
    let inputs = vec![ValueType::float(shape)];
    let mut recorder = Recorder::new(Arc::default(), inputs, None, RecordingLimits::default());
    let mut x = recorder.input_values()[0];
    let mut push = |op, operands: &[_], shape: Option<&[usize]>| {
        let value = recorder.push(op, operands, shape);
        value.expect("the shapes fit")
    };
    for _ in 0..LAYERS {
        let active = push(Op::Unary(kind), &[x], None);
        let next = match kind {
            Unary::Silu => push(Op::Binary(Binary::Multiply), &[active, x], None),
            _ => active,
        };
        // A layer's end, which costs nothing: what comes after it is another group's.
        let flat = push(Op::Reshape, &[next], Some(&[shape[0] * shape[1]]));
        x = push(Op::Reshape, &[flat], Some(&shape));
    }
    recorder.finish(vec![x])
}

fn run(engine: &mut dyn Backend, program: &Program, shape: [usize; 2]) -> f64 {
    let values = (0..shape[0] * shape[1]).map(|index| (index % 17) as f32 / 8.0 - 1.0);
    let x = engine.upload(&shape, values.collect());
    let x = x.expect("it can be uploaded");
    engine.wait().expect("it can be computed");
    let started = Instant::now();
    let results = engine.run(program, &[x], None).expect("it can be run");
    engine.wait().expect("it can be computed");
    drop(results);
    started.elapsed().as_secs_f64()
}
