"""The shape of Qwen2-VL-2B in 4 bits, twice with the same numbers: MLX's groups of 64 for Monocle, and Q4_0 for llama.cpp."""

import json

import gguf
import numpy as np

import gguf_files
import shapes
from tensors import SMALL, bf16, made, of_bf16, write_safetensors

# The step between two values of a weight; exact in 16 bits of both kinds.
STEP = np.float32(2**-8)
# Qwen2's, as `tokenizer.json` of its repositories has it.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Both:
    """Puts each tensor into both files."""

    def __init__(self, writer, random):
        self.writer, self.random, self.tensors = writer, random, {}

    def matrix(self, name, other, out, inside, small=()):
        """Values from -7 to 7 steps; the step of rows in `small` is smaller."""
        two = self.random.integers(0, 225, size=(out, inside // 2), dtype=np.uint8)
        low, high = two % 15 + 1, two // 15 + 1
        steps = np.full((out, 1), STEP)
        steps[list(small)] /= SMALL
        # MLX: eight values fill 32 bits from the lowest up.
        self.tensors[f"{name}.weight"] = (low | high << 4).view(np.uint32)
        self.tensors[f"{name}.scales"] = bf16(np.repeat(steps, inside // 64, axis=1))
        self.tensors[f"{name}.biases"] = bf16(np.repeat(-8 * steps, inside // 64, axis=1))
        # Q4_0: a step in f16, then values 0 to 15 in the low halves of 16 bytes and 16 to 31 in the high ones.
        values = np.stack([low, high], axis=-1).reshape(out, inside // 32, 32)
        blocks = np.empty((out, inside // 32, 18), np.uint8)
        blocks[..., :2] = steps.astype(np.float16).view(np.uint8)[:, None, :]
        blocks[..., 2:] = values[..., :16] | values[..., 16:] << 4
        self.writer.add_tensor(other, blocks.reshape(out, -1), raw_dtype=gguf_files.Kind.Q4_0)

    def vector(self, name, other, length, around=0.0):
        patterns = bf16(made(self.random, length, around=around))
        self.tensors[name] = patterns
        self.writer.add_tensor(other, of_bf16(patterns))


def write(folder, path, random, vocabulary):
    """The folder's weights and `config.json`, and the GGUF file."""
    sizes = shapes.TWO_B
    width, inner = sizes["hidden_size"], sizes["intermediate_size"]
    keys = width // sizes["num_attention_heads"] * sizes["num_key_value_heads"]
    writer = gguf.GGUFWriter(str(path), "qwen2vl")
    writer.add_name("the shape of Qwen2-VL-2B")
    gguf_files.add_settings(writer, sizes, gguf_files.Kind.Q4_0)
    writer.add_rope_dimension_sections([*shapes.TWO_B_SECTIONS, 0])
    gguf_files.add_vocabulary(writer, vocabulary, "qwen2", "<|im_end|>", shapes.TWO_B_TEMPLATE)
    both = Both(writer, random)
    place = "language_model.model"
    ends = [vocabulary.id(token) for token in ("<|endoftext|>", "<|im_end|>")]
    both.matrix(f"{place}.embed_tokens", "token_embd.weight", len(vocabulary.tokens), width, ends)
    both.vector(f"{place}.norm.weight", "output_norm.weight", width, around=1)
    for layer in range(sizes["num_hidden_layers"]):
        here, there = f"{place}.layers.{layer}", f"blk.{layer}"
        both.vector(f"{here}.input_layernorm.weight", f"{there}.attn_norm.weight", width, around=1)
        both.vector(f"{here}.post_attention_layernorm.weight", f"{there}.ffn_norm.weight", width, around=1)
        for part, out in [("q", width), ("k", keys), ("v", keys)]:
            both.matrix(f"{here}.self_attn.{part}_proj", f"{there}.attn_{part}.weight", out, width)
            both.vector(f"{here}.self_attn.{part}_proj.bias", f"{there}.attn_{part}.bias", out)
        both.matrix(f"{here}.self_attn.o_proj", f"{there}.attn_output.weight", width, width)
        both.matrix(f"{here}.mlp.gate_proj", f"{there}.ffn_gate.weight", inner, width)
        both.matrix(f"{here}.mlp.up_proj", f"{there}.ffn_up.weight", inner, width)
        both.matrix(f"{here}.mlp.down_proj", f"{there}.ffn_down.weight", width, inner)
    gguf_files.finish(writer)
    write_safetensors(folder / "model.safetensors", {**both.tensors, **tower(random)})
    (folder / "config.json").write_text(json.dumps(config(vocabulary), indent=1))


def tower(random):
    """One layer of the vision tower, in MLX's layout."""
    sizes = shapes.TWO_B_TOWER
    width, patch = sizes["embed_dim"], sizes["patch_size"]
    merged = width * sizes["spatial_merge_size"] ** 2
    found = {"patch_embed.proj.weight": made(random, width, sizes["temporal_patch_size"], patch, patch, 3)}

    def pair(name, *shape, around=0.0):
        found[f"{name}.weight"] = made(random, *shape, around=around)
        found[f"{name}.bias"] = made(random, shape[0])

    for layer in range(sizes["depth"]):
        place = f"blocks.{layer}"
        pair(f"{place}.norm1", width, around=1)
        pair(f"{place}.norm2", width, around=1)
        pair(f"{place}.attn.qkv", 3 * width, width)
        pair(f"{place}.attn.proj", width, width)
        pair(f"{place}.mlp.fc1", width * sizes["mlp_ratio"], width)
        pair(f"{place}.mlp.fc2", width, width * sizes["mlp_ratio"])
    pair("merger.ln_q", width, around=1)
    pair("merger.mlp.0", merged, merged)
    pair("merger.mlp.2", sizes["hidden_size"], merged)
    return {f"vision_tower.{name}": bf16(values) for name, values in found.items()}


def config(vocabulary):
    how = dict(group_size=64, bits=4, mode="affine")
    return dict(
        shapes.TWO_B, architectures=["Qwen2VLForConditionalGeneration"], model_type="qwen2_vl", vocab_size=len(vocabulary.tokens),
        tie_word_embeddings=True, hidden_act="silu", rope_scaling=dict(type="mrope", mrope_section=shapes.TWO_B_SECTIONS),
        bos_token_id=vocabulary.id("<|endoftext|>"), eos_token_id=vocabulary.id("<|im_end|>"),
        vision_start_token_id=vocabulary.id("<|vision_start|>"), vision_end_token_id=vocabulary.id("<|vision_end|>"),
        image_token_id=vocabulary.id("<|image_pad|>"), video_token_id=vocabulary.id("<|video_pad|>"), torch_dtype="bfloat16",
        use_sliding_window=False, vision_config=dict(shapes.TWO_B_TOWER, model_type="qwen2_vl"), quantization=how, quantization_config=how,
    )


PREPROCESSOR = dict(
    image_processor_type="Qwen2VLImageProcessor", processor_class="Qwen2VLProcessor", min_pixels=3136, max_pixels=12_845_056, patch_size=14,
    temporal_patch_size=2, merge_size=2, image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711],
)
