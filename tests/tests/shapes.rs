//! The model that ships with the project: transformers' answers on pictures that training never saw, word for word; and what
//! quantisation costs.

use std::path::{Path, PathBuf};

use monocle_runtime::plugin::contract::{Content, Message, Part};
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::project;
use monocle_weights::{ModelFolder, QuantiseOptions, quantise_folder};
use serde_json::Value;

fn shapes() -> PathBuf {
    project::root().join("models/shapes")
}

/// The reference's pictures and answers; `answers.json` says which versions made them, and how.
fn reference() -> Value {
    let text = std::fs::read_to_string(project::oracle("shapes/answers.json"))
        .expect("the reference's answers are there");
    serde_json::from_str(&text).expect("the answers are JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list").as_slice()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn request(messages: &Value, picture: &Path) -> Request {
    let part = |part: &Value| match text(&part["type"]) {
        "image" => Part::Image(0),
        _ => Part::Text(text(&part["text"]).to_owned()),
    };
    let message = |message: &Value| {
        let content = list(&message["content"]).iter().map(part).collect();
        Message::new(text(&message["role"]), Content::Parts(content))
    };
    Request {
        messages: list(messages).iter().map(message).collect(),
        pictures: vec![PictureInput::File(picture.to_owned())],
        ..Request::default()
    }
}

fn answer(model: &mut Scheduler, request: &Request) -> Report {
    let options = GenerateOptions {
        max_tokens: 128,
        ..GenerateOptions::default()
    };
    model
        .answer(request, &options, &mut |_| Flow::Continue)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn answers_are_those_of_transformers() {
    let mut model = project::open_folder(&shapes());
    let reference = reference();
    let mut compared = 0;
    for case in list(&reference["cases"]) {
        let picture = project::oracle("shapes").join(text(&case["picture"]));
        for expected in list(&case["answers"]) {
            let report = answer(&mut model, &request(&expected["messages"], &picture));
            let what = format!("{} {}", case["picture"], expected["kind"]);
            assert_eq!(report.prompt.text, text(&expected["prompt"]), "{what}: prompt");
            let ids: Vec<u64> = list(&expected["greedy_ids"])
                .iter()
                .filter_map(Value::as_u64)
                .collect();
            let found: Vec<u64> = report.token_ids.iter().map(|&id| id.into()).collect();
            assert_eq!(found, ids, "{what}: tokens");
            assert_eq!(
                report.output.text.trim(),
                text(&expected["greedy_text"]).trim(),
                "{what}: text"
            );
            compared += 1;
        }
    }
    assert!(compared >= 50, "only {compared} answers were compared");
}

#[test]
fn the_pictures_that_ship_are_described_truly() {
    let folder = shapes().join("pictures");
    let truth = std::fs::read_to_string(folder.join("truth.json")).expect("the pictures' truth is there");
    let truth: Value = serde_json::from_str(&truth).expect("the truth is JSON");
    let mut model = project::open_folder(&shapes());
    let pictures = truth["pictures"].as_object().expect("pictures by name");
    assert!(pictures.len() >= 2);
    for (name, truth) in pictures {
        let picture = vec![PictureInput::File(folder.join(name))];
        let report = answer(
            &mut model,
            &Request::single(None, picture, "Describe this image."),
        );
        let said = report.output.text.to_lowercase();
        for object in list(&truth["objects"]) {
            let object = format!("{} {}", text(&object["colour"]), text(&object["shape"]));
            assert!(said.contains(&object), "{name}: no {object} in {said:?}");
        }
    }
}

/// Share of the reference's questions that are answered as the picture's maker would.
fn right(model: &mut Scheduler) -> f64 {
    let reference = reference();
    let (mut right, mut asked) = (0, 0);
    for case in list(&reference["cases"]) {
        let picture = project::oracle("shapes").join(text(&case["picture"]));
        for expected in list(&case["answers"]) {
            let report = answer(model, &request(&expected["messages"], &picture));
            right += usize::from(report.output.text.trim() == text(&expected["truth"]));
            asked += 1;
        }
    }
    right as f64 / asked as f64
}

#[test]
fn quantised_variants_lose_two_points_at_most() {
    let full = right(&mut project::open_folder(&shapes()));
    let folder = ModelFolder::open(&shapes()).expect("the model is there");
    for (bits, group_size) in [(8, 64), (4, 32)] {
        let target = project::target()
            .join("test-models")
            .join(format!("shapes-{bits}bit-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&target);
        let layers = quantise_folder(&folder, &target, &QuantiseOptions::new(bits, group_size))
            .expect("it can be quantised");
        assert!(!layers.is_empty());
        let quantised = right(&mut project::open_folder(&target));
        std::fs::remove_dir_all(&target).expect("the variant can be removed");
        println!(
            "{bits} bits: {:.1} % right, unquantised {:.1} %",
            100.0 * quantised,
            100.0 * full
        );
        assert!(
            quantised >= full - 0.02,
            "{bits} bits: {quantised} right, unquantised {full}"
        );
    }
}
