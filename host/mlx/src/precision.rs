//! What floats are computed in.

use mlx_rs::Dtype;
use monocle_tensor::backend::Precision;
use monocle_tensor::stored::{Matrix, StoredType, Weight};

/// What floats are for a model with these weights.
pub fn float(precision: Precision, weights: &[Weight]) -> Dtype {
    match precision {
        // Quantised weights are multiplied with floats here.
        Precision::Stored | Precision::Int8 => stored_float(weights),
        Precision::F32 => Dtype::Float32,
        Precision::Bf16 => Dtype::Bfloat16,
        Precision::F16 => Dtype::Float16,
    }
}

/// The float in which most numbers are stored; 32 bits where none are. Of quantised matrices, their scales count. Blocks
/// have scales of 16 bits; models with small floats compute in bf16.
fn stored_float(weights: &[Weight]) -> Dtype {
    let mut counts = [
        (Dtype::Float32, StoredType::F32, 0),
        (Dtype::Bfloat16, StoredType::BF16, 0),
        (Dtype::Float16, StoredType::F16, 0),
    ];
    let mut add = |of: StoredType, elements: usize| {
        for (_, kind, count) in &mut counts {
            if of == *kind {
                *count += elements;
            }
        }
    };
    for stored in weights.iter().flat_map(Weight::parts) {
        add(stored.kind, stored.len());
    }
    for matrix in weights.iter().flat_map(Weight::matrices) {
        match matrix {
            Matrix::Blocks { blocks, .. } => add(StoredType::F16, blocks.len()),
            Matrix::Scaled { elements, .. } => add(StoredType::BF16, elements.len()),
            _ => {}
        }
    }
    // Of equals the first, which is the most exact.
    let most = counts.iter().rev().max_by_key(|(_, _, count)| count);
    most.map_or(Dtype::Float32, |(float, ..)| *float)
}

/// Bytes of a float.
pub fn bytes(float: Dtype) -> usize {
    match float {
        Dtype::Bfloat16 | Dtype::Float16 => 2,
        _ => 4,
    }
}

/// A float's name, as `--precision` takes it.
pub fn name(float: Dtype) -> &'static str {
    match float {
        Dtype::Bfloat16 => "bf16",
        Dtype::Float16 => "f16",
        _ => "f32",
    }
}
