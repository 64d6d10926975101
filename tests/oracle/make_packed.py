"""Writes tests/oracle/packed: weights as other programs pack them into safetensors, each with the numbers that it means.

In `NAME.safetensors`, `NAME.json` says what `config.json` would say, and the layers are `layer…`; `values.layer…` are the numbers that the
program itself makes of them, in 32 bits.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt "mlx[cpu]==0.32.*" mlx-lm compressed-tensors
    venv/bin/python make_packed.py

The files in the project were made with transformers 5.23.0, torch 2.15.0, compressed-tensors 0.20.0, mlx 0.32.4 and mlx-lm 0.32.2.
"""

import json
import pathlib

import mlx.core as mx
import numpy as np
import torch
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.compressors.naive_quantized.base import FloatQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from mlx_lm.utils import _transform_awq_weights
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

OUT = pathlib.Path(__file__).parent / "packed"


def save(name, config, tensors):
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, OUT / f"{name}.safetensors")
    (OUT / f"{name}.json").write_text(json.dumps(config) + "\n")


def eight(values):
    return torch.tensor(values).clamp(-448, 448).to(torch.float8_e4m3fn)


def transformers_fp8(random):
    """As `FineGrainedFP8Config` has them: a scale a tensor, in blocks that fit, and in a stack."""
    dequantise = Fp8Dequantize(None)._dequantize_one
    tensors = {}
    for layer, shape, grid, kind in [
        ("layer.tensor", (6, 64), (), torch.bfloat16),
        ("layer.blocks", (64, 96), (2, 3), torch.float32),
        ("layer.rows", (6, 64), (6, 1), torch.float32),
    ]:
        weight = eight(random.normal(0, 100, shape).astype(np.float32))
        scales = torch.tensor(random.uniform(0.001, 0.01, grid).astype(np.float32)).to(kind)
        tensors[f"{layer}.weight"] = weight
        tensors[f"{layer}.weight_scale_inv"] = scales
        values = dequantise(weight, scales if scales.ndim else scales.reshape(1, 1), torch.float32)
        tensors[f"values.{layer}"] = values.to(torch.float32)
    # Blocks at the edges that are not whole: each number times the scale of its block, as the original of these files (DeepSeek-V3's
    # `inference/kernel.py`) has it, and transformers does not take it.
    weight = eight(random.normal(0, 100, (34, 80)).astype(np.float32))
    scales = torch.tensor(random.uniform(0.001, 0.01, (2, 3)).astype(np.float32))
    tensors["layer.edges.weight"], tensors["layer.edges.weight_scale_inv"] = weight, scales
    spread = scales.repeat_interleave(32, 0)[:34].repeat_interleave(32, 1)[:, :80]
    tensors["values.layer.edges"] = weight.to(torch.float32) * spread
    config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [32, 32]}
    save("transformers_fp8", {"quantization_config": config}, tensors)


def compressed_fp8(random):
    tensors = {}
    for layer, arguments in [
        ("layer.tensor", {"strategy": "tensor"}),
        ("layer.channel", {"strategy": "channel"}),
        ("layer.group", {"strategy": "group", "group_size": 32}),
        ("layer.block", {"strategy": "block", "block_structure": [4, 32]}),
    ]:
        arguments = QuantizationArgs(num_bits=8, type="float", **arguments)
        scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
        weight = eight(random.normal(0, 100, (8, 64)).astype(np.float32))
        shape = {"tensor": (1,), "channel": (8, 1), "group": (8, 2), "block": (2, 2)}[layer.split(".")[1]]
        scale = torch.tensor(random.uniform(0.001, 0.01, shape).astype(np.float32))
        state = {"weight": weight, "weight_scale": scale}
        values = FloatQuantizationCompressor.decompress(dict(state), scheme)["weight"]
        tensors |= {f"{layer}.{key}": value for key, value in state.items()}
        tensors[f"values.{layer}"] = values.to(torch.float32)
    group = {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}, "targets": ["Linear"]}
    config = {"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": group}}
    save("compressed_fp8", {"quantization_config": config}, tensors)


def compressed_mxfp4(random):
    arguments = QuantizationArgs(num_bits=4, type="float", strategy="group", group_size=32, scale_dtype="torch.uint8", zp_dtype="torch.uint8")
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    weight = torch.tensor(random.normal(0, 1, (4, 96)).astype(np.float32))
    scale = 2.0 ** torch.tensor(random.integers(-6, 3, (4, 3)).astype(np.float32))
    state = MXFP4PackedCompressor.compress({"weight": weight, "weight_scale": scale}, scheme)
    tensors = {f"layer.{key}": value for key, value in state.items()}
    values = MXFP4PackedCompressor.decompress(dict(state), scheme)["weight"]
    tensors["values.layer"] = values.to(torch.float32)
    group = {"weights": {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}, "targets": ["Linear"]}
    config = {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized", "config_groups": {"group_0": group}}
    save("compressed_mxfp4", {"quantization_config": config}, tensors)


def experts_mxfp4(random):
    blocks = torch.tensor(random.integers(0, 256, (2, 4, 2, 16)).astype(np.uint8))
    scales = torch.tensor(random.integers(118, 130, (2, 4, 2)).astype(np.uint8))
    values = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    # transformers turns them over; the file has [experts, out, in].
    tensors = {"layer_blocks": blocks, "layer_scales": scales, "values.layer": values.transpose(1, 2)}
    save("experts_mxfp4", {"quantization_config": {"quant_method": "mxfp4"}}, tensors)


def mlx(random):
    for mode, bits in [("mxfp4", 4), ("mxfp8", 8)]:
        tensors = {}
        for layer, shape in [("layer.matrix", (4, 96)), ("layer.stack", (2, 3, 64))]:
            matrix = mx.array(random.normal(0, 0.05, shape).astype(np.float32))
            packed, scales = mx.quantize(matrix, group_size=32, bits=bits, mode=mode)
            values = mx.dequantize(packed, scales, group_size=32, bits=bits, mode=mode)
            tensors |= {f"{layer}.weight": packed, f"{layer}.scales": scales, f"values.{layer}": values.astype(mx.float32)}
        # A layer of its own kind among them.
        matrix = mx.array(random.normal(0, 0.05, (2, 64)).astype(np.float32))
        packed, scales, biases = mx.quantize(matrix, group_size=64, bits=8)
        tensors |= {"layer.affine.weight": packed, "layer.affine.scales": scales, "layer.affine.biases": biases}
        tensors["values.layer.affine"] = mx.dequantize(packed, scales, biases, group_size=64, bits=8)
        mx.save_safetensors(str(OUT / f"mlx_{mode}.safetensors"), tensors, metadata={"format": "mlx"})
        own = {"group_size": 64, "bits": 8}
        config = {"quantization": {"group_size": 32, "bits": bits, "mode": mode, "layer.affine": own}}
        (OUT / f"mlx_{mode}.json").write_text(json.dumps(config) + "\n")


def awq(random):
    """Random words are random levels; what they mean is what mlx-lm makes of them, with its biases in 32 bits."""
    tensors = {}
    for layer, group in [("layer", 64)]:
        words = random.integers(-(2**31), 2**31, (128, 3)).astype(np.int32)
        zeros = random.integers(-(2**31), 2**31, (128 // group, 3)).astype(np.int32)
        scales = random.uniform(0.001, 0.01, (128 // group, 24)).astype(np.float16)
        tensors |= {f"{layer}.qweight": words, f"{layer}.qzeros": zeros, f"{layer}.scales": scales}
    config = {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm", "zero_point": True}
    arrays = {key: mx.array(value.view(np.uint32) if value.dtype == np.int32 else value.astype(np.float32)) for key, value in tensors.items()}
    made, _ = _transform_awq_weights(arrays, config)
    values = mx.dequantize(made["layer.weight"], made["layer.scales"], made["layer.biases"], group_size=64, bits=4)
    tensors["values.layer"] = np.array(values.astype(mx.float32))
    save("awq", {"quantization_config": config}, {key: torch.tensor(value) for key, value in tensors.items()})


def main():
    OUT.mkdir(exist_ok=True)
    random = np.random.default_rng(11)
    for make in [transformers_fp8, compressed_fp8, compressed_mxfp4, experts_mxfp4, mlx, awq]:
        make(random)


main()
