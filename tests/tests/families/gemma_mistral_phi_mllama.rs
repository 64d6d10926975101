//! What went wrong with Gemma 3, PaliGemma 2, the Mistral family, Phi-3.5-vision and Llama 3.2 Vision in other runners.

use std::path::Path;
use std::sync::Arc;

use monocle_manifest::Manifest;
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_runtime::trace::argmax;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close};
use monocle_tests::pictures::grey;
use monocle_tests::{project, variant};
use monocle_text::{Delta, FinishReason, OutputRules, OutputStream, ReasoningMarkers, Tokenizer};
use serde_json::Value;

fn generate(model: &mut Scheduler, request: &Request, max_tokens: usize) -> (String, Report) {
    let options = GenerateOptions {
        max_tokens,
        prefill_chunk: 7,
        ..GenerateOptions::default()
    };
    let mut streamed = String::new();
    let mut sink = |delta: &Delta| {
        streamed += &delta.text;
        Flow::Continue
    };
    let report = model
        .answer(request, &options, &mut sink)
        .unwrap_or_else(|error| panic!("{error}"));
    (streamed, report)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("a list of ids").iter();
    ids.map(|id| id.as_u64().expect("an id is a number") as u32)
        .collect()
}

/// A manifest for an oracle folder: lines beyond the obligatory ones.
fn manifest(plugin: &str, folder: &Path, more: &str) -> String {
    format!(
        "schema = 1\nname = \"test\"\nplugin = \"{plugin}\"\n[source]\npath = '{}'\n{more}\n",
        folder.display()
    )
}

/// Devstral-Small-2: `Title:ĠStĠMichael's…ĊĊ`.
#[test]
fn byte_level_markers_are_not_shown() {
    let oracle = Oracle::open(&project::oracle("ministral3"));
    let mut model = project::open_folder(&oracle.folder);
    let expected = oracle.case("image")["greedy_text"]
        .as_str()
        .expect("the golden has a text");
    assert!(expected.contains(' '), "a text without spaces proves nothing");
    let (streamed, report) = generate(&mut model, &oracle.request("image"), 16);
    assert_eq!(report.output.text, expected);
    assert_eq!(streamed, expected);
}

/// gemma-3-12b-pt: refused, since there is no chat template.
#[test]
fn a_base_model_runs_without_a_template() {
    let folder = variant::copy("gemma3", "gemma3-base", &["chat_template.jinja"]);
    let golden = json(&project::oracle("gemma3").join("base.json"));
    let words = golden["prompt"]
        .as_str()
        .expect("a prompt")
        .replace("<start_of_image>", "");
    let request = Request::single(None, vec![PictureInput::File(folder.join("image.png"))], &words);
    for more in ["", "[prompt]\nplain = true"] {
        let mut model = project::open_manifest(&manifest("gemma3", &folder, more));
        let trace = model
            .trace(&request, 7, 16)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(trace.prompt, golden["prompt"].as_str().expect("a prompt"));
        assert_eq!(trace.prompt_ids, ids(&golden["input_ids"]));
        assert_eq!(trace.tokens, ids(&golden["greedy_tokens"]));
    }
}

/// Phi-3.5-vision: `<|end|><|endoftext|>` in the text, then an invented dialogue.
#[test]
fn every_end_token_of_phi_ends_the_answer_and_none_is_shown() {
    let folder = variant::copy("phi3_v", "phi3_v-ends", &[]);
    let oracle = Oracle::open(&project::oracle("phi3_v"));
    // The first token that the model generates for this request becomes `<|endoftext|>`, which its config does not name.
    let path = folder.join("tokenizer.json");
    let mut tokenizer = json(&path);
    let first = oracle.case("text")["greedy_tokens"][0].clone();
    let tokens = tokenizer["added_tokens"].as_array_mut().expect("added tokens");
    let place = |tokens: &[Value], wanted: &dyn Fn(&Value) -> bool| {
        tokens.iter().position(wanted).expect("the token is there")
    };
    let end = place(tokens, &|token| token["content"] == "<|endoftext|>");
    let first = place(tokens, &|token| token["id"] == first);
    let name = tokens[first]["content"].clone();
    tokens[first]["content"] = "<|endoftext|>".into();
    tokens[end]["content"] = name;
    std::fs::write(&path, tokenizer.to_string()).expect("it can be written");
    let mut model = project::open_folder(&folder);
    let (streamed, report) = generate(&mut model, &oracle.request("text"), 16);
    assert!(
        matches!(&report.output.finish, FinishReason::EndToken { token, .. } if token == "<|endoftext|>"),
        "{:?}",
        report.output.finish
    );
    assert_eq!((streamed.as_str(), report.output.text.as_str()), ("", ""));
    assert_eq!(report.token_ids.len(), 1);
    let plan = model
        .prepare(&oracle.request("text"), 1, 64)
        .unwrap_or_else(|error| panic!("{error}"))
        .plan;
    assert_eq!(
        plan.stop_tokens,
        [646, 643, 2],
        "`<|end|>`, `<|endoftext|>`, `</s>`"
    );
}

/// Llama 3.2 Vision may close a message by `<|eom_id|>`, which its config alone does not name.
#[test]
fn every_end_token_of_llama_ends_the_answer_and_none_is_shown() {
    let path = project::root().join("manifests/llama-3.2-11b-vision-instruct.toml");
    let stops = Manifest::load(&path).unwrap_or_else(|error| panic!("{error}"));
    let stops = stops.generation.stop_tokens;
    let folder = project::oracle("mllama");
    let more = format!("[generation]\nstop_tokens = {stops:?}");
    let mut model = project::open_manifest(&manifest("mllama", &folder, &more));
    // The sixth token of the golden is `<|eom_id|>`.
    let (streamed, report) = generate(&mut model, &Oracle::open(&folder).request("image"), 16);
    assert!(
        matches!(&report.output.finish, FinishReason::EndToken { token, .. } if token == "<|eom_id|>"),
        "{:?}",
        report.output.finish
    );
    assert_eq!((streamed.as_str(), report.token_ids.len()), ("saisweenicick", 6));
    assert_eq!(report.output.text, "saisweenicick");
}

/// Phi-3.5-vision beyond 4096 tokens: other rotary frequencies, in every chunk of the prompt and every token after it.
#[test]
fn long_prompts_turn_by_other_frequencies() {
    let folder = project::oracle("phi3_v");
    let golden = json(&folder.join("long.json"));
    let text = golden["text"].as_str().expect("a text");
    let text = text.repeat(golden["times"].as_u64().expect("a number") as usize);
    let mut model = project::open_folder(&folder);
    let trace = model
        .trace(&Request::single(None, vec![], &text), 512, 4)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        trace.prompt_ids.len() as u64,
        golden["prompt_tokens"].as_u64().expect("a number")
    );
    assert_eq!(trace.tokens, ids(&golden["greedy_tokens"]));
    let rows = golden["log_probabilities"].as_array().expect("rows");
    for (row, expected) in trace.step_logits.iter().zip(rows) {
        let best = f64::from(row[argmax(row) as usize]);
        let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - best).exp()).sum();
        for (logit, expected) in row.iter().zip(expected.as_array().expect("a row")) {
            let found = f64::from(*logit) - best - sum.ln();
            let expected = expected.as_f64().expect("a number");
            assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
        }
    }
}

/// Apriel-Thinker: the reasoning was mixed into the answer.
#[test]
fn apriel_s_reasoning_is_split_off() {
    let manifest = Manifest::load(&project::root().join("manifests/apriel-1.5-15b-thinker.toml"));
    let manifest = manifest.unwrap_or_else(|error| panic!("{error}"));
    let reasoning = manifest.output.reasoning.expect("the manifest has marks");
    let rules = OutputRules {
        strip: manifest.output.strip,
        reasoning: Some(ReasoningMarkers {
            start: reasoning.start,
            end: reasoning.end,
        }),
        ..OutputRules::default()
    };
    let tokenizer = Tokenizer::from_folder(project::oracle("apriel"));
    let tokenizer = Arc::new(tokenizer.unwrap_or_else(|error| panic!("{error}")));
    // As the model writes: https://huggingface.co/ServiceNow-AI/Apriel-1.5-15b-Thinker
    let text = "Here are my reasoning steps:\nTwo cats, one couch.\n[BEGIN FINAL RESPONSE]\nTwo cats sleep.\n[END FINAL RESPONSE]\n";
    let ids = tokenizer
        .encode(text, false)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut stream = OutputStream::new(tokenizer, rules, []);
    for id in ids {
        stream.push(id).unwrap_or_else(|error| panic!("{error}"));
    }
    let (_, generated) = stream.finish(FinishReason::MaxTokens);
    assert_eq!(generated.text.trim(), "Two cats sleep.");
    assert_eq!(generated.reasoning.trim(), "Two cats, one couch.");
}

/// A second picture of a process was answered as the first: masks, positions, cross attention and tiles are each request's own.
#[test]
fn no_state_outlives_a_request() {
    for folder in [
        "gemma3",
        "paligemma2",
        "pixtral",
        "mistral3",
        "ministral3",
        "phi3_v",
        "mllama",
    ] {
        let mut model = project::open_folder(&project::oracle(folder));
        let mut answer = |(width, height)| {
            let request = Request::single(None, vec![grey(width, height)], "caption en");
            let trace = model
                .trace(&request, 7, 4)
                .unwrap_or_else(|error| panic!("{folder}: {error}"));
            trace.step_logits
        };
        let first = answer((90, 70));
        assert_ne!(
            first,
            answer((40, 120)),
            "{folder}: another picture, the same answer"
        );
        assert_eq!(
            first,
            answer((90, 70)),
            "{folder}: the same picture, another answer"
        );
    }
}

/// PaliGemma without a picture: the reference refuses it, too.
#[test]
fn paligemma_without_a_picture_is_refused_in_clear_words() {
    let mut model = project::open_folder(&project::oracle("paligemma2"));
    let request = Request::single(None, vec![], "caption en");
    let Err(error) = model.prepare(&request, 1, 64) else {
        panic!("a prompt without a picture was planned");
    };
    assert!(
        error.to_string().contains("answer about a picture only"),
        "{error}"
    );
}

/// No reference's answer about two is known to be met: the published checkpoints were tuned on one.
#[test]
fn paligemma_with_two_pictures_is_refused_in_clear_words() {
    let mut model = project::open_folder(&project::oracle("paligemma2"));
    let request = Request::single(None, vec![grey(56, 56), grey(90, 70)], "caption en");
    let Err(error) = model.prepare(&request, 1, 64) else {
        panic!("a prompt with two pictures was planned");
    };
    assert!(
        error
            .to_string()
            .contains("answer about one picture; the request has 2"),
        "{error}"
    );
}

/// Ministral 3 as Mistral released it: 8-bit floats that mean nothing without their scales.
#[test]
fn scaled_weights_are_refused_in_clear_words() {
    let rename = r"[weights]
rename = [['layers\.0\.self_attn\.q_proj\.weight', 'layers.0.self_attn.q_proj.weight_scale_inv']]";
    let folder = project::oracle("ministral3");
    let mut model = project::open_manifest(&manifest("mistral3", &folder, rename));
    let request = Request::single(None, vec![], "Hello");
    let Err(error) = model.trace(&request, 64, 1) else {
        panic!("scales were ignored");
    };
    assert!(error.to_string().contains("8-bit floats with scales"), "{error}");
}

/// Conversions to MLX, and checkpoints that name weights as transformers does inside.
#[test]
fn other_naming_schemes_are_met() {
    let inside = r#"['^language_model\.model\.', 'model.language_model.'], ['^language_model\.lm_head\.', 'lm_head.'],
                    ['^vision_tower\.', 'model.vision_tower.'], ['^multi_modal_projector\.', 'model.multi_modal_projector.']"#;
    let mlx = r"['^vision_tower\.', 'vision_tower.vision_model.']";
    let cross_inside = r#"['^language_model\.model\.', 'model.language_model.'], ['^language_model\.lm_head\.', 'lm_head.'],
                          ['^vision_model\.', 'model.vision_model.'], ['^multi_modal_projector\.', 'model.multi_modal_projector.']"#;
    let cross_mlx = r"['^vision_model\.', 'vision_tower.']";
    for (plugin, folder, rules) in [
        ("gemma3", "gemma3", inside),
        ("paligemma", "paligemma2", inside),
        ("mistral3", "ministral3", inside),
        ("mistral3", "mistral3", mlx),
        ("mllama", "mllama", cross_inside),
        ("mllama", "mllama", cross_mlx),
    ] {
        let rename = format!("[weights]\nrename = [{rules}]");
        let mut model = project::open_manifest(&manifest(plugin, &project::oracle(folder), &rename));
        let oracle = Oracle::open(&project::oracle(folder));
        let trace = model.trace(&oracle.request("image"), 64, 16);
        let trace = trace.unwrap_or_else(|error| panic!("{folder}: {error}"));
        let (_, steps) = oracle
            .floats("image/step_logits")
            .expect("a case has logits of each step");
        close(folder, &trace.step_logits.concat(), &steps, LOGITS);
    }
}
