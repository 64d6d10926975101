"""Writes resize/torch.tsv: what torchvision makes of the pictures and sizes of make_resize_goldens.py, as processors without PIL use it.

Run:  python make_torch_resize_goldens.py
Made with torch 2.15.0 and torchvision 0.29.2 on a processor with AVX2 (on others, torchvision resizes floats and rounds them).
The columns are those of resize.tsv; the filter is always `bilinear`, antialiased.
"""
import torch
from make_resize_goldens import SIZES, digest, picture, samples, write
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, functional


def resize(image, width, height):
    pixels = functional.pil_to_tensor(image)
    resized = functional.resize(pixels, [height, width], interpolation=InterpolationMode.BILINEAR, antialias=True)
    return Image.fromarray(resized.permute(1, 2, 0).contiguous().numpy())


assert torch.backends.cpu.get_cpu_capability().startswith("AVX")
rows = []
for name, sizes in SIZES.items():
    for size in sizes:
        image = resize(picture(name), *size)
        rows.append((name, *size, "bilinear", digest(image.tobytes()), samples(image)))
write("torch.tsv", rows)
