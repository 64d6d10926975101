//! Memory of the engine, as MLX counts it, and what is computed when.

use std::sync::Arc;

use monocle_mlx::{MlxBackend, Precision};
use monocle_tensor::backend::{Backend, BackendError, SequenceId, Tensor};
use monocle_tensor::operation::{Attention, Binary, CachedAttention, Op, Unary, WeightId};
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::scaled::SmallFloat;
use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};

use crate::batches::{batch, recorded, step};
use crate::support::{Operand, Random, program_of};

/// Keys and values of one token: `[heads, dim]`
const WIDE: [usize; 2] = [8, 128];

fn attending(rows: usize) -> Program {
    let inputs = vec![ValueType::float([rows, WIDE[0], WIDE[1]])];
    recorded(batch(rows), inputs, &Arc::default(), |recorder| {
        let x = recorder.input_values()[0];
        let attention = CachedAttention {
            layer: 0,
            scale: 0.1,
            softcap: None,
            window: None,
            value_dim: None,
        };
        vec![recorder.push(Op::Attend(attention), &[x, x, x], None).unwrap()]
    })
}

fn attend(
    engine: &mut MlxBackend,
    program: &Program,
    sequence: SequenceId,
    past: usize,
    rows: usize,
) -> Tensor {
    let values = Random::new(past as u64).floats(rows * WIDE[0] * WIDE[1]);
    let x = engine.upload(&[rows, WIDE[0], WIDE[1]], values).unwrap();
    engine
        .run(program, &[x], Some(&step(sequence, past, rows)))
        .unwrap()
        .remove(0)
}

/// One matrix of blocks becomes what MLX has kernels for, where that is exact; small floats and uneven levels do not.
#[test]
fn forms_without_a_kernel_are_told() {
    let blocks = |scheme: Scheme| {
        let blocks = StoredTensor {
            name: "weight".to_owned(),
            kind: StoredType::U8,
            shape: vec![2, 256 / scheme.elements() * scheme.bytes()],
            bytes: Bytes::new(vec![0; 2 * 256 / scheme.elements() * scheme.bytes()]),
        };
        let matrix = Matrix::Blocks { blocks, scheme };
        Weight::Linear { matrix, bias: None }
    };
    let weights = [Scheme::Q4_K, Scheme::Q8_0, Scheme::Q4_K].map(blocks);
    for (precision, expected) in [
        (
            Precision::F16,
            [
                "weights in Q4_K: MLX has no kernel for it; they become f16, 2 bytes a number",
                "weights in Q8_0: MLX has no kernel for it; they become its own 8 bits, which loses nothing",
            ],
        ),
        (
            Precision::Bf16,
            [
                "weights in Q4_K: MLX has no kernel for it; they become bf16, 2 bytes a number",
                "weights in Q8_0: MLX has no kernel for it; they become bf16, 2 bytes a number",
            ],
        ),
    ] {
        let mut engine = MlxBackend::new(precision);
        engine.announce(&weights);
        assert_eq!(engine.weight_notes(&weights), expected);
    }
    // MLX's own small floats have a power of two for each 32; others have floats for scales.
    let scaled = |kind: StoredType| {
        let tensor = |kind: StoredType, shape: [usize; 2]| StoredTensor {
            name: "weight".to_owned(),
            kind,
            shape: shape.to_vec(),
            bytes: Bytes::new(vec![0; shape.iter().product::<usize>() * kind.size()]),
        };
        let matrix = Matrix::Scaled {
            elements: tensor(StoredType::F8E4M3, [2, 64]),
            float: SmallFloat::E4M3,
            scales: tensor(kind, [2, 2]),
            block: [1, 32],
        };
        Weight::Linear { matrix, bias: None }
    };
    for (kind, why) in [
        (
            StoredType::F8E8M0,
            "MLX's kernel for it cannot be called through mlx-rs",
        ),
        (StoredType::F32, "MLX has no kernel for it"),
    ] {
        let weights = [scaled(kind)];
        let mut engine = MlxBackend::new(Precision::F16);
        engine.announce(&weights);
        let expected = format!("weights in FP8 (E4M3): {why}; they become f16, 2 bytes a number");
        assert_eq!(engine.weight_notes(&weights), [expected]);
    }
    let plain = Weight::Tensor(StoredTensor {
        name: "norm".to_owned(),
        kind: StoredType::F32,
        shape: vec![1],
        bytes: Bytes::new(vec![0; 4]),
    });
    assert_eq!(
        MlxBackend::new(Precision::F16).weight_notes(&[plain]),
        [] as [&str; 0]
    );
}

#[test]
fn a_cache_with_room_is_not_allocated_anew() {
    let mut engine = MlxBackend::new(Precision::F32);
    let before = engine.memory().active;
    let sequence = engine.new_sequence();
    attend(&mut engine, &attending(300), sequence, 0, 300);
    engine.wait().unwrap();
    // Keys and values of 512 tokens.
    let cache = 2 * 512 * WIDE[0] * WIDE[1] * 4;
    let active = engine.memory().active - before;
    assert!(
        (cache..cache + cache / 16).contains(&active),
        "{active} and not {cache}"
    );
    let one = attending(1);
    for past in 300..512 {
        engine.reset_peak();
        attend(&mut engine, &one, sequence, past, 1);
        engine.wait().unwrap();
        let memory = engine.memory();
        // A copy of the keys alone would take half of the cache.
        assert!(memory.peak - before < cache + cache / 4, "at {past}: {memory:?}");
    }
    // One more token than there is room for.
    attend(&mut engine, &one, sequence, 512, 1);
    engine.wait().unwrap();
    let active = engine.memory().active - before;
    assert!(
        (cache * 3 / 2..cache * 13 / 8).contains(&active),
        "{active} and not {cache} and a half"
    );
    engine.drop_sequence(sequence);
    assert!(engine.memory().active - before < cache / 16);
    engine.clear_cache();
    assert_eq!(engine.memory().cached, 0);
}

#[test]
fn attention_takes_no_memory_quadratic_in_tokens() {
    const TOKENS: usize = 12_000;
    let mut engine = MlxBackend::new(Precision::F32);
    let x = Operand::Floats(vec![TOKENS, 1, 8], Random::new(1).floats(TOKENS * 8));
    for (segments, softcap) in [(vec![0, 1000, TOKENS as u32], None), (Vec::new(), Some(5.0))] {
        let attention = Op::Attention(Attention {
            scale: 0.3,
            softcap,
            causal: softcap.is_some(),
            segments: segments.into(),
        });
        let operands = [x.clone(), x.clone(), x.clone()];
        let (program, inputs) = program_of(attention, &operands, None, &Arc::default(), None);
        let inputs: Vec<Tensor> = inputs
            .iter()
            .map(|(shape, values)| engine.upload(shape, values.clone()).unwrap())
            .collect();
        engine.reset_peak();
        let before = engine.memory().active;
        let out = engine.run(&program, &inputs, None).unwrap();
        assert!(engine.download(&out[0]).unwrap().iter().all(|x| x.is_finite()));
        // Scores alone would take 4 bytes a pair of tokens: 576 MB.
        let peak = engine.memory().peak - before;
        assert!(peak < TOKENS * TOKENS * 4 / 3, "{peak} bytes");
    }
}

fn table(name: &str, rows: usize, columns: usize) -> StoredTensor {
    let values = Random::new(3).floats(rows * columns);
    StoredTensor {
        name: name.to_owned(),
        kind: StoredType::F32,
        shape: vec![rows, columns],
        bytes: Bytes::new(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect::<Vec<u8>>(),
        ),
    }
}

#[test]
fn weights_that_two_roles_share_are_loaded_once() {
    let stored = table("tied", 512, 256);
    let weights = Arc::new(vec![
        Weight::Embedding(Matrix::Dense(stored.clone())),
        Weight::Linear {
            matrix: Matrix::Dense(stored),
            bias: None,
        },
    ]);
    for (precision, bytes) in [
        (Precision::F32, 512 * 256 * 4),
        (Precision::Bf16, 512 * 256 * 2),
        (Precision::F16, 512 * 256 * 2),
    ] {
        let mut engine = MlxBackend::new(precision);
        let before = engine.memory().active;
        engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
        assert_eq!(engine.weight_bytes(&weights), bytes);
        let active = engine.memory().active - before;
        assert!(
            (bytes..bytes + bytes / 16).contains(&active),
            "{active} and not {bytes}"
        );
    }
}

/// What floats are computed in follows what most of them are stored in, before anything is loaded.
#[test]
fn stored_floats_say_the_precision() {
    let matrix = |kind, rows| {
        let bytes = Bytes::new(vec![0_u8; rows * 8 * StoredType::size(kind)]);
        let stored = StoredTensor {
            name: "matrix".to_owned(),
            kind,
            shape: vec![rows, 8],
            bytes,
        };
        Weight::Linear {
            matrix: Matrix::Dense(stored),
            bias: None,
        }
    };
    use StoredType::{BF16, F16, F32};
    let cases = [
        (vec![], "f32", 0),
        (vec![matrix(BF16, 5), matrix(F32, 4)], "bf16", 72 * 2),
        (vec![matrix(BF16, 4), matrix(F32, 5)], "f32", 72 * 4),
        (vec![matrix(BF16, 4), matrix(F32, 4)], "f32", 64 * 4),
        (
            vec![matrix(F16, 2), matrix(F16, 3), matrix(BF16, 4)],
            "f16",
            72 * 2,
        ),
    ];
    for (weights, float, bytes) in cases {
        let mut engine = MlxBackend::new(Precision::Stored);
        engine.announce(&weights);
        assert!(
            engine.device().ends_with(float),
            "{} and not {float}",
            engine.device()
        );
        assert_eq!(engine.weight_bytes(&weights), bytes);
        // What is asked for goes before.
        let mut engine = MlxBackend::new(Precision::F16);
        engine.announce(&weights);
        assert!(engine.device().ends_with(" f16"), "{}", engine.device());
    }
}

/// Indices that only the device knows may be anything: they stay within the table, and nothing else is read.
#[test]
fn computed_indices_are_held_within_bounds() {
    let mut engine = MlxBackend::new(Precision::F32);
    let weights = Arc::new(vec![Weight::Embedding(Matrix::Dense(table("table", 4, 2)))]);
    engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
    let wild = vec![-1e30, -1.0, 1.0, 3.9, 4.0, 1e9, 1e30, f32::NAN];
    let expected = [0, 0, 1, 3, 3, 3, 3, 0];
    let inputs = vec![ValueType::float([wild.len()])];
    let program = recorded(batch(1), inputs, &weights, |recorder| {
        let x = recorder.input_values()[0];
        let indices = recorder.push(Op::ToInt, &[x], None).unwrap();
        vec![recorder.push(Op::Embed(WeightId(0)), &[indices], None).unwrap()]
    });
    let x = engine.upload(&[wild.len()], wild).unwrap();
    let sequence = engine.new_sequence();
    let out = engine.run(&program, &[x], Some(&step(sequence, 0, 1))).unwrap();
    let found = engine.download(&out[0]).unwrap();
    let rows = Random::new(3).floats(8);
    let expected: Vec<f32> = expected
        .iter()
        .flat_map(|row| rows[row * 2..][..2].to_vec())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn another_engines_tensors_are_refused() {
    let mut engine = MlxBackend::new(Precision::F32);
    let foreign = monocle_cpu::CpuBackend::new(Some(1))
        .upload(&[1], vec![1.0])
        .unwrap();
    let operands = [Operand::Floats(vec![1], vec![1.0])];
    let (program, _) = program_of(Op::Softmax, &operands, None, &Arc::default(), None);
    let refused = engine.run(&program, std::slice::from_ref(&foreign), None);
    assert!(matches!(refused, Err(BackendError::Input(_))), "{refused:?}");
    assert!(matches!(engine.download(&foreign), Err(BackendError::Input(_))));
}

/// A long chain of large results: what is dead is freed while the rest is still asked for.
#[test]
fn results_that_are_dead_do_not_pile_up() {
    const ELEMENTS: usize = 1 << 20;
    const LENGTH: usize = 64;
    let mut engine = MlxBackend::new(Precision::F32);
    let program = recorded(
        batch(2),
        vec![ValueType::float([ELEMENTS])],
        &Arc::default(),
        |recorder| {
            let mut x = recorder.input_values()[0];
            for _ in 0..LENGTH {
                // Two operands, or MLX would write every result over the one before.
                let y = recorder.push(Op::Unary(Unary::Sine), &[x], None).unwrap();
                x = recorder.push(Op::Binary(Binary::Add), &[x, y], None).unwrap();
            }
            vec![x]
        },
    );
    let x = engine.upload(&[ELEMENTS], vec![0.5; ELEMENTS]).unwrap();
    engine.wait().unwrap();
    let sequence = engine.new_sequence();
    let before = engine.memory().active;
    engine.reset_peak();
    let out = engine.run(&program, &[x], Some(&step(sequence, 0, 2))).unwrap();
    engine.wait().unwrap();
    let peak = engine.memory().peak - before;
    // 128 results of 4 MB: a few at a time.
    assert!(
        peak < 8 * ELEMENTS * 4,
        "{} results at once",
        peak / (ELEMENTS * 4)
    );
    // x + sin(x), again and again, comes to pi.
    let found = engine.download(&out[0]).unwrap()[0];
    assert!((found - std::f32::consts::PI).abs() < 1e-5, "{found}");
}

/// The loop reads a token while the next step is computed. What is being computed takes memory, by which it is seen here.
#[test]
fn a_result_is_read_while_later_work_runs() {
    const SIDE: usize = 512;
    const PRODUCTS: usize = 24;
    let mut engine = MlxBackend::new(Precision::F32);
    let square = ValueType::float([SIDE, SIDE]);
    let first = recorded(batch(1), vec![square.clone()], &Arc::default(), |recorder| {
        let x = recorder.input_values()[0];
        vec![recorder.push(Op::Unary(Unary::Negate), &[x], None).unwrap()]
    });
    let later = recorded(batch(1), vec![square], &Arc::default(), |recorder| {
        let x = recorder.input_values()[0];
        let product = Op::MatMul {
            transpose_right: false,
        };
        let last = (0..PRODUCTS).fold(x, |y, _| recorder.push(product.clone(), &[y, x], None).unwrap());
        vec![last]
    });
    let x = engine.upload(&[SIDE, SIDE], vec![0.5; SIDE * SIDE]).unwrap();
    let sequences = [engine.new_sequence(), engine.new_sequence()];
    let read = engine
        .run(&first, std::slice::from_ref(&x), Some(&step(sequences[0], 0, 1)))
        .unwrap();
    let _running = engine.run(&later, &[x], Some(&step(sequences[1], 0, 1))).unwrap();
    assert_eq!(engine.download(&read[0]).unwrap()[0], -0.5);
    let meanwhile = engine.memory().active;
    engine.wait().unwrap();
    let after = engine.memory().active;
    assert!(
        meanwhile > after + 4 * SIDE * SIDE * 4,
        "{meanwhile} bytes while running, {after} after"
    );
}
