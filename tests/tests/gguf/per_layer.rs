//! Gemma 3n, whose layers have embeddings and residuals of their own, and whose tower is of convolutions. Names and key-values are those that
//! `convert_hf_to_gguf.py` of llama.cpp writes for this checkpoint, once it has four rows a token, as the converter wants; here it has its three.

use std::path::PathBuf;

use monocle_tests::gguf::{Field, float, json, number, pieces, rewrite};
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;
use monocle_weights::to_f32;
use serde_json::Value;

use super::families::{Fields, convert_whole, language, same, text};

const NAMES: &[(&str, &str)] = &[
    (r"embed_tokens\.weight", "token_embd.weight"),
    (r"embed_tokens_per_layer\.weight", "per_layer_token_embd.weight"),
    (
        r"per_layer_model_projection\.weight",
        "per_layer_model_proj.weight",
    ),
    (r"per_layer_projection_norm\.weight", "per_layer_proj_norm.weight"),
    (r"altup_projections\.weight", "altup_proj.weight"),
    (r"altup_unembed_projections\.weight", "altup_unembd_proj.weight"),
    (r"norm\.weight", "output_norm.weight"),
    (
        r"layers\.(\d+)\.altup\.correction_coefs\.weight",
        "blk.$1.altup_correct_coef.weight",
    ),
    (
        r"layers\.(\d+)\.altup\.prediction_coefs\.weight",
        "blk.$1.altup_predict_coef.weight",
    ),
    (
        r"layers\.(\d+)\.altup\.correct_output_scale",
        "blk.$1.altup_correct_scale.weight",
    ),
    (
        r"layers\.(\d+)\.altup\.modality_router\.weight",
        "blk.$1.altup_router.weight",
    ),
    (
        r"layers\.(\d+)\.altup\.router_norm\.weight",
        "blk.$1.altup_router_norm.weight",
    ),
    (
        r"layers\.(\d+)\.laurel\.linear_left\.weight",
        "blk.$1.laurel_l.weight",
    ),
    (
        r"layers\.(\d+)\.laurel\.linear_right\.weight",
        "blk.$1.laurel_r.weight",
    ),
    (
        r"layers\.(\d+)\.laurel\.post_laurel_norm\.weight",
        "blk.$1.laurel_post_norm.weight",
    ),
    (
        r"layers\.(\d+)\.per_layer_input_gate\.weight",
        "blk.$1.inp_gate.weight",
    ),
    (
        r"layers\.(\d+)\.per_layer_projection\.weight",
        "blk.$1.proj.weight",
    ),
    (
        r"layers\.(\d+)\.post_per_layer_input_norm\.weight",
        "blk.$1.post_norm.weight",
    ),
    (
        r"layers\.(\d+)\.input_layernorm\.weight",
        "blk.$1.attn_norm.weight",
    ),
    (
        r"layers\.(\d+)\.post_attention_layernorm\.weight",
        "blk.$1.post_attention_norm.weight",
    ),
    (
        r"layers\.(\d+)\.pre_feedforward_layernorm\.weight",
        "blk.$1.ffn_norm.weight",
    ),
    (
        r"layers\.(\d+)\.post_feedforward_layernorm\.weight",
        "blk.$1.post_ffw_norm.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.([qk])_norm\.weight",
        "blk.$1.attn_$2_norm.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.([qkv])_proj\.weight",
        "blk.$1.attn_$2.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.o_proj\.weight",
        "blk.$1.attn_output.weight",
    ),
    (
        r"layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2.weight",
    ),
    (
        r"model\.vision_tower\.timm_model\.blocks\.(\d+)\.(\d+)\.(.+)",
        "v.blk.$1.$2.$3",
    ),
    (r"model\.vision_tower\.timm_model\.(.+)", "v.$1"),
    (r"model\.embed_vision\.embedding\.weight", "mm.embedding.weight"),
    (
        r"model\.embed_vision\.(hard|soft)_embedding_norm\.weight",
        "mm.$1_emb_norm.weight",
    ),
    (
        r"model\.embed_vision\.embedding_projection\.weight",
        "mm.input_projection.weight",
    ),
    (r"model\.embed_audio\.embedding\.weight", "mm.a.embedding.weight"),
    (
        r"model\.embed_audio\.(hard|soft)_embedding_norm\.weight",
        "mm.a.$1_emb_norm.weight",
    ),
    (
        r"model\.embed_audio\.embedding_projection\.weight",
        "mm.a.input_projection.weight",
    ),
];

/// What `Gemma3nVisionAudioModel` gives four dimensions, and what Ollama's converter (`convert/convert_gemma3n.go`) gives them besides.
const STEM: &str = "conv_stem.conv.bias";
const SCALES: &str = "layer_scale.gamma";

/// `Gemma3NModel` and `Gemma3nVisionAudioModel`; vectors whose names end so have four dimensions.
fn convert(scratch: &Scratch, four: &[&str]) -> PathBuf {
    let plain = project::oracle("gemma3n");
    let config = json(&plain, "config.json");
    let decoder = &config["text_config"];
    let list = |key: &str| decoder[key].as_array().unwrap().iter();
    let mut fields = language("gemma3n", decoder);
    let widths = list("intermediate_size").map(|width| width.as_i64().unwrap() as i32);
    fields.extend([
        ("gemma3n.feed_forward_length", Field::Numbers(widths.collect())),
        (
            "gemma3n.rope.freq_base_swa",
            float(&decoder["rope_local_base_freq"]),
        ),
        ("gemma3n.final_logit_softcapping", Field::Float(30.0)),
        (
            "gemma3n.attention.sliding_window",
            number(&decoder["sliding_window"]),
        ),
        ("gemma3n.altup.active_idx", number(&decoder["altup_active_idx"])),
        ("gemma3n.altup.num_inputs", number(&decoder["altup_num_inputs"])),
        (
            "gemma3n.embedding_length_per_layer_input",
            number(&decoder["hidden_size_per_layer_input"]),
        ),
        (
            "gemma3n.attention.shared_kv_layers",
            number(&decoder["num_kv_shared_layers"]),
        ),
    ]);
    // torch.distributions.Normal(0, 1).icdf of 0.95, of 0.7, and of 0.
    let scales = list("activation_sparsity_pattern").map(|share| match share.as_f64().unwrap() {
        0.95 => 1.644_853_6,
        0.7 => 0.524_400_5,
        0.0 => f32::NEG_INFINITY,
        other => panic!("{other}"),
    });
    fields.push((
        "gemma3n.activation_sparsity_scale",
        Field::Floats(scales.collect()),
    ));
    let slides = list("layer_types").map(|kind| kind == "sliding_attention");
    fields.extend([
        (
            "gemma3n.attention.sliding_window_pattern",
            Field::Flags(slides.collect()),
        ),
        ("tokenizer.ggml.add_space_prefix", Field::Flag(false)),
    ]);
    let rows = decoder["vocab_size"].as_u64().unwrap() as usize;
    fields.extend(pieces(&plain, rows));
    let side = json(&plain, "preprocessor_config.json")["size"]["height"]
        .as_u64()
        .unwrap();
    let features = config["vision_soft_tokens_per_image"].as_u64().unwrap();
    let of_projector: Fields = vec![
        ("general.architecture", text("clip")),
        ("general.type", text("mmproj")),
        ("clip.has_vision_encoder", Field::Flag(true)),
        ("clip.has_audio_encoder", Field::Flag(true)),
        ("clip.vision.projector_type", text("gemma3nv")),
        ("clip.audio.projector_type", text("gemma3na")),
        ("clip.vision.projection_dim", number(&decoder["hidden_size"])),
        ("clip.vision.image_size", Field::Number(side as u32)),
        ("clip.vision.patch_size", Field::Number((side / features) as u32)),
        (
            "clip.vision.embedding_length",
            number(&config["vision_config"]["hidden_size"]),
        ),
        ("clip.vision.feed_forward_length", Field::Number(8192)),
        ("clip.vision.block_count", Field::Number(128)),
        ("clip.vision.attention.head_count", Field::Number(8)),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)),
        ("clip.vision.image_mean", Field::Floats(vec![0.0; 3])),
        ("clip.vision.image_std", Field::Floats(vec![1.0; 3])),
    ];
    let checkpoint = variant::checkpoint(&plain);
    let second = |first: &str| {
        let tensor = checkpoint.tensor(&first.replace(".0.", ".1.")).unwrap();
        to_f32(&tensor).unwrap()
    };
    let change = |name: &str, shape: &[usize], mut values: Vec<f32>| {
        let new = name.trim_start_matches("model.language_model.").to_owned();
        match new.as_str() {
            "altup_projections.0.weight" | "altup_unembed_projections.0.weight" => {
                values.extend(second(name));
                let shape = [&[2], shape].concat();
                vec![(new.replace(".0.", "."), shape, values)]
            }
            "altup_projections.1.weight" | "altup_unembed_projections.1.weight" => Vec::new(),
            // As many rows as there are tokens.
            "embed_tokens_per_layer.weight" => {
                values.resize(rows * shape[1], 0.0);
                vec![(new, vec![rows, shape[1]], values)]
            }
            _ if four.iter().any(|end| new.ends_with(end)) => {
                vec![(new, vec![1, shape[0], 1, 1], values)]
            }
            _ => vec![(new, shape.to_vec(), values)],
        }
    };
    convert_whole(&plain, scratch.path(), NAMES, change, &fields, &of_projector)
}

#[test]
fn gemma3n_answers_as_its_safetensors() {
    for four in [&[STEM][..], &[STEM, SCALES]] {
        let scratch = Scratch::new("gguf");
        let model = convert(&scratch, four);
        same("gemma3n", &model, &project::oracle("gemma3n"));
    }
}

/// What conversions had before llama.cpp converted what sees, and what hears.
#[test]
fn conversions_that_lack_something_are_refused_with_what_to_take() {
    let scratch = Scratch::new("gguf");
    let model = convert(&scratch, &[STEM]);
    let refused = |words: &[&str]| {
        Monocle::new(["run", &model.display().to_string(), "-p", "x"]).fails(1, words);
    };
    let heard = |tensor: &str| !tensor.starts_with("mm.a.");
    rewrite(&scratch.file("mmproj-Tiny-F32.gguf"), |_| (), heard);
    refused(&["has no `mm.a.embedding.weight`", "take a newer conversion"]);
    let without_token = |values: &mut Vec<(String, Value)>| {
        for (key, value) in values {
            if let (true, Some(tokens)) = (key == "tokenizer.ggml.tokens", value.as_array_mut()) {
                tokens
                    .iter_mut()
                    .filter(|token| *token == "<image_soft_token>")
                    .for_each(|token| *token = "[PAD650]".into());
            }
            // Minus infinity is no number in JSON.
            if key == "gemma3n.activation_sparsity_scale" {
                *value = Value::from(vec![0.0; 6]);
            }
        }
    };
    rewrite(&model, without_token, |_| true);
    refused(&["no `<image_soft_token>`", "take a newer conversion"]);
}
