//! What went wrong with the Qwen-VL family and GLM-4.6V in other runners.

use std::path::Path;
use std::sync::Arc;

use monocle_manifest::Manifest;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::prepare::PreparedRequest;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close};
use monocle_tests::pictures::{PHOTO, grey};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;
use monocle_text::{FinishReason, Generated, OutputRules, OutputStream, ReasoningMarkers, Tokenizer};

fn manifest(folder: &Path, more: &str) -> String {
    format!(
        "schema = 1\nname = \"test\"\nplugin = \"qwen-vl\"\n[source]\npath = '{}'\n{more}\n",
        folder.display()
    )
}

fn shipped(name: &str) -> Manifest {
    let path = project::root().join("manifests").join(format!("{name}.toml"));
    Manifest::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn prepare(text: &str, picture: PictureInput) -> PreparedRequest {
    let request = Request::single(None, vec![picture], "Describe this picture.");
    project::open_manifest(text)
        .prepare(&request, 500, 512)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Qwen2-VL and Qwen3-VL: 16,855 prompt tokens for one photo, a minute before the first word.
#[test]
fn a_photo_takes_no_more_tokens_than_the_manifest_s_cap_allows() {
    // The processor's own rules, as released.
    let folder = Scratch::checkpoint("qwen2_vl");
    folder.edit("preprocessor_config.json", |rules| {
        rules.replace("31360", "12845056")
    });
    let (width, height) = PHOTO;
    let free = prepare(&manifest(folder.path(), ""), grey(width, height));
    assert_eq!(
        free.plan.images[0].features,
        107 * 152,
        "2996 by 4256 pixels, as in sizes.json"
    );

    let cap = shipped("qwen2-vl-2b")
        .image
        .max_pixels
        .expect("the manifest has a cap");
    let more = format!("[image]\nmax_pixels = {cap}");
    let capped = prepare(&manifest(folder.path(), &more), grey(width, height));
    let features = capped.plan.images[0].features;
    assert!((1200..=1300).contains(&features), "{features} features");
    let steps = &capped.pictures[0].steps;
    assert!(
        steps.iter().any(|step| step.contains("shrunk from 5477x7819")),
        "{steps:?}"
    );
}

/// What the output rules of a shipped manifest make of a model's words.
fn answer(manifest: &str, words: &str) -> Generated {
    let output = shipped(manifest).output;
    let reasoning = output.reasoning.expect("the manifest has marks");
    let rules = OutputRules {
        strip: output.strip,
        reasoning_opened: reasoning.opened,
        reasoning: Some(ReasoningMarkers {
            start: reasoning.start,
            end: reasoning.end,
        }),
        ..OutputRules::default()
    };
    let tokenizer = Tokenizer::from_folder(project::oracle("qwen3_vl"));
    let tokenizer = Arc::new(tokenizer.unwrap_or_else(|error| panic!("{error}")));
    let ids = tokenizer
        .encode(words, false)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut stream = OutputStream::new(tokenizer, rules, []);
    for id in ids {
        stream.push(id).unwrap_or_else(|error| panic!("{error}"));
    }
    stream.finish(FinishReason::MaxTokens).1
}

/// Qwen3-VL-Thinking: the reasoning, whose opening mark stands in the prompt, was mixed into the answer.
#[test]
fn reasoning_that_the_prompt_opened_is_split_off() {
    let generated = answer("qwen3-vl-2b-thinking", "A cat, I think.\n</think>\n\nA cat.");
    assert_eq!(generated.text.trim(), "A cat.");
    assert_eq!(generated.reasoning.trim(), "A cat, I think.");
}

/// X-Reasoner and GLM-4.6V: marks around the answer were shown.
#[test]
fn marks_around_the_answer_are_not_shown() {
    let generated = answer(
        "x-reasoner-7b",
        "<think>It purrs.</think> <answer>A cat.</answer>",
    );
    assert_eq!(generated.text.trim(), "A cat.");
    let boxed = "<think>It purrs.</think>\n<|begin_of_box|>A cat.<|end_of_box|>";
    let generated = answer("glm-4.6v-flash", boxed);
    assert_eq!(generated.text.trim(), "A cat.");
    assert_eq!(generated.reasoning.trim(), "It purrs.");
}

/// Checkpoints as transformers 4 wrote them, as transformers 5 does, and as conversions to MLX name their weights.
#[test]
fn other_naming_schemes_are_met() {
    let mlx = r#"['^(model\.)?visual\.', 'vision_tower.'], ['^model\.(language_model\.)?', 'language_model.model.'],
                 ['^lm_head\.', 'language_model.lm_head.']"#;
    let newer =
        r#"['^visual\.', 'model.visual.'], ['^model\.(embed|layers|norm)', 'model.language_model.$1']"#;
    let older = r#"['^model\.visual\.', 'visual.'], ['^model\.language_model\.', 'model.']"#;
    for (folder, rules) in [
        ("qwen2_vl", mlx),
        ("qwen2_vl", newer),
        ("qwen2_vl", older),
        ("qwen2_5_vl", mlx),
        ("qwen2_5_vl", newer),
        ("qwen2_5_vl", older),
        ("qwen3_vl", mlx),
        ("glm4v", mlx),
        ("glm4v_moe", mlx),
        ("glm_ocr", mlx),
    ] {
        let rename = format!("[weights]\nrename = [{rules}]");
        let mut model = project::open_manifest(&manifest(&project::oracle(folder), &rename));
        let oracle = Oracle::open(&project::oracle(folder));
        let trace = model.trace(&oracle.request("image"), 64, 16);
        let trace = trace.unwrap_or_else(|error| panic!("{folder} {rules}: {error}"));
        let (_, steps) = oracle
            .floats("image/step_logits")
            .expect("a case has logits of each step");
        close(folder, &trace.step_logits.concat(), &steps, LOGITS);
    }
}

/// Positions of one picture leaked into the next request, and positions of the whole prompt met a chunk of it.
#[test]
fn a_request_leaves_nothing_behind() {
    for folder in [
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "qwen3_vl_moe",
        "glm4v",
        "glm4v_moe",
        "glm_ocr",
    ] {
        let oracle = Oracle::open(&project::oracle(folder));
        let mut model = project::open_folder(&oracle.folder);
        let mut tokens = |case: &str, chunk: usize| {
            let trace = model.trace(&oracle.request(case), chunk, 16);
            trace
                .unwrap_or_else(|error| panic!("{folder} {case}: {error}"))
                .tokens
        };
        for (case, chunk) in [
            ("two_images", 5),
            ("text", 64),
            ("image", 64),
            ("text", 3),
            ("image", 5),
        ] {
            let expected = oracle.case(case)["greedy_tokens"]
                .as_array()
                .expect("a case has greedy tokens");
            let found: Vec<serde_json::Value> = tokens(case, chunk).into_iter().map(Into::into).collect();
            assert_eq!(&found, expected, "{folder} {case}, chunks of {chunk}");
        }
    }
}

/// Published checkpoints of Qwen3-VL's experts have them by their inputs, `[experts, in, out]`, gate and up in one. A manifest turns them; without, that
/// is said.
#[test]
fn experts_by_their_inputs_are_turned() {
    let folder = variant::copy("qwen3_vl_moe", "qwen3_vl_moe-published", &["golden.safetensors"]);
    variant::experts_by_inputs(&folder);
    let turn = r"[weights]
turn = ['\.experts\.(gate_up|down)_proj$']";
    let oracle = Oracle::open(&project::oracle("qwen3_vl_moe"));
    let mut model = project::open_manifest(&manifest(&folder, turn));
    for case in ["image", "text"] {
        let trace = model
            .trace(&oracle.request(case), 64, 16)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let (_, steps) = oracle
            .floats(&format!("{case}/step_logits"))
            .expect("a case has logits of each step");
        close(case, &trace.step_logits.concat(), &steps, LOGITS);
    }
    let mut model = project::open_manifest(&manifest(&folder, ""));
    let error = model.trace(&oracle.request("text"), 64, 1).map(|_| ());
    let error = error.expect_err("they cannot be used").to_string();
    assert!(
        error.contains("`qwen3-vl-30b-a3b-instruct`") && error.contains("conversion to MLX"),
        "{error}"
    );
}
