//! How caches store keys and values: rows see what is stored, and a window's cache forgets what it hides.

use std::sync::Arc;

use half::{bf16, f16};
use monocle_cpu::{CpuBackend, Instructions};
use monocle_tensor::backend::{Backend, BackendError, KeyValueType, SequenceId};
use monocle_tensor::operation::{CachedAttention, Op};
use monocle_tensor::program::{Program, ValueType};

use crate::batches::{batch, recorded, step};
use crate::support::{Random, assert_close};

const KINDS: [KeyValueType; 4] = [
    KeyValueType::F32,
    KeyValueType::Bf16,
    KeyValueType::F16,
    KeyValueType::Q8,
];

/// Sizes that fill neither vectors nor groups of 32, and those that do.
const SHAPES: [Shape; 3] = [
    Shape {
        heads: 6,
        kv_heads: 2,
        dim: 20,
        value_dim: 44,
    },
    Shape {
        heads: 3,
        kv_heads: 3,
        dim: 64,
        value_dim: 64,
    },
    Shape {
        heads: 2,
        kv_heads: 1,
        dim: 1,
        value_dim: 3,
    },
];

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    value_dim: usize,
}

/// Queries, keys and values of some tokens.
struct Tokens {
    shape: Shape,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Tokens {
    fn new(shape: Shape, count: usize) -> Self {
        let mut random = Random::new(7);
        let mut floats = |width: usize| random.floats(count * width).iter().map(|x| x * 3.0).collect();
        Self {
            shape,
            q: floats(shape.heads * shape.dim),
            k: floats(shape.kv_heads * shape.dim),
            v: floats(shape.kv_heads * shape.value_dim),
        }
    }

    /// What attention gives for each row, in 64 bits, over keys and values that were stored so.
    fn expected(&self, kind: KeyValueType, rows: usize, window: Option<u32>) -> Vec<Vec<f32>> {
        let heads = |x: &[f32], dim: usize| x.chunks(dim).flat_map(|x| stored(kind, x)).collect::<Vec<_>>();
        let (k, v) = (
            heads(&self.k, self.shape.dim),
            heads(&self.v, self.shape.value_dim),
        );
        (0..rows).map(|row| self.row(&k, &v, row, window)).collect()
    }

    fn row(&self, k: &[f64], v: &[f64], row: usize, window: Option<u32>) -> Vec<f32> {
        let Shape {
            heads,
            kv_heads,
            dim,
            value_dim,
        } = self.shape;
        let first = window.map_or(0, |window| (row + 1).saturating_sub(window as usize));
        let mut out = Vec::new();
        for head in 0..heads {
            let kv_head = head / (heads / kv_heads);
            let q = &self.q[(row * heads + head) * dim..][..dim];
            let mut sums = vec![0.0_f64; value_dim];
            let mut total = 0.0;
            for token in first..=row {
                let k = &k[(token * kv_heads + kv_head) * dim..][..dim];
                let v = &v[(token * kv_heads + kv_head) * value_dim..][..value_dim];
                let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * k).sum();
                let weight = (dot * 0.25).exp();
                total += weight;
                sums.iter_mut().zip(v).for_each(|(sum, v)| *sum += weight * v);
            }
            out.extend(sums.iter().map(|sum| (sum / total) as f32));
        }
        out
    }
}

/// What is left of numbers once they were stored.
fn stored(kind: KeyValueType, x: &[f32]) -> Vec<f64> {
    match kind {
        KeyValueType::F32 => x.iter().map(|x| f64::from(*x)).collect(),
        KeyValueType::Bf16 => x.iter().map(|x| bf16::from_f32(*x).to_f64()).collect(),
        KeyValueType::F16 => x.iter().map(|x| f16::from_f32(*x).to_f64()).collect(),
        KeyValueType::Q8 => x
            .chunks(32)
            .flat_map(|group| {
                let largest = group.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
                group
                    .iter()
                    .map(move |x| (f64::from(*x) / largest * 127.0).round() * largest / 127.0)
            })
            .collect(),
    }
}

fn program(shape: Shape, rows: usize, window: Option<u32>) -> Program {
    let Shape {
        heads,
        kv_heads,
        dim,
        value_dim,
    } = shape;
    let inputs = vec![
        ValueType::float([rows, heads, dim]),
        ValueType::float([rows, kv_heads, dim]),
        ValueType::float([rows, kv_heads, value_dim]),
    ];
    recorded(batch(rows), inputs, &Arc::default(), |recorder| {
        let attention = CachedAttention {
            layer: 1,
            scale: 0.25,
            softcap: None,
            window,
            value_dim: None,
        };
        let inputs = recorder.input_values();
        vec![recorder.push(Op::Attend(attention), &inputs, None).unwrap()]
    })
}

/// Runs so many rows after those that the sequence holds.
fn attend(
    engine: &mut dyn Backend,
    sequence: SequenceId,
    tokens: &Tokens,
    window: Option<u32>,
    past: usize,
    rows: usize,
) -> Result<Vec<f32>, BackendError> {
    let program = program(tokens.shape, rows, window);
    let all = [&tokens.q, &tokens.k, &tokens.v];
    let mut inputs = Vec::new();
    for (input, values) in program.inputs.iter().zip(all) {
        let width = input.len() / rows;
        let values = values[past * width..(past + rows) * width].to_vec();
        inputs.push(engine.upload(&input.shape, values)?);
    }
    let outputs = engine.run(&program, &inputs, Some(&step(sequence, past, rows)))?;
    engine.download(&outputs[0])
}

fn engines(kind: KeyValueType) -> Vec<CpuBackend> {
    Instructions::available()
        .into_iter()
        .map(|instructions| {
            let engine = CpuBackend::with_instructions(Some(2), instructions);
            engine.expect("it is available").storing(kind)
        })
        .collect()
}

/// Steps of many rows, some and few, within a piece of keys and beyond; a row sees the stored form of its own step's keys, too.
#[test]
fn rows_see_what_is_stored() {
    for kind in KINDS {
        for shape in SHAPES {
            let tokens = Tokens::new(shape, 1051);
            let expected = tokens.expected(kind, 1051, None);
            for mut engine in engines(kind) {
                let sequence = engine.new_sequence();
                let mut past = 0;
                for rows in [2, 70, 1, 3, 220, 1, 4, 250, 1, 3, 460, 5, 11, 16, 4] {
                    let found = attend(&mut engine, sequence, &tokens, None, past, rows).unwrap();
                    let what = format!("{} {} rows after {past}", kind.name(), rows);
                    assert_close(&what, &found, &expected[past..past + rows].concat(), 2e-5);
                    past += rows;
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_attends_in_the_same_order() {
    for (kind, shape) in KINDS
        .into_iter()
        .flat_map(|kind| SHAPES.map(|shape| (kind, shape)))
    {
        let tokens = Tokens::new(shape, 1100);
        let mut results = [1, 2, 5].map(|threads| {
            let mut engine = CpuBackend::new(Some(threads)).storing(kind);
            let sequence = engine.new_sequence();
            attend(&mut engine, sequence, &tokens, None, 0, 1050).unwrap();
            let mut found = attend(&mut engine, sequence, &tokens, None, 1050, 1).unwrap();
            found.extend(attend(&mut engine, sequence, &tokens, None, 1051, 7).unwrap());
            found
        });
        let first = std::mem::take(&mut results[0]);
        for other in &results[1..] {
            assert!(
                first.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{}",
                kind.name()
            );
        }
    }
}

/// 65 504 is the largest f16; 8 bits have no largest.
#[test]
fn large_numbers_stay_numbers() {
    let shape = Shape {
        heads: 1,
        kv_heads: 1,
        dim: 8,
        value_dim: 8,
    };
    let mut tokens = Tokens::new(shape, 1);
    tokens.v = vec![1e6, -1e6, 65504.0, 0.0, 1.0, 65536.0, -7e4, 2.0];
    for (kind, largest) in [(KeyValueType::F16, 65504.0), (KeyValueType::Q8, 1e6)] {
        for mut engine in engines(kind) {
            let sequence = engine.new_sequence();
            let found = attend(&mut engine, sequence, &tokens, None, 0, 1).unwrap();
            assert_eq!(found[..2], [largest, -largest], "{}", kind.name());
            assert!(found.iter().all(|x| x.is_finite()));
        }
    }
    tokens.v[3] = f32::NAN;
    for kind in KINDS {
        let mut engine = CpuBackend::new(Some(1)).storing(kind);
        let sequence = engine.new_sequence();
        let found = attend(&mut engine, sequence, &tokens, None, 0, 1).unwrap();
        assert!(found[3].is_nan(), "{}", kind.name());
    }
}

/// Values that are the first elements of the keys are stored once, and give what they give when they are stored again. (Two groups of 32
/// elements share no scale.)
#[test]
fn values_may_be_a_part_of_the_keys() {
    let shape = Shape {
        heads: 4,
        kv_heads: 1,
        dim: 48,
        value_dim: 32,
    };
    let mut tokens = Tokens::new(shape, 640);
    tokens.v = tokens.k.chunks(48).flat_map(|k| &k[..32]).copied().collect();
    let latent = |rows: usize| {
        let inputs = vec![
            ValueType::float([rows, shape.heads, shape.dim]),
            ValueType::float([rows, 1, shape.dim]),
        ];
        recorded(batch(rows), inputs, &Arc::default(), |recorder| {
            let attention = CachedAttention {
                layer: 1,
                scale: 0.25,
                softcap: None,
                window: None,
                value_dim: Some(32),
            };
            let inputs = recorder.input_values();
            vec![recorder.push(Op::Attend(attention), &inputs, None).unwrap()]
        })
    };
    for kind in KINDS {
        for mut engine in engines(kind) {
            let [apart, together] = [engine.new_sequence(), engine.new_sequence()];
            let mut past = 0;
            for rows in [2, 70, 1, 3, 220, 1, 343] {
                let expected = attend(&mut engine, apart, &tokens, None, past, rows).unwrap();
                let program = latent(rows);
                let mut inputs = Vec::new();
                for (input, values) in program.inputs.iter().zip([&tokens.q, &tokens.k]) {
                    let width = input.len() / rows;
                    let values = values[past * width..(past + rows) * width].to_vec();
                    inputs.push(engine.upload(&input.shape, values).unwrap());
                }
                let outputs = engine.run(&program, &inputs, Some(&step(together, past, rows)));
                let found = engine.download(&outputs.unwrap()[0]).unwrap();
                assert!(
                    found
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{} {rows} rows after {past}",
                    kind.name()
                );
                past += rows;
            }
            engine.drop_sequence(apart);
            // 640 tokens of 48 elements, and at most an eighth more.
            let active = engine.memory().active as f64;
            let scales = if kind == KeyValueType::Q8 { 2.0 * 4.0 } else { 0.0 };
            let bytes = match kind {
                KeyValueType::F32 => 4.0,
                KeyValueType::Bf16 | KeyValueType::F16 => 2.0,
                KeyValueType::Q8 => 1.0,
            };
            let exact = 640.0 * (48.0 * bytes + scales);
            assert!(
                (exact..=exact * 1.125).contains(&active),
                "{} {active} {exact}",
                kind.name()
            );
            let estimate = engine.cache_bytes(&latent(343), 640) as f64;
            assert!(
                (active..active + 50_000.0).contains(&estimate),
                "{active} {estimate}"
            );
        }
    }
}

#[test]
fn memory_is_what_the_estimate_says() {
    let shape = SHAPES[0];
    let tokens = Tokens::new(shape, 640);
    // 640 tokens of two heads; each block of 64 has at most an eighth more room than it needs.
    let element = |kind| match kind {
        KeyValueType::F32 => 4.0,
        KeyValueType::Bf16 | KeyValueType::F16 => 2.0,
        // 20 and 44 elements have one and two scales.
        KeyValueType::Q8 => 1.0 + 4.0 * 3.0 / 64.0,
    };
    for kind in KINDS {
        let mut engine = CpuBackend::new(Some(1)).storing(kind);
        let sequence = engine.new_sequence();
        attend(&mut engine, sequence, &tokens, None, 0, 640).unwrap();
        let active = engine.memory().active;
        let exact = 640.0 * 2.0 * 64.0 * element(kind);
        assert!(
            (exact..=exact * 1.125).contains(&(active as f64)),
            "{active} {exact}"
        );
        let estimate = engine.cache_bytes(&program(shape, 640, None), 640);
        assert!(
            (active..active + 50_000).contains(&estimate),
            "{active} {estimate}"
        );
    }
}

#[test]
fn a_window_keeps_what_it_sees() {
    let (shape, window) = (SHAPES[0], Some(90));
    let tokens = Tokens::new(shape, 2000);
    for kind in [KeyValueType::F32, KeyValueType::Q8] {
        let expected = tokens.expected(kind, 2000, window);
        for mut engine in engines(kind) {
            let sequence = engine.new_sequence();
            let mut past = 0;
            let check = |engine: &mut CpuBackend, sequence, past, rows| {
                let found = attend(engine, sequence, &tokens, window, past, rows).unwrap();
                let expected = expected[past..past + rows].concat();
                assert_close(&format!("{rows} rows after {past}"), &found, &expected, 2e-5);
                let bound = engine.cache_bytes(&program(shape, rows, window), past + rows);
                let active = engine.memory().active;
                assert!(
                    active <= bound,
                    "{active} bytes after {past}, at most {bound} expected"
                );
            };
            for rows in [300, 1, 200, 1, 3, 500, 1, 1] {
                check(&mut engine, sequence, past, rows);
                past += rows;
            }
            // Whatever the sequence's length, the cache holds the window, the slack and parts of blocks.
            let short = engine.memory().active;
            for rows in [400, 1, 1] {
                check(&mut engine, sequence, past, rows);
                past += rows;
            }
            assert!(engine.memory().active <= short + 64 * 128 * 4 * 2, "it has grown");

            // Back before the last step, and by a little more; not to where the window's tokens are gone.
            assert!(engine.truncate(sequence, past - 1).unwrap());
            check(&mut engine, sequence, past - 1, 5);
            assert!(engine.truncate(sequence, past - 60).unwrap());
            past -= 60;
            check(&mut engine, sequence, past, 2);
            assert_eq!(engine.fork(sequence, 400).unwrap(), None);
            let fork = engine
                .fork(sequence, past - 1)
                .unwrap()
                .expect("its window is there");
            check(&mut engine, fork, past - 1, 3);
            check(&mut engine, sequence, past + 2, 1);
            engine.drop_sequence(fork);
            assert!(!engine.truncate(sequence, 400).unwrap());
            assert!(engine.truncate(sequence, 0).unwrap());
            check(&mut engine, sequence, 0, 70);
        }
    }
}

/// What is gone is never taken for zeros: a plugin that changes its mind about a window is told.
#[test]
fn what_a_window_hid_cannot_be_seen_again() {
    let tokens = Tokens::new(SHAPES[0], 600);
    let mut engine = CpuBackend::new(Some(1));
    let sequence = engine.new_sequence();
    attend(&mut engine, sequence, &tokens, Some(10), 0, 500).unwrap();
    attend(&mut engine, sequence, &tokens, Some(10), 500, 1).unwrap();
    let error = attend(&mut engine, sequence, &tokens, None, 501, 1).unwrap_err();
    assert!(
        matches!(&error, BackendError::Sequence(reason) if reason.contains("keeps its tokens from 384 on")),
        "{error}"
    );
}
