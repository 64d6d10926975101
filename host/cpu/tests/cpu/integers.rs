//! Quantised matrices times rounded activations: near the exact product, and the same bits by every kernel, for any number of rows and threads.

use std::sync::Arc;

use monocle_cpu::{Activations, CpuBackend, Instructions};
use monocle_tensor::backend::Backend;
use monocle_tensor::operation::{Op, Unary, WeightId};
use monocle_tensor::program::ValueType;
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Matrix, StoredTensor, StoredType, Weight};
use proptest::prelude::*;

use crate::matrices::{affine, blocks, dense, product};
use crate::support::{Operand, Random, assert_close, program_of, run};

const BITS: [usize; 6] = [2, 3, 4, 5, 6, 8];
const GROUPS: [usize; 3] = [32, 64, 128];

/// Both widths of integers, and the largest ones.
const WIDTHS: [(Activations, i16); 2] = [(Activations::Integers, 32639), (Activations::Bytes, 127)];

fn engines(threads: &[usize], activations: Activations) -> Vec<CpuBackend> {
    let forms = Instructions::available().into_iter().flat_map(|instructions| {
        let engine = move |threads: &usize| CpuBackend::with_instructions(Some(*threads), instructions);
        threads.iter().map(engine).collect::<Vec<_>>()
    });
    forms
        .map(|engine| engine.expect("it is available").multiplying(activations))
        .collect()
}

/// `x` times the one weight, `[rows, k]`.
pub fn multiply(engine: &mut CpuBackend, weights: &Arc<Vec<Weight>>, x: &[f32], k: usize) -> Vec<f32> {
    engine.load(Arc::clone(weights), &mut |_, _| {}).unwrap();
    let x = Operand::Floats(vec![x.len() / k, k], x.to_vec());
    let (program, inputs) = program_of(Op::Linear(WeightId(0)), &[x], None, weights, None);
    run(engine, &program, &inputs, None).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn products_are_near_the_exact_ones() {
    let mut random = Random::new(5);
    for bits in BITS {
        for group in GROUPS {
            for (kind, [n, k]) in [
                (StoredType::F16, [17, 128]),
                (StoredType::BF16, [5, 384]),
                (StoredType::F32, [49, 640]),
            ] {
                let (matrix, values) = affine(&mut random, kind, [n, k], bits, group);
                let what = format!("{bits} bits, groups of {group}");
                check_nearness(&mut random, &what, matrix, &values, [n, k]);
            }
        }
    }
}

#[test]
fn products_with_blocks_are_near_the_exact_ones() {
    let mut random = Random::new(7);
    for scheme in Scheme::ALL {
        for [n, k] in [[3, scheme.elements()], [17, 256], [49, 768]] {
            let (matrix, values) = blocks(&mut random, scheme, &[n], k);
            check_nearness(&mut random, scheme.name(), matrix, &values, [n, k]);
        }
    }
}

/// A matrix `[n, k]` of these values, with a bias, times rows of numbers from -1 to 1.
fn check_nearness(random: &mut Random, what: &str, matrix: Matrix, values: &[f32], [n, k]: [usize; 2]) {
    let (bias, bias_values) = dense(random, StoredType::F32, 1, n);
    let bias = bias.parts().next().cloned().map(|bias| StoredTensor {
        shape: vec![n],
        ..bias
    });
    let weights = Arc::new(vec![Weight::Linear { matrix, bias }]);
    for rows in [1, 2, 3, 8, 33] {
        let x = random.floats(rows * k);
        let expected = product(&x, values, Some(&bias_values), k);
        for (activations, most) in WIDTHS {
            for mut engine in engines(&[1, 3], activations) {
                let found = multiply(&mut engine, &weights, &x, k);
                // Half a step of 1 / 32639 (or 1 / 127) of the largest activation, at most 1, for each of k terms that differ in sign.
                let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let tolerance = 4.0 * 0.5 / f32::from(most) * largest * (k as f32).sqrt();
                let what = format!("{what}, {rows} rows of {k}, {n} outputs on {}", engine.device());
                assert_close(&what, &found, &expected, tolerance);
            }
        }
    }
}

/// Activations that are integers times a power of two lose nothing, and neither do weights of 8 bits or less: the result is exact.
#[test]
fn whole_numbers_are_multiplied_exactly() {
    let mut random = Random::new(6);
    for bits in BITS {
        let (n, k) = (20, 256);
        let (mut matrix, _) = affine(&mut random, StoredType::F32, [n, k], bits, 64);
        let Matrix::Affine {
            packed,
            scales,
            biases,
            ..
        } = &mut matrix
        else {
            unreachable!()
        };
        let ones = |value: f32| [0.0_f32; 80].map(|_| value).map(f32::to_le_bytes).concat();
        scales.bytes = monocle_tensor::stored::Bytes::new(ones(1.0));
        biases.bytes = monocle_tensor::stored::Bytes::new(ones(-3.0));
        let packed = packed.bytes.as_slice().to_vec();
        let weight = |element: usize| {
            let bit = |bit: usize| {
                i64::from(packed[(element * bits + bit) / 8] >> ((element * bits + bit) % 8) & 1)
            };
            (0..bits).map(|at| bit(at) << at).sum::<i64>() - 3
        };
        let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
        for (rows, (activations, most)) in [1, 5, 17]
            .into_iter()
            .flat_map(|rows| WIDTHS.map(|width| (rows, width)))
        {
            // Each group's largest is the largest integer, so the scale is 1.
            let x: Vec<i64> = (0..rows * k)
                .map(|at| match at % 32 {
                    0 => i64::from(most),
                    _ => random.below(41) as i64 - 20,
                })
                .collect();
            let expected: Vec<f32> = (0..rows)
                .flat_map(|row| {
                    let x = &x[row * k..][..k];
                    let dot =
                        |output: usize| -> i64 { (0..k).map(|at| x[at] * weight(output * k + at)).sum() };
                    (0..n).map(|output| dot(output) as f32).collect::<Vec<_>>()
                })
                .collect();
            let floats: Vec<f32> = x.iter().map(|x| *x as f32).collect();
            for mut engine in engines(&[1], activations) {
                let found = multiply(&mut engine, &weights, &floats, k);
                // 4 groups of up to 255 · 33,899: beyond 2^24 a float has no room for the last bit.
                assert_close(&format!("{bits} bits"), &found, &expected, 1e-6);
                if bits <= 4 {
                    assert_eq!(found, expected, "{bits} bits, {rows} rows");
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_none() {
    let mut random = Random::new(8);
    let (matrix, _) = affine(&mut random, StoredType::F16, [9, 64], 4, 32);
    let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
    for (value, none) in [
        (f32::NAN, true),
        (f32::INFINITY, true),
        (1e-38, false),
        (0.0, false),
    ] {
        for rows in [1, 4] {
            let mut x = vec![0.0; rows * 64];
            x[3] = value;
            for (activations, _) in WIDTHS {
                for mut engine in engines(&[1], activations) {
                    let found = multiply(&mut engine, &weights, &x, 64);
                    assert!(
                        found[..9].iter().all(|x| x.is_nan() == none),
                        "{value}: {found:?}"
                    );
                    assert!(found[9..].iter().all(|x| *x == 0.0), "other rows");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_way_gives_the_same_bits(
        seed in 0_u64..1 << 40,
        width in prop::sample::select(BITS.to_vec()),
        group in prop::sample::select(GROUPS.to_vec()),
        groups in 1_usize..20,
        n in 1_usize..150,
        rows in 1_usize..40,
        size in -20_i32..20,
    ) {
        let mut random = Random::new(seed);
        let k = group * groups;
        let (matrix, _) = affine(&mut random, StoredType::BF16, [n, k], width, group);
        check_bits(&mut random, matrix, k, rows, size)?;
    }

    #[test]
    fn every_way_gives_the_same_bits_with_blocks(
        seed in 0_u64..1 << 40,
        scheme in prop::sample::select(Scheme::ALL.to_vec()),
        parts in 1_usize..12,
        n in 1_usize..150,
        rows in 1_usize..40,
        size in -20_i32..20,
    ) {
        let mut random = Random::new(seed);
        let k = scheme.elements() * parts.div_ceil(scheme.elements() / 32);
        let (matrix, _) = blocks(&mut random, scheme, &[n], k);
        check_bits(&mut random, matrix, k, rows, size)?;
    }
}

/// Rows of activations of this size, all at once and two at once by every kernel, and alone by the portable one.
fn check_bits(
    random: &mut Random,
    matrix: Matrix,
    k: usize,
    rows: usize,
    size: i32,
) -> Result<(), TestCaseError> {
    let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
    let x = random.floats(rows * k);
    let x: Vec<f32> = x.iter().map(|x| x * 2.0_f32.powi(size)).collect();
    for (activations, _) in WIDTHS {
        let portable = CpuBackend::with_instructions(Some(1), Instructions::Portable).unwrap();
        let mut portable = portable.multiplying(activations);
        let alone = x.chunks(k).flat_map(|x| multiply(&mut portable, &weights, x, k));
        let expected: Vec<f32> = alone.collect();
        for mut engine in engines(&[1, 2, 5], activations) {
            let found = multiply(&mut engine, &weights, &x, k);
            prop_assert_eq!(bits(&found), bits(&expected), "{} rows at once", rows);
            let pairs = x.chunks(2 * k);
            let pairs: Vec<f32> = pairs
                .flat_map(|x| multiply(&mut engine, &weights, x, k))
                .collect();
            prop_assert_eq!(bits(&pairs), bits(&expected), "two at once");
        }
    }
    Ok(())
}

/// More rows than are rounded at a time.
#[test]
fn many_rows_give_the_bits_of_one() {
    let mut random = Random::new(9);
    let (n, k) = (33, 64);
    let (matrix, _) = affine(&mut random, StoredType::BF16, [n, k], 4, 64);
    let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
    let x = random.floats(1000 * k);
    for (activations, _) in WIDTHS {
        for mut engine in engines(&[2], activations) {
            let all = multiply(&mut engine, &weights, &x, k);
            for row in [0, 1, 500, 511, 512, 999] {
                let one = multiply(&mut engine, &weights, &x[row * k..][..k], k);
                assert_eq!(bits(&all[row * n..][..n]), bits(&one), "row {row}");
            }
        }
    }
}

/// Products of one step: what was rounded for a product is used for others of the same activations, and of no others.
#[test]
fn each_product_rounds_its_own_activations() {
    let mut random = Random::new(10);
    let (n, k) = (17, 128);
    let weights: Vec<Weight> = (0..2)
        .map(|_| Weight::Linear {
            matrix: affine(&mut random, StoredType::BF16, [n, k], 4, 64).0,
            bias: None,
        })
        .collect();
    let weights = Arc::new(weights);
    for rows in [1, 30] {
        let values = [random.floats(rows * k), random.floats(rows * k)];
        let kinds = vec![ValueType::float([rows, k]); 2];
        let mut recorder = Recorder::new(Arc::clone(&weights), kinds, None, RecordingLimits::default());
        let inputs = recorder.input_values();
        let mut record = |op, input| recorder.push(op, &[input], None).unwrap();
        let gate = record(Op::Linear(WeightId(0)), inputs[0]);
        let other = record(Op::Linear(WeightId(0)), inputs[1]);
        // As before a gated block's second layer.
        let activated = record(Op::Unary(Unary::Relu), other);
        let up = record(Op::Linear(WeightId(1)), inputs[1]);
        let again = record(Op::Linear(WeightId(1)), inputs[0]);
        let program = recorder.finish(vec![gate, activated, up, again]);
        for (activations, _) in WIDTHS {
            for mut engine in engines(&[2], activations) {
                engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
                let inputs = values
                    .each_ref()
                    .map(|values| engine.upload(&[rows, k], values.clone()).unwrap());
                let found: Vec<Vec<f32>> = engine
                    .run(&program, &inputs, None)
                    .unwrap()
                    .iter()
                    .map(|tensor| engine.download(tensor).unwrap())
                    .collect();
                let mut alone = |weight, x: &[f32]| {
                    let x = Operand::Floats(vec![rows, k], x.to_vec());
                    let (program, inputs) =
                        program_of(Op::Linear(WeightId(weight)), &[x], None, &weights, None);
                    run(&mut engine, &program, &inputs, None).unwrap()
                };
                let relu: Vec<f32> = alone(0, &values[1]).iter().map(|x| x.max(0.0)).collect();
                let expected = [
                    alone(0, &values[0]),
                    relu,
                    alone(1, &values[1]),
                    alone(1, &values[0]),
                ];
                for (found, expected) in found.iter().zip(expected) {
                    assert_eq!(bits(found), bits(&expected), "{rows} rows on {}", engine.device());
                }
            }
        }
    }
}
