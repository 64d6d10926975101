"""GGUF files as llama.cpp's converter writes them, and the language model of such a file."""

import re

import gguf
import numpy as np
from gguf import quants

from vocabulary import Vocabulary

Kind = gguf.GGMLQuantizationType

# Parts of names in Hugging Face's decoder, and in a GGUF file.
DECODER = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOWER = {
    "layer_norm1": "ln1", "layer_norm2": "ln2", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
}
AROUND_TOWER = {
    "vision_model.embeddings.patch_embedding": "v.patch_embd", "vision_model.embeddings.position_embedding": "v.position_embd",
    "vision_model.post_layernorm": "v.post_ln",
}
# `general.file_type`, by llama.h.
FILE_TYPES = {Kind.F16: 1, Kind.Q4_0: 2}


def paired(rows, heads):
    """Rows of heads, their rotary halves interleaved, as llama.cpp wants them."""
    out, inside = rows.shape
    return rows.reshape(heads, 2, out // heads // 2, inside).swapaxes(1, 2).reshape(out, inside)


def halved(rows, heads):
    """Back."""
    out, inside = rows.shape
    return rows.reshape(heads, out // heads // 2, 2, inside).swapaxes(1, 2).reshape(out, inside)


def add(writer, name, values, kind):
    """Matrices in `kind`, all else in 32 bits."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim == 2 and kind != Kind.F32:
        writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, values)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_settings(writer, sizes, kind):
    writer.add_file_type(FILE_TYPES[kind])
    writer.add_quantization_version(2)
    writer.add_block_count(sizes["num_hidden_layers"])
    writer.add_context_length(sizes["max_position_embeddings"])
    writer.add_embedding_length(sizes["hidden_size"])
    writer.add_feed_forward_length(sizes["intermediate_size"])
    writer.add_head_count(sizes["num_attention_heads"])
    writer.add_head_count_kv(sizes["num_key_value_heads"])
    writer.add_rope_freq_base(sizes["rope_theta"])
    writer.add_layer_norm_rms_eps(sizes["rms_norm_eps"])


def add_vocabulary(writer, vocabulary, pre, end, template):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types())
    writer.add_token_merges([" ".join(pair) for pair in vocabulary.merges])
    writer.add_bos_token_id(vocabulary.id("<|im_start|>"))
    writer.add_eos_token_id(vocabulary.id(end))
    writer.add_pad_token_id(vocabulary.id("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


def write_decoder(path, sizes, tensors, vocabulary, end, template, kind):
    """A `llama`, every matrix in `kind`, the embedding too: so both programs have the same bits a weight."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("the shape of SmolLM2-135M")
    add_settings(writer, sizes, kind)
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_rope_dimension_count(sizes["head_dim"])
    add_vocabulary(writer, vocabulary, "smollm", end, template)
    for name, values in tensors.items():
        if layer := re.fullmatch(r"layers\.(\d+)\.(.+)\.weight", name):
            part = DECODER[layer[2]]
            heads = {"attn_q": sizes["num_attention_heads"], "attn_k": sizes["num_key_value_heads"]}.get(part)
            add(writer, f"blk.{layer[1]}.{part}.weight", paired(values, heads) if heads else values, kind)
        else:
            add(writer, {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name], values, kind)
    finish(writer)


def write_projector(path, sizes, tensors, shuffle, longest_edge, width):
    """What sees, in f16."""
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_name("the shape of SmolVLM-256M")
    writer.add_type("mmproj")
    writer.add_file_type(FILE_TYPES[Kind.F16])
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("idefics3")
    writer.add_vision_projection_dim(width)
    writer.add_vision_image_size(sizes["image_size"])
    writer.add_vision_patch_size(sizes["patch_size"])
    writer.add_vision_embedding_length(sizes["hidden_size"])
    writer.add_vision_feed_forward_length(sizes["intermediate_size"])
    writer.add_vision_block_count(sizes["num_hidden_layers"])
    writer.add_vision_head_count(sizes["num_attention_heads"])
    writer.add_vision_attention_layernorm_eps(sizes["layer_norm_eps"])
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    writer.add_vision_projector_scale_factor(shuffle)
    writer.add_vision_preproc_image_size(longest_edge)
    writer.add_vision_use_gelu(True)
    for name, values in tensors.items():
        part, kind = name.rsplit(".", 1)
        if part == "connector.modality_projection.proj":
            add(writer, "mm.model.fc.weight", values, Kind.F16)
        elif part in AROUND_TOWER:
            add(writer, f"{AROUND_TOWER[part]}.{kind}", values, Kind.F32)
        else:
            layer = re.fullmatch(r"vision_model\.encoder\.layers\.(\d+)\.(.+)", part)
            add(writer, f"v.blk.{layer[1]}.{TOWER[layer[2]]}.{kind}", values, Kind.F16)
    finish(writer)


def read_decoder(path, sizes):
    """The tensors of a Llama's GGUF file by Hugging Face's names, in 32 bits, and its vocabulary."""
    reader = gguf.GGUFReader(str(path))
    value = lambda key: reader.fields[key].contents()
    for key, name in [("embedding_length", "hidden_size"), ("block_count", "num_hidden_layers"), ("feed_forward_length", "intermediate_size")]:
        if value(f"llama.{key}") != sizes[name]:
            raise SystemExit(f"`{path}`: expected SmolLM2-135M, whose {key} is {sizes[name]}, found {value(f'llama.{key}')}")
    names = {part: name for name, part in DECODER.items()}
    tensors = {}
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if layer := re.fullmatch(r"blk\.(\d+)\.(.+)\.weight", tensor.name):
            heads = {"attn_q": sizes["num_attention_heads"], "attn_k": sizes["num_key_value_heads"]}.get(layer[2])
            tensors[f"layers.{layer[1]}.{names[layer[2]]}.weight"] = halved(values, heads) if heads else values
        else:
            tensors[{"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}[tensor.name]] = values
    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    special = [token for token, kind in zip(tokens, types) if kind == 3]
    merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
    return tensors, Vocabulary(tokens, merges, special)
