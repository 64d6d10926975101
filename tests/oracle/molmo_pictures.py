"""Molmo's published code, with pictures resized by Pillow: what make_molmo.py and make_awkward_pictures.py share.

The published code resizes in floats (TensorFlow, in later revisions torchvision); Pillow's bilinear filter gives bytes.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image

# Of the small checkpoint.
SHAPE = dict(max_crops=6, overlap_margins=[2, 2], base_image_input_size=[112, 112], image_token_length_w=4, image_token_length_h=4, image_patch_size=14)


def modules(folder, *names):
    """Files of the published repository, as modules of one package."""
    sys.modules["molmo"] = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("molmo", None, is_package=True))
    for name in names:
        spec = importlib.util.spec_from_file_location(f"molmo.{name}", Path(folder) / f"{name}.py")
        sys.modules[f"molmo.{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[f"molmo.{name}"])
    return [sys.modules[f"molmo.{name}"] for name in names]


def fitted(size, into):
    """`resize_and_pad`'s arithmetic: the width and height that a picture gets."""
    (width, height), (into_height, into_width) = size, into
    scale = min(np.float32(into_height) / np.float32(height), np.float32(into_width) / np.float32(width))
    return int(np.float32(width) * scale), int(np.float32(height) * scale)


def processor(pictures):
    """The small checkpoint's, of the module `image_preprocessing_molmo`."""

    def resized(image, into, pad_value=0, normalize=True, image_mean=pictures.OPENAI_CLIP_MEAN, image_std=pictures.OPENAI_CLIP_STD, **_):
        """`resize_and_pad`, by Pillow."""
        width, height = fitted((image.shape[1], image.shape[0]), into)
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)).astype(np.float32) / np.float32(255)
        top, left = (into[0] - height) // 2, (into[1] - width) // 2
        around = [[top, into[0] - height - top], [left, into[1] - width - left], [0, 0]]
        mask = np.pad(np.ones_like(image[:, :, 0], dtype=bool), around[:2])
        image = np.pad(image, around, constant_values=pad_value)
        return (pictures.normalize_image(image, offset=image_mean, scale=image_std) if normalize else image), mask

    pictures.resize_and_pad = resized
    return pictures.MolmoImageProcessor(**SHAPE, image_padding_mask=True, do_normalize=True)
