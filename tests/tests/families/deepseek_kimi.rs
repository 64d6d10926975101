//! What went wrong with DeepSeek-VL2 and Kimi-VL in other runners.

use std::sync::Arc;

use monocle_manifest::Manifest;
use monocle_runtime::request::Request;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close, greedy_tokens};
use monocle_tests::pictures::grey;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_text::{FinishReason, OutputRules, OutputStream, ReasoningMarkers, Tokenizer};
use serde_json::{Value, json};

/// The checkpoint with another `config.json` or another file of rules.
fn changed(checkpoint: &str, file: &str, change: impl Fn(&mut Value)) -> Scratch {
    let folder = Scratch::checkpoint(checkpoint);
    folder.edit(file, |text| {
        let mut value: Value = serde_json::from_str(&text).expect("it is JSON");
        change(&mut value);
        value.to_string()
    });
    folder
}

/// DeepSeek-VL2: `unexpected keyword argument 'candidate_resolutions'`.
#[test]
fn keys_that_nobody_knows_are_left_alone_and_missing_ones_are_named() {
    let oracle = Oracle::open(&project::oracle("deepseek_vl2"));
    let folder = changed("deepseek_vl2", "config.json", |config| {
        config["surprise"] = json!({ "deep": [1] });
        config["language_config"]["surprise"] = json!(null);
        config["vision_config"]["cls"] = json!("vision");
    });
    let trace = project::open_folder(folder.path()).trace(&oracle.request("image"), 64, 16);
    let trace = trace.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(trace.tokens, greedy_tokens(&oracle, "image"));

    let folder = changed("deepseek_vl2", "config.json", |config| {
        let language = config["language_config"].as_object_mut().expect("an object");
        language.remove("num_experts_per_tok");
    });
    let error = project::open_folder(folder.path()).trace(&oracle.request("image"), 64, 16);
    let error = error
        .expect_err("nothing says how many experts are at work")
        .to_string();
    assert!(error.contains("num_experts_per_tok"), "{error}");
}

/// A conversion may call the decoder's part otherwise and lack the processor's file.
#[test]
fn conversions_of_deepseek_vl2_need_no_processor_s_file() {
    let oracle = Oracle::open(&project::oracle("deepseek_vl2"));
    let folder = changed("deepseek_vl2", "config.json", |config| {
        config["text_config"] = config["language_config"].take();
    });
    folder.remove("processor_config.json");
    let trace = project::open_folder(folder.path()).trace(&oracle.request("two_images"), 64, 16);
    let trace = trace.unwrap_or_else(|error| panic!("{error}"));
    let (_, steps) = oracle
        .floats("two_images/step_logits")
        .expect("logits of each step");
    close("deepseek_vl2", &trace.step_logits.concat(), &steps, LOGITS);
}

/// Kimi-VL-Thinking: the reasoning was mixed into the answer.
#[test]
fn reasoning_of_kimi_vl_is_split_off() {
    let oracle = project::oracle("kimi_vl");
    let tokenizer = Tokenizer::from_folder(oracle).unwrap_or_else(|error| panic!("{error}"));
    let tokenizer = Arc::new(tokenizer);
    for name in ["kimi-vl-a3b-thinking", "kimi-vl-a3b-thinking-2506"] {
        let path = project::root().join("manifests").join(format!("{name}.toml"));
        let output = Manifest::load(&path)
            .unwrap_or_else(|error| panic!("{error}"))
            .output;
        let marks = output.reasoning.expect("the manifest has marks");
        let rules = OutputRules {
            reasoning_opened: marks.opened,
            reasoning: Some(ReasoningMarkers {
                start: marks.start,
                end: marks.end,
            }),
            ..OutputRules::default()
        };
        let words = "◁think▷It purrs, so it is a cat.◁/think▷A cat.";
        let ids = tokenizer
            .encode(words, false)
            .unwrap_or_else(|error| panic!("{error}"));
        let mut stream = OutputStream::new(tokenizer.clone(), rules, []);
        for id in ids {
            stream.push(id).unwrap_or_else(|error| panic!("{error}"));
        }
        let generated = stream.finish(FinishReason::MaxTokens).1;
        assert_eq!(generated.text.trim(), "A cat.");
        assert_eq!(generated.reasoning.trim(), "It purrs, so it is a cat.");
    }
}

/// The original's tower has no positions for such a picture either.
#[test]
fn pictures_that_are_too_long_for_kimi_vl_are_refused_with_their_size() {
    let folder = changed("kimi_vl", "preprocessor_config.json", |rules| {
        rules["in_token_limit"] = json!(4096)
    });
    let request = Request::single(None, vec![grey(16, 8000)], "What is it?");
    let mut model = project::open_folder(folder.path());
    let error = model
        .prepare(&request, 2, 64)
        .map(|_| ())
        .expect_err("it is refused")
        .to_string();
    assert!(error.contains("16 by 8000"), "{error}");

    let folder = changed("kimi_vl", "preprocessor_config.json", |rules| {
        rules["pad_input"] = json!(false)
    });
    let request = Request::single(None, vec![grey(16, 80)], "What is it?");
    let mut model = project::open_folder(folder.path());
    let error = model
        .prepare(&request, 2, 64)
        .map(|_| ())
        .expect_err("it is refused")
        .to_string();
    assert!(error.contains("pad_input"), "{error}");
}
