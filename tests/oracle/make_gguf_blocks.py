"""Blocks of every type that llama.cpp stores weights in, and the numbers that the package `gguf` reads from them.

Run with `gguf` 0.19: python make_gguf_blocks.py OUT, which writes OUT/blocks.json. Bytes are random, but for scales: a random
binary16 may be no number, and one of bounded size is put in its place.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where a block has scales of 16 bits.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}


def main():
    random = np.random.default_rng(15)
    cases = []
    for name, scales in SCALES.items():
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (512 // elements, size), dtype=np.uint8)
        for at in scales:
            values = random.uniform(-0.1, 0.1, len(blocks)).astype(np.float16)
            blocks[:, at:at + 2] = values[:, None].view(np.uint8)
        if name == "MXFP4":
            blocks[:, 0] = [0, 1, 2, *random.integers(110, 140, len(blocks) - 3)]
        values = dequantize(blocks.reshape(1, -1), kind)[0].astype(np.float32)
        assert np.isfinite(values).all()
        cases.append({
            "scheme": name, "elements": elements, "bytes": size,
            "blocks": blocks.tobytes().hex(), "values": values.view(np.uint32).astype("<u4").tobytes().hex(),
        })
    text = json.dumps(cases, indent=1)
    (Path(sys.argv[1]) / "blocks.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
