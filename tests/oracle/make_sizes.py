"""What pictures of awkward sizes come to, as the reference processors compute it: writes sizes.json of mistral3, mllama,
phi3_v and qwen2_vl.

    python make_sizes.py    (made with transformers 5.23.0 and mlx-vlm 0.7.10)

A size is [width, height]. The geometries are those of published models, then that of the tiny checkpoint beside.
"""

import json
from pathlib import Path

import numpy as np
from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor
from transformers.models.glm46v import image_processing_pil_glm46v as glm46v
from transformers.models.mllama import image_processing_pil_mllama as mllama_processor
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as qwen2_vl_processor

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


def mllama():
    # Llama 3.2 Vision, the base model and the instructed one; the tiny checkpoint.
    for tile in (448, 560, 56):
        for width, height in SIZES:
            canvas = mllama_processor.get_optimal_tiled_canvas(height, width, 4, tile)
            rows, columns = mllama_processor.get_image_size_fit_to_canvas(height, width, *canvas, tile)
            tiles = [int(side) // tile for side in canvas]
            arrangements = mllama_processor.get_all_supported_aspect_ratios(4)
            yield {
                "size": [width, height], "tile": tile, "used": [int(columns), int(rows)], "tiles": tiles,
                "aspect": arrangements.index(tuple(tiles)) + 1,
            }  # fmt: skip


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


def qwen2_vl():
    # Qwen2-VL and Qwen2.5-VL as released, and with 1280 tokens at most; Qwen3-VL; GLM-4.6V, whose one frame counts twice; the
    # tiny checkpoints of the three.
    for unit, frames, least, most in [
        (28, 1, 3136, 12845056), (28, 1, 3136, 1003520), (32, 1, 65536, 16777216), (28, 2, 12544, 11760000),
        (28, 1, 3136, 31360), (32, 1, 4096, 36864), (28, 2, 3136, 62720),
    ]:  # fmt: skip
        for width, height in SIZES:
            if frames == 2:
                rows, columns = glm46v.smart_resize(2, height, width, 2, unit, least, most)
            else:
                rows, columns = qwen2_vl_processor.smart_resize(height, width, unit, least, most)
            yield {
                "size": [width, height], "unit": unit, "frames": frames, "least": least, "most": most,
                "used": [columns, rows],
            }  # fmt: skip


if __name__ == "__main__":
    write("mistral3", mistral3())
    write("mllama", mllama())
    write("phi3_v", phi3_v())
    write("qwen2_vl", qwen2_vl())
