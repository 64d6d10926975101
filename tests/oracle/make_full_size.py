"""Folders of models as large as people run, with weights that are holes: writes NAME/ into a folder, one for each row of MODELS.

    python make_full_size.py FOLDER [NAME...]    (made with transformers 5.23.0, torch 2.15.0)

Sizes are those of the config.json of the repository that each row names; the names and shapes of the weights are those that transformers gives a
model of these sizes. Tokenizers and templates are those of the small model of the same family in this folder. Weights are sparse files: all
zeros, a few kB on the disk, good for planning, recording and estimating, and for nothing else.
"""

import copy
import json
import shutil
import struct
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.core_model_loading import revert_weight_conversion

HERE = Path(__file__).parent

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
        dict(text_config=dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=8,
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
}


def main() -> None:
    place, *names = sys.argv[1:]
    for name in names or MODELS:
        make(Path(place) / name, name)


def make(folder: Path, name: str) -> None:
    repository, config_changes, processor_changes = MODELS[name]
    small = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in small.iterdir():
        if path.suffix == ".jinja" or path.suffix == ".json" and not path.name.startswith("golden"):
            shutil.copy(path, folder)
    config = changed(json.loads((small / "config.json").read_text()), config_changes)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    for file in ("preprocessor_config.json", "processor_config.json"):
        if (small / file).exists():
            old = json.loads((small / file).read_text())
            changes = {key: value for key, value in processor_changes.items() if key in old or file.startswith("pre")}
            (folder / file).write_text(json.dumps(old | changes, indent=1))
    shapes = shapes_of(folder)
    # A folder's own head is not stored where it is the embeddings: as in the small model's file.
    stored = {file_name(name, key) for key in shapes_of(small)} & header(small / "model.safetensors").keys()
    own_heads = {key for key in shapes if key.endswith("lm_head.weight") and file_name(name, key) not in stored}
    write({file_name(name, key): shape for key, shape in shapes.items() if key not in own_heads}, folder / "model.safetensors")
    print(f"{folder}: {repository}, {len(shapes)} tensors")


def changed(config: dict, changes: dict) -> dict:
    config = copy.deepcopy(config)
    for key, value in changes.items():
        config[key] = changed(config[key], value) if key in ("text_config", "vision_config") else value
    return config


def shapes_of(folder: Path) -> dict:
    """Names of the weights as they are stored, and their shapes; no memory is taken."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    return {key: list(value.shape) for key, value in revert_weight_conversion(model, model.state_dict()).items()}


def file_name(name: str, key: str) -> str:
    """Gemma 3's tower is stored under the name that it had in transformers 4."""
    return key.replace("vision_tower.", "vision_tower.vision_model.") if name == "gemma3" else key


def header(path: Path) -> dict:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


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
