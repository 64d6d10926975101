"""Sizes that pictures go through, and what stands for them in prompts, as transformers computes them: writes tiling.json.

python make_tiling.py    (made with transformers 5.23.0)
"""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import transformers
from transformers.models.idefics3.image_processing_pil_idefics3 import (
    Idefics3ImageProcessorPil,
    get_resize_output_image_size,
)
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor


class Recorder(Idefics3ImageProcessorPil):
    """Does all of the arithmetic, but no resampling: pictures are views of one zero."""

    def resize(self, image, size, resample=None, **kwargs):
        if size.longest_edge:
            height, width = get_resize_output_image_size(image, resolution_max_side=size.longest_edge)
        else:
            height, width = size.height, size.width
        return picture(width, height)


def picture(width, height):
    return np.broadcast_to(np.uint8(0), (3, height, width))


def size_of(image):
    return [image.shape[2], image.shape[1]]


def case(width, height, longest_edge, tile):
    processor = Recorder()
    first = processor.resize(picture(width, height), SimpleNamespace(longest_edge=longest_edge))
    cut = processor.resize_for_vision_encoder(first, tile)
    frames, rows, columns = processor.split_images(cut, {"longest_edge": tile})
    return {
        "size": [width, height],
        "longest_edge": longest_edge,
        "tile": tile,
        "first": size_of(first),
        "cut": size_of(cut),
        "rows": rows,
        "columns": columns,
        "tiles": len(frames),
    }


def expansion(rows, columns, tokens):
    words = SimpleNamespace(
        fake_image_token="<fake_token_around_image>",
        global_image_tag="<global-img>",
        image_token="<image>",
        image_seq_len=tokens,
    )
    inputs = {"rows": [[rows]], "cols": [[columns]]}
    text = Idefics3Processor.replace_image_token(words, inputs, 0)
    return {"rows": rows, "columns": columns, "tokens": tokens, "text": text}


def main():
    # SmolVLM-256M and -500M, SmolVLM-Instruct, Idefics3-8B, the tiny oracle, one whose resize meets the limit of 4096.
    rules = [(2048, 512), (1536, 384), (1456, 364), (224, 56), (6000, 512)]
    sizes = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024), (5477, 7819), (2048, 1), (512, 512), (57, 56)]
    source = random.Random(7)
    sizes += [(source.randint(1, 5000), source.randint(1, 5000)) for _ in range(30)]
    golden = {
        "transformers": transformers.__version__,
        "tilings": [case(*size, *rule) for size in sizes for rule in rules],
        "expansions": [expansion(0, 0, 3), expansion(2, 3, 2), expansion(1, 1, 1)],
    }
    lines = ",\n".join(json.dumps(case) for case in golden["tilings"])
    rest = json.dumps({key: golden[key] for key in ["transformers", "expansions"]})
    text = rest[:-1] + ', "tilings": [\n' + lines + "\n]}\n"
    assert json.loads(text) == golden
    Path(__file__).with_name("tiling.json").write_text(text)


main()
