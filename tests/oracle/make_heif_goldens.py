"""Writes decode/heif/: small HEIC and AVIF files, and the RGB bytes the reference reads from them.

Run:  python make_heif_goldens.py
Made with pillow 13.0.0 (libavif 1.4), pillow_heif 1.8.1 (libheif 1.23), and `avifenc` of libavif 0.11 (Debian's libavif-bin).

index.tsv has a line a picture: its name (with `#2` for the second), width, height. NAME.rgb holds
`ImageOps.exif_transpose(image).convert("RGB")`; for transparent pictures transformers' `convert_to_rgb` (over white).
"""
import io
import pathlib
import subprocess
import tempfile

import numpy as np
import pillow_heif
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb

HERE = pathlib.Path(__file__).parent / "decode" / "heif"
PHOTO = Image.open(HERE.parent.parent / "resize" / "image.png").convert("RGB").crop((80, 132, 144, 180))
pillow_heif.register_heif_opener()


def save(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def avifenc(image, *options):
    with tempfile.TemporaryDirectory() as folder:
        before, after = pathlib.Path(folder, "before.png"), pathlib.Path(folder, "after.avif")
        image.save(before)
        subprocess.run(["avifenc", *options, before, after], check=True, stdout=subprocess.DEVNULL)
        return after.read_bytes()


def of_general_brand(data):
    """The file with `mif1` for its major brand: what it is, only the compatible brands tell."""
    assert data[4:8] == b"ftyp" and b"mif1" in data[16:int.from_bytes(data[:4], "big")]
    return data[:8] + b"mif1" + data[12:]


def files():
    transparent = PHOTO.convert("RGBA")
    transparent.putalpha(PHOTO.convert("L"))
    turned = PHOTO.transpose(Image.Transpose.ROTATE_180)
    yield "photo.heic", save(PHOTO, "HEIF", quality=90), [1]
    yield "photo_444.heic", save(PHOTO, "HEIF", quality=90, chroma=444), [1]
    yield "odd.heic", save(PHOTO.crop((0, 0, 47, 35)), "HEIF", quality=90), [1]
    yield "alpha.heic", save(transparent, "HEIF", quality=90), [1]
    yield "two.heic", save(PHOTO, "HEIF", quality=90, save_all=True, append_images=[turned]), [1, 2]
    yield "general.heic", of_general_brand(save(PHOTO, "HEIF", quality=90)), [1]
    yield "photo.avif", save(PHOTO, "AVIF", quality=90), [1]
    yield "photo_444.avif", save(PHOTO, "AVIF", quality=90, subsampling="4:4:4"), [1]
    yield "odd.avif", save(PHOTO.crop((0, 0, 47, 35)), "AVIF", quality=90), [1]
    yield "alpha.avif", save(transparent, "AVIF", quality=90), [1]
    yield "grey.avif", save(PHOTO.convert("L"), "AVIF", quality=90), [1]
    yield "general.avif", of_general_brand(save(PHOTO, "AVIF", quality=90)), [1]
    yield "turned.avif", avifenc(PHOTO, "--irot", "1"), [1]
    yield "ten.avif", avifenc(PHOTO, "-d", "10"), [1]
    # The profile is made by make_decode_kinds.py.
    profile = Image.open(HERE.parent / "profile.png").info["icc_profile"]
    yield "profile.avif", save(PHOTO, "AVIF", quality=90, subsampling="4:4:4", icc_profile=profile), [1]


def main():
    HERE.mkdir(exist_ok=True)
    lines = []
    for name, data, pages in files():
        (HERE / name).write_bytes(data)
        for page in pages:
            called = name if page == 1 else f"{name}#{page}"
            image = Image.open(io.BytesIO(data), formats=["AVIF" if name.endswith("avif") else "HEIF"])
            image.seek(page - 1)
            image = ImageOps.exif_transpose(image)
            pixels = convert_to_rgb(image, return_numpy=True) if image.mode == "RGBA" else image.convert("RGB")
            (HERE / f"{called}.rgb").write_bytes(np.ascontiguousarray(pixels).tobytes())
            lines.append(f"{called}\t{image.width}\t{image.height}")
    (HERE / "index.tsv").write_text("\n".join(lines) + "\n")


main()
