"""Writes tests/oracle/conversions.json: what MLX makes of whole checkpoints, and which weights mlx-vlm gives more bits.

`folders` has, for some folders beside this file and 4 bits in groups of 32, the SHA-256 of the packed words, scales and biases
that `mx.quantize` makes of each matrix whose rows are whole groups, position embeddings aside. `mixed` has the bits that
`mlx_vlm.convert.mixed_quant_predicate_builder` gives to the layers of a model with so many layers.

    python3 -m venv venv && venv/bin/pip install "mlx[cpu]==0.32.*" mlx-vlm numpy
    venv/bin/python make_conversions.py

The file in the project was made with mlx 0.32.4 and mlx-vlm 0.7.10.
"""

import hashlib
import json
import pathlib
import types

import mlx.core as mx
import numpy as np
from mlx_vlm.convert import mixed_quant_predicate_builder

HERE = pathlib.Path(__file__).parent
FOLDERS = ["smolvlm", "gemma3"]
LAYERS = [4, 20, 32]
PARTS = ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"]


def sha(array):
    return hashlib.sha256(np.array(array.view(mx.uint8)).tobytes()).hexdigest()


def quantised(folder):
    found = {}
    for name, tensor in mx.load(str(HERE / folder / "model.safetensors")).items():
        is_matrix = tensor.ndim in (2, 3) and tensor.shape[-1] % 32 == 0
        if not is_matrix or not name.endswith(".weight") or "position_embed" in name:
            continue
        found[name.removesuffix(".weight")] = [sha(part) for part in mx.quantize(tensor, group_size=32, bits=4)]
    return found


def mixed(layers):
    module = types.SimpleNamespace(weight=np.zeros((8, 64)), to_quantized=None)
    names = [f"model.layers.{layer}.{part}" for layer in range(layers) for part in PARTS]
    names += ["model.embed_tokens", "lm_head"]
    model = types.SimpleNamespace(layers=[None] * layers, named_modules=lambda: [(name, module) for name in names])
    rule = mixed_quant_predicate_builder("mixed_4_6", model)
    return {name: rule(name, module)["bits"] for name in names}


def main():
    content = {
        "folders": {folder: quantised(folder) for folder in FOLDERS},
        "mixed": {str(layers): mixed(layers) for layers in LAYERS},
    }
    (HERE / "conversions.json").write_text(json.dumps(content, indent=1) + "\n")


main()
