//! Pixtral, Apriel, Mistral Small 3 and Ministral 3 against transformers.

use monocle_runtime::plugin::state::PixelTensor;
use monocle_tests::parity::{Parity, channels_first};

#[test]
fn pixtral() {
    check("pixtral");
}

#[test]
fn apriel() {
    check("apriel");
}

#[test]
fn mistral3() {
    check("mistral3");
}

#[test]
fn ministral3() {
    check("ministral3");
}

fn check(folder: &'static str) {
    let parity = Parity {
        pixels: Some(padded),
        ..Parity::new(folder)
    };
    parity.check();
}

/// The reference pads the pictures of a request with zeros, right and below, to one size; here each keeps its own.
fn padded(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    let tensors = || pictures.iter().flatten();
    let longest = |axis: usize| tensors().map(|tensor| tensor.shape[axis]).max().unwrap_or(0);
    let (height, width) = (longest(1), longest(2));
    let pad = |tensor: &PixelTensor| {
        let row = tensor.shape[2] * 3;
        let mut values = vec![0.0; height * width * 3];
        for (to, from) in values.chunks_mut(width * 3).zip(tensor.values.chunks(row)) {
            to[..row].copy_from_slice(from);
        }
        vec![PixelTensor {
            shape: vec![1, height, width, 3],
            values,
        }]
    };
    channels_first(&tensors().map(pad).collect::<Vec<_>>())
}
