"""Makes sampling.json: what transformers' logits processors leave, and the tokens a PCG64 draws from it.

Run: python make_sampling.py   (writes sampling.json beside itself; needs torch, transformers, numpy)
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from transformers.generation import logits_process as lp

MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # PCG64's, as in numpy's pcg64.h
STREAM = int.from_bytes(b"monocle", "big")
MASK = (1 << 128) - 1


def generator(seed):
    """numpy's PCG64 in the state that pcg_setseq_128_srandom(seed, STREAM) gives."""
    increment = ((STREAM << 1) | 1) & MASK
    state = ((seed + increment) * MULTIPLIER + increment) & MASK
    bits = np.random.PCG64()
    bits.state = {"bit_generator": "PCG64", "state": {"state": state, "inc": increment}, "has_uint32": 0, "uinteger": 0}
    return np.random.Generator(bits)


def distribution(logits, history, options):
    """In the order of transformers' `_get_logits_processor`."""
    scores = torch.tensor([logits], dtype=torch.float32)
    if options.get("repetition_penalty", 1.0) != 1.0 and history:
        scores = lp.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])(torch.tensor([history]), scores)
    ids = torch.tensor([history])
    if options.get("no_repeat_ngram_size", 0):
        scores = lp.NoRepeatNGramLogitsProcessor(options["no_repeat_ngram_size"])(ids, scores)
    if options.get("bad_words_ids"):
        scores = lp.NoBadWordsLogitsProcessor(options["bad_words_ids"], eos_token_id=torch.tensor([0]))(ids, scores)
    if options.get("suppress_tokens"):
        scores = lp.SuppressTokensLogitsProcessor(options["suppress_tokens"])(ids, scores)
    if options["temperature"] != 1.0:
        scores = lp.TemperatureLogitsWarper(options["temperature"])(ids, scores)
    if options.get("top_k", 0):
        scores = lp.TopKLogitsWarper(options["top_k"])(ids, scores)
    if options.get("top_p", 1.0) < 1.0:
        scores = lp.TopPLogitsWarper(options["top_p"])(ids, scores)
    if options.get("min_p", 0.0):
        scores = lp.MinPLogitsWarper(options["min_p"])(ids, scores)
    probabilities = torch.softmax(scores[0].double(), -1).numpy()
    kept = [int(i) for i in np.flatnonzero(np.isfinite(scores[0].numpy()))]
    return kept, probabilities[kept]


OPTIONS = [
    {"temperature": 1.0},
    {"temperature": 0.6, "seed": 1},
    {"temperature": 1.7, "top_k": 5, "seed": 2},
    {"temperature": 1.0, "top_k": 1, "seed": 3},
    {"temperature": 1.0, "top_k": 1000, "seed": 4},
    {"temperature": 1.0, "top_p": 0.9, "seed": 5},
    {"temperature": 1.0, "top_p": 0.01, "seed": 6},
    {"temperature": 2.5, "top_p": 0.999, "seed": 7},
    {"temperature": 1.0, "min_p": 0.1, "seed": 8},
    {"temperature": 1.0, "min_p": 1.0, "seed": 9},
    {"temperature": 1.0, "repetition_penalty": 1.3, "seed": 10},
    {"temperature": 1.0, "repetition_penalty": 0.7, "seed": 11},
    {"temperature": 1.0, "repetition_penalty": 1.5, "seed": 12},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 2**63},
    {"temperature": 1.5, "top_k": 10, "top_p": 0.7, "seed": 14},
    {"temperature": 3.0, "top_p": 0.8, "min_p": 0.3, "seed": 15},
]

# Tokens of history of the case with this seed; others have nine.
SHORT_HISTORY = {12: 4}

# What must not come, after histories that have something to say about it.
FORBIDDING = [
    ({"no_repeat_ngram_size": 1}, [3, 5, 3]),
    ({"no_repeat_ngram_size": 2}, [1, 2, 1, 3, 4, 1]),
    ({"no_repeat_ngram_size": 3}, [1, 2, 3, 1, 2, 4, 5, 1, 2]),
    ({"no_repeat_ngram_size": 3}, [7, 7, 7, 7]),
    ({"no_repeat_ngram_size": 4}, [1, 2, 3]),
    ({"no_repeat_ngram_size": 3}, [1, 2]),
    ({"bad_words_ids": [[4], [7]]}, [4, 9]),
    ({"bad_words_ids": [[2, 5], [9, 2, 6], [8, 2, 7]]}, [1, 9, 2]),
    ({"bad_words_ids": [[2, 5], [9, 2, 6], [9, 2, 5]]}, [9, 2]),
    ({"bad_words_ids": [[2, 5]]}, [2]),
    ({"bad_words_ids": [[2, 5], [2, 5], [5]]}, [5, 2]),
    ({"suppress_tokens": [0, 3, 11]}, [3]),
    ({"suppress_tokens": [1], "bad_words_ids": [[6, 2]], "no_repeat_ngram_size": 2}, [6, 4, 5, 6]),
    ({"suppress_tokens": [1, 2], "repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "temperature": 0.7, "top_k": 4,
      "top_p": 0.9}, [6, 4, 5, 6]),
    ({"bad_words_ids": [[8], [3, 3]], "suppress_tokens": [5], "repetition_penalty": 0.8, "min_p": 0.05}, [5, 3, 3]),
]


def main():
    source = np.random.default_rng(7)
    cases = []

    def add(options, size, spread, history):
        logits = [float(x) for x in (source.standard_normal(size) * spread).astype(np.float32)]
        if history is None:
            history = [int(x) for x in source.integers(0, size, 9)]
            history = history[-SHORT_HISTORY.get(options.get("seed"), 9):]
        kept, probabilities = distribution(logits, history, options)
        random = generator(options.get("seed", 0))
        cumulative = np.cumsum(probabilities)
        draws = [kept[int(np.searchsorted(cumulative, random.random() * cumulative[-1], side="right"))]
                 for _ in range(12)]
        cases.append({"options": options, "logits": logits, "history": history, "kept": kept,
                      "probabilities": [float(p) for p in probabilities], "draws": draws})

    for options in OPTIONS:
        for size, spread in [(12, 2.0), (96, 4.0)]:
            add(options, size, spread, None)
    for number, (options, history) in enumerate(FORBIDDING):
        for size, spread in [(12, 2.0), (96, 4.0)]:
            add({"temperature": 1.0, "seed": 100 + number} | options, size, spread, history)
    out = {
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {np.__version__}",
        "cases": cases,
    }
    path = pathlib.Path(__file__).with_name("sampling.json")
    text = json.dumps(out).replace('{"options"', '\n{"options"')
    path.write_text(text + "\n")


main()
