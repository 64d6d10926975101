"""Folders of models as large as people run, with weights that are holes: writes NAME/ into a folder, one for each row of MODELS.

    python make_full_size.py FOLDER [NAME...]    (made with transformers 5.23.0, torch 2.15.0)

Sizes are those of the config.json of the repository that each row names; the names and shapes of the weights are those that transformers gives a
model of these sizes, or where it has no class for it those of weights_by_hand.py. The configurations of the second half of the rows were not read in their
repositories but put together from what is public; that they are right is checked by the number of parameters that each model is known to have.
Tokenizers and templates are those of the small model of the same family in this folder. Weights are sparse files: all
zeros, a few kB on the disk, good for planning, recording and estimating, and for nothing else.
"""

import copy
import json
import math
import re
import shutil
import struct
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.core_model_loading import revert_weight_conversion
from weights_by_hand import BY_HAND, check

HERE = Path(__file__).parent

# DeepSeek-VL2's grids of at most nine tiles, its tower, and the attention of its larger models; LLaVA-OneVision's grids.
GRIDS = [[384 * rows, 384 * columns] for rows, columns in (
    (1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1), (2, 2), (1, 5), (5, 1), (1, 6), (6, 1), (2, 3), (3, 2), (1, 7), (7, 1), (1, 8), (8, 1), (2, 4), (4, 2),
    (1, 9), (9, 1), (3, 3))]
SIGLIP = dict(layers=27, heads=16, mlp_ratio=3.7362, width=1152)
LATENT = dict(kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128)
PINPOINTS = [[384 * rows, 384 * columns] for rows in range(1, 7) for columns in range(1, 7)]

# Name: repository, changes of the small model's config.json, changes of its preprocessor_config.json.
MODELS = {
    "smolvlm": (
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        dict(scale_factor=4, vocab_size=49280,
             text_config=dict(hidden_size=960, intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15, num_key_value_heads=5, head_dim=64, vocab_size=49280),
             vision_config=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=512, patch_size=16)),
        dict(size=dict(longest_edge=2048), max_image_size=dict(longest_edge=512))),
    "idefics3": (
        "HuggingFaceM4/Idefics3-8B-Llama3",
        dict(vocab_size=128259,
             text_config=dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=128259,
                              max_position_embeddings=131072),
             vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=364)),
        dict(size=dict(longest_edge=1456), max_image_size=dict(longest_edge=364))),
    "qwen2_vl": (
        "Qwen/Qwen2-VL-7B-Instruct",
        dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, vocab_size=152064,
             rope_scaling=dict(type="mrope", mrope_section=[16, 24, 24]),
             vision_config=dict(depth=32, embed_dim=1280, hidden_size=3584, mlp_ratio=4, num_heads=16)),
        dict(max_pixels=12845056)),
    "qwen2_5_vl": (
        "Qwen/Qwen2.5-VL-7B-Instruct",
        dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, vocab_size=152064, max_window_layers=28,
             rope_scaling=dict(type="mrope", mrope_section=[16, 24, 24]),
             vision_config=dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=3584, window_size=112, fullatt_block_indexes=[7, 15, 23, 31])),
        dict(max_pixels=12845056)),
    "qwen3_vl": (
        "Qwen/Qwen3-VL-8B-Instruct",
        dict(text_config=dict(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936,
                              rope_scaling=dict(mrope_interleaved=True, mrope_section=[24, 20, 20], rope_type="default")),
             vision_config=dict(depth=27, hidden_size=1152, intermediate_size=4304, num_heads=16, num_position_embeddings=2304, out_hidden_size=4096,
                                deepstack_visual_indexes=[8, 16, 24])),
        dict(size=dict(shortest_edge=65536, longest_edge=16777216))),
    "gemma3": (
        "google/gemma-3-27b-it",
        dict(mm_tokens_per_image=256,
             text_config=dict(hidden_size=5376, intermediate_size=21504, num_hidden_layers=62, num_attention_heads=32, num_key_value_heads=16, head_dim=128,
                              query_pre_attn_scalar=168, sliding_window=1024, sliding_window_pattern=6, vocab_size=262208, mm_tokens_per_image=256,
                              max_position_embeddings=131072),
             vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=896)),
        dict(size=dict(height=896, width=896), image_seq_length=256)),
    "mistral3": (
        "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
        dict(text_config=dict(hidden_size=5120, intermediate_size=32768, num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=131072,
                              max_position_embeddings=131072),
             vision_config=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, head_dim=64, image_size=1540)),
        dict(size=dict(longest_edge=1540))),
    "mllama": (
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        dict(text_config=dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256,
                              cross_attention_layers=[3, 8, 13, 18, 23, 28, 33, 38],
                              rope_scaling=dict(factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=8192, rope_type="llama3")),
             vision_config=dict(hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_global_layers=8, attention_heads=16, image_size=560,
                                intermediate_layers_indices=[3, 7, 15, 23, 30], vision_output_dim=7680)),
        dict(size=dict(height=560, width=560))),
    "internvl": (
        "OpenGVLab/InternVL3-8B-hf",
        dict(image_seq_length=256,
             text_config=dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, head_dim=128, vocab_size=151674,
                              max_position_embeddings=32768),
             vision_config=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=[448, 448])),
        dict(size=dict(height=448, width=448), crop_to_patches=True, image_seq_length=256)),
    "florence2": (
        "florence-community/Florence-2-large-ft",
        dict(text_config=dict(d_model=1024, encoder_layers=12, decoder_layers=12, encoder_attention_heads=16, decoder_attention_heads=16, encoder_ffn_dim=4096,
                              decoder_ffn_dim=4096, max_position_embeddings=4096, vocab_size=51328),
             vision_config=dict(depths=[1, 1, 9, 1], embed_dim=[256, 512, 1024, 2048], num_heads=[8, 16, 32, 64], num_groups=[8, 16, 32, 64], window_size=12,
                                mlp_ratio=4.0, projection_dim=1024, max_position_embeddings=50, max_temporal_embeddings=100)),
        dict(size=dict(height=768, width=768), crop_size=dict(height=768, width=768), image_seq_length=577)),
    "moondream2": ("vikhyatk/moondream2", dict(config=dict(text={}, vision={}, region={})), {}),
    "molmo": (
        "allenai/Molmo-7B-D-0924",
        dict(hidden_size=3584, intermediate_size=37888, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, vocab_size=152064,
             embedding_size=152064, max_position_embeddings=4096, vision_config=None),
        dict(max_crops=12, overlap_margins=[4, 4], base_image_input_size=[336, 336], image_token_length_w=12, image_token_length_h=12)),
    "kimi_vl": (
        "moonshotai/Kimi-VL-A3B-Thinking-2506",
        dict(vocab_size=163840,
             text_config=dict(hidden_size=2048, intermediate_size=11264, moe_intermediate_size=1408, num_hidden_layers=27, num_attention_heads=16,
                              num_key_value_heads=16, n_routed_experts=64, num_experts_per_tok=6, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64,
                              v_head_dim=128, vocab_size=163840),
             vision_config=dict(init_pos_emb_height=64, init_pos_emb_width=64, hidden_size=1152, num_hidden_layers=27, num_attention_heads=16,
                                intermediate_size=4304)),
        dict(in_token_limit=16384)),
    "deepseek_vl2": (
        "deepseek-ai/deepseek-vl2-tiny",
        dict(candidate_resolutions=GRIDS, vision_config=SIGLIP,
             language_config=dict(vocab_size=129280, hidden_size=1280, intermediate_size=6848, moe_intermediate_size=896, num_hidden_layers=12,
                                  num_attention_heads=10, num_key_value_heads=10, n_routed_experts=64, num_experts_per_tok=6)),
        dict(candidate_resolutions=GRIDS)),
    "deepseek_vl2_small": (
        "deepseek-ai/deepseek-vl2-small",
        dict(candidate_resolutions=GRIDS, vision_config=SIGLIP,
             language_config=dict(LATENT, vocab_size=102400, hidden_size=2048, intermediate_size=10944, moe_intermediate_size=1408, num_hidden_layers=27,
                                  num_attention_heads=16, num_key_value_heads=16, n_routed_experts=64, num_experts_per_tok=6)),
        dict(candidate_resolutions=GRIDS)),
    "deepseek_vl2_base": (
        "deepseek-ai/deepseek-vl2",
        dict(candidate_resolutions=GRIDS, vision_config=SIGLIP,
             language_config=dict(LATENT, vocab_size=129280, hidden_size=2560, intermediate_size=12288, moe_intermediate_size=1536, num_hidden_layers=30,
                                  num_attention_heads=32, num_key_value_heads=32, n_routed_experts=72, num_experts_per_tok=6)),
        dict(candidate_resolutions=GRIDS)),
    "ernie4_5_vl": (
        "baidu/ERNIE-4.5-VL-28B-A3B-Thinking",
        dict(hidden_size=2560, intermediate_size=12288, num_hidden_layers=28, num_attention_heads=20, num_key_value_heads=4, max_position_embeddings=131072,
             vocab_size=103424, moe_intermediate_size=[1536, 512], moe_k=6, moe_num_experts=[64, 64], moe_num_shared_experts=2, freq_allocation=20,
             vision_config=dict(embed_dim=1280, hidden_size=1280, mlp_ratio=4, depth=32, num_heads=16, intermediate_size=5120)),
        dict(max_pixels=4816896)),
    "gemma3n": (
        "google/gemma-3n-E4B-it",
        dict(audio_config=None, vision_soft_tokens_per_image=256,
             text_config=dict(vocab_size=262400, vocab_size_per_layer_input=262144, hidden_size=2048, hidden_size_per_layer_input=256, intermediate_size=[16384] * 35,
                              num_hidden_layers=35, num_attention_heads=8, num_key_value_heads=2, head_dim=256, max_position_embeddings=32768, sliding_window=512,
                              layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7, altup_num_inputs=4, num_kv_shared_layers=15, laurel_rank=64,
                              activation_sparsity_pattern=[0.95] * 10 + [0.0] * 25),
             vision_config=dict(hidden_size=2048, vocab_size=128, vocab_offset=262144)),
        dict(size=dict(height=768, width=768), image_seq_length=256)),
    "glm4v_moe": (
        "zai-org/GLM-4.5V",
        dict(text_config=dict(hidden_size=4096, intermediate_size=10944, moe_intermediate_size=1408, num_hidden_layers=46, num_attention_heads=96,
                              num_key_value_heads=8, head_dim=128, n_routed_experts=128, num_experts_per_tok=8, routed_scaling_factor=1.0, vocab_size=151552,
                              rope_scaling=dict(rope_type="default", mrope_section=[8, 12, 12])),
             vision_config=dict(depth=24, hidden_size=1536, intermediate_size=10944, num_heads=12, out_hidden_size=4096, image_size=336)),
        dict(size=dict(shortest_edge=12544, longest_edge=11760000))),
    "qwen3_vl_moe": (
        "mlx-community/Qwen3-VL-30B-A3B-Instruct-4bit, before its weights were quantised",
        dict(text_config=dict(hidden_size=2048, intermediate_size=6144, moe_intermediate_size=768, num_hidden_layers=48, num_attention_heads=32,
                              num_key_value_heads=4, head_dim=128, num_experts=128, num_experts_per_tok=8, mlp_only_layers=[], vocab_size=151936,
                              rope_scaling=dict(mrope_interleaved=True, mrope_section=[24, 20, 20], rope_type="default")),
             vision_config=dict(depth=27, hidden_size=1152, intermediate_size=4304, num_heads=16, num_position_embeddings=2304, out_hidden_size=2048,
                                deepstack_visual_indexes=[8, 16, 24])),
        dict(size=dict(shortest_edge=65536, longest_edge=16777216))),
    "llava_onevision": (
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        dict(tie_word_embeddings=False, vision_aspect_ratio="anyres_max_9", image_grid_pinpoints=PINPOINTS,
             text_config=dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, vocab_size=152128,
                              tie_word_embeddings=False),
             vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=26, num_attention_heads=16, image_size=384)),
        dict(size=dict(height=384, width=384), image_grid_pinpoints=PINPOINTS)),
    "paddleocr_vl": (
        "PaddlePaddle/PaddleOCR-VL",
        dict(hidden_size=1024, intermediate_size=3072, num_hidden_layers=18, num_attention_heads=16, num_key_value_heads=2, head_dim=128, vocab_size=103424,
             rope_scaling=dict(mrope_section=[16, 24, 24], rope_type="default", type="default"),
             vision_config=dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=384)),
        dict(min_pixels=147384, max_pixels=2822400)),
}

# Thousands of millions of parameters that a model is known to have, of which Gemma 3n's tower of sound (0.68) and 53 million of PaddleOCR-VL are not used.
KNOWN = {"florence2": 0.77, "moondream2": 1.93, "molmo": 8.02, "kimi_vl": 16.4, "deepseek_vl2": 3.37, "deepseek_vl2_small": 16.1, "deepseek_vl2_base": 27.5,
         "ernie4_5_vl": 29.4, "gemma3n": 7.85 - 0.68, "glm4v_moe": 107.7, "qwen3_vl_moe": 31.1, "llava_onevision": 8.03, "paddleocr_vl": 0.96 - 0.053}

# The small models' heads are their embeddings.
HEADS = ("lm_head.weight", "language_model.lm_head.weight")


def main() -> None:
    place, *names = sys.argv[1:]
    for name in names or MODELS:
        make(Path(place) / name, name)


def make(folder: Path, name: str) -> None:
    repository, config_changes, processor_changes = MODELS[name]
    small = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in small.iterdir():
        if path.suffix in (".jinja", ".model") or path.suffix == ".json" and not path.name.startswith("golden"):
            shutil.copy(path, folder)
    config = changed(json.loads((small / "config.json").read_text()), config_changes)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for file in ("preprocessor_config.json", "processor_config.json"):
        if (small / file).exists():
            old = json.loads((small / file).read_text())
            changes = {key: value for key, value in processor_changes.items() if key in old or file.startswith("pre")}
            (folder / file).write_text(json.dumps(old | changes, indent=1))
    stored = {key: entry["shape"] for key, entry in header(small / "model.safetensors").items()}
    if name in BY_HAND:
        check(name, json.loads((small / "config.json").read_text()), stored)
        shapes = BY_HAND[name](config)
    else:
        # What is not stored, such as a head that is the embeddings, is not in the small model's file either.
        kinds = {kind(key) for key in stored}
        # The small Gemma 3n has a tower of its own.
        assert name == "gemma3n" or of_kinds(kinds, as_stored(name, shapes_of(small))) == stored, name
        kinds |= {kind(key) for key in HEADS if config.get("tie_word_embeddings") is False}
        shapes = of_kinds(kinds, as_stored(name, shapes_of(folder)))
    write(shapes, folder / "model.safetensors")
    parameters = sum(math.prod(shape) for shape in shapes.values()) / 1e9
    known = KNOWN.get(name, parameters)
    assert abs(parameters / known - 1) < 0.01, f"{name}: {parameters} thousand million parameters, expected {known}"
    print(f"{folder}: {repository}, {len(shapes)} tensors, {parameters:.2f} thousand million parameters")


def changed(config: dict, changes: dict) -> dict:
    config = copy.deepcopy(config)
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = changed(config[key], value) if key in ("text_config", "vision_config", "language_config", "config") else value
    return config


def of_kinds(kinds: set, shapes: dict) -> dict:
    return {key: shape for key, shape in shapes.items() if kind(key) in kinds}


def kind(key: str) -> str:
    """A name without its numbers."""
    return re.sub(r"\.\d+(?=\.)", ".N", key)


def shapes_of(folder: Path) -> dict:
    """Names of the weights as transformers stores them, and their shapes; no memory is taken."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    return {key: list(value.shape) for key, value in revert_weight_conversion(model, model.state_dict()).items()}


def as_stored(name: str, shapes: dict) -> dict:
    """Names and shapes as the small model's file has them."""
    if name == "qwen3_vl_moe":
        return as_converted(shapes)
    # These towers are stored under the name that they had in transformers 4.
    inner = name in ("gemma3", "llava_onevision")
    return {key.replace("vision_tower.", "vision_tower.vision_model.") if inner else key: shape for key, shape in shapes.items()}


def as_converted(shapes: dict) -> dict:
    """Qwen3-VL's experts as mlx-vlm stores them: the first layers apart; channels last."""
    found = {}
    for key, shape in shapes.items():
        key = key.replace("model.language_model.", "language_model.model.").replace("model.visual.", "vision_tower.")
        key = f"language_model.{key}" if key.startswith("lm_head") else key
        place, _, last = key.rpartition("mlp.experts.")
        if last == "gate_up_proj":
            experts, inner, hidden = shape
            found |= {f"{place}mlp.switch_mlp.{part}_proj.weight": [experts, inner // 2, hidden] for part in ("gate", "up")}
        elif last == "down_proj":
            found[f"{place}mlp.switch_mlp.down_proj.weight"] = shape
        elif key.endswith("patch_embed.proj.weight"):
            found[key] = [shape[0], *shape[2:], shape[1]]
        else:
            found[key] = shape
    return found


def header(path: Path) -> dict:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        read = json.loads(file.read(length))
    read.pop("__metadata__", None)
    return read


def write(shapes: dict, path: Path) -> None:
    """A safetensors file in bf16 whose data is a hole."""
    tensors, end = {}, 0
    for key, shape in sorted(shapes.items()):
        size = 2 * torch.Size(shape).numel()
        tensors[key] = dict(dtype="BF16", shape=shape, data_offsets=[end, end + size])
        end += size
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


main()
