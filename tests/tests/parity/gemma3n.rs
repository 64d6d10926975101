//! Gemma 3n against transformers, with a small tower of timm's kind.

use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, close, step_logits};
use monocle_tests::project;
use monocle_tests::variant::{self, NewTensor};
use monocle_weights::to_f32;
use serde_json::Value;

#[test]
fn gemma3n() {
    Parity::new("gemma3n").check();
}

#[test]
fn features_are_the_reference_s() {
    let folder = project::oracle("gemma3n");
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

/// As mlx-vlm's `sanitize` names and orders what it converts: places without `model.`, the decoder in `model`, kernels with channels last. The
/// stem's kernel has one shape in both orders.
#[test]
fn conversions_answer_as_the_original() {
    let original = variant::checkpoint(&project::oracle("gemma3n"));
    let tensors: Vec<NewTensor> = original
        .names()
        .map(|name| {
            let tensor = original.tensor(name).unwrap_or_else(|error| panic!("{error}"));
            let values = to_f32(&tensor).unwrap_or_else(|error| panic!("{error}"));
            let name = name.trim_start_matches("model.");
            let name = name.replacen("language_model.", "language_model.model.", 1);
            match tensor.shape[..] {
                [out, inner, height, width] => {
                    let at = |o: usize, y: usize, x: usize, i: usize| {
                        values[((o * inner + i) * height + y) * width + x]
                    };
                    let moved = (0..out * height * width * inner).map(|place| {
                        let (rest, i) = (place / inner, place % inner);
                        at(rest / width / height, rest / width % height, rest % width, i)
                    });
                    (name, vec![out, height, width, inner], moved.collect())
                }
                _ => (name, tensor.shape.clone(), values),
            }
        })
        .collect();
    assert!(
        tensors
            .iter()
            .any(|(name, shape, _)| name.ends_with("conv_stem.conv.weight") && shape[1..] == [3, 3, 3])
    );
    let folder = variant::copy("gemma3n", "gemma3n-conversion", &["golden.safetensors"]);
    variant::write_weights(&folder, &tensors);
    let (oracle, mut model) = (
        Oracle::open(&project::oracle("gemma3n")),
        project::open_folder(&folder),
    );
    let trace = model
        .trace(&oracle.request("image"), 512, 16)
        .unwrap_or_else(|error| panic!("{error}"));
    let (found, expected) = step_logits(&oracle, "image", &trace);
    close("the conversion's logits", &found, &expected, LOGITS);
}

/// gemma-3n-E2B has no chat template.
#[test]
fn a_base_model_runs_without_a_template() {
    let folder = variant::copy("gemma3n", "gemma3n-base", &["chat_template.jinja"]);
    let text =
        std::fs::read_to_string(project::oracle("gemma3n").join("base.json")).expect("base.json is there");
    let golden: Value = serde_json::from_str(&text).expect("it is JSON");
    let ids = |key: &str| -> Vec<u32> { serde_json::from_value(golden[key].clone()).expect("ids") };
    let prompt = golden["prompt"].as_str().expect("a prompt");
    let words = prompt.replace("<image_soft_token>", "");
    let request = Request::single(None, vec![PictureInput::File(folder.join("image.png"))], &words);
    for more in ["", "[prompt]\nplain = true"] {
        let text = format!(
            "schema = 1\nname = \"test\"\nplugin = \"gemma3n\"\n[source]\npath = '{}'\n{more}\n",
            folder.display()
        );
        let mut model = project::open_manifest(&text);
        let trace = model
            .trace(&request, 7, 16)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(trace.prompt, prompt);
        assert_eq!(trace.prompt_ids, ids("input_ids"));
        assert_eq!(trace.tokens, ids("greedy_tokens"));
    }
}
