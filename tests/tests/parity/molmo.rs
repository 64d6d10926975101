//! Molmo against its own published code.

use monocle_runtime::plugin::state::PixelTensor;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, close, step_logits};
use monocle_tests::{project, variant};

/// Pixels `[n, 112, 112, 3]` as patches of 14 by 14, row by row, each `[14, 14, 3]`; every 5th value, as the golden has them.
fn some(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    let mut values = Vec::new();
    for tensor in pictures.iter().flatten() {
        let [_, height, width, 3] = tensor.shape[..] else {
            panic!("pixels of {:?}", tensor.shape)
        };
        for view in tensor.values.chunks(height * width * 3) {
            for top in (0..height).step_by(14) {
                for left in (0..width).step_by(14) {
                    for row in top..top + 14 {
                        values.extend(&view[(row * width + left) * 3..][..14 * 3]);
                    }
                }
            }
        }
    }
    values.into_iter().step_by(5).collect()
}

#[test]
fn molmo() {
    Parity {
        pixels: Some(some),
        ..Parity::new("molmo")
    }
    .check();
}

#[test]
fn features_are_the_original_s() {
    let folder = project::oracle("molmo");
    let (oracle, mut model) = (Oracle::open(&folder), project::open_folder(&folder));
    for case in ["image", "tall"] {
        let (_, expected) = oracle
            .floats(&format!("{case}/image_features"))
            .expect("a case has features");
        let trace = model
            .trace(&oracle.request(case), 512, 1)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        close(case, &trace.features[0][0], &expected, 1e-4);
    }
}

/// mlx-vlm's names; and the patches' weight wider than a patch is, as quantised conversions have it.
#[test]
fn conversions_answer_as_the_original() {
    let folder = variant::copy("molmo", "molmo-conversion", &["golden.safetensors"]);
    let original = variant::checkpoint(&project::oracle("molmo"));
    let tensors: Vec<variant::NewTensor> = original
        .names()
        .map(|name| {
            let tensor = original.tensor(name).unwrap_or_else(|error| panic!("{error}"));
            let values = monocle_weights::to_f32(&tensor).unwrap_or_else(|error| panic!("{error}"));
            let renamed = name
                .replace("model.transformer.", "language_model.model.")
                .replace("model.vision_backbone.", "vision_tower.");
            match name.ends_with("patch_embedding.weight") {
                false => (renamed, tensor.shape.clone(), values),
                true => {
                    let wider = values.chunks(588).flat_map(|row| [row, &[0.0; 52]].concat());
                    (renamed, vec![tensor.shape[0], 640], wider.collect())
                }
            }
        })
        .collect();
    variant::write_weights(&folder, &tensors);
    let (oracle, mut model) = (
        Oracle::open(&project::oracle("molmo")),
        project::open_folder(&folder),
    );
    let trace = model
        .trace(&oracle.request("image"), 512, 16)
        .unwrap_or_else(|error| panic!("{error}"));
    let (found, expected) = step_logits(&oracle, "image", &trace);
    close("the conversion's logits", &found, &expected, LOGITS);
}

#[test]
fn a_second_picture_is_refused() {
    let folder = project::oracle("molmo");
    let mut model = project::open_folder(&folder);
    let pictures = ["image.png", "image2.png"].map(|name| PictureInput::File(folder.join(name)));
    let prepared = model.prepare(&Request::single(None, pictures.to_vec(), "What differs?"), 4, 64);
    let error = prepared
        .err()
        .map(|error| error.to_string())
        .expect("it is refused");
    assert!(
        error.contains("Molmo takes one picture a conversation"),
        "{error}"
    );
}
