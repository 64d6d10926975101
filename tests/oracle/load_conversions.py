"""Opens what `monocle convert` wrote with mlx-vlm, beside the original, and says how far the language models' logits are apart.

    python3 -m venv venv && venv/bin/pip install "mlx[cpu]==0.32.*" mlx-vlm torch
    target/release/monocle convert FOLDER --bits 8 --group 32 --keep-vision --no-loss -o EIGHT
    target/release/monocle convert FOLDER --bits 4 --group 32 --mixed 6 --keep-vision --no-loss -o MIXED
    target/release/monocle convert FOLDER --bits 4 --group 32 --embeddings 8 --head keep --keep-vision --no-loss -o PARTS
    venv/bin/python load_conversions.py FOLDER EIGHT MIXED PARTS

FOLDER must hold no other safetensors than the model's: mlx-vlm reads all. Of several bits, a module must have those that its weights have,
else mlx-vlm does not load it.
"""

import collections
import pathlib
import sys

import mlx.core as mx
from mlx_vlm.utils import load_model

IDS = mx.array([[5, 17, 99, 42, 7, 300, 12]])


def logits(folder):
    model = load_model(pathlib.Path(folder))
    output = model.language_model(IDS)
    bits = collections.Counter(module.bits for _, module in model.named_modules() if hasattr(module, "bits"))
    return getattr(output, "logits", output).astype(mx.float32), bits


def main(original, *copies):
    exact, _ = logits(original)
    largest = mx.abs(exact).max().item()
    for copy in copies:
        found, bits = logits(copy)
        apart = mx.abs(exact - found).max().item()
        layers = ", ".join(f"{layers} layers in {bits} bits" for bits, layers in sorted(bits.items()))
        print(f"{copy}: {layers}; logits at most {apart:.4f} apart, the largest is {largest:.4f}")


main(*sys.argv[1:])
