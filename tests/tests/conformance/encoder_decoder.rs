//! Prompts for an encoder: `tests/plugins/encoder-decoder` reads words and any number of pictures as transformers' BART does.

use std::time::Instant;

use monocle_runtime::report::Report;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Flow, Scheduler};
use monocle_tests::json::{ids, numbers};
use monocle_tests::project::{self, Carrier};
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// The checkpoint, with nanollava's tokenizer.
fn folder() -> Scratch {
    let scratch = Scratch::new("encoder-decoder");
    for (folder, file) in [
        ("encoder_decoder", "config.json"),
        ("encoder_decoder", "model.safetensors"),
        ("nanollava", "tokenizer.json"),
        ("nanollava", "tokenizer_config.json"),
    ] {
        let bytes = std::fs::read(project::oracle(folder).join(file)).expect("the file is there");
        scratch.write(file, bytes);
    }
    scratch
}

fn manifest(folder: &Scratch) -> String {
    format!(
        "schema = 1\nname = \"reader\"\nplugin = \"encoder-decoder\"\nsource = {{ path = {:?} }}",
        folder.path()
    )
}

fn open(carrier: Carrier, folder: &Scratch) -> Scheduler {
    project::open_manifest_in(carrier, &manifest(folder))
}

fn golden() -> serde_json::Map<String, Value> {
    let path = project::oracle("encoder_decoder").join("golden.json");
    let text = std::fs::read_to_string(path).expect("the golden is there");
    match serde_json::from_str(&text).expect("it is JSON") {
        Value::Object(cases) => cases,
        other => panic!("{other}"),
    }
}

fn request(case: &Value) -> Request {
    let pictures = case["pictures"].as_array().expect("a list").iter();
    let pictures = pictures.map(|name| {
        let name = name.as_str().expect("a name");
        PictureInput::File(project::oracle("nanollava").join(name))
    });
    Request::single(None, pictures.collect(), case["text"].as_str().expect("a text"))
}

fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = largest.fold(0.0, f32::max);
    assert!(largest < 1e-4, "{what}: {largest} off");
}

fn options() -> GenerateOptions {
    GenerateOptions {
        max_tokens: 8,
        ignore_end: true,
        ..GenerateOptions::default()
    }
}

#[test]
fn words_and_any_number_of_pictures_are_read_as_the_reference_reads_them() {
    for carrier in Carrier::ALL {
        check_all(open(carrier, &folder()));
    }
}

/// As the plugin was built for contract 0.2.0.
#[test]
fn a_plugin_that_was_kept_reads_them_too() {
    check_all(project::open_frozen("contract-0.2", &manifest(&folder())));
}

fn check_all(mut model: Scheduler) {
    let cases = golden();
    assert_eq!(cases.len(), 3);
    for (name, case) in &cases {
        let pictures = case["pictures"].as_array().expect("a list").len();
        let mut read = vec![479; 4 * pictures];
        read.extend(ids(&case["ids"]));
        let trace = model.trace(&request(case), 64, 8).unwrap();
        assert_eq!(trace.encoder_ids, read, "{name}");
        assert_eq!(trace.prompt_ids, [478], "{name}");
        close(name, &trace.context, &numbers(&case["context"]));
        assert_eq!(trace.tokens, ids(&case["tokens"]), "{name}");
        close(name, &trace.step_logits[0], &numbers(&case["first_logits"]));
        close(name, &trace.step_logits[7], &numbers(&case["last_logits"]));
    }
}

#[test]
fn requests_beside_each_other_read_their_own() {
    for carrier in Carrier::ALL {
        let folder = folder();
        let mut model = open(carrier, &folder);
        let cases = golden();
        let mut expected = Vec::new();
        for case in cases.values().chain(cases.values()) {
            let prepared = model.prepare(&request(case), 8, 64).unwrap();
            let id = model.submit(prepared, options(), Instant::now()).unwrap();
            expected.push((id, ids(&case["tokens"])));
        }
        let mut done = 0;
        while !model.is_idle() {
            for (id, event) in model.step() {
                match event {
                    Event::Done(report) => {
                        let (_, tokens) = expected.iter().find(|(other, _)| *other == id).unwrap();
                        assert_eq!(&report.token_ids, tokens);
                        done += 1;
                    }
                    Event::Text(_) | Event::Logprobs(_) => {}
                    Event::Cancelled => panic!("{id:?} was cancelled"),
                    Event::Failed(error) => panic!("{id:?}: {error}"),
                }
            }
        }
        assert_eq!(done, 6);
    }
}

#[test]
fn the_report_tells_the_encoders_prompt_from_the_decoders() {
    for carrier in Carrier::ALL {
        let folder = folder();
        let mut model = open(carrier, &folder);
        let cases = golden();
        let answer = |model: &mut Scheduler, name: &str| -> Report {
            model
                .answer(&request(&cases[name]), &options(), &mut |_| Flow::Continue)
                .unwrap()
        };
        let two = answer(&mut model, "two_pictures");
        assert_eq!((two.prompt.tokens, two.prompt.encoder_tokens), (1, Some(14)));
        assert_eq!(two.prompt.image_tokens, 8);
        assert!(
            two.notes.iter().all(|note| !note.contains("reads nothing")),
            "{:?}",
            two.notes
        );
        // One row of 32 floats for each of 14 tokens: what the estimate counts for the context.
        assert_eq!(two.memory.estimate.feature_bytes, 14 * 32 * 4);
        let none = answer(&mut model, "no_picture");
        assert_eq!(
            (none.prompt.encoder_tokens, none.prompt.image_tokens),
            (Some(6), 0)
        );
        let prepared = model.prepare(&request(&cases["two_pictures"]), 4, 64).unwrap();
        let read = [vec![479; 8], ids(&cases["two_pictures"]["ids"])].concat();
        assert_eq!(prepared.encoder_ids(), Some(read.as_slice()));
    }
}
