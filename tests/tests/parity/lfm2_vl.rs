//! LFM2-VL against transformers.

use monocle_runtime::plugin::state::PixelTensor;
use monocle_tests::parity::Parity;

#[test]
fn lfm2_vl() {
    Parity {
        pixels: Some(patches),
        ..Parity::new("lfm2_vl")
    }
    .check();
}

/// The golden's order: each view as rows of patches `[64, 16 · 16 · 3]`, zeros after its last one.
fn patches(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    const ROWS: usize = 64;
    const PATCH: usize = 16;
    let mut values = vec![];
    for tensor in pictures.iter().flatten() {
        let [_, height, width, 3] = tensor.shape[..] else {
            panic!("pixels of {:?}", tensor.shape)
        };
        for view in tensor.values.chunks(height * width * 3) {
            let end = values.len() + ROWS * PATCH * PATCH * 3;
            for (y, x) in (0..height / PATCH).flat_map(|y| (0..width / PATCH).map(move |x| (y, x))) {
                for line in 0..PATCH {
                    let start = ((y * PATCH + line) * width + x * PATCH) * 3;
                    values.extend(&view[start..start + PATCH * 3]);
                }
            }
            values.resize(end, 0.0);
        }
    }
    values
}
