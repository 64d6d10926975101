"""Opens what `monocle convert` wrote with mlx-vlm, beside the original, and says how far the language models' logits are apart.

    python3 -m venv venv && venv/bin/pip install "mlx[cpu]==0.32.*" mlx-vlm torch
    target/release/monocle convert FOLDER --bits 8 --group 32 --keep-vision --no-loss -o COPY
    venv/bin/python load_conversions.py FOLDER COPY

FOLDER must hold no other safetensors than the model's: mlx-vlm reads all.
"""

import pathlib
import sys

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_vlm.utils import load_model

IDS = mx.array([[5, 17, 99, 42, 7, 300, 12]])


def logits(folder):
    model = load_model(pathlib.Path(folder))
    output = model.language_model(IDS)
    layers = sum(name.endswith(".scales") for name, _ in tree_flatten(model.parameters()))
    return getattr(output, "logits", output).astype(mx.float32), layers


def main(original, copy):
    (exact, _), (found, layers) = logits(original), logits(copy)
    apart, largest = mx.abs(exact - found).max().item(), mx.abs(exact).max().item()
    print(f"{layers} quantised layers; logits at most {apart:.4f} apart, the largest is {largest:.4f}")


main(*sys.argv[1:])
