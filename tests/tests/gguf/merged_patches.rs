//! Families that join squares of patches to one feature. Names and key-values are those that `convert_hf_to_gguf.py` of llama.cpp writes for these
//! very checkpoints, but for the experts of Qwen3-VL, which are those of `conversion/qwen3vl.py`.

use std::path::{Path, PathBuf};

use monocle_tests::gguf::{Field, float, json, number, vocabulary};
use monocle_tests::parity::Parity;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;
use monocle_weights::to_f32;
use serde_json::Value;

use super::families::{FEED, Fields, LANGUAGE, convert, language, of, paired, projector, same, text};

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// What is called so in checkpoints of transformers, without the place where a language model or a vision tower begins.
pub(super) const TEXT: &[(&str, &str)] = &[
    (r"lm_head\.weight", "output.weight"),
    (r"embed_tokens\.weight", "token_embd.weight"),
    (r"norm\.weight", "output_norm.weight"),
    (
        r"layers\.(\d+)\.input_layernorm\.weight",
        "blk.$1.attn_norm.weight",
    ),
    (
        r"layers\.(\d+)\.post_attention_layernorm\.weight",
        "blk.$1.ffn_norm.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
        "blk.$1.attn_$2.$3",
    ),
    (
        r"layers\.(\d+)\.self_attn\.([qk])_norm\.weight",
        "blk.$1.attn_$2_norm.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.o_proj\.weight",
        "blk.$1.attn_output.weight",
    ),
    (
        r"layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2.weight",
    ),
    (r"layers\.(\d+)\.mlp\.gate\.weight", "blk.$1.ffn_gate_inp.weight"),
    (
        r"layers\.(\d+)\.mlp\.switch_mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2_exps.weight",
    ),
    (
        r"layers\.(\d+)\.mlp\.shared_experts\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2_shexp.weight",
    ),
    (
        r"layers\.(\d+)\.mlp\.gate\.e_score_correction_bias",
        "blk.$1.exp_probs_b.bias",
    ),
    (
        r"layers\.(\d+)\.mlp\.gate_up_proj\.weight",
        "blk.$1.ffn_up.weight",
    ),
    (
        r"layers\.(\d+)\.post_self_attn_layernorm\.weight",
        "blk.$1.post_attention_norm.weight",
    ),
    (
        r"layers\.(\d+)\.post_mlp_layernorm\.weight",
        "blk.$1.post_ffw_norm.weight",
    ),
];

/// How `conversion/qwenvl.py` of llama.cpp calls tensors.
const TWO_NAMES: [(&str, &str); 15] = [
    (r"lm_head\.weight", "output.weight"),
    (r"model\.embed_tokens\.weight", "token_embd.weight"),
    (r"model\.norm\.weight", "output_norm.weight"),
    (
        r"model\.layers\.(\d+)\.input_layernorm\.weight",
        "blk.$1.attn_norm.weight",
    ),
    (
        r"model\.layers\.(\d+)\.post_attention_layernorm\.weight",
        "blk.$1.ffn_norm.weight",
    ),
    (
        r"model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight",
        "blk.$1.ffn_$2.weight",
    ),
    (
        r"model\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
        "blk.$1.attn_$2.$3",
    ),
    (
        r"model\.layers\.(\d+)\.self_attn\.o_proj\.weight",
        "blk.$1.attn_output.weight",
    ),
    (r"visual\.blocks\.(\d+)\.norm([12])\.(\w+)", "v.blk.$1.ln$2.$3"),
    (
        r"visual\.blocks\.(\d+)\.attn\.([qkv])\.(\w+)",
        "v.blk.$1.attn_$2.$3",
    ),
    (
        r"visual\.blocks\.(\d+)\.attn\.proj\.(\w+)",
        "v.blk.$1.attn_out.$2",
    ),
    (r"visual\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", "v.blk.$1.ffn_up.$2"),
    (r"visual\.blocks\.(\d+)\.mlp\.fc2\.(\w+)", "v.blk.$1.ffn_down.$2"),
    (r"visual\.merger\.ln_q\.(\w+)", "v.post_ln.$1"),
    (r"visual\.merger\.mlp\.(\d)\.(\w+)", "mm.$1.$2"),
];

const TOWER: &[(&str, &str)] = &[
    (r"visual\.patch_embed\.proj\.(.+)", "v.patch_embd.$1"),
    (
        r"visual\.(?:pos_embed|embeddings\.position_embedding)\.weight",
        "v.position_embd.weight",
    ),
    (r"visual\.post_conv_layernorm\.weight", "v.norm_embd.weight"),
    (r"visual\.post_layernorm\.weight", "v.post_ln.weight"),
    (r"visual\.blocks\.(\d+)\.norm([12])\.(\w+)", "v.blk.$1.ln$2.$3"),
    (
        r"visual\.blocks\.(\d+)\.attn\.(qkv|[qkv])\.(\w+)",
        "v.blk.$1.attn_$2.$3",
    ),
    (
        r"visual\.blocks\.(\d+)\.attn\.([qk])_norm\.weight",
        "v.blk.$1.attn_$2_norm.weight",
    ),
    (
        r"visual\.blocks\.(\d+)\.attn\.proj\.(\w+)",
        "v.blk.$1.attn_out.$2",
    ),
    (
        r"visual\.blocks\.(\d+)\.mlp\.(gate|up|down)_proj\.(\w+)",
        "v.blk.$1.ffn_$2.$3",
    ),
    (
        r"visual\.blocks\.(\d+)\.mlp\.linear_fc1\.(\w+)",
        "v.blk.$1.ffn_up.$2",
    ),
    (
        r"visual\.blocks\.(\d+)\.mlp\.linear_fc2\.(\w+)",
        "v.blk.$1.ffn_down.$2",
    ),
    // Numbered by the layer that the features come from.
    (
        r"visual\.deepstack_merger_list\.(\d+)\.norm\.(\w+)",
        "v.deepstack.$1.norm.$2",
    ),
    (
        r"visual\.deepstack_merger_list\.(\d+)\.linear_fc(\d)\.(\w+)",
        "v.deepstack.$1.fc$2.$3",
    ),
    (r"visual\.merger\.norm\.(\w+)", "v.post_ln.$1"),
    (r"visual\.merger\.linear_fc1\.(\w+)", "mm.0.$1"),
    (r"visual\.merger\.linear_fc2\.(\w+)", "mm.2.$1"),
    (r"visual\.downsample\.(\w+)", "mm.patch_merger.$1"),
    (r"visual\.merger\.proj\.weight", "mm.model.fc.weight"),
    (r"visual\.merger\.post_projection_norm\.(\w+)", "mm.post_norm.$1"),
    (r"visual\.merger\.(gate|up|down)_proj\.weight", "mm.$1.weight"),
];

/// A kernel over two pictures, `[out, channels, 2, height, width]`, as two.
fn halves_of_kernel(name: &str, shape: &[usize], values: &[f32]) -> Tensors {
    let (one, cut) = (shape[3] * shape[4], vec![shape[0], shape[1], shape[3], shape[4]]);
    let half = |time: usize| {
        values
            .chunks(one)
            .skip(time)
            .step_by(2)
            .flatten()
            .copied()
            .collect()
    };
    let second = format!("{name}.1");
    vec![(name.to_owned(), cut.clone(), half(0)), (second, cut, half(1))]
}

/// Joint rows as three.
fn thirds(name: &str, shape: &[usize], values: &[f32]) -> Tensors {
    let rows = [&[shape[0] / 3], &shape[1..]].concat();
    let parts = ["q", "k", "v"].iter().zip(values.chunks(values.len() / 3));
    parts
        .map(|(part, values)| (name.replace("qkv", part), rows.clone(), values.to_vec()))
        .collect()
}

/// How many pixels a picture may have is in no key-value.
pub(super) fn with_rules_of_pictures(scratch: &Scratch, plain: &Path) {
    for name in ["preprocessor_config.json", "processor_config.json"] {
        if let Ok(rules) = std::fs::read(plain.join(name)) {
            scratch.write(name, rules);
        }
    }
}

/// The tower's joint projections are cut into three, or left together as some versions of the conversion do; its kernel over two pictures becomes two.
#[test]
fn qwen2_vl_answers_as_its_safetensors() {
    let family = "qwen2_vl";
    let plain = project::oracle(family);
    let (config, pictures) = (
        json(&plain, "config.json"),
        json(&plain, "preprocessor_config.json"),
    );
    // As `Qwen2VLVisionModel` calls them.
    let mut vision = config["vision_config"].clone();
    vision["image_size"] = 560.into();
    vision["num_attention_heads"] = vision["num_heads"].clone();
    vision["intermediate_size"] = vision["hidden_size"].clone();
    vision["hidden_size"] = vision["embed_dim"].clone();
    let mut fields = language("qwen2vl", &config);
    fields.extend(vocabulary(&plain, "qwen2"));
    let mut of_projector = projector("qwen2vl_merger", &vision, 2, &pictures, &config["hidden_size"]);
    of_projector.push(("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)));
    let names = [&TWO_NAMES[..], TOWER].concat();
    for is_cut in [true, false] {
        let scratch = Scratch::new("gguf");
        let change = |name: &str, shape: &[usize], values: Vec<f32>| match name {
            _ if is_cut && name.contains(".qkv.") => thirds(name, shape, &values),
            "visual.patch_embed.proj.weight" => halves_of_kernel(name, shape, &values),
            _ => vec![(name.to_owned(), shape.to_vec(), values)],
        };
        let model = convert(&plain, scratch.path(), &names, change, &fields, &of_projector);
        with_rules_of_pictures(&scratch, &plain);
        same(family, &model, &plain);
        // Pixels are those of the safetensors' test.
        let parity = Parity {
            pixels: None,
            ..Parity::new(family)
        };
        parity.compare(&mut project::open_folder(&model));
    }
}

/// Windows in the tower, all but each so-many-th layer.
#[test]
fn qwen2_5_vl_answers_as_its_safetensors() {
    let (family, scratch) = ("qwen2_5_vl", Scratch::new("gguf"));
    let plain = variant::copy(family, "qwen2_5_vl-gguf", &["golden.safetensors"]);
    // What llama.cpp knows of the published models, and no key-value says.
    let mut config = json(&plain, "config.json");
    config["vision_config"]["window_size"] = 112.into();
    std::fs::write(plain.join("config.json"), config.to_string()).unwrap();
    let mut vision = config["vision_config"].clone();
    vision["image_size"] = 560.into();
    vision["num_attention_heads"] = vision["num_heads"].clone();
    let names = [&TWO_NAMES[..], TOWER].concat();
    let mut fields = language("qwen2vl", &config);
    fields.extend(vocabulary(&plain, "qwen2"));
    let pictures = json(&plain, "preprocessor_config.json");
    let mut of_projector = projector("qwen2.5vl_merger", &vision, 3, &pictures, &config["hidden_size"]);
    of_projector.extend([
        ("clip.use_silu", Field::Flag(true)),
        ("clip.vision.n_wa_pattern", Field::Number(2)),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| match name {
        _ if name.contains(".qkv.") => thirds(name, shape, &values),
        "visual.patch_embed.proj.weight" => halves_of_kernel(name, shape, &values),
        _ => vec![(name.to_owned(), shape.to_vec(), values)],
    };
    let model = convert(&plain, scratch.path(), &names, change, &fields, &of_projector);
    with_rules_of_pictures(&scratch, &plain);
    same(family, &model, &plain);
}

/// `PaddleOCRModel` and `PaddleOCRVisionModel`. The published vocabulary is SentencePiece's; that of the tiny checkpoint is of byte pairs.
#[test]
fn paddleocr_vl_answers_as_its_safetensors() {
    let (family, scratch) = ("paddleocr_vl", Scratch::new("gguf"));
    let plain = project::oracle(family);
    let (config, pictures) = (
        json(&plain, "config.json"),
        json(&plain, "preprocessor_config.json"),
    );
    let mut vision = config["vision_config"].clone();
    let most = pictures["max_pixels"].as_u64().unwrap();
    vision["image_size"] = most.isqrt().into();
    let mut fields = language("paddleocr", &config);
    fields.extend(vocabulary(&plain, "gpt-2"));
    let mut of_projector = projector("paddleocr", &vision, 2, &pictures, &config["hidden_size"]);
    of_projector.extend([
        ("clip.use_gelu", Field::Flag(true)),
        ("clip.vision.image_max_pixels", Field::Number(most as u32)),
        ("clip.vision.image_min_pixels", number(&pictures["min_pixels"])),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)),
    ]);
    let names = [
        TEXT,
        &[
            (r"mlp_AR\.pre_norm\.(\w+)", "mm.input_norm.$1"),
            (r"mlp_AR\.linear_(\d)\.(\w+)", "mm.$1.$2"),
            (r"embeddings\.patch_embedding\.(\w+)", "v.patch_embd.$1"),
            (
                r"embeddings\.position_embedding\.weight",
                "v.position_embd.weight",
            ),
            (
                r"encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)",
                "v.blk.$1.ln$2.$3",
            ),
            (
                r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
                "v.blk.$1.attn_$2.$3",
            ),
            (
                r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)",
                "v.blk.$1.attn_out.$2",
            ),
            (r"encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)", "v.blk.$1.ffn_up.$2"),
            (r"encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)", "v.blk.$1.ffn_down.$2"),
            (r"post_layernorm\.(\w+)", "v.post_ln.$1"),
        ],
    ]
    .concat();
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        let places = ["visual.vision_model.", "model."];
        let rest = places.iter().find_map(|place| name.strip_prefix(place));
        vec![(rest.unwrap_or(name).to_owned(), shape.to_vec(), values)]
    };
    let model = convert(&plain, scratch.path(), &names, change, &fields, &of_projector);
    same(family, &model, &plain);
}

/// Names without the place where a language model or a tower begins, as `ModelBase.filter_tensors` and those above it leave it out.
fn without_place(name: &str) -> String {
    let places = [
        "model.language_model.",
        "language_model.model.",
        "language_model.",
    ];
    let rest = places.iter().find_map(|place| name.strip_prefix(place));
    let tower = |place| Some(format!("visual.{}", name.strip_prefix(place)?));
    let tower = ["model.visual.", "vision_tower."].into_iter().find_map(tower);
    match rest {
        Some(rest) => rest.to_owned(),
        None => tower.unwrap_or_else(|| name.to_owned()),
    }
}

/// Qwen3-VL as `Qwen3VLTextModel`, `Qwen3VLMoeTextModel` and `Qwen3VLVisionModel` convert it.
fn qwen3(family: &str, plain: &Path, architecture: &str) {
    let scratch = Scratch::new("gguf");
    let config = json(plain, "config.json");
    let deep = config["vision_config"]["deepstack_visual_indexes"]
        .as_array()
        .unwrap()
        .iter();
    let deep: Vec<usize> = deep.map(|layer| layer.as_u64().unwrap() as usize).collect();
    let decoder = &config["text_config"];
    let mut vision = config["vision_config"].clone();
    vision["image_size"] = 128.into();
    vision["num_attention_heads"] = vision["num_heads"].clone();
    let mut fields = language(architecture, decoder);
    fields.push((
        of(architecture, "n_deepstack_layers"),
        Field::Number(deep.len() as u32),
    ));
    fields.extend(vocabulary(plain, "qwen2"));
    let pictures = json(plain, "preprocessor_config.json");
    let depth = vision["depth"].as_u64().unwrap();
    let mut of_projector = projector(
        "qwen3vl_merger",
        &vision,
        depth,
        &pictures,
        &decoder["hidden_size"],
    );
    let is_deep = (0..depth as usize).map(|layer| deep.contains(&layer)).collect();
    of_projector.extend([
        ("clip.use_gelu", Field::Flag(true)),
        ("clip.vision.spatial_merge_size", Field::Number(2)),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)),
        ("clip.vision.is_deepstack_layers", Field::Flags(is_deep)),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        let name = without_place(name);
        if let Some(rest) = name.strip_prefix("visual.deepstack_merger_list.") {
            let (place, rest) = rest.split_once('.').unwrap();
            let layer = deep[place.parse::<usize>().unwrap()];
            let name = format!("visual.deepstack_merger_list.{layer}.{rest}");
            return vec![(name, shape.to_vec(), values)];
        }
        if name != "visual.patch_embed.proj.weight" {
            return vec![(name, shape.to_vec(), values)];
        }
        let (shape, values) = match shape[4] == 3 {
            false => (shape.to_vec(), values),
            true => channels_first(shape, &values),
        };
        halves_of_kernel(&name, &shape, &values)
    };
    let names = [TEXT, TOWER].concat();
    let model = convert(plain, scratch.path(), &names, change, &fields, &of_projector);
    with_rules_of_pictures(&scratch, plain);
    same(family, &model, plain);
}

/// MLX's kernels, `[out, time, height, width, channels]`, as PyTorch has them.
fn channels_first(shape: &[usize], values: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let (channels, inner) = (shape[4], shape[1] * shape[2] * shape[3]);
    let kernels = values.chunks(inner * channels);
    let values = kernels
        .flat_map(|kernel| {
            (0..channels).flat_map(move |channel| kernel.iter().skip(channel).step_by(channels))
        })
        .copied()
        .collect();
    (vec![shape[0], channels, shape[1], shape[2], shape[3]], values)
}

/// Features from several layers of the tower, numbered by the layers.
#[test]
fn qwen3_vl_answers_as_its_safetensors() {
    qwen3("qwen3_vl", &project::oracle("qwen3_vl"), "qwen3vl");
}

/// Experts in one tensor each for gate, up and down. The conversion knows no layers without experts among them, so that of the tiny model gets those of
/// another.
#[test]
fn qwen3_vl_with_experts_answers_as_its_safetensors() {
    let family = "qwen3_vl_moe";
    let plain = variant::copy(family, "qwen3_vl_moe-gguf", &["golden.safetensors"]);
    let mut config = json(&plain, "config.json");
    config["text_config"]["mlp_only_layers"] = Value::Array(Vec::new());
    std::fs::write(plain.join("config.json"), config.to_string()).unwrap();
    let original = variant::checkpoint(&project::oracle(family));
    let mut tensors: Vec<variant::NewTensor> = Vec::new();
    for name in original.names().filter(|name| !name.contains("layers.1.mlp.")) {
        let tensor = original.tensor(name).unwrap();
        let values = to_f32(&tensor).unwrap();
        if name.contains("layers.0.mlp.") {
            let other = name.replace("layers.0.", "layers.1.");
            tensors.push((other, tensor.shape.clone(), values.clone()));
        }
        tensors.push((name.to_owned(), tensor.shape, values));
    }
    variant::write_weights(&plain, &tensors);
    qwen3(family, &plain, "qwen3vlmoe");
}

/// `Glm4Model.normal_to_neox`: the rows of each head that turn, in halves.
fn in_halves_of_turned(values: &[f32], rows: usize, head: usize, turned: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    let mut out = Vec::with_capacity(values.len());
    for start in (0..rows).step_by(head) {
        let order = (0..turned)
            .step_by(2)
            .chain((1..turned).step_by(2))
            .chain(turned..head);
        for row in order {
            out.extend_from_slice(&values[(start + row) * columns..(start + row + 1) * columns]);
        }
    }
    out
}

/// GLM as `Glm4Model`, `GlmOCRModel` and `Glm4VVisionModel` convert it: rows that turn in halves, gate and up in one.
fn glm(family: &str, plain: &Path, kind: &Glm, more: Fields) {
    let scratch = Scratch::new("gguf");
    let config = json(plain, "config.json");
    let mut decoder = config["text_config"].clone();
    if let Some(rope) = decoder["rope_parameters"].as_object().cloned() {
        decoder["rope_theta"] = rope["rope_theta"].clone();
        decoder["rope_scaling"] = rope.into();
    }
    let mut vision = config["vision_config"].clone();
    vision["num_attention_heads"] = vision["num_heads"].clone();
    let mut fields = language(kind.architecture, &decoder);
    fields.push((
        of(kind.architecture, "rope.dimension_count"),
        Field::Number(kind.turned as u32),
    ));
    fields.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
    fields.extend(more);
    fields.extend(vocabulary(plain, kind.pre));
    let pictures = json(plain, "preprocessor_config.json");
    let mut of_projector = projector("glm4v", &vision, 2, &pictures, &decoder["hidden_size"]);
    of_projector.extend([
        ("clip.use_silu", Field::Flag(true)),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-5)),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        let name = without_place(name);
        let values = match kind.in_halves && (name.contains("q_proj") || name.contains("k_proj")) {
            true => in_halves_of_turned(&values, shape[0], 16, kind.turned),
            false => values,
        };
        match name.as_str() {
            "visual.patch_embed.proj.weight" => halves_of_kernel(&name, shape, &values),
            _ => vec![(name, shape.to_vec(), values)],
        }
    };
    let names = [kind.names, TEXT, TOWER].concat();
    let model = convert(plain, scratch.path(), &names, change, &fields, &of_projector);
    with_rules_of_pictures(&scratch, plain);
    same(family, &model, plain);
}

/// What is special about the conversion of one of them.
struct Glm {
    architecture: &'static str,
    pre: &'static str,
    /// Numbers of each head that turn.
    turned: usize,
    /// Whether these come in halves, and not in pairs as in the checkpoint.
    in_halves: bool,
    /// Names that go before the others.
    names: &'static [(&'static str, &'static str)],
}

#[test]
fn glm4v_answers_as_its_safetensors() {
    let kind = Glm {
        architecture: "glm4",
        pre: "chatglm-bpe",
        turned: 8,
        in_halves: true,
        names: &[],
    };
    glm("glm4v", &project::oracle("glm4v"), &kind, Vec::new());
}

/// Norms in the tower's attention say that it is GLM-OCR, and a key-value that its last layer guesses ahead.
#[test]
fn glm_ocr_answers_as_its_safetensors() {
    let more = vec![
        ("glm4.block_count", Field::Number(3)),
        ("glm4.nextn_predict_layers", Field::Number(1)),
    ];
    let kind = Glm {
        architecture: "glm4",
        pre: "glm4",
        turned: 16,
        in_halves: true,
        names: &[],
    };
    glm("glm_ocr", &project::oracle("glm_ocr"), &kind, more);
}

/// `Glm4MoeModel`: experts in one tensor each for gate, up and down, beside one that all tokens take; the decoder has two norms a layer.
#[test]
fn glm4v_with_experts_answers_as_its_safetensors() {
    let family = "glm4v_moe";
    let plain = variant::copy(family, "glm4v_moe-gguf", &["golden.safetensors"]);
    stack_experts(&project::oracle(family), &plain, 4);
    let kind = Glm {
        architecture: "glm4moe",
        pre: "glm4",
        turned: 8,
        in_halves: false,
        names: &[(
            r"layers\.(\d+)\.post_attention_layernorm\.weight",
            "blk.$1.post_attention_norm.weight",
        )],
    };
    let more = vec![
        ("glm4moe.expert_count", Field::Number(4)),
        ("glm4moe.expert_group_count", Field::Number(1)),
        ("glm4moe.expert_group_used_count", Field::Number(1)),
        ("glm4moe.expert_shared_count", Field::Number(1)),
        ("glm4moe.leading_dense_block_count", Field::Number(1)),
        ("glm4moe.expert_gating_func", Field::Number(2)),
        ("glm4moe.expert_weights_scale", Field::Float(1.5)),
        ("glm4moe.expert_weights_norm", Field::Flag(true)),
        ("glm4moe.nextn_predict_layers", Field::Number(0)),
    ];
    glm(family, &plain, &kind, more);
}

/// The weights of one folder in another, experts that are stored one by one as one tensor.
pub(super) fn stack_experts(from: &Path, to: &Path, count: usize) {
    let checkpoint = variant::checkpoint(from);
    let mut tensors: Vec<variant::NewTensor> = Vec::new();
    for name in checkpoint.names() {
        let read = |name: &str| {
            let tensor = checkpoint.tensor(name).unwrap();
            let values = to_f32(&tensor).unwrap();
            (tensor.shape, values)
        };
        let (shape, values) = read(name);
        match name.contains(".experts.") {
            true if name.contains(".experts.0.") => {
                let others = (1..count)
                    .flat_map(|expert| read(&name.replace(".experts.0.", &format!(".experts.{expert}."))).1);
                let values = values.into_iter().chain(others).collect();
                let shape = [&[count], &shape[..]].concat();
                tensors.push((name.replace(".experts.0.", ".switch_mlp."), shape, values));
            }
            true => {}
            false => tensors.push((name.to_owned(), shape, values)),
        }
    }
    variant::write_weights(to, &tensors);
}

const PIXTRAL: &[(&str, &str)] = &[
    (r"multi_modal_projector\.linear_(\d)\.(\w+)", "mm.$1.$2"),
    (r"multi_modal_projector\.norm\.weight", "mm.input_norm.weight"),
    (
        r"multi_modal_projector\.patch_merger\.merging_layer\.weight",
        "mm.patch_merger.weight",
    ),
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
];

/// Mistral 3 as `Mistral3Model` and `LlavaVisionModel` convert it, under the name of an architecture.
fn mistral(family: &str, architecture: &str, scratch: &Scratch) -> PathBuf {
    let plain = project::oracle(family);
    let config = json(&plain, "config.json");
    let (decoder, vision) = (&config["text_config"], &config["vision_config"]);
    let mut fields = language(architecture, decoder);
    let rope = &decoder["rope_parameters"];
    if rope.is_object() {
        fields.push((of(architecture, "rope.freq_base"), float(&rope["rope_theta"])));
        fields.push((of(architecture, "rope.scaling.type"), text("yarn")));
        let original = &rope["original_max_position_embeddings"];
        fields.push((
            of(architecture, "rope.scaling.original_context_length"),
            number(original),
        ));
        for (key, name) in [
            ("rope.scaling.factor", "factor"),
            ("rope.scaling.yarn_beta_fast", "beta_fast"),
            ("rope.scaling.yarn_beta_slow", "beta_slow"),
            ("rope.scaling.yarn_log_multiplier", "mscale_all_dim"),
            ("attention.temperature_scale", "llama_4_scaling_beta"),
        ] {
            fields.push((of(architecture, key), float(&rope[name])));
        }
    }
    fields.extend(vocabulary(&plain, "tekken"));
    fields.push(("tokenizer.ggml.add_bos_token", Field::Flag(true)));
    let pictures = json(&plain, "preprocessor_config.json");
    let mut of_projector = projector("pixtral", vision, 2, &pictures, &decoder["hidden_size"]);
    of_projector.extend([
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-5)),
        ("clip.use_silu", Field::Flag(true)),
        ("clip.vision.spatial_merge_size", Field::Number(2)),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        let values = paired(name, "language_model", shape, values, decoder);
        let values = paired(name, "vision_tower", shape, values, vision);
        vec![(name.to_owned(), shape.to_vec(), values)]
    };
    let names = [LANGUAGE, &[FEED], PIXTRAL].concat();
    convert(&plain, scratch.path(), &names, change, &fields, &of_projector)
}

/// Under the name that the converter gives it, and the one of earlier versions.
#[test]
fn mistral3_answers_as_its_safetensors() {
    for architecture in ["mistral3", "llama"] {
        let scratch = Scratch::new("gguf");
        let model = mistral("mistral3", architecture, &scratch);
        same("mistral3", &model, &project::oracle("mistral3"));
    }
}

/// Positions that are stretched, and queries that grow with them.
#[test]
fn ministral3_answers_as_its_safetensors() {
    let scratch = Scratch::new("gguf");
    let model = mistral("ministral3", "mistral3", &scratch);
    same("ministral3", &model, &project::oracle("ministral3"));
}

/// Kernels that are rows of pixels, layers of short convolutions, and a number of heads for each layer.
#[test]
fn lfm2_vl_answers_as_its_safetensors() {
    let (family, scratch) = ("lfm2_vl", Scratch::new("gguf"));
    let plain = project::oracle(family);
    let config = json(&plain, "config.json");
    let (decoder, vision) = (&config["text_config"], &config["vision_config"]);
    let names: &[(&str, &str)] = &[
        (r"embed_tokens\.weight", "token_embd.weight"),
        (r"embedding_norm\.weight", "token_embd_norm.weight"),
        (r"layers\.(\d+)\.operator_norm\.weight", "blk.$1.attn_norm.weight"),
        (r"layers\.(\d+)\.ffn_norm\.weight", "blk.$1.ffn_norm.weight"),
        (
            r"layers\.(\d+)\.feed_forward\.w1\.weight",
            "blk.$1.ffn_gate.weight",
        ),
        (
            r"layers\.(\d+)\.feed_forward\.w2\.weight",
            "blk.$1.ffn_down.weight",
        ),
        (r"layers\.(\d+)\.feed_forward\.w3\.weight", "blk.$1.ffn_up.weight"),
        (
            r"layers\.(\d+)\.self_attn\.([qkv])_proj\.weight",
            "blk.$1.attn_$2.weight",
        ),
        (
            r"layers\.(\d+)\.self_attn\.([qk])_layernorm\.weight",
            "blk.$1.attn_$2_norm.weight",
        ),
        (
            r"layers\.(\d+)\.self_attn\.out_proj\.weight",
            "blk.$1.attn_output.weight",
        ),
        (
            r"layers\.(\d+)\.conv\.(in_proj|out_proj|conv)\.weight",
            "blk.$1.shortconv.$2.weight",
        ),
        (
            r"model\.multi_modal_projector\.layer_norm\.(\w+)",
            "mm.input_norm.$1",
        ),
        (r"model\.multi_modal_projector\.linear_(\d)\.(\w+)", "mm.$1.$2"),
        (
            r"model\.vision_tower\.vision_model\.embeddings\.patch_embedding\.(\w+)",
            "v.patch_embd.$1",
        ),
        (
            r"model\.vision_tower\.vision_model\.embeddings\.position_embedding\.weight",
            "v.position_embd.weight",
        ),
        (
            r"model\.vision_tower\.vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(\w+)",
            "v.blk.$1.ln$2.$3",
        ),
        (
            r"model\.vision_tower\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)",
            "v.blk.$1.attn_$2.$3",
        ),
        (
            r"model\.vision_tower\.vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(\w+)",
            "v.blk.$1.attn_out.$2",
        ),
        (
            r"model\.vision_tower\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(\w+)",
            "v.blk.$1.ffn_up.$2",
        ),
        (
            r"model\.vision_tower\.vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(\w+)",
            "v.blk.$1.ffn_down.$2",
        ),
        (
            r"model\.vision_tower\.vision_model\.post_layernorm\.(\w+)",
            "v.post_ln.$1",
        ),
    ];
    let is_attention = |kind: &Value| kind == "full_attention";
    let kinds = decoder["layer_types"].as_array().unwrap().iter();
    let heads = kinds.map(|kind| if is_attention(kind) { 2 } else { 0 }).collect();
    let mut fields = language("lfm2", decoder);
    fields.retain(|(key, _)| !["lfm2.attention.head_count_kv", "lfm2.feed_forward_length"].contains(key));
    fields.extend([
        ("lfm2.attention.head_count_kv", Field::Numbers(heads)),
        // Two thirds of the config's 144, in whole steps.
        ("lfm2.feed_forward_length", Field::Number(96)),
        ("lfm2.shortconv.l_cache", number(&decoder["conv_L_cache"])),
        (
            "lfm2.attention.layer_norm_rms_epsilon",
            float(&decoder["norm_eps"]),
        ),
    ]);
    fields.extend(vocabulary(&plain, "lfm2"));
    fields.push(("tokenizer.ggml.add_bos_token", Field::Flag(true)));
    let mut vision = vision.clone();
    vision["image_size"] = 256.into();
    let pictures = json(&plain, "preprocessor_config.json");
    let mut of_projector = projector("lfm2", &vision, 2, &pictures, &decoder["hidden_size"]);
    of_projector.extend([
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-6)),
        ("clip.vision.projector.scale_factor", Field::Number(2)),
        ("clip.use_gelu", Field::Flag(true)),
    ]);
    let change = |name: &str, shape: &[usize], values: Vec<f32>| {
        let name = without_place(name);
        match name.ends_with("patch_embedding.weight") {
            // [out, 16 · 16 · 3]
            true => {
                let (shape, values) = channels_first(&[shape[0], 1, 16, 16, 3], &values);
                vec![(name, shape, values)]
            }
            false => vec![(name, shape.to_vec(), values)],
        }
    };
    let model = convert(&plain, scratch.path(), names, change, &fields, &of_projector);
    with_rules_of_pictures(&scratch, &plain);
    same(family, &model, &plain);
}
