"""A prompt beyond the trained context of a model with LongRoPE, as mlx-vlm answers it: writes phi3_v/long.json.

    python make_long_context.py    (made with mlx-vlm 0.7.10, mlx 0.32.4)
"""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_vlm.models.cache import KVCache
from mlx_vlm.models.phi3_v.config import ModelConfig
from mlx_vlm.models.phi3_v.phi3_v import Model
from tokenizers import Tokenizer

FOLDER = Path(__file__).parent / "phi3_v"
REPEATED, TIMES, STEPS = "How many objects are there? ", 420, 4

prompt = f"<|user|>\n{REPEATED * TIMES}<|end|>\n<|assistant|>\n"
ids = Tokenizer.from_file(str(FOLDER / "tokenizer.json")).encode(prompt).ids

config = json.loads((FOLDER / "config.json").read_text())
model = Model(ModelConfig.from_dict(config))
weights = mx.load(str(FOLDER / "model.safetensors"))
# The vision tower's sizes are fixed there; without a picture it is not used.
model.load_weights([(name, value) for name, value in weights.items() if "vision_embed_tokens" not in name], strict=False)

cache = [KVCache() for _ in range(config["num_hidden_layers"])]
tokens, rows, step = [], [], mx.array([ids])
for _ in range(STEPS):
    logits = model(step, cache=cache).logits[0, -1]
    rows.append(np.array(logits - mx.logsumexp(logits)).tolist())
    tokens.append(int(mx.argmax(logits)))
    step = mx.array([[tokens[-1]]])

golden = {
    "text": REPEATED,
    "times": TIMES,
    "prompt_tokens": len(ids),
    "greedy_tokens": tokens,
    "log_probabilities": [[round(value, 6) for value in row[:64]] for row in rows],
}
(FOLDER / "long.json").write_text(json.dumps(golden) + "\n")
