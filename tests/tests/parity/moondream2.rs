//! Moondream 2 against its own published code.

use monocle_runtime::plugin::contract::AnswerPart;
use monocle_runtime::plugin::state::PixelTensor;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::Flow;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, channels_first, close, step_logits};
use monocle_tests::{project, variant};
use serde_json::Value;

/// Every 37th of the pixels, as the golden has them.
fn some(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    channels_first(pictures).into_iter().step_by(37).collect()
}

/// The ids of places in the tiny checkpoint begin after its tokenizer's last.
const PARTS: u32 = 1024;

fn golden() -> Value {
    let text = std::fs::read_to_string(project::oracle("moondream2").join("golden.json"));
    serde_json::from_str(&text.expect("golden.json is there")).expect("it is JSON")
}

#[test]
fn moondream2() {
    Parity {
        pixels: Some(some),
        ..Parity::new("moondream2")
    }
    .check();
}

#[test]
fn features_are_the_original_s() {
    let folder = project::oracle("moondream2");
    let (oracle, mut model) = (Oracle::open(&folder), project::open_folder(&folder));
    let (_, expected) = oracle
        .floats("crops/image_features")
        .expect("the case has features");
    let trace = model
        .trace(&oracle.request("crops"), 1024, 1)
        .unwrap_or_else(|error| panic!("{error}"));
    close("crops", &trace.features[0][0], &expected, 1e-4);
}

/// Places across and down by turns, until the original ends.
#[test]
fn points_are_the_original_s() {
    let folder = project::oracle("moondream2");
    let golden = golden();
    let picture = folder.join(golden["point"]["image"].as_str().expect("a picture"));
    let said = golden["point"]["said"].as_str().expect("words");
    let request = Request::single(None, vec![PictureInput::File(picture)], said);
    let points: Vec<[f32; 2]> = serde_json::from_value(golden["point"]["points"].clone()).expect("points");
    assert!(points.len() > 1);
    let mut model = project::open_folder(&folder);
    let trace = model
        .trace(&request, 64, 2 * points.len() + 1)
        .unwrap_or_else(|error| panic!("{error}"));
    let tokenizer = monocle_text::Tokenizer::from_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    let first = (0..).find(|&id| tokenizer.token(id).is_none()).expect("ids end");
    let part = |place: f32| (place * PARTS as f32).round() as u32;
    let mut expected: Vec<u32> = points
        .iter()
        .flat_map(|[x, y]| [first + part(*x), first + PARTS + part(*y)])
        .collect();
    expected.push(9); // `eos_id`
    assert_eq!(trace.tokens, expected);

    let mut sink = |_: &_| Flow::Continue;
    let report = model
        .answer(&request, &GenerateOptions::default(), &mut sink)
        .unwrap_or_else(|error| panic!("{error}"));
    let found: Vec<[f32; 2]> = report
        .parts
        .iter()
        .map(|part| match part {
            AnswerPart::Point { at, .. } => [at.x / 700.0, at.y / 500.0],
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found.len(), points.len());
    for (found, expected) in found.iter().zip(&points) {
        assert!((found[0] - expected[0]).abs() < 1e-5 && (found[1] - expected[1]).abs() < 1e-5);
    }
}

/// mlx-vlm's names, without what makes places.
#[test]
fn conversions_answer_as_the_original() {
    let folder = variant::copy("moondream2", "moondream2-conversion", &["golden.safetensors"]);
    let original = variant::checkpoint(&project::oracle("moondream2"));
    let tensors: Vec<variant::NewTensor> = original
        .names()
        .filter(|name| !name.contains("region"))
        .map(|name| {
            let tensor = original.tensor(name).unwrap_or_else(|error| panic!("{error}"));
            let values = monocle_weights::to_f32(&tensor).unwrap_or_else(|error| panic!("{error}"));
            let renamed = name
                .replace("model.text.blocks.", "text.model.layers.")
                .replace("model.text.post_ln.", "text.model.post_ln.")
                .replace("model.text.wte", "text.model.embed_tokens.weight")
                .replace("model.text.lm_head.", "text.lm_head.")
                .replace("model.vision.proj_mlp.", "vision.proj_mlp.")
                .replace("model.vision.", "vision.encoder.");
            (renamed, tensor.shape.clone(), values)
        })
        .collect();
    variant::write_weights(&folder, &tensors);
    let (oracle, mut model) = (
        Oracle::open(&project::oracle("moondream2")),
        project::open_folder(&folder),
    );
    let trace = model
        .trace(&oracle.request("image"), 1024, 16)
        .unwrap_or_else(|error| panic!("{error}"));
    let (found, expected) = step_logits(&oracle, "image", &trace);
    close("the conversion's logits", &found, &expected, LOGITS);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let folder = project::oracle("moondream2");
    let mut model = project::open_folder(&folder);
    let picture = || PictureInput::File(folder.join("image.png"));
    let mut refused = |text: &str, count: usize| {
        let request = Request::single(None, (0..count).map(|_| picture()).collect(), text);
        let prepared = model.prepare(&request, 4, 64);
        prepared
            .err()
            .map(|error| error.to_string())
            .expect("it is refused")
    };
    let none = refused("How many?", 0);
    assert!(
        none.contains("answers about one picture; the request has 0"),
        "{none}"
    );
    let two = refused("How many?", 2);
    assert!(two.contains("the request has 2"), "{two}");
    let detect = refused("detect: dogs", 1);
    assert!(detect.contains("ask `point: dogs`"), "{detect}");
    let long = refused(&"very ".repeat(1500), 1);
    assert!(long.contains("the model reads 2048"), "{long}");
}
