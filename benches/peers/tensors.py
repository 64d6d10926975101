"""Numbers: made-up ones, those of a GGUF file, and how they are stored in safetensors."""

import json
import struct

import numpy as np


# By how much the rows of end tokens are smaller: so are their logits, and another token is the likeliest. Rows of zeros would do it too, but
# llama.cpp's norm makes of them what is not a number.
SMALL = 64


def made(random, *shape, deviation=0.02, around=0.0):
    """Normal numbers."""
    return (around + deviation * random.standard_normal(shape, dtype=np.float32)).astype(np.float32)


def decoder(random, sizes, tokens, ends):
    """A Llama decoder's tensors by Hugging Face's names, below `model.`; the head is the embedding. Tokens in `ends` are never the likeliest."""
    width, inner = sizes["hidden_size"], sizes["intermediate_size"]
    queries = sizes["num_attention_heads"] * sizes["head_dim"]
    keys = sizes["num_key_value_heads"] * sizes["head_dim"]
    embedding = made(random, tokens, width)
    embedding[ends] /= SMALL
    found = {"embed_tokens.weight": embedding, "norm.weight": made(random, width, around=1)}
    for layer in range(sizes["num_hidden_layers"]):
        for name, shape in [
            ("self_attn.q_proj", (queries, width)), ("self_attn.k_proj", (keys, width)), ("self_attn.v_proj", (keys, width)),
            ("self_attn.o_proj", (width, queries)), ("mlp.gate_proj", (inner, width)), ("mlp.up_proj", (inner, width)),
            ("mlp.down_proj", (width, inner)),
        ]:
            found[f"layers.{layer}.{name}.weight"] = made(random, *shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"layers.{layer}.{name}.weight"] = made(random, width, around=1)
    return found


def tower(random, sizes, shuffle, width):
    """A SigLIP tower and its connector by Hugging Face's names, below `model.`."""
    inside, inner, patch = sizes["hidden_size"], sizes["intermediate_size"], sizes["patch_size"]
    places = (sizes["image_size"] // patch) ** 2
    found = {
        "vision_model.embeddings.patch_embedding.weight": made(random, inside, 3, patch, patch),
        "vision_model.embeddings.patch_embedding.bias": made(random, inside),
        "vision_model.embeddings.position_embedding.weight": made(random, places, inside),
    }

    def pair(name, *shape, around=0.0):
        found[f"{name}.weight"] = made(random, *shape, around=around)
        found[f"{name}.bias"] = made(random, shape[0])

    for layer in range(sizes["num_hidden_layers"]):
        place = f"vision_model.encoder.layers.{layer}"
        for name in ("layer_norm1", "layer_norm2"):
            pair(f"{place}.{name}", inside, around=1)
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            pair(f"{place}.self_attn.{name}", inside, inside)
        pair(f"{place}.mlp.fc1", inner, inside)
        pair(f"{place}.mlp.fc2", inside, inner)
    pair("vision_model.post_layernorm", inside, around=1)
    found["connector.modality_projection.proj.weight"] = made(random, width, inside * shuffle**2)
    return found


def bf16(values):
    """The nearest 16-bit patterns, ties to the even one."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def of_bf16(patterns):
    """Back to 32 bits."""
    return (patterns.astype(np.uint32) << 16).view(np.float32)


def write_safetensors(path, tensors):
    """`{name: array}`: uint16 is the patterns of bf16, uint32 packed integers."""
    kinds = {np.dtype(np.uint16): "BF16", np.dtype(np.uint32): "U32"}
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": kinds[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).data)
