"""Sizes that pictures go through, and how many features they become, as transformers computes them: writes ARCHITECTURE/plans.json.

python make_plan_goldens.py    (made with transformers 5.23.0 and torchvision 0.29.2)

The geometry is that of published models: LLaVA-1.5-7B, LLaVA-v1.6-mistral-7B, InternVL3, LFM2-VL-1.6B. No picture is resampled.
"""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_transforms import get_resize_output_image_size
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil, get_optimal_tiled_canvas
from transformers.models.lfm2_vl.image_processing_lfm2_vl import Lfm2VlImageProcessor
from transformers.models.lfm2_vl.processing_lfm2_vl import Lfm2VlProcessor
from transformers.models.llava_next.modeling_llava_next import unpad_image
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

SIZES = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024), (5477, 7819), (1, 3000), (336, 336), (672, 448), (448, 672)]
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]


def sizes():
    dice = random.Random(7)
    some = [(dice.randint(1, 4000), dice.randint(1, 4000)) for _ in range(30)]
    thin = [(dice.randint(1, 40), dice.randint(500, 3000)) for _ in range(10)]
    return SIZES + some + thin + [(height, width) for width, height in thin]


def picture(width, height):
    return np.broadcast_to(np.uint8(0), (3, height, width))


def llava(width, height):
    resized = get_resize_output_image_size(picture(width, height), 336, default_to_square=False, input_data_format="channels_first")
    return {"resized": [resized[1], resized[0]]}


def llava_next(width, height):
    best = select_best_resolution((height, width), PINPOINTS)
    fitted = get_patch_output_size(picture(width, height), best, "channels_first")
    rows, columns = best[0] // 336, best[1] // 336
    numbers = torch.arange(rows * 24 * columns * 24).reshape(1, rows * 24, columns * 24)
    kept = unpad_image(numbers, (height, width))[0]
    processor = SimpleNamespace(
        image_processor=SimpleNamespace(image_grid_pinpoints=PINPOINTS),
        patch_size=14,
        num_additional_image_tokens=1,
        _get_unpadded_features=lambda *given: LlavaNextProcessor._get_unpadded_features(None, *given),
    )
    first = int(kept[0, 0]) if kept.numel() else None
    return {
        "padded": [best[1], best[0]],
        "fitted": [fitted[1], fitted[0]],
        "first": [first // (columns * 24), first % (columns * 24)] if first is not None else None,
        "kept": list(kept.shape),
        # Less the class token.
        "features": LlavaNextProcessor._get_number_of_features(processor, height, width, 336, 336) - 1,
    }


def internvl(width, height):
    columns, rows = get_optimal_tiled_canvas((height, width), (448, 448), 1, 12)
    tiles = GotOcr2ImageProcessorPil().get_number_of_image_patches(
        height, width, {"crop_to_patches": True, "max_patches": 12, "patch_size": {"height": 448, "width": 448}}
    )
    return {"columns": columns, "rows": rows, "tiles": tiles}


def lfm2_vl(width, height):
    images = Lfm2VlImageProcessor()
    large = images._is_image_too_large(height, width, 256, 16, 2, 2.0)
    wide, high = images.smart_resize(height, width, 2, 64, 256, 16)
    columns, rows = images._get_grid_layout(height, width, 2, 10, 512)[:2] if large else (1, 1)
    processor = SimpleNamespace(
        image_processor=images,
        image_token="<image>",
        image_start_token="<|image_start|>",
        image_end_token="<|image_end|>",
        image_thumbnail_token="<|img_thumbnail|>",
    )
    for name in ("_compute_tokens_per_tile", "_compute_tokens_for_image", "_get_image_num_tokens", "_build_image_tokens"):
        setattr(processor, name, getattr(Lfm2VlProcessor, name).__get__(processor))
    inputs = {"image_rows": [rows], "image_cols": [columns], "image_sizes": [[high, wide]]}
    text = Lfm2VlProcessor.replace_image_token(processor, inputs, 0, use_image_special_tokens=True)
    return {
        "columns": columns,
        "rows": rows,
        "whole": [wide, high],
        "features": text.count("<image>"),
        "text": text.replace("<image>", ""),
    }


for plan in (llava, llava_next, internvl, lfm2_vl):
    cases = [{"size": [width, height], **plan(width, height)} for width, height in sizes()]
    lines = ",\n".join(json.dumps(case) for case in cases)
    (Path(__file__).parent / plan.__name__ / "plans.json").write_text(f"[\n{lines}\n]\n")
