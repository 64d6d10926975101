//! Speed of the CPU engine's parts: `cargo bench -p monocle-cpu --bench cpu -- [PART...]`, parts being `pool`, `dense`, `quantised`, `small`,
//! `attention` and `decode`; all without one. Prints gigabytes a second for one row times a
//! stored matrix, gigaflops for many rows, microseconds for a call of the thread pool.

#[path = "../../engine-tests/one_sequence.rs"]
mod one_sequence;

use std::sync::Arc;
use std::time::Instant;

use monocle_cpu::{Activations, CpuBackend};
use monocle_kernels::threads::Threads;
use monocle_tensor::backend::{Backend, KeyValueType};
use monocle_tensor::operation::{Attention, CachedAttention, Op, WeightId};
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};
use one_sequence::{batch, recorded, step};

/// The least seconds of several tries.
fn seconds(tries: usize, mut work: impl FnMut()) -> f64 {
    work();
    let times = (0..tries).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn tensor(kind: StoredType, shape: Vec<usize>) -> StoredTensor {
    let bytes = shape.iter().product::<usize>() * kind.size();
    StoredTensor {
        name: "weight".to_owned(),
        kind,
        shape,
        // Small numbers of any type.
        bytes: Bytes::new((0..bytes).map(|byte| (byte % 60) as u8).collect::<Vec<u8>>()),
    }
}

/// Numbers of a usual size: sums of very small ones are slow on some processors.
fn parameters(shape: Vec<usize>, value: f32) -> StoredTensor {
    let count = shape.iter().product::<usize>();
    let bytes = ((value.to_bits() >> 16) as u16).to_le_bytes();
    StoredTensor {
        name: "parameters".to_owned(),
        kind: StoredType::BF16,
        shape,
        bytes: Bytes::new(bytes.repeat(count)),
    }
}

fn affine(rows: usize, columns: usize, bits: usize) -> Matrix {
    Matrix::Affine {
        packed: tensor(StoredType::U32, vec![rows, columns * bits / 32]),
        scales: parameters(vec![rows, columns / 64], 0.01),
        biases: parameters(vec![rows, columns / 64], -0.07),
        bits: bits as u32,
        group_size: 64,
    }
}

fn program(weights: &Arc<Vec<Weight>>, shapes: &[Vec<usize>], op: Op) -> Program {
    let inputs = shapes.iter().cloned().map(ValueType::float).collect();
    let mut recorder = Recorder::new(Arc::clone(weights), inputs, None, RecordingLimits::default());
    let inputs = recorder.input_values();
    let output = recorder.push(op, &inputs, None).expect("the shapes fit");
    recorder.finish(vec![output])
}

fn linear(what: &str, matrix: &Matrix, tokens: usize, activations: Activations) {
    let shape = matrix.shape();
    let bytes: usize = matrix.parts().map(|part| part.bytes.as_slice().len()).sum();
    // Several copies, so that they do not stay in the processor's caches.
    let copies = (128 << 20) / bytes + 1;
    let matrix = || match matrix {
        Matrix::Dense(stored) => Matrix::Dense(tensor(stored.kind, stored.shape.clone())),
        Matrix::Affine { bits, .. } => affine(shape[0], shape[1], *bits as usize),
        Matrix::Blocks { blocks, scheme } => Matrix::Blocks {
            blocks: tensor(blocks.kind, blocks.shape.clone()),
            scheme: *scheme,
        },
        Matrix::Scaled { .. } => matrix.clone(),
    };
    let weights: Vec<Weight> = (0..copies)
        .map(|_| Weight::Linear {
            matrix: matrix(),
            bias: None,
        })
        .collect();
    let weights = Arc::new(weights);
    let mut engine = CpuBackend::new(None).multiplying(activations);
    engine
        .load(Arc::clone(&weights), &mut |_, _| {})
        .expect("loadable");
    let programs: Vec<Program> = (0..copies as u32)
        .map(|copy| program(&weights, &[vec![tokens, shape[1]]], Op::Linear(WeightId(copy))))
        .collect();
    let x = engine
        .upload(&[tokens, shape[1]], vec![0.5; tokens * shape[1]])
        .expect("room");
    let count = if tokens > 64 { 1 } else { copies };
    let time = seconds(5, || {
        for program in &programs[..count] {
            engine.run(program, std::slice::from_ref(&x), None).expect("runs");
        }
    }) / count as f64;
    let flops = 2.0 * (tokens * shape[0] * shape[1]) as f64;
    println!(
        "linear {what:5} {shape:?}, {tokens:4} tokens, {activations:?}: {:6.2} GB/s {:7.1} GFLOP/s {:8.1} us",
        bytes as f64 / time / 1e9,
        flops / time / 1e9,
        time * 1e6
    );
}

fn attention(tokens: usize, heads: usize, dim: usize, activations: Activations) {
    let mut engine = CpuBackend::new(None).multiplying(activations);
    let op = Op::Attention(Attention {
        scale: 0.1,
        softcap: None,
        causal: false,
        segments: Arc::new([]),
    });
    let shape = vec![tokens, heads, dim];
    let program = program(
        &Arc::new(Vec::new()),
        &[shape.clone(), shape.clone(), shape.clone()],
        op,
    );
    let x = engine
        .upload(&shape, vec![0.1; tokens * heads * dim])
        .expect("room");
    let inputs = vec![x; 3];
    let time = seconds(3, || drop(engine.run(&program, &inputs, None).expect("runs")));
    let flops = 4.0 * (tokens * tokens * heads * dim) as f64;
    println!(
        "attention {shape:?} with {activations:?}: {:.1} GFLOP/s {:.1} ms",
        flops / time / 1e9,
        time * 1e3
    );
}

fn decode(past: usize, heads: usize, kv_heads: usize, dim: usize, kind: KeyValueType) {
    let mut engine = CpuBackend::new(None).storing(kind);
    let attend = |rows: usize| {
        let op = Op::Attend(CachedAttention {
            layer: 0,
            scale: 0.1,
            softcap: None,
            window: None,
            value_dim: None,
        });
        let kv = vec![rows, kv_heads, dim];
        let types = [vec![rows, heads, dim], kv.clone(), kv].map(ValueType::float);
        recorded(batch(rows), types.into(), &Arc::default(), |recorder| {
            let inputs = recorder.input_values();
            vec![recorder.push(op, &inputs, None).expect("the shapes fit")]
        })
    };
    let sequence = engine.new_sequence();
    let step = |engine: &mut CpuBackend, program: &Program, past: usize, rows: usize| {
        let inputs: Vec<_> = program
            .inputs
            .iter()
            .map(|input| engine.upload(&input.shape, vec![0.1; input.len()]).expect("room"))
            .collect();
        let step = step(sequence, past, rows);
        engine.run(program, &inputs, Some(&step)).expect("runs");
    };
    step(&mut engine, &attend(past), 0, past);
    let one = attend(1);
    let mut at = past;
    let time = seconds(20, || {
        step(&mut engine, &one, at, 1);
        at += 1;
    });
    println!(
        "decode over {past} tokens in {}, {heads}/{kv_heads} heads of {dim}: {:.1} us",
        kind.name(),
        time * 1e6
    );
}

/// The parts, by name.
const PARTS: [(&str, fn()); 7] = [
    ("pool", pool),
    ("dense", dense),
    ("quantised", quantised),
    ("small", small),
    ("together", together),
    ("attention", towers),
    ("decode", caches),
];

fn main() {
    println!("{}", CpuBackend::new(None).device());
    // Cargo adds `--bench`.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    for (name, part) in PARTS {
        if asked.is_empty() || asked.iter().any(|word| word == name) {
            part();
        }
    }
}

fn pool() {
    let threads = Threads::new(std::thread::available_parallelism().map_or(1, usize::from));
    let calls = 10_000;
    let time = seconds(3, || {
        for _ in 0..calls {
            threads.parallel(2 * threads.count(), |chunk| {
                std::hint::black_box(chunk);
            });
        }
    });
    println!("pool: {:.2} us a call", time / f64::from(calls) * 1e6);
}

fn dense() {
    for (what, kind) in [
        ("f32", StoredType::F32),
        ("f16", StoredType::F16),
        ("bf16", StoredType::BF16),
    ] {
        let matrix = Matrix::Dense(tensor(kind, vec![2048, 2048]));
        for tokens in [1, 4, 512] {
            linear(what, &matrix, tokens, Activations::Floats);
        }
    }
    for [rows, columns] in [[2048, 2048], [576, 576], [1536, 576], [576, 1536], [49152, 576]] {
        let matrix = Matrix::Dense(tensor(StoredType::BF16, vec![rows, columns]));
        for activations in [Activations::Floats, Activations::Bf16] {
            linear("bf16", &matrix, 512, activations);
        }
    }
    let small = Matrix::Dense(tensor(StoredType::BF16, vec![576, 576]));
    linear("bf16", &small, 1, Activations::Floats);
}

fn quantised() {
    for activations in [Activations::Floats, Activations::Integers] {
        for bits in [2, 3, 4, 5, 6, 8] {
            linear(&format!("q{bits}"), &affine(2048, 2048, bits), 1, activations);
        }
        for tokens in [2, 4, 8, 16, 512] {
            linear("q4", &affine(2048, 2048, 4), tokens, activations);
        }
    }
    for scheme in Scheme::ALL {
        let row = 2048 / scheme.elements() * scheme.bytes();
        let blocks = tensor(StoredType::U8, vec![2048, row]);
        for activations in [Activations::Floats, Activations::Integers] {
            for tokens in [1, 8, 512] {
                let matrix = Matrix::Blocks {
                    blocks: blocks.clone(),
                    scheme,
                };
                linear(scheme.name(), &matrix, tokens, activations);
            }
        }
    }
}

/// The matrices of a model of 135 million parameters: a width of 576, 1,536 between, 49,152 tokens.
fn small() {
    for tokens in [1, 8, 512] {
        for [rows, columns] in [[576, 576], [192, 576], [1536, 576], [576, 1536], [49152, 576]] {
            for activations in [Activations::Integers, Activations::Bytes] {
                linear("q4", &affine(rows, columns, 4), tokens, activations);
            }
        }
    }
}

/// Rows of several requests together.
fn together() {
    for (what, kind) in [("f32", StoredType::F32), ("bf16", StoredType::BF16)] {
        for shape in [
            vec![1536, 576],
            vec![576, 1536],
            vec![49152, 576],
            vec![2048, 2048],
        ] {
            let matrix = Matrix::Dense(tensor(kind, shape));
            for tokens in [1, 4, 8, 12, 16, 24, 32, 48, 64] {
                linear(what, &matrix, tokens, Activations::Floats);
            }
        }
    }
}

fn towers() {
    for activations in [Activations::Floats, Activations::Bf16] {
        attention(1024, 12, 64, activations);
        attention(729, 16, 72, activations);
    }
}

fn caches() {
    for kind in [
        KeyValueType::F32,
        KeyValueType::F16,
        KeyValueType::Bf16,
        KeyValueType::Q8,
    ] {
        for past in [1024, 8192] {
            decode(past, 9, 3, 64, kind);
            decode(past, 32, 8, 128, kind);
        }
    }
}
