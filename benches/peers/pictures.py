"""Pictures that are always the same: gradients, rings, bars and some noise."""

import numpy as np
from PIL import Image

# Name, and sides in pixels: the photo is cut into 13 tiles, the large one has 43 million pixels.
SIZES = {"photo": (1024, 768), "large": (5477, 7819)}


def drawn(width, height):
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    rings = (np.sin(np.hypot(across - 0.6, down - 0.4) * 90) > 0) * np.float32(60)
    bars = ((across * 40).astype(np.int32) % 2) * np.float32(60)
    noise = np.random.default_rng(7).integers(0, 24, (256, 256), dtype=np.uint8)
    noise = np.tile(noise, (height // 256 + 1, width // 256 + 1))[:height, :width]
    picture = np.empty((height, width, 3), np.uint8)
    for channel, plane in enumerate([across * 150 + rings, down * 150 + rings, (1 - across) * down * 120 + bars]):
        picture[..., channel] = (plane + noise).clip(0, 255).astype(np.uint8)
    return Image.fromarray(picture)


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in SIZES.items():
        picture = drawn(width, height)
        picture.save(folder / f"{name}.png")
        picture.save(folder / f"{name}.jpg", quality=90)
