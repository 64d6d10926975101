//! The estimate, phase by phase, against what the engine measured.

use std::path::PathBuf;

use monocle_runtime::request::Request;
use monocle_tests::pictures::grey;
use monocle_tests::project;

use super::{generate, manifest};

/// How far off an estimate may be.
const TOLERANCE: f64 = 0.25;
/// What an engine that runs ahead frees at a time of its own: it is estimated, and may be gone already (two pieces: host/mlx/src/device.rs). It
/// counts beside these models of a few hundred kilobytes.
const FREED_LATE: usize = 2 * (64 << 10);

/// Pictures of these sizes, chunks of the prompt, tokens of the answer.
type Asked = (&'static [(usize, usize)], usize, usize);

const REQUESTS: [Asked; 5] = [
    (&[(333, 217)], 512, 8),
    (&[(64, 640)], 16, 8),
    (&[(1024, 768), (90, 200)], 512, 8),
    (&[], 512, 4),
    (&[(333, 217)], 512, 200),
];

fn check(plugin: &str, folder: PathBuf) {
    check_requests(plugin, folder, &REQUESTS);
}

fn check_requests(plugin: &str, folder: PathBuf, requests: &[Asked]) {
    let text = manifest(plugin, &folder, "");
    let (mut fully_answered, mut wrong) = (0, Vec::new());
    for &(sizes, chunk, max_tokens) in requests {
        // Programs of earlier requests keep their constants: each request has the engine to itself.
        let mut model = project::open_manifest(&text);
        let pictures = sizes.iter().map(|&(width, height)| grey(width, height)).collect();
        let request = Request::single(None, pictures, "What is to be seen here?");
        let report = generate(&mut model, &request, max_tokens, chunk)
            .unwrap_or_else(|error| panic!("{plugin} {sizes:?}: {error}"));
        let (memory, expected) = (&report.memory, &report.memory.estimate);
        let mut phases = vec![
            ("load", memory.load.peak_bytes, expected.load_peak_bytes),
            ("prefill", memory.prefill.peak_bytes, expected.prefill_peak_bytes),
        ];
        if !sizes.is_empty() {
            phases.push(("encode", memory.encode.peak_bytes, expected.encode_peak_bytes));
        }
        // An answer that ends early fills less of the caches.
        if report.output.tokens == max_tokens {
            fully_answered += 1;
            phases.push(("decode", memory.decode.peak_bytes, expected.decode_peak_bytes));
            phases.push(("all", memory.engine_peak(), expected.engine_peak()));
            // Where the engine can tell.
            if expected.kept_bytes > 0 {
                phases.push(("kept", model.backend().memory().cached, expected.kept_bytes));
            }
        }
        for (phase, measured, expected) in phases {
            let ratio = expected as f64 / measured as f64;
            let freed_late = if model.backend().is_ahead() { FREED_LATE } else { 0 };
            let least = expected.saturating_sub(freed_late) as f64 / measured as f64;
            let line = format!(
                "{plugin} {sizes:?} in chunks of {chunk}, {phase}: {expected} bytes expected, {measured} measured: {ratio:.2}"
            );
            println!("{line}");
            if ratio < 1.0 - TOLERANCE || least > 1.0 + TOLERANCE {
                wrong.push(line);
            }
        }
    }
    assert!(
        2 * fully_answered >= requests.len(),
        "{plugin}: most answers ended early"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn estimates_hold_for_smolvlm() {
    check("smolvlm", project::oracle("smolvlm"));
    check("smolvlm", project::root().join("models/shapes"));
}

#[test]
fn estimates_hold_for_qwen_vl() {
    check("qwen-vl", project::oracle("qwen2_vl"));
    check("qwen-vl", project::oracle("qwen2_5_vl"));
    check("qwen-vl", project::oracle("qwen3_vl"));
}

#[test]
fn estimates_hold_for_gemma3_and_paligemma() {
    check("gemma3", project::oracle("gemma3"));
    // PaliGemma takes one picture, always.
    check_requests(
        "paligemma",
        project::oracle("paligemma2"),
        &[REQUESTS[0], REQUESTS[1], REQUESTS[4]],
    );
}

#[test]
fn estimates_hold_for_llava_and_internvl() {
    check("llava", project::oracle("llava_next"));
    check("internvl", project::oracle("internvl3_5"));
}

/// Keys and values of pictures that cross attention reads are kept beside the caches of the text.
#[test]
fn estimates_hold_for_mllama() {
    check("mllama", project::oracle("mllama"));
}

/// Short convolutions keep a few rows of their own.
#[test]
fn estimates_hold_for_lfm2() {
    check("lfm2-vl", project::oracle("lfm2_vl"));
}

/// Experts, of which each row takes a few; latent attention, which keeps less than keys and values.
#[test]
fn estimates_hold_for_models_of_experts() {
    for folder in ["deepseek_vl2", "deepseek_vl2_small", "deepseek_vl2_base"] {
        check("deepseek-vl2", project::oracle(folder));
    }
    check("ernie4-5-vl", project::oracle("ernie4_5_vl"));
    check("kimi-vl", project::oracle("kimi_vl"));
    check("qwen-vl", project::oracle("glm4v_moe"));
    check("qwen-vl", project::oracle("qwen3_vl_moe"));
}

/// Layers that share caches, and several rows a token.
#[test]
fn estimates_hold_for_gemma3n() {
    check("gemma3n", project::oracle("gemma3n"));
}

#[test]
fn estimates_hold_for_the_other_families() {
    check("llava", project::oracle("llava_onevision"));
    check("mistral3", project::oracle("mistral3"));
    check("paddleocr-vl", project::oracle("paddleocr_vl"));
    check("qwen-vl", project::oracle("glm_ocr"));
}

/// Pictures of very many tokens: a prompt of several chunks.
#[test]
fn estimates_hold_for_phi3_v() {
    check("phi3-v", project::oracle("phi3_v"));
}

/// These take one picture at most; Moondream 2 and Florence-2 never none.
#[test]
fn estimates_hold_for_models_of_one_picture() {
    let [small, tall, _, text, long] = REQUESTS;
    for (plugin, folder) in [("molmo", "molmo"), ("nanollava", "nanollava")] {
        check_requests(plugin, project::oracle(folder), &[small, tall, text, long]);
    }
    for (plugin, folder) in [("moondream2", "moondream2"), ("florence2", "florence2")] {
        check_requests(plugin, project::oracle(folder), &[small, tall, long]);
    }
}
