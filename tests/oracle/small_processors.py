"""Processors of the small checkpoints of which transformers does not find the class by itself: what make_awkward_pictures.py and make_resaved.py share."""

import json
from pathlib import Path

from transformers.models.ernie4_5_vl_moe.image_processing_pil_ernie4_5_vl_moe import Ernie4_5_VLMoeImageProcessorPil
from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import PaddleOCRVLImageProcessorPil

HERE = Path(__file__).parent


def rules(folder, name="preprocessor_config.json"):
    return json.loads((HERE / folder / name).read_text())


def ernie4_5_vl_processor():
    read = rules("ernie4_5_vl")
    least, most = read.pop("min_pixels"), read.pop("max_pixels")
    read = {key: value for key, value in read.items() if key not in ("image_processor_type", "processor_class")}
    return Ernie4_5_VLMoeImageProcessorPil(**read, size={"shortest_edge": least, "longest_edge": most})


def paddleocr_vl_processor():
    return PaddleOCRVLImageProcessorPil(**{key: value for key, value in rules("paddleocr_vl").items() if not key.endswith("_type")})
