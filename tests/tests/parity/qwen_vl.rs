//! Qwen2-VL, Qwen2.5-VL, Qwen3-VL and GLM-4.1V against transformers.

use monocle_runtime::plugin::wasm::recording::PixelTensor;
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
