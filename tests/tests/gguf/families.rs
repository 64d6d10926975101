//! Families whose conversions differ in names, numbers and vocabularies. Names are those of `gguf-py/gguf/tensor_mapping.py` of llama.cpp, of its
//! `conversion/*.py`, and of `tools/mtmd/legacy-models` for LLaVA 1.5; those of Gemma 3, Pixtral and InternVL were compared with what
//! `convert_hf_to_gguf.py` writes for these very checkpoints.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use monocle_tests::gguf::{
    Field, GgufTensor, float, floats, in_pairs, json, number, pieces, renamed, rewrite, vocabulary, write,
};
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close};
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;
use monocle_weights::to_f32;
use serde_json::Value;

pub(super) type Names = &'static [(&'static str, &'static str)];
pub(super) type Fields = Vec<(&'static str, Field)>;

/// What a language model of llama's kind is called in checkpoints of transformers' LLaVA.
pub(super) const LANGUAGE: Names = &[
    (r"language_model\.lm_head\.weight", "output.weight"),
    (
        r"language_model\.model\.embed_tokens\.weight",
        "token_embd.weight",
    ),
    (r"language_model\.model\.norm\.weight", "output_norm.weight"),
    (
        r"language_model\.model\.layers\.(\d+)\.input_layernorm\.weight",
        "blk.$1.attn_norm.weight",
    ),
    (
        r"language_model\.model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2.weight",
    ),
    (
        r"language_model\.model\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
        "blk.$1.attn_$2.$3",
    ),
    (
        r"language_model\.model\.layers\.(\d+)\.self_attn\.o_proj\.weight",
        "blk.$1.attn_output.weight",
    ),
];
/// The norm before the feed-forward part, which another family calls otherwise.
pub(super) const FEED: (&str, &str) = (
    r"language_model\.model\.layers\.(\d+)\.post_attention_layernorm\.weight",
    "blk.$1.ffn_norm.weight",
);

/// A family's conversion into a folder: tensors of the checkpoint, each changed and named anew, and key-values. Gives the language model's file.
pub(super) fn convert(
    source: &Path,
    to: &Path,
    names: &[(&str, &str)],
    change: impl Fn(&str, &[usize], Vec<f32>) -> Vec<(String, Vec<usize>, Vec<f32>)>,
    language: &Fields,
    projector: &Fields,
) -> PathBuf {
    // Most conversions leave out dimensions of one.
    let squeezed = |name: &str, shape: &[usize], values: Vec<f32>| {
        let mut tensors = change(name, shape, values);
        for (_, shape, _) in &mut tensors {
            shape.retain(|size| *size != 1);
        }
        tensors
    };
    convert_whole(source, to, names, squeezed, language, projector)
}

/// As [`convert`], with all dimensions of what `change` gives.
pub(super) fn convert_whole(
    source: &Path,
    to: &Path,
    names: &[(&str, &str)],
    change: impl Fn(&str, &[usize], Vec<f32>) -> Vec<(String, Vec<usize>, Vec<f32>)>,
    language: &Fields,
    projector: &Fields,
) -> PathBuf {
    let checkpoint = variant::checkpoint(source);
    let (mut of_language, mut of_projector) = (Vec::new(), Vec::new());
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        for (name, shape, values) in change(name, &tensor.shape, to_f32(&tensor).unwrap()) {
            let name = renamed(names, &name);
            let new = GgufTensor {
                name,
                shape,
                values,
                scheme: None,
            };
            let sees = ["v.", "mm.", "model.image_newline"];
            match sees.iter().any(|place| new.name.starts_with(place)) {
                true => of_projector.push(new),
                false => of_language.push(new),
            }
        }
    }
    let model = to.join("Tiny-F32.gguf");
    write(&model, language, &of_language);
    write(&to.join("mmproj-Tiny-F32.gguf"), projector, &of_projector);
    model
}

pub(super) fn text(words: &str) -> Field {
    Field::Text(words.to_owned())
}

/// The key-values of `TextModel`, under the name of an architecture.
pub(super) fn language(architecture: &str, config: &Value) -> Fields {
    let numbers = [
        ("block_count", "num_hidden_layers"),
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("attention.key_length", "head_dim"),
        ("expert_count", "num_experts"),
        ("expert_used_count", "num_experts_per_tok"),
        ("expert_feed_forward_length", "moe_intermediate_size"),
    ];
    let mut fields: Fields = vec![("general.architecture", text(architecture))];
    for (key, name) in numbers {
        if config[name].is_u64() {
            fields.push((of(architecture, key), number(&config[name])));
        }
    }
    for (key, name) in [
        ("rope.freq_base", "rope_theta"),
        ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ] {
        if config[name].is_number() {
            fields.push((of(architecture, key), float(&config[name])));
        }
    }
    if let Some(sections) = config["rope_scaling"]["mrope_section"].as_array() {
        let sections = sections.iter().map(|section| section.as_i64().unwrap() as i32);
        let sections = sections.chain([0]).collect();
        fields.push((
            of(architecture, "rope.dimension_sections"),
            Field::Numbers(sections),
        ));
    }
    fields
}

/// A key of an architecture.
pub(super) fn of(architecture: &str, key: &str) -> &'static str {
    format!("{architecture}.{key}").leak()
}

/// The key-values of `MmprojModel`.
pub(super) fn projector(kind: &str, vision: &Value, layers: u64, pictures: &Value, width: &Value) -> Fields {
    let side = |key: &str| match &vision[key] {
        Value::Array(sides) => number(&sides[0]),
        side => number(side),
    };
    vec![
        ("general.architecture", text("clip")),
        ("general.type", text("mmproj")),
        ("clip.has_vision_encoder", Field::Flag(true)),
        ("clip.projector_type", text(kind)),
        ("clip.vision.projection_dim", number(width)),
        ("clip.vision.image_size", side("image_size")),
        ("clip.vision.patch_size", side("patch_size")),
        ("clip.vision.embedding_length", number(&vision["hidden_size"])),
        (
            "clip.vision.feed_forward_length",
            number(&vision["intermediate_size"]),
        ),
        ("clip.vision.block_count", Field::Number(layers as u32)),
        (
            "clip.vision.attention.head_count",
            number(&vision["num_attention_heads"]),
        ),
        ("clip.vision.image_mean", floats(&pictures["image_mean"])),
        ("clip.vision.image_std", floats(&pictures["image_std"])),
    ]
}

/// Both answer alike: prompts, pixels, and the logits after every token.
pub(super) fn same(family: &str, model: &Path, plain: &Path) {
    let oracle = Oracle::open(&project::oracle(family));
    // What ends an answer: key-values name only some of the tokens that `generation_config.json` does.
    let [found, expected] = [model, plain].map(|path| {
        let opened = project::open_folder(path);
        let ends = opened.model().tokenizer().end_tokens().iter().map(|end| end.id);
        ends.collect::<BTreeSet<u32>>()
    });
    assert!(
        !expected.is_empty() && found.is_superset(&expected),
        "{family}: {found:?}, expected {expected:?}"
    );
    for case in oracle.cases() {
        let [found, expected] = [model, plain].map(|path| {
            let trace = project::open_folder(path).trace(&oracle.request(&case), 512, 8);
            trace.unwrap_or_else(|error| panic!("{} {case}: {error}", path.display()))
        });
        assert_eq!(found.prompt, expected.prompt, "{family} {case}");
        assert_eq!(found.prompt_ids, expected.prompt_ids, "{family} {case}");
        assert_eq!(found.pixels.len(), expected.pixels.len(), "{family} {case}");
        for (found, expected) in found
            .pixels
            .iter()
            .flatten()
            .zip(expected.pixels.iter().flatten())
        {
            assert_eq!(found.shape, expected.shape, "{family} {case}");
            close(family, &found.values, &expected.values, 1e-5);
        }
        let logits = |trace: &monocle_runtime::trace::Trace| {
            [trace.prompt_logits.concat(), trace.step_logits.concat()].concat()
        };
        close(
            &format!("{family} {case}"),
            &logits(&found),
            &logits(&expected),
            LOGITS,
        );
        assert_eq!(found.tokens, expected.tokens, "{family} {case}");
    }
}

/// SentencePiece without a space before a text; norms with one added; a window in most layers.
#[test]
fn gemma3_answers_as_its_safetensors() {
    let (family, scratch) = ("gemma3", Scratch::new("gguf"));
    let plain = variant::copy(family, "gemma3-gguf", &["golden.safetensors"]);
    // What llama.cpp knows of the published models, and no key-value says.
    let mut config = json(&plain, "config.json");
    config["text_config"]["query_pre_attn_scalar"] = config["text_config"]["head_dim"].clone();
    config["text_config"]["sliding_window_pattern"] = 6.into();
    std::fs::write(plain.join("config.json"), config.to_string()).unwrap();
    let (decoder, vision) = (&config["text_config"], &config["vision_config"]);
    let names = [
        LANGUAGE,
        &[
            (
                r"language_model\.model\.layers\.(\d+)\.post_attention_layernorm\.weight",
                "blk.$1.post_attention_norm.weight",
            ),
            (
                r"language_model\.model\.layers\.(\d+)\.pre_feedforward_layernorm\.weight",
                "blk.$1.ffn_norm.weight",
            ),
            (
                r"language_model\.model\.layers\.(\d+)\.post_feedforward_layernorm\.weight",
                "blk.$1.post_ffw_norm.weight",
            ),
            (
                r"language_model\.model\.layers\.(\d+)\.self_attn\.([qk])_norm\.weight",
                "blk.$1.attn_$2_norm.weight",
            ),
            (
                r"multi_modal_projector\.mm_input_projection_weight",
                "mm.input_projection.weight",
            ),
            (
                r"multi_modal_projector\.mm_soft_emb_norm\.weight",
                "mm.soft_emb_norm.weight",
            ),
            (
                r"vision_tower\.vision_model\.embeddings\.patch_embedding\.(\w+)",
                "v.patch_embd.$1",
            ),
            (
                r"vision_tower\.vision_model\.embeddings\.position_embedding\.weight",
                "v.position_embd.weight",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)",
                "v.blk.$1.ln$2.$3",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
                "v.blk.$1.attn_$2.$3",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)",
                "v.blk.$1.attn_out.$2",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)",
                "v.blk.$1.ffn_up.$2",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)",
                "v.blk.$1.ffn_down.$2",
            ),
            (
                r"vision_tower\.vision_model\.post_layernorm\.(\w+)",
                "v.post_ln.$1",
            ),
        ],
    ]
    .concat();
    let mut fields = language("gemma3", decoder);
    fields.extend([
        (
            "gemma3.rope.freq_base_swa",
            float(&decoder["rope_local_base_freq"]),
        ),
        ("gemma3.rope.scaling.type", text("linear")),
        (
            "gemma3.rope.scaling.factor",
            float(&decoder["rope_scaling"]["factor"]),
        ),
        (
            "gemma3.attention.sliding_window",
            number(&decoder["sliding_window"]),
        ),
        ("tokenizer.ggml.add_space_prefix", Field::Flag(false)),
    ]);
    fields.extend(pieces(&plain, decoder["vocab_size"].as_u64().unwrap() as usize));
    let mut of_projector = projector(
        "gemma3",
        vision,
        2,
        &json(&plain, "preprocessor_config.json"),
        &decoder["hidden_size"],
    );
    of_projector.extend([
        (
            "clip.vision.attention.layer_norm_epsilon",
            float(&vision["layer_norm_eps"]),
        ),
        ("clip.use_gelu", Field::Flag(true)),
        ("clip.vision.projector.scale_factor", Field::Number(2)),
    ]);
    let change = |name: &str, shape: &[usize], mut values: Vec<f32>| {
        let is_norm = name.starts_with("language_model") && name.ends_with("norm.weight")
            || name.contains("soft_emb_norm");
        if is_norm {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        vec![(name.to_owned(), shape.to_vec(), values)]
    };
    let model = convert(&plain, scratch.path(), &names, change, &fields, &of_projector);
    same(family, &model, &plain);
}

/// SentencePiece with a space before each text; a vision tower without its last layer, and matrices under each other's names.
#[test]
fn llava_answers_as_its_safetensors() {
    let scratch = Scratch::new("gguf");
    let model = llava("llava", &scratch, Vec::new());
    same("llava", &model, &project::oracle("llava"));
}

/// The same projector, with sizes that pictures are fitted into and what ends rows of patches.
#[test]
fn llava_next_answers_as_its_safetensors() {
    let scratch = Scratch::new("gguf");
    let sizes = vec![56, 112, 112, 56, 112, 112, 168, 56, 56, 168];
    let more = vec![
        ("clip.vision.image_grid_pinpoints", Field::Numbers(sizes)),
        ("clip.vision.mm_patch_merge_type", text("spatial_unpad")),
    ];
    let model = llava("llava_next", &scratch, more);
    same("llava_next", &model, &project::oracle("llava_next"));
    let flat = |values: &mut Vec<(String, Value)>| {
        values.retain(|(key, _)| key != "clip.vision.mm_patch_merge_type");
    };
    rewrite(&scratch.file("mmproj-Tiny-F32.gguf"), flat, |_| true);
    Monocle::new(["run", &model.display().to_string(), "-p", "x"]).fails(
        1,
        &[
            "`clip.vision.mm_patch_merge_type` is not `spatial_unpad`",
            "take another conversion",
        ],
    );
}

/// A conversion of LLaVA 1.5 or 1.6, whose `mmproj` file has some more key-values.
fn llava(family: &str, scratch: &Scratch, more: Fields) -> PathBuf {
    let plain = project::oracle(family);
    let config = json(&plain, "config.json");
    let (decoder, vision) = (&config["text_config"], &config["vision_config"]);
    let names = [
        LANGUAGE,
        &[
            FEED,
            (r"multi_modal_projector\.linear_1\.(\w+)", "mm.0.$1"),
            (r"multi_modal_projector\.linear_2\.(\w+)", "mm.2.$1"),
            (r"image_newline", "model.image_newline"),
            (
                r"vision_tower\.vision_model\.embeddings\.class_embedding",
                "v.class_embd",
            ),
            (
                r"vision_tower\.vision_model\.embeddings\.patch_embedding\.weight",
                "v.patch_embd.weight",
            ),
            (
                r"vision_tower\.vision_model\.embeddings\.position_embedding\.weight",
                "v.position_embd.weight",
            ),
            (r"vision_tower\.vision_model\.pre_layrnorm\.(\w+)", "v.pre_ln.$1"),
            (
                r"vision_tower\.vision_model\.post_layernorm\.(\w+)",
                "v.post_ln.$1",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)",
                "v.blk.$1.ln$2.$3",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
                "v.blk.$1.attn_$2.$3",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)",
                "v.blk.$1.attn_out.$2",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)",
                "v.blk.$1.ffn_down.$2",
            ),
            (
                r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)",
                "v.blk.$1.ffn_up.$2",
            ),
        ],
    ]
    .concat();
    let mut fields = language("llama", decoder);
    fields.extend(pieces(&plain, decoder["vocab_size"].as_u64().unwrap() as usize));
    let mut of_projector = projector(
        "mlp",
        vision,
        2,
        &json(&plain, "preprocessor_config.json"),
        &decoder["hidden_size"],
    );
    of_projector.extend([
        ("clip.has_llava_projector", Field::Flag(true)),
        (
            "clip.vision.attention.layer_norm_epsilon",
            float(&vision["layer_norm_eps"]),
        ),
        ("clip.use_gelu", Field::Flag(false)),
    ]);
    of_projector.extend(more);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        if name.contains("vision_model.encoder.layers.2.") {
            return Vec::new();
        }
        let values = paired(name, "language_model", shape, values, decoder);
        vec![(name.to_owned(), shape.to_vec(), values)]
    };
    convert(&plain, scratch.path(), &names, change, &fields, &of_projector)
}

/// `LlamaModel.permute` of the layers of a part of the model.
pub(super) fn paired(name: &str, part: &str, shape: &[usize], values: Vec<f32>, config: &Value) -> Vec<f32> {
    let heads = |key: &str| config[key].as_u64().unwrap() as usize;
    match name.rsplit('.').nth(1) {
        Some("q_proj") if name.starts_with(part) => in_pairs(&values, shape[0], heads("num_attention_heads")),
        Some("k_proj") if name.starts_with(part) => {
            let key = match config["num_key_value_heads"].is_null() {
                true => "num_attention_heads",
                false => "num_key_value_heads",
            };
            in_pairs(&values, shape[0], heads(key))
        }
        _ => values,
    }
}

/// Heads in pairs of rows in the vision tower too, and an embedding that is there twice.
#[test]
fn pixtral_answers_as_its_safetensors() {
    let (family, scratch) = ("pixtral", Scratch::new("gguf"));
    let plain = project::oracle(family);
    let config = json(&plain, "config.json");
    let (decoder, vision) = (&config["text_config"], &config["vision_config"]);
    let names = [
        LANGUAGE,
        &[
            FEED,
            (r"multi_modal_projector\.linear_(\d)\.(\w+)", "mm.$1.$2"),
            (r"vision_tower\.ln_pre\.weight", "v.pre_ln.weight"),
            (r"vision_tower\.patch_conv\.weight", "v.patch_embd.weight"),
            (
                r"vision_tower\.transformer\.layers\.(\d+)\.attention\.([qkv])_proj\.weight",
                "v.blk.$1.attn_$2.weight",
            ),
            (
                r"vision_tower\.transformer\.layers\.(\d+)\.attention\.o_proj\.weight",
                "v.blk.$1.attn_out.weight",
            ),
            (
                r"vision_tower\.transformer\.layers\.(\d+)\.attention_norm\.weight",
                "v.blk.$1.ln1.weight",
            ),
            (
                r"vision_tower\.transformer\.layers\.(\d+)\.ffn_norm\.weight",
                "v.blk.$1.ln2.weight",
            ),
            (
                r"vision_tower\.transformer\.layers\.(\d+)\.feed_forward\.(gate|up|down)_proj\.weight",
                "v.blk.$1.ffn_$2.weight",
            ),
            (r"image_break", "v.token_embd.img_break"),
        ],
    ]
    .concat();
    let mut fields = language("llama", decoder);
    fields.extend(vocabulary(&plain, "pixtral"));
    fields.push(("tokenizer.ggml.add_bos_token", Field::Flag(true)));
    let mut of_projector = projector(
        "pixtral",
        vision,
        2,
        &json(&plain, "preprocessor_config.json"),
        &decoder["hidden_size"],
    );
    of_projector.extend([
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-5)),
        ("clip.use_silu", Field::Flag(true)),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        let values = paired(name, "language_model", shape, values, decoder);
        let values = paired(name, "vision_tower", shape, values, vision);
        let mut all = vec![(name.to_owned(), shape.to_vec(), values.clone())];
        if name.ends_with("embed_tokens.weight") {
            all.push((
                "image_break".to_owned(),
                vec![shape[1]],
                values[..shape[1]].to_vec(),
            ));
        }
        all
    };
    let model = convert(&plain, scratch.path(), &names, change, &fields, &of_projector);
    same(family, &model, &plain);
}

#[test]
fn internvl_answers_as_its_safetensors() {
    internvl(&project::oracle("internvl_chat"), "qwen2");
}

/// InternVL3.5 has Qwen3's language model: norms of queries and keys in place of biases.
#[test]
fn internvl3_5_answers_as_its_safetensors() {
    let plain = variant::copy("internvl_chat", "internvl3_5-gguf", &["golden.safetensors"]);
    let mut config = json(&plain, "config.json");
    config["llm_config"]["model_type"] = "qwen3".into();
    config["llm_config"]["attention_bias"] = false.into();
    std::fs::write(plain.join("config.json"), config.to_string()).unwrap();
    let checkpoint = variant::checkpoint(&project::oracle("internvl_chat"));
    let mut tensors = Vec::new();
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        let values = to_f32(&tensor).unwrap();
        let bias = name.contains("self_attn") && name.ends_with("_proj.bias");
        if !bias {
            tensors.push((name.to_owned(), tensor.shape.clone(), values));
        } else if !name.contains("v_proj") {
            // Weights of norms are about one, and differ between queries and keys.
            let head = config["llm_config"]["head_dim"].as_u64().unwrap() as usize;
            let weight: Vec<f32> = values[..head].iter().map(|bias| 1.0 + bias).collect();
            tensors.push((name.replace("_proj.bias", "_norm.weight"), vec![head], weight));
        }
    }
    variant::write_weights(&plain, &tensors);
    internvl(&plain, "qwen3");
}

/// Joint projections that the conversion cuts, and scales of layers under other names.
fn internvl(plain: &Path, architecture: &str) {
    let (family, scratch) = ("internvl_chat", Scratch::new("gguf"));
    let config = json(plain, "config.json");
    let (decoder, vision) = (&config["llm_config"], &config["vision_config"]);
    let names = [
        LANGUAGE,
        &[
            FEED,
            (
                r"language_model\.model\.layers\.(\d+)\.self_attn\.([qk])_norm\.weight",
                "blk.$1.attn_$2_norm.weight",
            ),
            (r"mlp1\.(\d)\.(\w+)", "mm.model.mlp.$1.$2"),
            (r"vision_model\.embeddings\.class_embedding", "v.class_embd"),
            (
                r"vision_model\.embeddings\.position_embedding",
                "v.position_embd.weight",
            ),
            (
                r"vision_model\.embeddings\.patch_embedding\.(\w+)",
                "v.patch_embd.$1",
            ),
            (
                r"vision_model\.encoder\.layers\.(\d+)\.attn\.([qkv])\.(\w+)",
                "v.blk.$1.attn_$2.$3",
            ),
            (
                r"vision_model\.encoder\.layers\.(\d+)\.attn\.proj\.(\w+)",
                "v.blk.$1.attn_out.$2",
            ),
            (
                r"vision_model\.encoder\.layers\.(\d+)\.ls(\d)",
                "v.blk.$1.ls$2.weight",
            ),
            (
                r"vision_model\.encoder\.layers\.(\d+)\.norm(\d)\.(\w+)",
                "v.blk.$1.ln$2.$3",
            ),
            (
                r"vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)",
                "v.blk.$1.ffn_up.$2",
            ),
            (
                r"vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)",
                "v.blk.$1.ffn_down.$2",
            ),
        ],
    ]
    .concat();
    let mut fields = language(architecture, decoder);
    fields.extend(vocabulary(plain, "qwen2"));
    let mut of_projector = projector(
        "internvl",
        vision,
        2,
        &json(plain, "preprocessor_config.json"),
        &decoder["hidden_size"],
    );
    of_projector.extend([
        (
            "clip.vision.attention.layer_norm_epsilon",
            float(&vision["layer_norm_eps"]),
        ),
        ("clip.use_gelu", Field::Flag(true)),
        ("clip.vision.projector.scale_factor", Field::Number(2)),
        (
            "clip.vision.preproc_min_tiles",
            number(&config["min_dynamic_patch"]),
        ),
        (
            "clip.vision.preproc_max_tiles",
            number(&config["max_dynamic_patch"]),
        ),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        if !name.contains(".qkv.") {
            return vec![(name.to_owned(), shape.to_vec(), values)];
        }
        let rows = [&[shape[0] / 3], &shape[1..]].concat();
        let parts = ["q", "k", "v"].iter().zip(values.chunks(values.len() / 3));
        parts
            .map(|(part, values)| (name.replace("qkv", part), rows.clone(), values.to_vec()))
            .collect()
    };
    let model = convert(plain, scratch.path(), &names, change, &fields, &of_projector);
    same(family, &model, plain);
}
