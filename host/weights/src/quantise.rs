//! MLX's affine quantisation of a matrix.

use half::{bf16, f16};
use monocle_tensor::stored::StoredType;

use crate::error::WeightsError;
use crate::quantisation::{BITS, GROUP_SIZES};

/// A quantised matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    /// `[rows, columns * bits / 32]`
    pub packed: Vec<u32>,
    /// `[rows, columns / group_size]`, rounded to the type asked for.
    pub scales: Vec<f32>,
    /// As `scales`.
    pub biases: Vec<f32>,
}

/// Quantises rows of `columns` values, as `mx.quantize` does for a matrix of type `kind` (F32, F16 or BF16): scales and
/// biases are of that type too.
pub fn quantise(
    values: &[f32],
    columns: usize,
    bits: u32,
    group_size: usize,
    kind: StoredType,
) -> Result<Quantised, WeightsError> {
    let unfit = |expected: &str, found: String| {
        Err(WeightsError::Unfit {
            name: "(to quantise)".to_owned(),
            role: "a quantised matrix",
            expected: expected.to_owned(),
            found,
        })
    };
    if !BITS.contains(&bits) {
        return unfit("2, 3, 4, 5, 6 or 8 bits", bits.to_string());
    }
    if !GROUP_SIZES.contains(&group_size) {
        return unfit("groups of 32, 64 or 128", group_size.to_string());
    }
    if columns == 0 || !columns.is_multiple_of(group_size) || !values.len().is_multiple_of(columns) {
        return unfit(
            "whole rows of whole groups",
            format!("{} values in rows of {columns}", values.len()),
        );
    }
    if !matches!(kind, StoredType::F32 | StoredType::F16 | StoredType::BF16) {
        return unfit("scales in F32, F16 or BF16", kind.name().to_owned());
    }
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return unfit("finite values", value.to_string());
    }
    let groups = values.len() / group_size;
    let mut quantised = Quantised {
        packed: vec![0; values.len() * bits as usize / 32],
        scales: Vec::with_capacity(groups),
        biases: Vec::with_capacity(groups),
    };
    let most = ((1u32 << bits) - 1) as f32;
    for (at, group) in values.chunks_exact(group_size).enumerate() {
        let (scale, bias) = line(group, most);
        for (offset, value) in group.iter().enumerate() {
            let level = ((value - bias) / scale).round_ties_even().clamp(0.0, most) as u32;
            pack(&mut quantised.packed, at * group_size + offset, bits, level);
        }
        quantised.scales.push(rounded(scale, kind));
        quantised.biases.push(rounded(bias, kind));
    }
    Ok(quantised)
}

/// Scale and bias of a group (MLX's `affine_quantize`): the end of the range that is farther from zero is met exactly,
/// and zero falls on a level.
fn line(group: &[f32], most: f32) -> (f32, f32) {
    const LEAST_SCALE: f32 = 1e-7;
    let low = group.iter().copied().fold(f32::INFINITY, f32::min);
    let high = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = ((high - low) / most).max(LEAST_SCALE);
    let (scale, edge) = if low.abs() > high.abs() {
        (step, low)
    } else {
        (-step, high)
    };
    let levels = (edge / scale).round_ties_even();
    if levels == 0.0 {
        (scale, 0.0)
    } else {
        (edge / levels, edge)
    }
}

/// Puts a value's bits where [`crate::dequantise_rows`] looks for them.
fn pack(words: &mut [u32], index: usize, bits: u32, level: u32) {
    let first = index * bits as usize;
    let shifted = u64::from(level) << (first % 32);
    words[first / 32] |= shifted as u32;
    if let Some(next) = words.get_mut(first / 32 + 1) {
        *next |= (shifted >> 32) as u32;
    }
}

/// The nearest number of the type.
pub(crate) fn rounded(value: f32, kind: StoredType) -> f32 {
    match kind {
        StoredType::F16 => f16::from_f32(value).to_f32(),
        StoredType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}
