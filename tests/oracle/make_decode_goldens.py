"""Writes decode/: small files of every kind, and the RGB bytes PIL reads from them.

Run:  python make_decode_goldens.py
Made with pillow 13.0.0 (libjpeg-turbo 3, libwebp 1.6), numpy 2.4.6 and transformers 5.23.0.

index.tsv has a line a file: name, width and height upright, EXIF orientation, 1 if other decoders may
round otherwise, sha256 of `ImageOps.exif_transpose(image).convert("RGB")`, sha256 of transformers' `convert_to_rgb`
(transparency over white). Where decoders may round otherwise, NAME.rgb holds the bytes of the first of these.
"""
import hashlib
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb

HERE = pathlib.Path(__file__).parent / "decode"
PHOTO = Image.open(HERE.parent / "resize" / "image.png").convert("RGB")
WIDTH, HEIGHT = 37, 23
# Hard, coloured edges, and a size that leaves the last blocks of a JPEG partly filled.
CROP = (88, 140, 135, 175)
RANDOM = np.random.default_rng(7)


def noise(*channels, dtype=np.uint8):
    return RANDOM.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, *channels), dtype=dtype, endpoint=True)


def save(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG of a pixel type that PIL cannot write."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*c) for c in chunks) + data + chunk(b"IEND", b"")


def png16(colour, channels):
    values = noise(channels, dtype=np.uint16).astype(">u2")
    return png(WIDTH, HEIGHT, 16, colour, [row.tobytes() for row in values])


def oriented(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def exact():
    rgb, rgba = Image.fromarray(noise(3)), Image.fromarray(noise(4))
    grey, grey_alpha = Image.fromarray(noise()), Image.fromarray(noise(2))
    palette = PHOTO.resize((WIDTH, HEIGHT)).quantize(40)
    yield "rgb.png", save(rgb, "PNG")
    yield "rgba.png", save(rgba, "PNG")
    yield "grey.png", save(grey, "PNG")
    yield "grey_alpha.png", save(grey_alpha, "PNG")
    yield "palette.png", save(palette, "PNG")
    yield "palette_transparent.png", save(palette, "PNG", transparency=bytes(range(0, 240, 6)))
    yield "rgb_key.png", save(palette.convert("RGB"), "PNG", transparency=palette.convert("RGB").getpixel((3, 3)))
    yield "black_white.png", save(grey.convert("1"), "PNG")
    yield "grey2.png", png(8, 2, 2, 0, [b"\x1b\xe4", b"\x00\xff"])
    yield "grey16.png", save(Image.fromarray(noise(dtype=np.uint16) >> RANDOM.integers(0, 16, (HEIGHT, WIDTH), dtype=np.uint16)), "PNG")
    yield "rgb16.png", png16(2, 3)
    yield "rgba16.png", png16(6, 4)
    yield "grey_alpha16.png", png16(4, 2)
    yield "oriented.png", save(rgb, "PNG", exif=oriented(6))
    yield "palette.gif", save(palette, "GIF")
    yield "transparent.gif", save(palette, "GIF", transparency=5, optimize=False)
    yield "two_frames.gif", save(palette, "GIF", save_all=True, append_images=[palette.transpose(Image.Transpose.ROTATE_180)])
    yield "rgb.bmp", save(rgb, "BMP")
    yield "rgba.bmp", save(rgba, "BMP")
    yield "palette.bmp", save(palette, "BMP")
    yield "rgb.tiff", save(rgb, "TIFF")
    yield "rgb_lzw.tiff", save(rgb, "TIFF", compression="tiff_lzw")
    yield "rgba.tiff", save(rgba, "TIFF")
    yield "grey.tiff", save(grey, "TIFF")
    yield "grey16.tiff", save(Image.fromarray(noise(dtype=np.uint16)), "TIFF")
    yield "two_pages.tiff", save(rgb, "TIFF", save_all=True, append_images=[grey])
    yield "oriented.tiff", save(rgb, "TIFF", tiffinfo={274: 8})
    yield "rgb.webp", save(rgb, "WEBP", lossless=True)
    yield "rgba.webp", save(rgba, "WEBP", lossless=True, exact=True)
    yield "lossy.webp", save(PHOTO.crop(CROP), "WEBP", quality=90)
    yield "cmyk.tiff", save(PHOTO.crop(CROP).convert("CMYK"), "TIFF", compression="tiff_lzw")
    yield "rgb.ppm", save(rgb, "PPM")
    yield "grey.pgm", save(grey, "PPM")
    yield "black_white.pbm", save(grey.convert("1"), "PPM")
    yield "rgb16.ppm", b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + noise(3, dtype=np.uint16).astype(">u2").tobytes()
    yield "grey16.pgm", b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + noise(dtype=np.uint16).astype(">u2").tobytes()


def close():
    photo = PHOTO.crop(CROP)
    yield "colour.jpg", save(photo, "JPEG", quality=90, subsampling="4:2:0")
    yield "colour_444.jpg", save(photo, "JPEG", quality=90, subsampling="4:4:4")
    yield "colour_422.jpg", save(photo, "JPEG", quality=90, subsampling="4:2:2")
    yield "progressive.jpg", save(photo, "JPEG", quality=90, progressive=True)
    yield "restarts.jpg", save(photo, "JPEG", quality=90, restart_marker_blocks=2)
    yield "grey.jpg", save(photo.convert("L"), "JPEG", quality=90)
    yield "cmyk.jpg", save(photo.convert("CMYK"), "JPEG", quality=90)
    yield "rgb.jpg", save(photo, "JPEG", quality=90, keep_rgb=True)
    # A maximum of 100 makes ties when scaled to 255, which PIL rounds to even.
    yield "rgb_to_100.ppm", b"P6 %d %d 100\n" % (WIDTH, HEIGHT) + (noise(3) % 101).tobytes()
    for orientation in range(1, 9):
        small = photo.resize((27, 19))
        yield f"oriented_{orientation}.jpg", save(small, "JPEG", quality=95, subsampling="4:4:4", exif=oriented(orientation))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def main():
    lines = []
    for is_close, files in [(0, exact()), (1, close())]:
        for name, data in files:
            (HERE / name).write_bytes(data)
            image = Image.open(io.BytesIO(data))
            orientation = image.getexif().get(274, 1)
            image = ImageOps.exif_transpose(image)
            dropped = image.convert("RGB").tobytes()
            over_white = np.ascontiguousarray(convert_to_rgb(image, return_numpy=True)).tobytes()
            if is_close:
                (HERE / f"{name}.rgb").write_bytes(dropped)
            lines.append("\t".join(map(str, [name, *image.size, orientation, is_close, digest(dropped), digest(over_white)])))
    (HERE / "index.tsv").write_text("\n".join(lines) + "\n")

    # PIL's composite of every value and transparency over white.
    value, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    every = Image.fromarray(np.stack([value, value, value, alpha], axis=2))
    (HERE / "every_alpha.png").write_bytes(save(every, "PNG", optimize=True))
    (HERE / "every_alpha.sha256").write_text(digest(convert_to_rgb(every, return_numpy=True).tobytes()) + "\n")


main()
