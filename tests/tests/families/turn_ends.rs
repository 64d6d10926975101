//! The end of a turn ends the answer, whatever end tokens the configuration of a conversion leaves out.
//!
//! Idefics3-8B showed `<end_of_utterance>` and went on; Phi-3.5-vision invented the user's next turn. The goldens' folders name no
//! end token at all.

use monocle_tests::oracle::Oracle;
use monocle_tests::project;
use monocle_text::Tokenizer;

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
