//! Qwen2-VL, Qwen2.5-VL, Qwen3-VL, GLM-4.1V and their kin against transformers.

use monocle_runtime::plugin::state::PixelTensor;
use monocle_tests::parity::Parity;

/// Pixels `[1, height, width, 3]` as the references flatten them: squares of 2 by 2 patches, each patch `[3, 2, side, side]` with the
/// frame doubled.
fn patches(pictures: &[Vec<PixelTensor>], side: usize) -> Vec<f32> {
    let mut values = Vec::new();
    for tensor in pictures.iter().flatten() {
        let [1, height, width, 3] = tensor.shape[..] else {
            panic!("pixels of {:?}", tensor.shape)
        };
        for top in (0..height).step_by(2 * side) {
            for left in (0..width).step_by(2 * side) {
                for inner in 0..4 {
                    let (top, left) = (top + inner / 2 * side, left + inner % 2 * side);
                    for channel in 0..3 {
                        for _frame in 0..2 {
                            for row in top..top + side {
                                let pixels =
                                    (left..left + side).map(|column| (row * width + column) * 3 + channel);
                                values.extend(pixels.map(|index| tensor.values[index]));
                            }
                        }
                    }
                }
            }
        }
    }
    values
}

fn check(folder: &'static str, pixels: fn(&[Vec<PixelTensor>]) -> Vec<f32>) {
    Parity {
        pixels: Some(pixels),
        ..Parity::new(folder)
    }
    .check();
}

#[test]
fn qwen2_vl() {
    check("qwen2_vl", |pictures| patches(pictures, 14));
}

#[test]
fn qwen2_5_vl() {
    check("qwen2_5_vl", |pictures| patches(pictures, 14));
}

#[test]
fn qwen3_vl() {
    check("qwen3_vl", |pictures| patches(pictures, 16));
}

#[test]
fn glm4v() {
    check("glm4v", |pictures| patches(pictures, 14));
}

/// Experts weighed by softmax. Its pixels are those of `qwen3_vl`, and its weights are stored as conversions to MLX have them.
#[test]
fn qwen3_vl_moe() {
    Parity::new("qwen3_vl_moe").check();
}

/// Experts chosen by corrected sigmoids, and one that all rows share. Its pixels are those of `glm4v`.
#[test]
fn glm4v_moe() {
    Parity::new("glm4v_moe").check();
}

/// A tower without positions of its own, whose queries and keys are normed. Its pixels are those of `glm4v`.
#[test]
fn glm_ocr() {
    Parity::new("glm_ocr").check();
}
