//! The end of a turn ends the answer, whatever end tokens the configuration of a conversion leaves out.
//!
//! Idefics3-8B showed `<end_of_utterance>` and went on; Phi-3.5-vision invented the user's next turn. The goldens' folders name no
//! end token at all.

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::Flow;
use monocle_tests::oracle::Oracle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_text::{FinishReason, SamplingOptions, Tokenizer};
use serde_json::Value;

#[test]
fn the_end_of_a_turn_ends_the_answer() {
    for (folder, end) in [
        ("idefics3", "<end_of_utterance>"),
        ("smolvlm", "<end_of_utterance>"),
        ("nanollava", "<|im_end|>"),
        ("internvl", "<|im_end|>"),
        ("internvl_chat", "<|im_end|>"),
        ("lfm2_vl", "<|im_end|>"),
        ("qwen2_vl", "<|im_end|>"),
        ("qwen2_5_vl", "<|im_end|>"),
        ("qwen3_vl", "<|im_end|>"),
        ("glm4v", "<|user|>"),
        ("glm4v_moe", "<|user|>"),
        ("glm_ocr", "<|user|>"),
        ("qwen3_vl_moe", "<|im_end|>"),
        ("gemma3", "<end_of_turn>"),
        ("gemma3n", "<end_of_turn>"),
        ("phi3_v", "<|end|>"),
        ("mllama", "<|eot_id|>"),
        ("deepseek_vl2", "<｜end▁of▁sentence｜>"),
        ("kimi_vl", "<|im_end|>"),
        ("paddleocr_vl", "</s>"),
        ("llava_onevision", "<|im_end|>"),
        ("molmo", "<|endoftext|>"),
        ("moondream2", "*"), // `eos_id` of its config
    ] {
        let oracle = Oracle::open(&project::oracle(folder));
        let mut model = project::open_folder(&oracle.folder);
        let prepared = model.prepare(&oracle.request("image"), 16, 64);
        let plan = prepared.unwrap_or_else(|error| panic!("{folder}: {error}")).plan;
        let tokenizer = Tokenizer::from_folder(&oracle.folder).unwrap_or_else(|error| panic!("{error}"));
        let id = tokenizer
            .token_id(end)
            .unwrap_or_else(|| panic!("{folder} has no `{end}`"));
        assert!(
            plan.stop_tokens.contains(&id),
            "{folder}: {:?} without {id}",
            plan.stop_tokens
        );
    }
}

/// Where the tokenizer's end is the turn's end, the plugin names none, and conversions may lack every other file that names it.
#[test]
fn the_tokenizer_s_end_ends_the_answer_whatever_other_files_lack() {
    for (folder, end) in [
        ("apriel", "<|end|>"),
        ("ernie4_5_vl", "<|end_of_sentence|>"),
        ("florence2", "</s>"),
        ("llava", "</s>"),
        ("llava_next", "</s>"),
        ("ministral3", "</s>"),
        ("mistral3", "</s>"),
        ("paligemma2", "<eos>"),
        ("pixtral", "</s>"),
    ] {
        let oracle = Oracle::open(&project::oracle(folder));
        let conversion = Scratch::checkpoint(folder);
        conversion.remove("generation_config.json");
        conversion.edit("config.json", |text| {
            let mut config: Value = serde_json::from_str(&text).expect("the config is JSON");
            for part in ["/text_config", ""] {
                if let Some(part) = config.pointer_mut(part).and_then(Value::as_object_mut) {
                    part.remove("eos_token_id");
                }
            }
            config.to_string()
        });
        let tokenizer = Tokenizer::from_folder(conversion.path()).unwrap_or_else(|error| panic!("{error}"));
        let id = tokenizer
            .token_id(end)
            .unwrap_or_else(|| panic!("{folder} has no `{end}`"));
        let options = GenerateOptions {
            max_tokens: 4,
            sampling: SamplingOptions {
                // Logits of the tiny checkpoints are much smaller: the end comes at once.
                logit_bias: vec![(id, 100.0)],
                ..SamplingOptions::default()
            },
            ..GenerateOptions::default()
        };
        let request = oracle.request(&oracle.cases()[0]);
        let report =
            project::open_folder(conversion.path()).answer(&request, &options, &mut |_| Flow::Continue);
        let report = report.unwrap_or_else(|error| panic!("{folder}: {error}"));
        let ended = FinishReason::EndToken {
            id,
            token: end.to_owned(),
        };
        assert_eq!(report.output.finish, ended, "{folder}");
        assert_eq!(report.token_ids, [id], "{folder}");
    }
}
