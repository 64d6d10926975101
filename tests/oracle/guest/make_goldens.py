"""Numbers that the guest crate must reproduce, as transformers and torch compute them: writes rope.json and positions.json.

python make_goldens.py    (made with transformers 5.23.0, torch 2.15.0)
"""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.idefics3.modeling_idefics3 import Idefics3VisionConfig, Idefics3VisionEmbeddings
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}


def rope_case(text_config, long_context=False):
    config = LlamaConfig(**json.loads(json.dumps(text_config)))
    rope_type = config.rope_parameters["rope_type"]
    if rope_type == "default":
        frequencies, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    else:
        length = 10**6 if long_context else None
        frequencies, factor = ROPE_INIT_FUNCTIONS[rope_type](config, "cpu", seq_len=length)
    return {
        "text_config": text_config,
        "long_context": long_context,
        "head_dim": config.head_dim,
        "frequencies": frequencies.tolist(),
        "scale": factor,
    }


def rope_cases():
    small = {"hidden_size": 128, "num_attention_heads": 4}
    odd = {"hidden_size": 96 * 2, "num_attention_heads": 2, "max_position_embeddings": 131072}
    long = {
        "rope_type": "longrope",
        "short_factor": [1 + 0.05 * i for i in range(16)],
        "long_factor": [1 + 1.5 * i for i in range(16)],
        "original_max_position_embeddings": 4096,
    }
    llama3 = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    yarn = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8192}
    return [
        rope_case(small),
        rope_case(odd | {"rope_theta": 500000.0}),
        rope_case(odd | {"rope_parameters": {"rope_type": "default", "rope_theta": 273768.0}}),
        rope_case(small | {"rope_scaling": {"type": "linear", "factor": 8.0}, "rope_theta": 1000000.0}),
        rope_case(odd | {"rope_scaling": llama3, "rope_theta": 500000.0}),
        rope_case(odd | {"rope_scaling": yarn, "rope_theta": 1000000.0}),
        rope_case(odd | {"rope_parameters": yarn | {"rope_theta": 150000.0, "truncate": False, "beta_fast": 8.0}}),
        rope_case(odd | {"rope_scaling": yarn | {"mscale": 1.0, "mscale_all_dim": 0.8}}),
        rope_case(small | {"rope_scaling": long, "max_position_embeddings": 131072}),
        rope_case(small | {"rope_scaling": long, "max_position_embeddings": 131072}, long_context=True),
    ]


def interleaved_axes(sections):
    """Which axis each frequency takes in Qwen3-VL: the axis number is carried through the model's own function."""
    layout = Qwen3VLTextRotaryEmbedding.recomposition_frequencies
    frequencies = torch.arange(3.0)[:, None, None, None].expand(3, 1, 1, sum(sections)).clone()
    axes = layout(SimpleNamespace(mrope_section=sections), frequencies)
    return axes[0, 0, : sum(sections)].int().tolist()


def positions(height, width, side):
    patch = 2
    config = Idefics3VisionConfig(hidden_size=1, num_attention_heads=1, image_size=side * patch, patch_size=patch)
    embeddings = Idefics3VisionEmbeddings(config)
    torch.nn.init.zeros_(embeddings.patch_embedding.weight)
    torch.nn.init.zeros_(embeddings.patch_embedding.bias)
    embeddings.position_embedding.weight.data = torch.arange(side * side).float()[:, None]
    pixels = torch.zeros(1, 3, height * patch, width * patch)
    rows = embeddings(pixels, torch.ones(1, height, width, dtype=torch.bool))
    return rows.flatten().int().tolist()


def main():
    folder = Path(__file__).parent
    rope = VERSIONS | {
        "cases": rope_cases(),
        "interleaved": [{"sections": s, "axes": interleaved_axes(s)} for s in ([24, 20, 20], [3, 2, 3], [8, 4, 4])],
    }
    (folder / "rope.json").write_text(json.dumps(rope) + "\n")
    # [rows, columns, side of the table]: full grids of published models (the last four), and others.
    grids = [[1, 1, 27], [3, 5, 4], [7, 2, 16], [9, 40, 26], [4, 4, 4], [26, 26, 26], [27, 27, 27], [32, 32, 32]]
    positions_of = [{"grid": grid, "rows": positions(*grid)} for grid in grids]
    (folder / "positions.json").write_text(json.dumps(VERSIONS | {"grids": positions_of}) + "\n")


main()
