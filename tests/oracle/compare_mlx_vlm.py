"""How far mlx-vlm's language models are from the references of these goldens: prints a sentence for each folder.

    python compare_mlx_vlm.py [FOLDER...]    (made with mlx-vlm 0.7.10 and mlx 0.32.4 on CPU, transformers 5.23.0)

mlx-vlm loads the tiny checkpoint (as make_mlx_names.py has it), in 32 bits, and reads the ids of the golden's text case and then the tokens that the
reference answered, one after another with its caches, whatever it would answer itself. Moondream 2 has no text case: of its picture it gets the golden's
features in place of its own tower's. Where it departs from the reference, what departs is changed here and read again, so that the sentence names all of
it.
"""

import json
import sys
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
from make_mlx_names import HERE, opened
from mlx import nn
from mlx_vlm.models.cache import make_prompt_cache
from safetensors.numpy import load_file


def neighbours_turn(model):
    """`apply_rotary_pos_emb` and `DeepseekV2RMSNorm` of the published code."""
    for layer in model.language_model.model.layers:
        attention = layer.self_attn
        attention.rope = nn.RoPE(attention.qk_rope_head_dim, traditional=True, base=attention.rope_theta)
        attention.kv_a_layernorm.eps = 1e-6


def corrected_choice(model):
    """`noaux_tc` of DeepSeek-V3's published code, without groups."""
    neighbours_turn(model)

    def corrected(gate):
        def chosen(x):
            scores = mx.sigmoid(x @ gate.weight.T)
            places = mx.argpartition(-(scores + gate.e_score_correction_bias), kth=gate.top_k - 1, axis=-1)[..., : gate.top_k]
            weights = mx.take_along_axis(scores, places, axis=-1)
            return places, weights / weights.sum(-1, keepdims=True) * gate.routed_scaling_factor

        return chosen

    for layer in model.language_model.model.layers:
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate = corrected(layer.mlp.gate)


def shared_layers_turn_alike(model):
    """Queries turn by their own places; sound's tokens have their own table (`Gemma3nModel.forward`)."""

    def before(attention):
        def call(x, mask, cache):
            # The layer whose keys are shared has counted these rows already.
            return attention(x, mask, SimpleNamespace(state=cache.state, offset=cache.offset - x.shape[1]))

        return call

    for layer in model.language_model.model.layers:
        if layer.self_attn.is_kv_shared_layer:
            layer.self_attn = before(layer.self_attn)
    language = model.language_model.model
    table = language.embed_tokens

    def embedded(ids):
        first = model.embed_audio.vocab_offset
        sound = model.embed_audio(input_ids=mx.maximum(ids, first)) / language.hidden_size**0.5
        return mx.where((ids >= first)[..., None], sound, table(ids))

    embedded.as_linear = table.as_linear
    language.embed_tokens = embedded


ROTATION = "it turns the halves of a head where the published code turns neighbours, and its norm of the latents adds 1e-5 where that adds 1e-6"
# What departs, and what undoes it.
FOLDERS = {
    "deepseek_vl2": None,
    "deepseek_vl2_base": (f"{ROTATION}; it chooses experts by scores that are not corrected, and does not make their weights sum to 1", corrected_choice),
    "deepseek_vl2_small": (ROTATION, neighbours_turn),
    "gemma3n": ("layers that share keys turn their queries by places too far on, as many as rows are read at once, and a token of sound without sound is read from "
                "the table of words", shared_layers_turn_alike),
    "kimi_vl": None,
    "molmo": None,
    "moondream2": None,
}


def logits(model, ids, answered, features):
    """The logits before each token of an answer: `[tokens, vocabulary]`"""
    language = model.language_model
    cache, asked, more = make_prompt_cache(language), mx.array(ids)[None], {}
    if features is not None:
        # As `get_input_embeddings` places what its tower gives, and its mask.
        embedded = language.model.embed_tokens(asked)
        more["inputs_embeds"] = mx.concatenate([embedded[:, :1], mx.array(features)[None], embedded[:, 1 + len(features):]], axis=1)
        more["mask"] = model._create_prefix_attention_mask(len(ids), 1 + len(features))
    found = [language(asked, cache=cache, **more)]
    found += [language(mx.array([[token]]), cache=cache) for token in answered[:-1]]
    return np.stack([np.array(one.logits.astype(mx.float32))[0, -1] for one in found])


def compare(folder):
    golden, case = load_file(HERE / folder / "golden.safetensors"), "crops" if folder == "moondream2" else "text"
    answered = json.loads((HERE / folder / "golden.json").read_text())["cases"][case]["greedy_tokens"]
    expected = golden[f"{case}/step_logits"]
    model = opened(HERE / folder)
    model.set_dtype(mx.float32)

    def apart():
        found = logits(model, golden[f"{case}/input_ids"], answered, golden.get(f"{case}/image_features"))[:, : expected.shape[1]]
        return np.abs(found - expected).max(), (found.argmax(1) == answered).sum()

    distance, same = apart()
    sentence = f"`{folder}`, `{case}`: mlx-vlm's logits are within {distance:.0e} of the reference's (the largest is {np.abs(expected).max():.1f}), and {same} of {len(answered)} tokens are the same"
    if FOLDERS[folder]:
        why, change = FOLDERS[folder]
        change(model)
        distance, same = apart()
        sentence += f": {why}. With that changed they are within {distance:.0e}, and {same} tokens are the same"
    print(sentence + ".")


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    for folder in sys.argv[1:] or FOLDERS:
        compare(folder)
