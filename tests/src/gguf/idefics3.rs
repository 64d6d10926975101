//! Idefics3 and SmolVLM as llama.cpp's converter writes them.

use std::path::{Path, PathBuf};

use monocle_tensor::scheme::Scheme;
use monocle_weights::to_f32;
use serde_json::Value;

use super::{
    Field, GgufTensor, float, floats, in_halves, in_pairs, json, meant, number, renamed, vocabulary, write,
};
use crate::variant::{self, NewTensor};

/// How `conversion/llama.py` and `conversion/smolvlm.py` of llama.cpp call tensors, with the names of `gguf-py/gguf/tensor_mapping.py`.
const NAMES: [(&str, &str); 17] = [
    (r"lm_head\.weight", "output.weight"),
    (r"model\.text_model\.embed_tokens\.weight", "token_embd.weight"),
    (r"model\.text_model\.norm\.weight", "output_norm.weight"),
    (
        r"model\.text_model\.layers\.(\d+)\.input_layernorm\.weight",
        "blk.$1.attn_norm.weight",
    ),
    (
        r"model\.text_model\.layers\.(\d+)\.post_attention_layernorm\.weight",
        "blk.$1.ffn_norm.weight",
    ),
    (
        r"model\.text_model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2.weight",
    ),
    (
        r"model\.text_model\.layers\.(\d+)\.self_attn\.([qkv])_proj\.weight",
        "blk.$1.attn_$2.weight",
    ),
    (
        r"model\.text_model\.layers\.(\d+)\.self_attn\.o_proj\.weight",
        "blk.$1.attn_output.weight",
    ),
    (
        r"model\.connector\.modality_projection\.proj\.weight",
        "mm.model.fc.weight",
    ),
    (
        r"model\.vision_model\.embeddings\.patch_embedding\.(\w+)",
        "v.patch_embd.$1",
    ),
    (
        r"model\.vision_model\.embeddings\.position_embedding\.weight",
        "v.position_embd.weight",
    ),
    (
        r"model\.vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)",
        "v.blk.$1.ln$2.$3",
    ),
    (
        r"model\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
        "v.blk.$1.attn_$2.$3",
    ),
    (
        r"model\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)",
        "v.blk.$1.attn_out.$2",
    ),
    (
        r"model\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)",
        "v.blk.$1.ffn_up.$2",
    ),
    (
        r"model\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)",
        "v.blk.$1.ffn_down.$2",
    ),
    (r"model\.vision_model\.post_layernorm\.(\w+)", "v.post_ln.$1"),
];

/// What a conversion of a checkpoint writes into a folder: the language model and its `mmproj`. Returns the language model's file, and the
/// tensors as the checkpoint names them, with the numbers that they mean.
pub fn convert(
    source: &Path,
    to: &Path,
    scheme: impl Fn(&str, &[usize]) -> Option<Scheme>,
) -> (PathBuf, Vec<NewTensor>) {
    let (config, pictures) = (
        json(source, "config.json"),
        json(source, "preprocessor_config.json"),
    );
    let (text, vision) = (&config["text_config"], &config["vision_config"]);
    let checkpoint = variant::checkpoint(source);
    let (mut language, mut projector, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).expect("it is there");
        let mut values = to_f32(&tensor).expect("its numbers can be read");
        let heads = match name.rsplit('.').nth(1) {
            Some("q_proj") if name.contains("text_model") => &text["num_attention_heads"],
            Some("k_proj") if name.contains("text_model") => &text["num_key_value_heads"],
            _ => &Value::Null,
        };
        let heads = heads.as_u64().map(|heads| heads as usize);
        if let Some(heads) = heads {
            values = in_pairs(&values, tensor.shape[0], heads);
        }
        let new = GgufTensor {
            scheme: scheme(name, &tensor.shape),
            name: renamed(&NAMES, name),
            shape: tensor.shape.clone(),
            values,
        };
        let mut numbers = meant(&new);
        if let Some(heads) = heads {
            numbers = in_halves(&numbers, tensor.shape[0], heads);
        }
        plain.push((name.to_owned(), tensor.shape, numbers));
        match new.name.starts_with("v.") || new.name.starts_with("mm.") {
            true => projector.push(new),
            false => language.push(new),
        }
    }
    let text_of = |words: &str| Field::Text(words.to_owned());
    let mut fields = vec![
        ("general.architecture", text_of("llama")),
        ("llama.block_count", number(&text["num_hidden_layers"])),
        ("llama.context_length", number(&text["max_position_embeddings"])),
        ("llama.embedding_length", number(&text["hidden_size"])),
        ("llama.feed_forward_length", number(&text["intermediate_size"])),
        ("llama.attention.head_count", number(&text["num_attention_heads"])),
        (
            "llama.attention.head_count_kv",
            number(&text["num_key_value_heads"]),
        ),
        ("llama.rope.freq_base", float(&text["rope_theta"])),
        (
            "llama.attention.layer_norm_rms_epsilon",
            float(&text["rms_norm_eps"]),
        ),
        ("llama.rope.dimension_count", number(&text["head_dim"])),
    ];
    let mut known = vocabulary(source, "smollm");
    add_empty_line(&mut known);
    fields.extend(known);
    let model = to.join("Tiny-Q8_0.gguf");
    write(&model, &fields, &language);
    let fields = [
        ("general.architecture", text_of("clip")),
        ("general.type", text_of("mmproj")),
        ("clip.has_vision_encoder", Field::Flag(true)),
        ("clip.projector_type", text_of("idefics3")),
        ("clip.vision.projection_dim", number(&text["hidden_size"])),
        ("clip.vision.image_size", number(&vision["image_size"])),
        ("clip.vision.patch_size", number(&vision["patch_size"])),
        ("clip.vision.embedding_length", number(&vision["hidden_size"])),
        (
            "clip.vision.feed_forward_length",
            number(&vision["intermediate_size"]),
        ),
        ("clip.vision.block_count", number(&vision["num_hidden_layers"])),
        (
            "clip.vision.attention.head_count",
            number(&vision["num_attention_heads"]),
        ),
        (
            "clip.vision.attention.layer_norm_epsilon",
            float(&vision["layer_norm_eps"]),
        ),
        ("clip.vision.image_mean", floats(&pictures["image_mean"])),
        ("clip.vision.image_std", floats(&pictures["image_std"])),
        (
            "clip.vision.projector.scale_factor",
            number(&config["scale_factor"]),
        ),
        (
            "clip.vision.preproc_image_size",
            number(&pictures["size"]["longest_edge"]),
        ),
        ("clip.use_gelu", Field::Flag(true)),
    ];
    write(&to.join("mmproj-Tiny-f32.gguf"), &fields, &projector);
    (model, plain)
}

/// The models' own vocabularies have a token for an empty line, which llama.cpp puts before a picture. The tiny ones have not, so one that is not used
/// becomes it; nothing is joined to it.
fn add_empty_line(known: &mut [(&'static str, Field)]) {
    let line = "\u{10A}\u{10A}";
    let mut place = None;
    for (key, field) in known {
        match (*key, field) {
            ("tokenizer.ggml.tokens", Field::Texts(tokens)) if !tokens.iter().any(|token| token == line) => {
                place = tokens.iter().position(|token| token.starts_with("[PAD"));
                if let Some(place) = place {
                    line.clone_into(&mut tokens[place]);
                }
            }
            ("tokenizer.ggml.token_type", Field::Numbers(kinds)) => {
                if let Some(place) = place {
                    kinds[place] = 1;
                }
            }
            _ => {}
        }
    }
}
