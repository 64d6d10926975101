//! Matrices of bf16 times activations that are rounded to bf16: the products of rounded numbers, by every kernel; and attention of many rows.

use std::sync::Arc;

use half::bf16;
use monocle_cpu::{Activations, CpuBackend, Instructions};
use monocle_tensor::backend::Backend;
use monocle_tensor::operation::{Attention, Op};
use monocle_tensor::stored::{StoredTensor, StoredType, Weight};
use proptest::prelude::*;

use crate::integers::multiply;
use crate::matrices::{dense, product};
use crate::support::{Operand, Random, assert_close, program_of, run};

fn engines() -> Vec<CpuBackend> {
    let engine =
        |instructions| CpuBackend::with_instructions(Some(2), instructions).expect("it is available");
    let available = Instructions::available().into_iter();
    available
        .map(|instructions| engine(instructions).multiplying(Activations::Bf16))
        .collect()
}

fn rounded(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Few rows and many, of any length, with a bias or without; blocks of inner elements are 256, those of rows 768.
    #[test]
    fn products_are_those_of_rounded_numbers(
        seed in 0_u64..1 << 40,
        rows in prop_oneof![1_usize..20, 60_usize..140, Just(770)],
        n in 1_usize..120,
        k in prop_oneof![1_usize..80, 250_usize..270, Just(520)],
        has_bias: bool,
    ) {
        let mut random = Random::new(seed);
        let (matrix, values) = dense(&mut random, StoredType::BF16, n, k);
        let (bias, bias_values) = dense(&mut random, StoredType::F32, 1, n);
        let bias = bias.parts().next().cloned().map(|bias| StoredTensor { shape: vec![n], ..bias });
        let weights = Arc::new(vec![Weight::Linear { matrix, bias: bias.filter(|_| has_bias) }]);
        let x = random.floats(rows * k);
        let expected = product(&rounded(&x), &values, has_bias.then_some(&bias_values[..]), k);
        // Sums of k products, in 32 bits.
        let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let tolerance = f32::EPSILON * largest * k as f32 * 2.0 + 1e-6;
        for mut engine in engines() {
            let found = multiply(&mut engine, &weights, &x, k);
            let what = format!("{rows} rows of {k}, {n} outputs on {}", engine.device());
            assert_close(&what, &found, &expected, tolerance);
        }
    }
}

/// Whole numbers up to 256 lose nothing, and neither do their sums; what lies between two of 8 bits goes to the even one.
#[test]
fn whole_numbers_are_multiplied_exactly() {
    let (rows, n, k) = (70, 50, 64);
    let mut random = Random::new(11);
    let weights: Vec<f32> = (0..n * k).map(|_| random.below(17) as f32 - 8.0).collect();
    let bytes = weights
        .iter()
        .flat_map(|weight| bf16::from_f32(*weight).to_le_bytes());
    let matrix = monocle_tensor::stored::Matrix::Dense(StoredTensor {
        name: "weight".to_owned(),
        kind: StoredType::BF16,
        shape: vec![n, k],
        bytes: monocle_tensor::stored::Bytes::new(bytes.collect::<Vec<u8>>()),
    });
    let stored = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
    // Every eighth is 257 or 259, halfway between numbers of bf16.
    let x: Vec<f32> = (0..rows * k)
        .map(|at| match at % 8 {
            0 => [257.0, 259.0][at / 8 % 2],
            _ => random.below(513) as f32 - 256.0,
        })
        .collect();
    let seen = |x: f32| match x {
        257.0 => 256.0,
        259.0 => 260.0,
        x => x,
    };
    let expected: Vec<f32> = (0..rows * n)
        .map(|at| {
            let [row, output] = [at / n, at % n];
            (0..k)
                .map(|inner| seen(x[row * k + inner]) * weights[output * k + inner])
                .sum()
        })
        .collect();
    for mut engine in engines() {
        assert_eq!(
            multiply(&mut engine, &stored, &x, k),
            expected,
            "{}",
            engine.device()
        );
    }
}

#[test]
fn what_is_not_a_number_stays_none() {
    let mut random = Random::new(12);
    let (matrix, _) = dense(&mut random, StoredType::BF16, 9, 32);
    let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
    for rows in [1, 80] {
        let mut x = vec![0.0; rows * 32];
        x[3] = f32::NAN;
        for mut engine in engines() {
            let found = multiply(&mut engine, &weights, &x, 32);
            assert!(found[..9].iter().all(|x| x.is_nan()), "{found:?}");
            assert!(found[9..].iter().all(|x| *x == 0.0), "other rows");
        }
    }
}

/// Queries, keys and values of one attention, `[rows, heads, dim]` each, keys and values of fewer heads.
struct Attended {
    rows: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    value_dim: usize,
    causal: bool,
    softcap: Option<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

const SCALE: f32 = 0.25;

impl Attended {
    fn by(&self, engine: &mut CpuBackend) -> Vec<f32> {
        let op = Op::Attention(Attention {
            scale: SCALE,
            softcap: self.softcap,
            causal: self.causal,
            segments: Arc::default(),
        });
        let operand =
            |values: &[f32], heads, dim| Operand::Floats(vec![1, self.rows, heads, dim], values.to_vec());
        let operands = [
            operand(&self.q, self.heads, self.dim),
            operand(&self.k, self.kv_heads, self.dim),
            operand(&self.v, self.kv_heads, self.value_dim),
        ];
        let (program, inputs) = program_of(op, &operands, None, &Arc::default(), None);
        run(engine, &program, &inputs, None).unwrap()
    }

    /// By hand, in double precision, of numbers that are rounded to bf16; weights are not.
    fn expected(&self) -> Vec<f32> {
        let [k, v] = [rounded(&self.k), rounded(&self.v)];
        let q: Vec<f32> = self.q.iter().map(|q| q * SCALE).collect();
        let q = rounded(&q);
        let group = self.heads / self.kv_heads;
        let mut out = Vec::new();
        for (row, head) in (0..self.rows).flat_map(|row| (0..self.heads).map(move |head| (row, head))) {
            let q = &q[(row * self.heads + head) * self.dim..][..self.dim];
            let seen = if self.causal { row + 1 } else { self.rows };
            let at = |key: usize| key * self.kv_heads + head / group;
            let score = |key: usize| -> f64 {
                let k = &k[at(key) * self.dim..][..self.dim];
                let score: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                match self.softcap {
                    Some(cap) => f64::from(cap) * (score / f64::from(cap)).tanh(),
                    None => score,
                }
            };
            let scores: Vec<f64> = (0..seen).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            for column in 0..self.value_dim {
                let of = |key: usize| f64::from(v[at(key) * self.value_dim + column]);
                let sum: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(key, weight)| weight * of(key))
                    .sum();
                out.push((sum / total) as f32);
            }
        }
        out
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Numbers that are rounded already: what differs is the rounding of weights, of half a step of 1 / 128 of each at most.
    #[test]
    fn attention_of_many_rows_is_near_that_of_rounded_numbers(
        seed in 0_u64..1 << 40,
        rows in 17_usize..150,
        kv_heads in 1_usize..3,
        group in 1_usize..4,
        dim in prop::sample::select(vec![8_usize, 16, 18, 31, 64, 72, 80]),
        value_dim in prop::sample::select(vec![1_usize, 16, 24, 64, 72, 100]),
        causal: bool,
        has_softcap: bool,
    ) {
        let mut random = Random::new(seed);
        let heads = kv_heads * group;
        let mut floats = |count: usize| rounded(&random.floats(count));
        let attended = Attended {
            rows,
            heads,
            kv_heads,
            dim,
            value_dim,
            causal,
            softcap: has_softcap.then_some(1.5),
            q: floats(rows * heads * dim),
            k: floats(rows * kv_heads * dim),
            v: floats(rows * kv_heads * value_dim),
        };
        let expected = attended.expected();
        for mut engine in engines() {
            let found = attended.by(&mut engine);
            let what = format!("{rows} rows, {heads}/{kv_heads} heads of {dim} and {value_dim} on {}", engine.device());
            assert_close(&what, &found, &expected, 1.0 / 256.0);
        }
    }
}

/// Each row sees one key alone, as all others' scores are far below: it gets that key's values, to the last bit.
#[test]
fn a_row_that_sees_one_key_gets_its_values() {
    let (rows, dim) = (80, 96);
    let mut random = Random::new(13);
    let mut k = vec![0.0; rows * dim];
    let mut q = vec![0.0; rows * dim];
    for row in 0..rows {
        k[row * dim + row] = 1.0;
        // Row `r` looks for key `79 - r`.
        q[row * dim + rows - 1 - row] = 1024.0;
    }
    let v = rounded(&random.floats(rows * dim));
    let expected: Vec<f32> = (0..rows)
        .flat_map(|row| v[(rows - 1 - row) * dim..][..dim].to_vec())
        .collect();
    let attended = Attended {
        rows,
        heads: 1,
        kv_heads: 1,
        dim,
        value_dim: dim,
        causal: false,
        softcap: None,
        q,
        k,
        v,
    };
    for mut engine in engines() {
        assert_eq!(attended.by(&mut engine), expected, "{}", engine.device());
    }
}
