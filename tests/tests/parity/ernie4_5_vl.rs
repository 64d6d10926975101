//! ERNIE 4.5 VL against transformers.

use std::sync::Arc;

use monocle_manifest::Manifest;
use monocle_runtime::plugin::state::PixelTensor;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, close, step_logits};
use monocle_tests::{project, variant};
use monocle_text::{FinishReason, OutputRules, OutputStream, ReasoningMarkers, Tokenizer};
use monocle_weights::to_f32;

/// Pixels `[1, height, width, 3]` as the reference flattens them: squares of 2 by 2 patches, each patch `[3, 14, 14]`.
fn patches(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    let side = 14;
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
    values
}

#[test]
fn ernie4_5_vl() {
    Parity {
        pixels: Some(patches),
        ..Parity::new("ernie4_5_vl")
    }
    .check();
}

#[test]
fn features_are_the_reference_s() {
    let folder = project::oracle("ernie4_5_vl");
    let (oracle, mut model) = (Oracle::open(&folder), project::open_folder(&folder));
    for case in ["image", "two_images"] {
        let (_, expected) = oracle
            .floats(&format!("{case}/image_features"))
            .expect("a case has features");
        let trace = model
            .trace(&oracle.request(case), 64, 1)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let found: Vec<f32> = trace
            .features
            .iter()
            .flat_map(|picture| picture[0].clone())
            .collect();
        close(case, &found, &expected, 1e-4);
    }
}

/// As mlx-vlm stores it: other places, experts stacked, routers with experts as rows, a correction for each kind.
#[test]
fn conversions_answer_as_the_original() {
    let folder = variant::copy("ernie4_5_vl", "ernie4_5_vl-conversion", &["golden.safetensors"]);
    let original = variant::checkpoint(&project::oracle("ernie4_5_vl"));
    let read = |name: &str| {
        let tensor = original.tensor(name).unwrap_or_else(|error| panic!("{error}"));
        let values = to_f32(&tensor).unwrap_or_else(|error| panic!("{error}"));
        (tensor.shape.clone(), values)
    };
    let place = |name: &str| match name.strip_prefix("model.") {
        Some(rest) if rest.starts_with("resampler_model") => {
            let rest = rest.replace("spatial_linear.", "spatial_linear.layers.");
            rest.replace("temporal_linear.", "temporal_linear.layers.")
        }
        Some(rest) => format!("language_model.model.{rest}"),
        None => name.replace("vision_model.", "vision_tower."),
    };
    let mut tensors: Vec<variant::NewTensor> = vec![];
    for name in original.names() {
        let (shape, values) = read(name);
        let new = place(name);
        if name.contains(".experts.") {
            continue;
        } else if name.contains("mlp.gate.weight") {
            let (inner, experts) = (shape[0], shape[1]);
            let turned = (0..experts).flat_map(|expert| (0..inner).map(move |row| row * experts + expert));
            let values = turned.map(|place| values[place]).collect();
            tensors.push((
                new.replace("gate.weight_1", "gate_1.weight"),
                vec![experts, inner],
                values,
            ));
        } else if name.ends_with("e_score_correction_bias") {
            let new = new.replace("moe_statics.", "");
            tensors.push((new.clone(), vec![shape[1]], values[..shape[1]].to_vec()));
            tensors.push((format!("{new}_1"), vec![shape[1]], values[shape[1]..].to_vec()));
        } else {
            tensors.push((new, shape, values));
        }
    }
    for layer in [1, 2] {
        for (stack, first) in [("switch_mlp", 0), ("switch_mlp_1", 4)] {
            for part in ["gate_proj", "up_proj", "down_proj"] {
                let experts = (first..first + 4).map(|expert| {
                    read(&format!(
                        "model.layers.{layer}.mlp.experts.{expert}.{part}.weight"
                    ))
                });
                let experts: Vec<_> = experts.collect();
                let shape = [vec![4], experts[0].0.clone()].concat();
                let values = experts.into_iter().flat_map(|(_, values)| values).collect();
                let name = format!("language_model.model.layers.{layer}.mlp.{stack}.{part}.weight");
                tensors.push((name, shape, values));
            }
        }
    }
    variant::write_weights(&folder, &tensors);
    let (oracle, mut model) = (
        Oracle::open(&project::oracle("ernie4_5_vl")),
        project::open_folder(&folder),
    );
    let trace = model
        .trace(&oracle.request("image"), 512, 16)
        .unwrap_or_else(|error| panic!("{error}"));
    let (found, expected) = step_logits(&oracle, "image", &trace);
    close("the conversion's logits", &found, &expected, LOGITS);
}

/// ERNIE-4.5-VL-Thinking: the reasoning was mixed into the answer. Some of its templates open it, some leave that to the model.
#[test]
fn reasoning_is_split_off() {
    let manifest = project::root().join("manifests/ernie-4.5-vl-28b-a3b-thinking.toml");
    let manifest = Manifest::load(&manifest).unwrap_or_else(|error| panic!("{error}"));
    let reasoning = manifest.output.reasoning.expect("the manifest has marks");
    let markers = ReasoningMarkers {
        start: reasoning.start,
        end: reasoning.end,
    };
    let tokenizer = Tokenizer::from_folder(project::oracle("ernie4_5_vl"));
    let tokenizer = Arc::new(tokenizer.unwrap_or_else(|error| panic!("{error}")));
    for (prompt, words) in [
        ("Assistant: ", "<think>A cat, I think.</think>\n\nA cat."),
        ("Assistant: <think>\n", "A cat, I think.</think>\n\nA cat."),
    ] {
        let rules = OutputRules {
            reasoning_opened: markers.opened_by(prompt),
            reasoning: Some(markers.clone()),
            ..OutputRules::default()
        };
        let ids = tokenizer
            .encode(words, false)
            .unwrap_or_else(|error| panic!("{error}"));
        let mut stream = OutputStream::new(Arc::clone(&tokenizer), rules, []);
        for id in ids {
            stream.push(id).unwrap_or_else(|error| panic!("{error}"));
        }
        let generated = stream.finish(FinishReason::MaxTokens).1;
        assert_eq!(generated.text.trim(), "A cat.", "{prompt:?}");
        assert_eq!(generated.reasoning.trim(), "A cat, I think.", "{prompt:?}");
    }
}
