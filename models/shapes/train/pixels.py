"""From a picture to the model's pixel values, as the checkpoint's processor does it (compared in `export.py`)."""

import numpy as np
from PIL import Image

from network import IMAGE


def resized_size(width: int, height: int) -> tuple[int, int]:
    """The longest edge becomes IMAGE, the other keeps the ratio and is made even."""
    ratio = width / height
    if width >= height:
        other = int(IMAGE / ratio)
        return IMAGE, max(other + other % 2, 1)
    other = int(IMAGE * ratio)
    return max(other + other % 2, 1), IMAGE


def to_square(picture: Image.Image) -> np.ndarray:
    """RGB uint8, [IMAGE, IMAGE, 3]: first the longest edge, then both edges (Lanczos both times)."""
    first = picture.resize(resized_size(*picture.size), Image.Resampling.LANCZOS)
    return np.asarray(first.resize((IMAGE, IMAGE), Image.Resampling.LANCZOS))
