"""What pictures of awkward sizes come to, as the reference processors compute it: writes mistral3/sizes.json, phi3_v/sizes.json.

    python make_sizes.py    (made with transformers 5.23.0 and mlx-vlm 0.7.10)

A size is [width, height]. The geometries are those of published models, then that of the tiny checkpoint beside.
"""

import json
from pathlib import Path

import numpy as np
from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size

HERE = Path(__file__).parent
SIZES = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024), (5477, 7819), (28, 28), (29, 28), (1541, 1540), (640, 480)]


def write(folder, cases):
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (HERE / folder / "sizes.json").write_text(f'{{"cases": [\n{lines}\n]}}\n')


def mistral3():
    # Pixtral 12B; Mistral Small 3.1, Devstral Small 2 and Ministral 3; the tiny checkpoints without and with a merger.
    for longest, unit in [(1024, 16), (1540, 28), (112, 14), (112, 28)]:
        for width, height in SIZES:
            picture = np.broadcast_to(np.uint8(0), (3, height, width))
            rows, columns = get_resize_output_image_size(picture, (longest, longest), (unit, unit), "channels_first")
            if rows and columns:  # the reference makes nothing of pictures that are too thin
                yield {"size": [width, height], "longest": longest, "unit": unit, "used": [columns, rows]}


class Plain(Phi3VImageProcessor):
    """Without the configuration's checks, which need a model's folder."""

    def __init__(self, crops):
        self.num_crops, self.num_img_tokens, self.img_size = crops, 144, 336


class Sized:
    """A picture's size without its pixels."""

    def __init__(self, *size):
        self.size = size


def phi3_v():
    from mlx_vlm.models.phi3_v.processing_phi3_v import _calc_hd_transform_size

    for crops in (4, 16):
        for width, height in SIZES:
            used = _calc_hd_transform_size(width, height, crops)
            features = Plain(crops).calc_num_image_tokens(Sized(width, height))
            yield {"size": [width, height], "crops": crops, "used": list(used), "features": features}


if __name__ == "__main__":
    write("mistral3", mistral3())
    write("phi3_v", phi3_v())
