//! A family whose cache holds a latent, and whose conversion cuts what makes keys and values of it into one matrix a head. Names and key-values are
//! those that `convert_hf_to_gguf.py` of llama.cpp writes for this very checkpoint.

use monocle_tests::gguf::{Field, json, ranks};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;

use super::families::{convert, language, projector, same};
use super::merged_patches::{TEXT, stack_experts, with_rules_of_pictures};

/// What only this family has.
const NAMES: &[(&str, &str)] = &[
    (
        r"layers\.(\d+)\.self_attn\.kv_a_proj_with_mqa\.weight",
        "blk.$1.attn_kv_a_mqa.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.kv_a_layernorm\.weight",
        "blk.$1.attn_kv_a_norm.weight",
    ),
    (
        r"layers\.(\d+)\.self_attn\.([kv])_b_proj\.weight",
        "blk.$1.attn_$2_b.weight",
    ),
    (r"patch_embed\.proj\.(\w+)", "v.patch_embd.$1"),
    (r"patch_embed\.pos_emb\.weight", "v.position_embd.weight"),
    (r"encoder\.blocks\.(\d+)\.norm0\.(\w+)", "v.blk.$1.ln1.$2"),
    (r"encoder\.blocks\.(\d+)\.norm1\.(\w+)", "v.blk.$1.ln2.$2"),
    (r"encoder\.blocks\.(\d+)\.w([qkv])\.(\w+)", "v.blk.$1.attn_$2.$3"),
    (r"encoder\.blocks\.(\d+)\.wo\.(\w+)", "v.blk.$1.attn_out.$2"),
    (r"encoder\.blocks\.(\d+)\.mlp\.fc0\.(\w+)", "v.blk.$1.ffn_up.$2"),
    (r"encoder\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", "v.blk.$1.ffn_down.$2"),
    (r"encoder\.final_layernorm\.(\w+)", "v.post_ln.$1"),
    (r"multi_modal_projector\.pre_norm\.(\w+)", "mm.input_norm.$1"),
    (r"multi_modal_projector\.linear_(\d)\.(\w+)", "mm.$1.$2"),
];

/// `DeepseekV2Model` and `KimiVLModel`.
#[test]
fn kimi_vl_answers_as_its_safetensors() {
    let (family, scratch) = ("kimi_vl", Scratch::new("gguf"));
    let plain = variant::copy(family, "kimi_vl-gguf", &["golden.safetensors"]);
    stack_experts(&project::oracle(family), &plain, 6);
    let config = json(&plain, "config.json");
    let decoder = &config["text_config"];
    let size = |key: &str| decoder[key].as_u64().unwrap() as usize;
    let [heads, plain_keys, values, latent] = [
        "num_attention_heads",
        "qk_nope_head_dim",
        "v_head_dim",
        "kv_lora_rank",
    ]
    .map(size);
    let turning = size("qk_rope_head_dim");
    let mut fields = language("deepseek2", decoder);
    fields.retain(|(key, _)| *key != "deepseek2.attention.head_count_kv");
    for (key, value) in [
        ("deepseek2.attention.head_count_kv", 1),
        ("deepseek2.expert_count", size("n_routed_experts")),
        ("deepseek2.expert_group_count", 1),
        ("deepseek2.expert_group_used_count", 1),
        ("deepseek2.expert_gating_func", 2),
        ("deepseek2.expert_shared_count", size("n_shared_experts")),
        (
            "deepseek2.leading_dense_block_count",
            size("first_k_dense_replace"),
        ),
        ("deepseek2.attention.kv_lora_rank", latent),
        ("deepseek2.attention.key_length", latent + turning),
        ("deepseek2.attention.value_length", latent),
        ("deepseek2.attention.key_length_mla", plain_keys + turning),
        ("deepseek2.attention.value_length_mla", values),
        ("deepseek2.rope.dimension_count", turning),
    ] {
        fields.push((key, Field::Number(value as u32)));
    }
    fields.extend([
        ("deepseek2.expert_weights_scale", Field::Float(2.446)),
        ("deepseek2.expert_weights_norm", Field::Flag(true)),
    ]);
    fields.extend(ranks(&plain, "kimi-k2", size("vocab_size")));
    let pictures = json(&plain, "preprocessor_config.json");
    let mut vision = config["vision_config"].clone();
    vision["image_size"] = 896.into();
    let mut of_projector = projector("kimivl", &vision, 2, &pictures, &decoder["hidden_size"]);
    of_projector.extend([
        ("clip.use_gelu", Field::Flag(true)),
        ("clip.vision.projector.scale_factor", Field::Number(2)),
        ("clip.vision.attention.layer_norm_epsilon", Field::Float(1e-5)),
    ]);
    let change = |name: &str, shape: &[usize], numbers: Vec<f32>| {
        let places = ["language_model.model.", "language_model.", "vision_tower."];
        let rest = places.iter().find_map(|place| name.strip_prefix(place));
        let name = rest.unwrap_or(name).to_owned();
        if name.contains("wqkv") {
            let mut shape = shape.to_vec();
            shape[0] /= 3;
            let thirds = numbers.chunks(numbers.len() / 3).zip(["wq", "wk", "wv"]);
            let third =
                |(third, new): (&[f32], &str)| (name.replace("wqkv", new), shape.clone(), third.to_vec());
            return thirds.map(third).collect();
        }
        if name.contains("pos_emb") {
            return vec![(name, vec![shape[0] * shape[1], shape[2]], numbers)];
        }
        if !name.contains("kv_b_proj") {
            return vec![(name, shape.to_vec(), numbers)];
        }
        // [heads, keys and values, latent] to [heads, latent, keys] and [heads, values, latent].
        let (mut of_keys, mut of_values) = (Vec::new(), Vec::new());
        for head in numbers.chunks((plain_keys + values) * latent) {
            let (keys, rest) = head.split_at(plain_keys * latent);
            for column in 0..latent {
                of_keys.extend(keys.iter().skip(column).step_by(latent));
            }
            of_values.extend_from_slice(rest);
        }
        vec![
            (
                name.replace("kv_b", "k_b"),
                vec![heads, latent, plain_keys],
                of_keys,
            ),
            (
                name.replace("kv_b", "v_b"),
                vec![heads, values, latent],
                of_values,
            ),
        ]
    };
    let names = [NAMES, TEXT].concat();
    let model = convert(&plain, scratch.path(), &names, change, &fields, &of_projector);
    with_rules_of_pictures(&scratch, &plain);
    same(family, &model, &plain);
}
