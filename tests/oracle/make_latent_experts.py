"""A small decoder of latent attention and experts, and what transformers answers with it: writes latent_experts/ (config, weights, golden.json).

    python make_latent_experts.py    (made with transformers 5.23.0, torch 2.15.0)

DeepSeek-V3 (arXiv:2412.19437) with random weights: a dense layer, then one of experts. Experts are stored one by one, as published checkpoints
have them. Tokenizer: nanollava's.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

HERE = Path(__file__).parent
OUT = HERE / "latent_experts"
TEXT, STEPS = "What is in the image?", 8
KINDS = {
    "sigmoid": dict(q_lora_rank=16, norm_topk_prob=True, routed_scaling_factor=2.5),
    "whole_queries": dict(q_lora_rank=None, norm_topk_prob=False, routed_scaling_factor=1.5),
    "groups": dict(q_lora_rank=16, norm_topk_prob=True, routed_scaling_factor=1.5, n_routed_experts=8, n_group=4, topk_group=2),
}
KEYS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim",
        "n_routed_experts", "num_experts_per_tok", "norm_topk_prob", "routed_scaling_factor", "rms_norm_eps", "first_k_dense_replace",
        "rope_interleave", "n_group", "topk_group", "hidden_act", "max_position_embeddings", "vocab_size", "q_lora_rank")

ids = Tokenizer.from_file(str(HERE / "nanollava" / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
rounded = lambda values: [round(float(value), 6) for value in values.flatten()]
for kind, more in KINDS.items():
    torch.manual_seed(12)
    more = dict(n_routed_experts=6, n_group=1, topk_group=1) | more
    config = DeepseekV3Config(
        vocab_size=480, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, n_shared_experts=1, num_experts_per_tok=2, first_k_dense_replace=1, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=12, max_position_embeddings=64,
        initializer_range=0.3, tie_word_embeddings=False, **more,
    )
    model = DeepseekV3ForCausalLM(config).eval()
    with torch.no_grad():
        # So that the correction changes which experts are chosen.
        model.model.layers[1].mlp.gate.e_score_correction_bias.copy_(torch.randn(config.n_routed_experts) / 4)
        model.model.embed_tokens.weight *= 4
        if config.n_group > 1:
            # So that groups change which experts are chosen.
            grouped = model(torch.tensor([ids])).logits
            gate = model.model.layers[1].mlp.gate
            gate.topk_group = config.n_group
            assert (model(torch.tensor([ids])).logits - grouped).abs().max() > 0.01
            gate.topk_group = config.topk_group
        tokens, logits = [], []
        for _ in range(STEPS):
            logits.append(model(torch.tensor([ids + tokens])).logits[0, -1])
            tokens.append(int(logits[-1].argmax()))
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("experts.gate_up_proj"):
            for number, both in enumerate(tensor):
                gate, up = both.chunk(2)
                place = name.removesuffix("gate_up_proj") + str(number)
                weights[f"{place}.gate_proj.weight"], weights[f"{place}.up_proj.weight"] = gate, up
        elif name.endswith("experts.down_proj"):
            for number, down in enumerate(tensor):
                weights[f"{name.removesuffix('down_proj')}{number}.down_proj.weight"] = down
        else:
            weights[name] = tensor
    folder = OUT / kind
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, folder / "model.safetensors")
    text = {key: getattr(config, key) for key in KEYS} | {"scoring_func": "sigmoid", "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps({"model_type": "latent-experts-of-tests"} | text, indent=2) + "\n")
    golden = {"text": TEXT, "ids": ids, "tokens": tokens, "first_logits": rounded(logits[0]), "last_logits": rounded(logits[-1])}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    print(kind, ids, tokens, sorted(weights)[:40])
