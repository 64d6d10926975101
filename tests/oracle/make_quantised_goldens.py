"""Writes tests/oracle/quantised: matrices quantised by MLX, and what MLX makes of them again.

One safetensors file a source type (f32, f16, bf16), each with, for all bits and group sizes,
`{bits}.{group}.packed`, `.scales`, `.biases` (mx.quantize) and `.values` (mx.dequantize, in f32), of the matrix
`matrix`; `edge.safetensors` has the groups that the formula treats specially, and a stack of three matrices.

    python3 -m venv venv && venv/bin/pip install "mlx[cpu]==0.32.*" numpy
    venv/bin/python make_quantised_goldens.py

The files in the project were made with mlx 0.32.4.
"""

import pathlib

import mlx.core as mx
import numpy as np

OUT = pathlib.Path(__file__).parent / "quantised"
BITS = [2, 3, 4, 5, 6, 8]
GROUPS = [32, 64, 128]


def goldens(matrix):
    tensors = {"matrix": matrix}
    for bits in BITS:
        for group in GROUPS:
            packed, scales, biases = mx.quantize(matrix, group_size=group, bits=bits)
            values = mx.dequantize(packed, scales, biases, group_size=group, bits=bits)
            name = f"{bits}.{group}"
            tensors |= {
                f"{name}.packed": packed,
                f"{name}.scales": scales,
                f"{name}.biases": biases,
                f"{name}.values": values.astype(mx.float32),
            }
    return tensors


def main():
    OUT.mkdir(exist_ok=True)
    random = np.random.default_rng(7)
    matrix = mx.array(random.normal(0, 0.05, (2, 256)).astype(np.float32))
    for name, dtype in [("f32", mx.float32), ("f16", mx.float16), ("bf16", mx.bfloat16)]:
        mx.save_safetensors(str(OUT / f"{name}.safetensors"), goldens(matrix.astype(dtype)))

    # All zero, all equal, only positive, only negative, one huge, tiny differences, exact halves, alternating.
    rows = np.zeros((8, 128), np.float32)
    rows[1] = 0.3
    rows[2] = np.abs(random.normal(0, 1, 128)) + 1
    rows[3] = -np.abs(random.normal(0, 1, 128)) - 1
    rows[4] = random.normal(0, 1, 128)
    rows[4, 17] = 1e6
    rows[5] = 1 + np.arange(128) * 1e-7
    rows[6] = (np.arange(128) % 31) * 0.5
    rows[7] = np.where(np.arange(128) % 2 == 0, 1.0, -1.0)
    tensors = goldens(mx.array(rows))
    stack = mx.array(random.normal(0, 1, (3, 2, 64)).astype(np.float32))
    packed, scales, biases = mx.quantize(stack, group_size=32, bits=4)
    values = mx.dequantize(packed, scales, biases, group_size=32, bits=4)
    tensors |= {"stack.packed": packed, "stack.scales": scales, "stack.biases": biases, "stack.values": values}
    mx.save_safetensors(str(OUT / "edge.safetensors"), tensors)


main()
