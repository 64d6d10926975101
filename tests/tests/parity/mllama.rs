//! Llama 3.2 Vision against transformers.

use monocle_runtime::plugin::contract::{Content, Message, Part};
use monocle_runtime::plugin::state::PixelTensor;
use monocle_runtime::request::Request;
use monocle_tests::parity::{LOGITS, Parity, channels_first, close};
use monocle_tests::pictures::grey;
use monocle_tests::project;
use serde_json::Value;

#[test]
fn mllama() {
    let parity = Parity {
        pixels: Some(with_empty_tiles),
        ..Parity::new("mllama")
    };
    parity.check();
}

/// The reference gives every picture four tiles, the last ones of zeros where it needs fewer.
fn with_empty_tiles(pictures: &[Vec<PixelTensor>]) -> Vec<f32> {
    let fill = |tensor: &PixelTensor| {
        let mut shape = tensor.shape.clone();
        let mut values = tensor.values.clone();
        values.resize(values.len() / shape[0] * 4, 0.0);
        shape[0] = 4;
        vec![PixelTensor { shape, values }]
    };
    channels_first(&pictures.iter().flatten().map(fill).collect::<Vec<_>>())
}

/// Pictures that leave tiles empty, alone and beside others; words before and between pictures; a base model's prompt. See
/// make_mllama.py.
#[test]
fn empty_tiles_groups_of_pictures_and_base_prompts() {
    let folder = project::oracle("mllama");
    let text = std::fs::read_to_string(folder.join("more.json")).expect("more.json is there");
    let cases: Value = serde_json::from_str(&text).expect("more.json is JSON");
    for (name, case) in cases.as_object().expect("more.json has cases") {
        let mut model = if case["chat"] == true {
            project::open_folder(&folder)
        } else {
            project::open_manifest(&format!(
                "schema = 1\nname = \"base\"\nplugin = \"mllama\"\n[source]\npath = '{}'\n[prompt]\nplain = true\n",
                folder.display()
            ))
        };
        for chunk in [1, 7, 64] {
            let what = format!("{name}, chunks of {chunk}");
            let trace = model
                .trace(&request(case), chunk, 8)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(trace.prompt_ids, ids(&case["input_ids"]), "{what}: token ids");
            assert_eq!(trace.tokens, ids(&case["greedy_tokens"]), "{what}: greedy tokens");
            let logits = case["logits"].as_array().expect("a case has logits");
            for (number, expected) in [0, 7].into_iter().zip(logits) {
                let expected = expected.as_array().expect("a row").iter();
                let expected: Vec<f32> = expected
                    .map(|value| value.as_f64().expect("a number") as f32)
                    .collect();
                let what = format!("{what}: logits of token {number}");
                close(&what, &trace.step_logits[number], &expected, LOGITS);
            }
        }
    }
}

fn request(case: &Value) -> Request {
    let sizes = case["pictures"].as_array().expect("a case has pictures");
    let side = |size: &Value, index: usize| size[index].as_u64().expect("a side") as usize;
    let pictures = sizes.iter().map(|size| grey(side(size, 0), side(size, 1)));
    let mut parts = vec![];
    let text = case["text"].as_str().expect("a case has a text");
    for (number, words) in (0..).zip(text.split("<|image|>")) {
        parts.extend((number > 0).then(|| Part::Image(number - 1)));
        parts.extend((!words.is_empty()).then(|| Part::Text(words.to_owned())));
    }
    Request {
        messages: vec![Message::new("user", Content::Parts(parts))],
        pictures: pictures.collect(),
        ..Request::default()
    }
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("a list of ids").iter();
    ids.map(|id| id.as_u64().expect("an id is a number") as u32)
        .collect()
}
