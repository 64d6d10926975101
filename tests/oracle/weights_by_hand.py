"""Names and shapes of the weights of models that transformers has no class for, from their `config.json`: what make_full_size.py stores. They are
those of the small models in this folder (`check` compares them).
"""

MLP = ("gate_proj", "up_proj")


def linear(place, rows, columns, bias=True):
    found = {f"{place}.weight": [rows, columns]}
    return found | {f"{place}.bias": [rows]} if bias else found


def norm(place, width):
    return {f"{place}.weight": [width], f"{place}.bias": [width]}


def gated(place, hidden, inner):
    found = {f"{place}.{name}.weight": [inner, hidden] for name in MLP}
    return found | {f"{place}.down_proj.weight": [hidden, inner]}


def deepseek(place, text):
    """DeepSeek-V2's and V3's decoders, as in DeepSeek-VL2 and Kimi-VL."""
    hidden, heads, rank = text["hidden_size"], text["num_attention_heads"], text["kv_lora_rank"]
    found = {f"{place}lm_head.weight": [text["vocab_size"], hidden], f"{place}model.embed_tokens.weight": [text["vocab_size"], hidden],
             f"{place}model.norm.weight": [hidden]}
    for number in range(text["num_hidden_layers"]):
        layer = f"{place}model.layers.{number}"
        attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
        found |= {f"{layer}.{name}_layernorm.weight": [hidden] for name in ("input", "post_attention")}
        if rank:
            turned, plain, values = text["qk_rope_head_dim"], text["qk_nope_head_dim"], text["v_head_dim"]
            found |= {f"{attention}.q_proj.weight": [heads * (plain + turned), hidden], f"{attention}.kv_a_proj_with_mqa.weight": [rank + turned, hidden],
                      f"{attention}.kv_a_layernorm.weight": [rank], f"{attention}.kv_b_proj.weight": [heads * (plain + values), rank],
                      f"{attention}.o_proj.weight": [hidden, heads * values]}
        else:
            found |= {f"{attention}.{name}_proj.weight": [hidden, hidden] for name in "qkvo"}
        if number < text["first_k_dense_replace"]:
            found |= gated(mlp, hidden, text["intermediate_size"])
            continue
        inner = text["moe_intermediate_size"]
        found |= {f"{mlp}.gate.weight": [text["n_routed_experts"], hidden]} | gated(f"{mlp}.shared_experts", hidden, text["n_shared_experts"] * inner)
        if text["topk_method"] == "noaux_tc":
            found[f"{mlp}.gate.e_score_correction_bias"] = [text["n_routed_experts"]]
        for expert in range(text["n_routed_experts"]):
            found |= gated(f"{mlp}.experts.{expert}", hidden, inner)
    return found


def deepseek_vl2(config):
    text, vision = config["language_config"], config["vision_config"]
    width, inner, hidden = vision["width"], int(vision["width"] * vision["mlp_ratio"]), text["hidden_size"]
    side = config["candidate_resolutions"][0][0] // vision["patch_size"]
    found = deepseek("language.", text) | {"image_newline": [hidden], "view_seperator": [hidden]}
    found |= linear("projector.layers.0", hidden, 4 * width) | linear("projector.layers.2", hidden, hidden)
    found |= {"vision.pos_embed": [1, side**2, width], "vision.patch_embed.proj.weight": [width, 3, vision["patch_size"], vision["patch_size"]],
              "vision.patch_embed.proj.bias": [width]} | norm("vision.norm", width)
    for number in range(vision["layers"]):
        block = f"vision.blocks.{number}"
        found |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        found |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
        found |= linear(f"{block}.mlp.fc1", inner, width) | linear(f"{block}.mlp.fc2", width, inner)
    return found


def kimi_vl(config):
    text, vision = config["text_config"], config["vision_config"]
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    tower, projector, joined = "vision_tower", "multi_modal_projector", 4 * width
    found = deepseek("language_model.", text) | norm(f"{projector}.pre_norm", width)
    found |= linear(f"{projector}.linear_1", joined, joined) | linear(f"{projector}.linear_2", text["hidden_size"], joined)
    found |= {f"{tower}.patch_embed.pos_emb.weight": [vision["init_pos_emb_height"], vision["init_pos_emb_width"], width],
              f"{tower}.patch_embed.proj.weight": [width, 3, patch, patch], f"{tower}.patch_embed.proj.bias": [width]}
    found |= norm(f"{tower}.encoder.final_layernorm", width)
    for number in range(vision["num_hidden_layers"]):
        block = f"{tower}.encoder.blocks.{number}"
        found |= norm(f"{block}.norm0", width) | norm(f"{block}.norm1", width)
        found |= linear(f"{block}.wqkv", 3 * width, width) | linear(f"{block}.wo", width, width)
        found |= linear(f"{block}.mlp.fc0", inner, width) | linear(f"{block}.mlp.fc1", width, inner)
    return found


def ernie4_5_vl(config):
    vision, hidden, heads = config["vision_config"], config["hidden_size"], config["num_attention_heads"]
    width, head = vision["embed_dim"], hidden // heads
    inner, patch = int(width * vision["mlp_ratio"]), 3 * vision["patch_size"] ** 2
    found = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        found |= {f"{layer}.{name}_layernorm.weight": [hidden] for name in ("input", "post_attention")}
        found |= {f"{layer}.self_attn.{name}_proj.weight": [hidden, hidden] for name in "qo"}
        found |= {f"{layer}.self_attn.{name}_proj.weight": [config["num_key_value_heads"] * head, hidden] for name in "kv"}
        mlp = f"{layer}.mlp"
        if number < config["moe_layer_start_index"][0]:
            found |= gated(mlp, hidden, config["intermediate_size"])
            continue
        counts, inners = config["moe_num_experts"], config["moe_intermediate_size"]
        found |= {f"{mlp}.gate.weight": [hidden, counts[0]], f"{mlp}.gate.weight_1": [hidden, counts[1]],
                  f"{mlp}.moe_statics.e_score_correction_bias": [2, counts[0]]}
        found |= gated(f"{mlp}.shared_experts", hidden, config["moe_num_shared_experts"] * inners[0])
        for expert in range(sum(counts)):
            found |= gated(f"{mlp}.experts.{expert}", hidden, inners[expert >= counts[0]])
    resampler, joined = "model.resampler_model", 4 * width
    found |= {f"{resampler}.after_norm.weight": [hidden]} | linear(f"{resampler}.mlp", hidden, joined)
    for name, columns in (("spatial_linear", joined), ("temporal_linear", 2 * joined)):
        place = f"{resampler}.{name}"
        found |= linear(f"{place}.0", joined, columns) | linear(f"{place}.2", joined, joined) | norm(f"{place}.3", joined)
    found |= {"vision_model.patch_embed.proj.weight": [width, patch]} | norm("vision_model.ln", width)
    for number in range(vision["depth"]):
        block = f"vision_model.blocks.{number}"
        found |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        found |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
        found |= linear(f"{block}.mlp.fc1", inner, width) | linear(f"{block}.mlp.fc2", width, inner)
    return found


# Sizes that Molmo's `config.json` leaves to its code: the tower's width, inner width, layers and positions, and tokens that it adds.
MOLMO, SMALL_MOLMO = (1024, 4096, 23, 577, 128), (32, 48, 5, 65, 8)


def molmo(config, sizes=MOLMO):
    width, tower_inner, layers, positions, added = sizes
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    text, tower = "model.transformer", "model.vision_backbone"
    vocabulary = config["embedding_size"]
    found = {f"{text}.wte.embedding": [vocabulary, hidden], f"{text}.wte.new_embedding": [added, hidden], f"{text}.ff_out.weight": [vocabulary, hidden],
             f"{text}.ln_f.weight": [hidden]}
    for number in range(config["num_hidden_layers"]):
        block = f"{text}.blocks.{number}"
        found |= linear(f"{block}.att_proj", hidden + 2 * config["num_key_value_heads"] * hidden // heads, hidden)
        found |= {f"{block}.attn_out.weight": [hidden, hidden], f"{block}.attn_norm.weight": [hidden], f"{block}.ff_norm.weight": [hidden],
                  f"{block}.ff_proj.weight": [inner, hidden], f"{block}.ff_out.weight": [hidden, inner // 2]}
    vit = f"{tower}.image_vit"
    found |= {f"{vit}.class_embedding": [width], f"{vit}.positional_embedding": [positions, width], f"{vit}.patch_embedding.weight": [width, 588]}
    found |= norm(f"{vit}.pre_ln", width)
    for number in range(layers):
        block = f"{vit}.transformer.resblocks.{number}"
        for name in ("wq", "wk", "wv", "wo"):
            found |= linear(f"{block}.attention.{name}", width, width)
        found |= norm(f"{block}.attention_norm", width) | norm(f"{block}.ffn_norm", width)
        found |= linear(f"{block}.feed_forward.w1", tower_inner, width) | linear(f"{block}.feed_forward.w2", width, tower_inner)
    for name in ("wq", "wk", "wv"):
        found |= linear(f"{tower}.image_pooling_2d.{name}", width, 2 * width)
    found |= linear(f"{tower}.image_pooling_2d.wo", width, width) | {f"{tower}.pad_embed": [2, 2 * width]}
    return found | {f"{tower}.image_projector.w1.weight": [inner // 2, width], f"{tower}.image_projector.w2.weight": [hidden, inner // 2],
                    f"{tower}.image_projector.w3.weight": [inner // 2, width]}


# What moondream's dataclasses say where `config.json` says nothing.
TEXT = dict(dim=2048, ff_dim=8192, n_layers=24, vocab_size=51200)
VISION = dict(enc_dim=1152, enc_ff_dim=4304, enc_n_layers=27, proj_inner_dim=8192, proj_out_dim=2048)
REGION = dict(dim=2048, coord_feat_dim=256, coord_out_dim=1024, size_feat_dim=512, size_out_dim=2048, inner_dim=8192)


def moondream2(config):
    text, vision, region = (default | config["config"].get(name, {}) for name, default in (("text", TEXT), ("vision", VISION), ("region", REGION)))
    hidden, width, side = text["dim"], vision["enc_dim"], 27
    found = {"model.text.wte": [text["vocab_size"], hidden]} | linear("model.text.lm_head", text["vocab_size"], hidden) | norm("model.text.post_ln", hidden)
    for number in range(text["n_layers"]):
        block = f"model.text.blocks.{number}"
        found |= norm(f"{block}.ln", hidden) | linear(f"{block}.attn.qkv", 3 * hidden, hidden) | linear(f"{block}.attn.proj", hidden, hidden)
        found |= linear(f"{block}.mlp.fc1", text["ff_dim"], hidden) | linear(f"{block}.mlp.fc2", hidden, text["ff_dim"])
    found |= linear("model.vision.patch_emb", width, 588) | {"model.vision.pos_emb": [1, side**2, width]} | norm("model.vision.post_ln", width)
    for number in range(vision["enc_n_layers"]):
        block = f"model.vision.blocks.{number}"
        found |= norm(f"{block}.ln1", width) | norm(f"{block}.ln2", width)
        found |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
        found |= linear(f"{block}.mlp.fc1", vision["enc_ff_dim"], width) | linear(f"{block}.mlp.fc2", width, vision["enc_ff_dim"])
    found |= linear("model.vision.proj_mlp.fc1", vision["proj_inner_dim"], 2 * width)
    found |= linear("model.vision.proj_mlp.fc2", vision["proj_out_dim"], vision["proj_inner_dim"])
    for name, features in (("coord", [1, region["coord_feat_dim"] // 2]), ("size", [2, region["size_feat_dim"] // 2])):
        place = f"model.region.{name}"
        found |= {f"{place}_features": features} | linear(f"{place}_encoder", region["dim"], region[f"{name}_feat_dim"])
        found |= linear(f"{place}_decoder.fc1", region["inner_dim"], region["dim"])
        found |= linear(f"{place}_decoder.fc2", region[f"{name}_out_dim"], region["inner_dim"])
    return found


BY_HAND = {"deepseek_vl2": deepseek_vl2, "deepseek_vl2_small": deepseek_vl2, "deepseek_vl2_base": deepseek_vl2, "ernie4_5_vl": ernie4_5_vl,
           "kimi_vl": kimi_vl, "molmo": molmo, "moondream2": moondream2}


def check(name, config, stored):
    """The small model's weights are what the rules make of its configuration."""
    ruled = molmo(config, SMALL_MOLMO) if name == "molmo" else BY_HAND[name](config)
    different = {key for key in ruled.keys() | stored.keys() if ruled.get(key) != stored.get(key)}
    assert not different, (name, sorted(different)[:9])
