//! What floats are computed in.

use mlx_rs::Dtype;
use monocle_tensor::backend::Precision;
use monocle_tensor::stored::{StoredType, Weight};

/// What floats are for a model with these weights.
pub fn float(precision: Precision, weights: &[Weight]) -> Dtype {
    match precision {
        Precision::Stored => stored_float(weights),
        Precision::F32 => Dtype::Float32,
        Precision::Bf16 => Dtype::Bfloat16,
        Precision::F16 => Dtype::Float16,
    }
}

/// The float in which most numbers are stored; 32 bits where none are. Of quantised matrices, their scales count. Blocks, which are bytes,
/// have scales of 16 bits.
fn stored_float(weights: &[Weight]) -> Dtype {
    let mut counts = [
        (Dtype::Float32, StoredType::F32, 0),
        (Dtype::Bfloat16, StoredType::BF16, 0),
        (Dtype::Float16, StoredType::F16, 0),
    ];
    for stored in weights.iter().flat_map(Weight::parts) {
        for (_, kind, count) in &mut counts {
            let is_blocks = stored.kind == StoredType::U8 && *kind == StoredType::F16;
            if stored.kind == *kind || is_blocks {
                *count += stored.len();
            }
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
