//! Products with stored matrices of all forms and awkward sizes, against sums in double precision.

use std::sync::Arc;

use monocle_tensor::operation::{Op, WeightId};
use monocle_tensor::scaled::SmallFloat;
use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};

use crate::engines;
use crate::support::{Operand, Random, assert_close, program_of, run};

fn tensor(name: &str, kind: StoredType, shape: Vec<usize>, bytes: Vec<u8>) -> StoredTensor {
    // An odd address: mapped weights need not be aligned.
    let len = bytes.len();
    let shifted = Bytes::new([vec![0_u8], bytes].concat());
    StoredTensor {
        name: name.to_owned(),
        kind,
        shape,
        bytes: shifted.slice(1..len + 1).unwrap(),
    }
}

/// A stored number and what it stands for.
fn encode(kind: StoredType, value: f32) -> (Vec<u8>, f32) {
    match kind {
        StoredType::F16 => {
            let stored = half::f16::from_f32(value);
            (stored.to_le_bytes().to_vec(), stored.to_f32())
        }
        StoredType::BF16 => {
            let stored = half::bf16::from_f32(value);
            (stored.to_le_bytes().to_vec(), stored.to_f32())
        }
        _ => (value.to_le_bytes().to_vec(), value),
    }
}

fn encoded(name: &str, kind: StoredType, shape: Vec<usize>, values: &[f32]) -> (StoredTensor, Vec<f32>) {
    let (bytes, values): (Vec<Vec<u8>>, Vec<f32>) = values.iter().map(|value| encode(kind, *value)).unzip();
    (tensor(name, kind, shape, bytes.concat()), values)
}

pub fn dense(random: &mut Random, kind: StoredType, rows: usize, columns: usize) -> (Matrix, Vec<f32>) {
    let (stored, values) = encoded("dense", kind, vec![rows, columns], &random.floats(rows * columns));
    (Matrix::Dense(stored), values)
}

/// A quantised matrix with random contents, and its values, from the description of `Matrix::Affine` alone.
pub fn affine(
    random: &mut Random,
    kind: StoredType,
    [rows, columns]: [usize; 2],
    bits: usize,
    group: usize,
) -> (Matrix, Vec<f32>) {
    let groups = rows * columns / group;
    let (scales, scale_values) = encoded(
        "scales",
        kind,
        vec![rows, columns / group],
        &random.floats(groups),
    );
    let (biases, bias_values) = encoded(
        "biases",
        kind,
        vec![rows, columns / group],
        &random.floats(groups),
    );
    let mut packed = vec![0_u8; rows * columns * bits / 8];
    let mut values = Vec::with_capacity(rows * columns);
    for element in 0..rows * columns {
        let q = random.below(1 << bits);
        for bit in 0..bits {
            let at = element * bits + bit;
            packed[at / 8] |= ((q >> bit & 1) as u8) << (at % 8);
        }
        values.push(scale_values[element / group] * q as f32 + bias_values[element / group]);
    }
    let matrix = Matrix::Affine {
        packed: tensor("packed", StoredType::U32, vec![rows, columns * bits / 32], packed),
        scales,
        biases,
        bits: bits as u32,
        group_size: group,
    };
    (matrix, values)
}

/// Where a block has scales of 16 bits, and its first byte where that is an exponent.
fn scales_of(scheme: Scheme) -> &'static [usize] {
    match scheme {
        Scheme::Q4_0 | Scheme::Q5_0 | Scheme::Q8_0 | Scheme::Iq4Nl | Scheme::Iq4Xs => &[0],
        Scheme::Q4_1 | Scheme::Q5_1 | Scheme::Q4_K | Scheme::Q5_K => &[0, 2],
        Scheme::Q2_K => &[80, 82],
        Scheme::Q3_K => &[108],
        Scheme::Q6_K => &[208],
        Scheme::Mxfp4 => &[],
    }
}

/// Blocks with random contents. Their values are what the scheme decodes, which is tested by itself.
pub fn blocks(random: &mut Random, scheme: Scheme, rows: &[usize], columns: usize) -> (Matrix, Vec<f32>) {
    let all: usize = rows.iter().product();
    let row = scheme.row_bytes(columns).unwrap();
    let mut bytes: Vec<u8> = (0..all * row).map(|_| random.below(256) as u8).collect();
    for block in bytes.chunks_exact_mut(scheme.bytes()) {
        for at in scales_of(scheme) {
            let scale = half::f16::from_f32(random.floats(1)[0] / 1000.0);
            block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
        if scheme == Scheme::Mxfp4 {
            block[0] = 120 + block[0] % 8;
        }
    }
    let mut values = vec![0.0; all * columns];
    scheme.decode(&bytes, &mut values);
    let blocks = tensor("blocks", StoredType::U8, [rows, &[row]].concat(), bytes);
    (Matrix::Blocks { blocks, scheme }, values)
}

/// Small floats with random contents and scales for blocks of this size. Their values are what `ScaledRows` decodes, which is tested by itself.
fn small_floats(
    random: &mut Random,
    float: SmallFloat,
    rows: &[usize],
    columns: usize,
    block: [usize; 2],
) -> (Matrix, Vec<f32>) {
    let all: usize = rows.iter().product();
    let row = columns * float.bits() / 8;
    // No infinities and no NaN.
    let bytes: Vec<u8> = (0..all * row).map(|_| random.below(256) as u8 & 0xbb).collect();
    let mut grid = [rows, &[columns.div_ceil(block[1])]].concat();
    if let Some(down) = grid.iter_mut().nth_back(1) {
        *down = down.div_ceil(block[0]);
    }
    let scales: Vec<f32> = random
        .floats(grid.iter().product())
        .iter()
        .map(|scale| scale / 64.0)
        .collect();
    let (scales, _) = encoded("scales", StoredType::F32, grid, &scales);
    let elements = tensor("elements", StoredType::U8, [rows, &[row]].concat(), bytes);
    let matrix = Matrix::Scaled {
        elements,
        float,
        scales,
        block,
    };
    let mut values = vec![0.0; all * columns];
    let stored = matrix.scaled_rows().unwrap();
    for (row, out) in values.chunks_exact_mut(columns).enumerate() {
        stored.decode(row, 0, out);
    }
    (matrix, values)
}

/// `x Wᵀ + b` in double precision.
pub fn product(x: &[f32], w: &[f32], bias: Option<&[f32]>, inner: usize) -> Vec<f32> {
    let rows = w.len() / inner;
    x.chunks_exact(inner)
        .flat_map(|x| {
            w.chunks_exact(inner).enumerate().map(move |(row, w)| {
                let dot: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                (dot + bias.map_or(0.0, |bias| f64::from(bias[row % rows]))) as f32
            })
        })
        .collect()
}

fn check(random: &mut Random, what: &str, matrix: Matrix, values: &[f32], tokens: &[usize]) {
    let shape = matrix.shape();
    let (rows, columns) = (shape[0], shape[1]);
    let (bias, bias_values) = encoded("bias", StoredType::F32, vec![rows], &random.floats(rows));
    let weights = Arc::new(vec![
        Weight::Linear {
            matrix: matrix.clone(),
            bias: Some(bias),
        },
        Weight::Embedding(matrix),
    ]);
    let ids: Vec<i32> = (0..rows as i32).rev().collect();
    let everything = Operand::Ints(vec![rows], ids);
    let reversed: Vec<f32> = values.chunks_exact(columns).rev().flatten().copied().collect();
    for mut engine in engines() {
        engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
        let (program, inputs) = program_of(
            Op::Embed(WeightId(1)),
            std::slice::from_ref(&everything),
            None,
            &weights,
            None,
        );
        let found = run(engine.as_mut(), &program, &inputs, None).unwrap();
        assert_close(&format!("{what}: rows"), &found, &reversed, 1e-6);
        for &tokens in tokens {
            let x = random.floats(tokens * columns);
            let expected = product(&x, values, Some(&bias_values), columns);
            let x = Operand::Floats(vec![tokens, columns], x);
            let (program, inputs) = program_of(Op::Linear(WeightId(0)), &[x], None, &weights, None);
            let found = run(engine.as_mut(), &program, &inputs, None).unwrap();
            // Rounding grows with the size of the terms.
            let scale = values.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
            let tolerance = 1e-6 * scale * (columns as f32).sqrt();
            assert_close(
                &format!("{what}, {tokens} tokens on {}", engine.device()),
                &found,
                &expected,
                tolerance,
            );
        }
    }
}

#[test]
fn dense_matrices_multiply_at_any_size() {
    let mut random = Random::new(1);
    for kind in [StoredType::F32, StoredType::F16, StoredType::BF16] {
        for [rows, columns] in [[1, 1], [7, 5], [17, 33], [65, 300], [33, 513], [130, 64]] {
            let (matrix, values) = dense(&mut random, kind, rows, columns);
            let what = format!("{kind:?} [{rows}, {columns}]");
            check(&mut random, &what, matrix, &values, &[1, 2, 3, 6, 7, 17, 33]);
        }
    }
    let (matrix, values) = dense(&mut random, StoredType::BF16, 33, 40);
    check(&mut random, "many tokens", matrix, &values, &[769, 1000]);
}

#[test]
fn quantised_matrices_multiply_with_all_bits_and_groups() {
    let mut random = Random::new(2);
    for bits in [2, 3, 4, 5, 6, 8] {
        for group in [32, 64, 128] {
            for (kind, shape) in [
                (StoredType::F16, [17, 128]),
                (StoredType::BF16, [5, 384]),
                (StoredType::F32, [9, 640]),
            ] {
                let (matrix, values) = affine(&mut random, kind, shape, bits, group);
                let what = format!("{bits} bits in groups of {group}, {kind:?} {shape:?}");
                check(&mut random, &what, matrix, &values, &[1, 2, 5, 7, 19]);
            }
        }
    }
}

#[test]
fn blocks_of_every_scheme_multiply() {
    let mut random = Random::new(15);
    for scheme in Scheme::ALL {
        let unit = scheme.elements();
        for [rows, columns] in [[17, 2 * unit], [5, 768]] {
            let (matrix, values) = blocks(&mut random, scheme, &[rows], columns);
            let what = format!("{scheme} [{rows}, {columns}]");
            check(&mut random, &what, matrix, &values, &[1, 2, 5, 7, 19]);
        }
    }
}

#[test]
fn small_floats_with_scales_multiply() {
    let mut random = Random::new(17);
    for float in [SmallFloat::E2M1, SmallFloat::E4M3, SmallFloat::E5M2] {
        // A scale for each group, row, block and for all.
        for (rows, columns, block) in [
            (17, 128, [1, 32]),
            (5, 384, [1, 384]),
            (19, 320, [8, 128]),
            (7, 160, [7, 160]),
        ] {
            let (matrix, values) = small_floats(&mut random, float, &[rows], columns, block);
            let what = format!("{} [{rows}, {columns}] in {block:?}", float.name());
            check(&mut random, &what, matrix, &values, &[1, 2, 5, 7, 19]);
        }
    }
}

#[test]
fn experts_of_small_floats_multiply() {
    let mut random = Random::new(18);
    let (experts, rows, columns) = (3, 7, 96);
    for (float, block) in [(SmallFloat::E2M1, [1, 32]), (SmallFloat::E4M3, [4, 64])] {
        let (matrix, values) = small_floats(&mut random, float, &[experts, rows], columns, block);
        check_experts(&mut random, float.name(), matrix, &values);
    }
}

#[test]
fn experts_of_blocks_multiply() {
    let mut random = Random::new(16);
    for scheme in [Scheme::Q4_0, Scheme::Q6_K] {
        let (matrix, values) = blocks(&mut random, scheme, &[3, 7], 256);
        check_experts(&mut random, scheme.name(), matrix, &values);
    }
}

/// Three experts of 7 rows, by two tokens with two experts each.
fn check_experts(random: &mut Random, what: &str, matrix: Matrix, values: &[f32]) {
    let (experts, rows, columns) = (3, 7, values.len() / 21);
    let (x, indices) = (random.floats(2 * columns), vec![2, 0, 1, 1]);
    let mut expected = Vec::new();
    for (row, expert) in indices.iter().enumerate() {
        let own = &values[*expert as usize * rows * columns..][..rows * columns];
        expected.extend(product(&x[row / 2 * columns..][..columns], own, None, columns));
    }
    let weights = Arc::new(vec![Weight::Experts { matrix, bias: None }]);
    assert_eq!(weights[0].shape(), [experts, rows, columns]);
    let operands = [
        Operand::Floats(vec![2, columns], x),
        Operand::Ints(vec![2, 2], indices),
    ];
    let (program, inputs) = program_of(Op::ExpertLinear(WeightId(0)), &operands, None, &weights, None);
    for mut engine in engines() {
        engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
        let found = run(engine.as_mut(), &program, &inputs, None).unwrap();
        assert_close(what, &found, &expected, 1e-4);
    }
}

#[test]
fn quantised_experts_multiply() {
    let mut random = Random::new(3);
    let (experts, rows, columns) = (3, 7, 64);
    let (matrix, values) = affine(&mut random, StoredType::BF16, [experts * rows, columns], 4, 32);
    let Matrix::Affine {
        mut packed,
        mut scales,
        mut biases,
        bits,
        group_size,
    } = matrix
    else {
        unreachable!()
    };
    for part in [&mut packed, &mut scales, &mut biases] {
        part.shape = vec![experts, rows, part.shape[1]];
    }
    let matrix = Matrix::Affine {
        packed,
        scales,
        biases,
        bits,
        group_size,
    };
    let weights = Arc::new(vec![Weight::Experts { matrix, bias: None }]);
    let (x, indices) = (random.floats(2 * columns), vec![2, 0, 1, 1]);
    let mut expected = Vec::new();
    for (row, expert) in indices.iter().enumerate() {
        let w = &values[*expert as usize * rows * columns..][..rows * columns];
        expected.extend(product(&x[row / 2 * columns..][..columns], w, None, columns));
    }
    let operands = [
        Operand::Floats(vec![2, columns], x),
        Operand::Ints(vec![2, 2], indices),
    ];
    let (program, inputs) = program_of(Op::ExpertLinear(WeightId(0)), &operands, None, &weights, None);
    let mut engine = engines().remove(0);
    engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
    let found = run(engine.as_mut(), &program, &inputs, None).unwrap();
    assert_close("experts", &found, &expected, 1e-4);
}

/// Layers that are stored by themselves, one quantised and one not, with biases and without.
#[test]
fn experts_that_are_stored_one_by_one_multiply() {
    let mut random = Random::new(8);
    let (experts, rows, columns) = (3, 7, 64);
    let (x, indices) = (random.floats(2 * columns), vec![2, 0, 1, 1]);
    for (quantised, biased) in [(true, false), (false, true), (true, true)] {
        let (mut layers, mut values, mut biases) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..experts {
            let (matrix, own) = match quantised {
                true => affine(&mut random, StoredType::BF16, [rows, columns], 4, 32),
                false => dense(&mut random, StoredType::F16, rows, columns),
            };
            let bias = random.floats(rows);
            let stored = biased.then(|| encoded("bias", StoredType::F32, vec![rows], &bias).0);
            layers.push((matrix, stored));
            values.push(own);
            biases.push(if biased { bias } else { vec![0.0; rows] });
        }
        let mut expected = Vec::new();
        for (row, expert) in indices.iter().enumerate() {
            let expert = *expert as usize;
            let x = &x[row / 2 * columns..][..columns];
            expected.extend(product(x, &values[expert], Some(&biases[expert]), columns));
        }
        let weights = Arc::new(vec![Weight::Stack(layers)]);
        assert_eq!(weights[0].shape(), [experts, rows, columns]);
        let operands = [
            Operand::Floats(vec![2, columns], x.clone()),
            Operand::Ints(vec![2, 2], indices.clone()),
        ];
        let (program, inputs) = program_of(Op::ExpertLinear(WeightId(0)), &operands, None, &weights, None);
        for mut engine in engines() {
            engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
            let found = run(engine.as_mut(), &program, &inputs, None).unwrap();
            assert_close("a stack", &found, &expected, 1e-4);
        }
    }
}

#[test]
fn quantised_matrices_multiply_head_by_head() {
    let mut random = Random::new(9);
    let (heads, size, columns) = (3, 32, 64);
    for kind in [StoredType::BF16, StoredType::F32] {
        let (matrix, values) = affine(&mut random, kind, [heads * size, columns], 4, 32);
        let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
        for tokens in [1, 5, 40] {
            for transposed in [false, true] {
                let (from, to) = if transposed {
                    (size, columns)
                } else {
                    (columns, size)
                };
                let x = random.floats(tokens * heads * from);
                let mut expected = vec![0.0_f64; tokens * heads * to];
                for (place, x) in x.chunks(from).enumerate() {
                    let w = &values[place % heads * size * columns..][..size * columns];
                    for row in 0..size {
                        for column in 0..columns {
                            let weight = f64::from(w[row * columns + column]);
                            let (at, by) = if transposed { (column, row) } else { (row, column) };
                            expected[place * to + at] += weight * f64::from(x[by]);
                        }
                    }
                }
                let expected: Vec<f32> = expected.iter().map(|value| *value as f32).collect();
                let operands = [Operand::Floats(vec![tokens, heads, from], x)];
                let op = Op::LinearHeads {
                    weight: WeightId(0),
                    heads,
                    transposed,
                };
                let (program, inputs) = program_of(op, &operands, None, &weights, None);
                for mut engine in engines() {
                    engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
                    let found = run(engine.as_mut(), &program, &inputs, None).unwrap();
                    assert_close(&format!("{tokens} {transposed}"), &found, &expected, 1e-4);
                }
            }
        }
    }
}

#[test]
fn products_over_nothing_are_zero() {
    let mut engine = engines().remove(0);
    for rows in [1, 9] {
        for transpose_right in [false, true] {
            let right = if transpose_right { vec![4, 0] } else { vec![0, 4] };
            let operands = [
                Operand::Floats(vec![rows, 0], vec![]),
                Operand::Floats(right, vec![]),
            ];
            let (program, inputs) = program_of(
                Op::MatMul { transpose_right },
                &operands,
                None,
                &Arc::default(),
                None,
            );
            assert_eq!(
                run(engine.as_mut(), &program, &inputs, None).unwrap(),
                vec![0.0; rows * 4]
            );
        }
    }
}
