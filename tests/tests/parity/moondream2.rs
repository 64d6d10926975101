//! Moondream 2 against its own published code.

use monocle_runtime::plugin::contract::AnswerPart;
use monocle_runtime::plugin::state::PixelTensor;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Flow, Scheduler};
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, channels_first, close, step_logits};
use monocle_tests::{project, variant};
use monocle_text::SamplingOptions;
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

/// What the original answers to `point` or `detect`: the request, the tokens that say the same, and the numbers.
struct Places {
    request: Request,
    tokens: Vec<u32>,
    numbers: Vec<Vec<f32>>,
}

impl Places {
    fn golden(kind: &str, numbers: &str) -> Self {
        let folder = project::oracle("moondream2");
        let case = &golden()[kind];
        let picture = folder.join(case["image"].as_str().expect("a picture"));
        let said = case["said"].as_str().expect("words");
        let numbers: Vec<Vec<f32>> = serde_json::from_value(case[numbers].clone()).expect("numbers");
        assert!(numbers.len() > 1);
        let sizes: Vec<[u32; 2]> = match &case["sizes"] {
            Value::Null => vec![],
            sizes => serde_json::from_value(sizes.clone()).expect("widths and heights"),
        };
        let tokenizer =
            monocle_text::Tokenizer::from_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
        let first = (0..).find(|&id| tokenizer.token(id).is_none()).expect("ids end");
        let token = |kind: u32, part: u32| first + kind * PARTS + part;
        let part = |place: f32| (place * PARTS as f32).round() as u32;
        let mut tokens = vec![];
        for (index, place) in numbers.iter().enumerate() {
            let middle = match place[..] {
                [x, y] => [x, y],
                [left, top, right, bottom] => [(left + right) / 2.0, (top + bottom) / 2.0],
                _ => panic!("{place:?}"),
            };
            tokens.extend([token(0, part(middle[0])), token(1, part(middle[1]))]);
            if let Some([width, height]) = sizes.get(index) {
                tokens.extend([token(2, *width), token(3, *height)]);
            }
        }
        tokens.push(9); // `eos_id`
        Self {
            request: Request::single(None, vec![PictureInput::File(picture)], said),
            tokens,
            numbers,
        }
    }

    /// The answer has the same tokens however the prompt is cut, and the same numbers however words are sampled.
    fn check(&self) {
        let mut model = project::open_folder(&project::oracle("moondream2"));
        for chunk in [4096, 64, 7] {
            let trace = model
                .trace(&self.request, chunk, self.tokens.len())
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(trace.tokens, self.tokens, "chunks of {chunk}");
        }
        for seed in 0..3 {
            let options = GenerateOptions {
                sampling: SamplingOptions {
                    temperature: 2.0,
                    seed,
                    ..SamplingOptions::default()
                },
                ..GenerateOptions::default()
            };
            self.compare(&mut model, &options);
        }
    }

    fn compare(&self, model: &mut Scheduler, options: &GenerateOptions) {
        let report = model
            .answer(&self.request, options, &mut |_| Flow::Continue)
            .unwrap_or_else(|error| panic!("{error}"));
        let (width, height) = (700.0, 500.0);
        let found = report.parts.iter().map(|part| match part {
            AnswerPart::Point { at, .. } => vec![at.x / width, at.y / height],
            AnswerPart::Rectangle {
                upper_left,
                lower_right,
                ..
            } => vec![
                upper_left.x / width,
                upper_left.y / height,
                lower_right.x / width,
                lower_right.y / height,
            ],
            other => panic!("{other:?}"),
        });
        let found: Vec<Vec<f32>> = found.collect();
        assert_eq!(found.len(), self.numbers.len(), "{found:?}");
        for (found, expected) in found.iter().zip(&self.numbers) {
            close("places", found, expected, 1e-5);
        }
    }
}

/// Places across and down by turns, until the original ends.
#[test]
fn points_are_the_original_s() {
    Places::golden("point", "points").check();
}

/// The original reads width and height from one row; here they are a token each.
#[test]
fn rectangles_are_the_original_s() {
    Places::golden("detect", "rectangles").check();
}

/// Rows at others' positions are kept with the sequence, and go on from there.
#[test]
fn rectangles_follow_a_prompt_that_is_kept() {
    let places = Places::golden("detect", "rectangles");
    let mut model = project::open_folder(&project::oracle("moondream2"));
    for _ in 0..2 {
        places.compare(&mut model, &GenerateOptions::default());
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
    let nothing = refused("detect:", 1);
    assert!(nothing.contains("`detect:` needs words after it"), "{nothing}");
    let long = refused(&"very ".repeat(1500), 1);
    assert!(long.contains("the model reads 2048"), "{long}");
}
