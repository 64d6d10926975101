"""Writes resize/: what PIL and transformers make of small pictures when they resize, crop, and turn them into floats.

Run:  python make_resize_goldens.py FOLDER_OF_A_SMOLVLM_CHECKPOINT_WITH_GOLDENS
Made with pillow 13.0.0, numpy 2.4.6 and transformers 5.23.0. The two photos resize/image.png and resize/image2.png are
those of the checkpoint; every other picture is computed by `synthetic`, which the tests compute alike.

resize.tsv     source, new width, new height, PIL filter code, sha256 of the RGB bytes, sample pixels
crop.tsv       source, kind (crop: PIL's Image.crop, box x y w h; centre: transformers' center_crop, w h), sha256
tensor.tsv     rescale, mean, std, the float32 bits of values 0, 1, 2, ... 255 after transformers' rescale + normalize
processor.tsv  photo, shape, sha256 of the float32 little-endian pixel_values, index:bits of samples: the reference
               processor's output for the checkpoint's preprocessor_config.json, from golden.npz
"""
import hashlib
import pathlib
import sys

import numpy as np
from PIL import Image
from transformers.image_transforms import center_crop, normalize, rescale

HERE = pathlib.Path(__file__).parent / "resize"

SIZES = {
    "1x1": [(1, 2), (7, 5), (64, 64)],
    "16x3000": [(3, 100), (16, 31), (40, 3000), (5, 3001), (1, 1)],
    "3000x16": [(100, 3), (31, 16), (3001, 5)],
    "97x61": [(97, 60), (96, 61), (1, 61), (97, 1), (194, 122), (291, 183), (48, 30), (13, 7), (200, 9), (98, 62),
              (87, 41), (87, 40), (120, 60), (120, 62)],
    "60x150": [(30, 90), (30, 89), (30, 91), (50, 129), (50, 130), (61, 149), (120, 10)],
    "2x2": [(3, 3), (5, 2), (2, 7), (1, 1)],
    "image.png": [(100, 77), (224, 146), (224, 224), (56, 56), (336, 224), (448, 300), (33, 217), (333, 500), (334, 218)],
}
CROPS = {
    "97x61": [("crop", 3, 5, 20, 30), ("crop", -4, -7, 20, 30), ("crop", 90, 50, 20, 30), ("crop", -5, -5, 120, 90),
              ("crop", 200, 0, 4, 4), ("crop", -50, 0, 4, 4), ("centre", 30, 20), ("centre", 31, 21), ("centre", 120, 90),
              ("centre", 121, 91), ("centre", 30, 90), ("centre", 120, 21), ("centre", 98, 62)],
}
NORMALISE = [
    (1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    (0.00392156862745098, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    (2 / 255, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
]


def synthetic(width, height):
    """A noisy picture: each value is the middle of a hash of where it is."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3].astype(np.uint64)
    hashed = ((x * 31 + y * 1009 + c * 57 + 1) * 2654435761) & 0xFFFFFFFF
    return Image.fromarray(((hashed >> 13) & 255).astype(np.uint8))


def picture(name):
    if name.endswith(".png"):
        return Image.open(HERE / name).convert("RGB")
    return synthetic(*map(int, name.split("x")))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def samples(image):
    points = [(0, 0), (image.width - 1, 0), (image.width // 2, image.height // 2), (image.width - 1, image.height - 1)]
    return " ".join("%02x%02x%02x" % image.getpixel(point) for point in points)


def write(name, rows):
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (HERE / name).write_text(text)


def bits(values):
    return ["%08x" % value for value in np.asarray(values, dtype=np.float32).view(np.uint32).ravel()]


def processor_rows(folder):
    golden = np.load(pathlib.Path(folder) / "golden.npz")
    first = golden["image/pixel_values"][0]
    both = golden["two_images/pixel_values"][0]
    for name, tiles in [("image.png", first), ("image2.png", both[len(first):])]:
        flat = np.ascontiguousarray(tiles, dtype="<f4")
        picked = range(0, flat.size, 1201)
        shown = " ".join(f"{i}:{bits(flat.ravel()[i])[0]}" for i in picked)
        yield name, "x".join(map(str, flat.shape)), digest(flat.tobytes()), shown


def main(folder):
    resized = []
    for name, sizes in SIZES.items():
        source = picture(name)
        for size in sizes:
            for code in range(6):
                image = source.resize(size, code)
                resized.append((name, *size, code, digest(image.tobytes()), samples(image)))
    write("resize.tsv", resized)

    cropped = []
    for name, areas in CROPS.items():
        source = picture(name)
        for kind, *area in areas:
            if kind == "crop":
                x, y, w, h = area
                data = source.crop((x, y, x + w, y + h)).tobytes()
            else:
                w, h = area
                data = center_crop(np.array(source), (h, w), input_data_format="channels_last").tobytes()
            cropped.append((name, kind, " ".join(map(str, area)), digest(data)))
    write("crop.tsv", cropped)

    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tensors = []
    for scale, mean, std in NORMALISE:
        values = normalize(rescale(ramp, scale, input_data_format="channels_last"), mean, std, input_data_format="channels_last")
        # [256, 3] -> the three channels one after another
        tensors.append((repr(scale), " ".join(map(repr, mean)), " ".join(map(repr, std)), " ".join(bits(values[0].T))))
    write("tensor.tsv", tensors)
    write("processor.tsv", processor_rows(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
