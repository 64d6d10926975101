//! Matrices of bf16 times activations that are rounded to bf16: the products of rounded numbers, by every kernel.

use std::sync::Arc;

use half::bf16;
use monocle_cpu::{Activations, CpuBackend, Instructions};
use monocle_tensor::backend::Backend;
use monocle_tensor::stored::{StoredTensor, StoredType, Weight};
use proptest::prelude::*;

use crate::integers::multiply;
use crate::matrices::{dense, product};
use crate::support::{Random, assert_close};

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
