"""Writes decode/: files of the less common kinds, pages and frames of files that have several, and kinds.tsv.

Run:  python make_decode_kinds.py
Made with pillow 13.0.0 (libjpeg-turbo 3.2, libtiff 4.7, libwebp 1.6), numpy 2.4.6, transformers 5.23.0, imagecodecs (which writes the
JPEG of 12 bits), `cjpeg` of libjpeg-turbo 2.1 and `tiffcp` of libtiff 4.5 (Debian's libjpeg-turbo-progs and libtiff-tools).

kinds.tsv has a line a picture, with the fields of index.tsv (see make_decode_goldens.py); the name ends in `#2` where the second
page or frame was read, and the digests of what PIL refuses are `-`.
"""
import hashlib
import io
import pathlib
import struct
import subprocess
import tempfile
import zlib

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, ImageOps
from transformers.image_transforms import convert_to_rgb

HERE = pathlib.Path(__file__).parent / "decode"
PHOTO = Image.open(HERE.parent / "resize" / "image.png").convert("RGB").crop((88, 140, 135, 175))
WIDTH, HEIGHT = PHOTO.size
RANDOM = np.random.default_rng(11)
# Monocle names these kinds and refuses them.
REFUSED = ["colour_311.jpg", "progressive_311.jpg", "arithmetic.jpg", "arithmetic_progressive.jpg", "lossless.jpg"]


def save(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def cjpeg(*options, image=PHOTO):
    command = ["cjpeg", "-quality", "90", *options]
    return subprocess.run(command, input=save(image, "PPM"), stdout=subprocess.PIPE, check=True).stdout


def tiffcp(data, *options):
    with tempfile.TemporaryDirectory() as folder:
        before, after = pathlib.Path(folder, "before.tiff"), pathlib.Path(folder, "after.tiff")
        before.write_bytes(data)
        subprocess.run(["tiffcp", *options, before, after], check=True)
        return after.read_bytes()


def segments(jpeg):
    """The marker segments before the first scan, each as (marker, bytes), and the rest."""
    at, found = 2, []
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2:at + 4], "big")
        found.append((jpeg[at + 1], jpeg[at:end]))
        at = end
    return found, jpeg[at:]


def jpeg_with(jpeg, change):
    found, rest = segments(jpeg)
    return b"\xff\xd8" + b"".join(change(marker, data) for marker, data in found) + rest


def tiff(width, height, bits, photometric, rows, colours=None, samples=1, extra=None):
    """An uncompressed TIFF of a pixel type that PIL cannot write."""
    data = b"".join(rows)
    entries = [(256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * samples), (259, 3, [1]), (262, 3, [photometric]), (273, 4, [8]),
               (277, 3, [samples]), (278, 3, [height]), (279, 4, [len(data)])]
    if colours is not None:
        entries.append((320, 3, colours))
    if extra is not None:
        entries.append((338, 3, [extra]))
    data += b"\0" * (len(data) % 2)
    directory, far = 8 + len(data), 8 + len(data) + 6 + 12 * len(entries)
    table, values = struct.pack("<H", len(entries)), b""
    for tag, kind, numbers in entries:
        packed = struct.pack("<%d%s" % (len(numbers), "HI"[kind - 3]), *numbers)
        if len(packed) <= 4:
            table += struct.pack("<HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
        else:
            table += struct.pack("<HHII", tag, kind, len(numbers), far + len(values))
            values += packed
    return b"II*\0" + struct.pack("<I", directory) + data + table + b"\0\0\0\0" + values


def packed(values, bits):
    """Rows of values of `bits` bits, the first in the highest bits, each row filled up to a byte."""
    shifts = np.arange(bits - 1, -1, -1)
    return [np.packbits((row[:, None] >> shifts & 1).astype(np.uint8)).tobytes() for row in values]


def without_end(png):
    assert png[-8:-4] == b"IEND"
    return png[:-12]


def undated(profile):
    """A profile's bytes, with nothing for the day it was made."""
    profile = ImageCms.ImageCmsProfile(profile).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def named_profile(name):
    """A linear profile of no known space, under this name (an ICC profile of version 4 made by LittleCMS, renamed)."""
    profile = undated(ImageCms.createProfile("XYZ"))
    count = struct.unpack(">I", profile[128:132])[0]
    for entry in range(count):
        tag, at, size = struct.unpack(">4sII", profile[132 + 12 * entry:144 + 12 * entry])
        if tag == b"desc":
            text = name.encode("utf-16-be")
            body = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
            assert len(body) <= size, (len(body), size)
            profile = profile[:at] + body.ljust(size, b"\0") + profile[at + size:]
    return profile


def exact():
    grey, black_white = PHOTO.convert("L"), PHOTO.convert("1")
    palette = PHOTO.quantize(40)
    lines = Image.fromarray((RANDOM.random((61, 90)) < 0.3).repeat(3, axis=1).repeat(2, axis=0))
    yield "big.tiff", save(PHOTO, "TIFF", big_tiff=True), [1]
    yield "big_pages.tiff", save(PHOTO, "TIFF", big_tiff=True, save_all=True, append_images=[grey, palette]), [1, 2, 3]
    yield "two_pages.tiff", None, [1, 2]
    yield "palette.tiff", save(palette, "TIFF"), [1]
    yield "palette_lzw.tiff", save(palette, "TIFF", compression="tiff_lzw"), [1]
    colours = RANDOM.integers(0, 65536, 3 * 16).tolist()
    yield "palette4.tiff", tiff(37, 9, 4, 3, packed(RANDOM.integers(0, 16, (9, 37)), 4), colours), [1]
    yield "palette1.tiff", tiff(37, 9, 1, 3, packed(RANDOM.integers(0, 2, (9, 37)), 1), colours[:6]), [1]
    yield "grey4.tiff", tiff(37, 9, 4, 1, packed(RANDOM.integers(0, 16, (9, 37)), 4)), [1]
    yield "grey2.tiff", tiff(37, 9, 2, 1, packed(RANDOM.integers(0, 4, (9, 37)), 2)), [1]
    yield "grey4_white_zero.tiff", tiff(37, 9, 4, 0, packed(RANDOM.integers(0, 16, (9, 37)), 4)), [1]
    yield "grey_alpha.tiff", save(Image.merge("LA", [grey, grey.transpose(Image.Transpose.ROTATE_180)]), "TIFF"), [1]
    yield "group3.tiff", save(lines, "TIFF", compression="group3"), [1]
    plain = save(lines, "TIFF")
    yield "group3_fill.tiff", tiffcp(plain, "-c", "g3:1d:fill"), [1]
    yield "group3_2d.tiff", tiffcp(plain, "-c", "g3:2d"), [1]
    yield "group3_2d_fill.tiff", tiffcp(plain, "-c", "g3:2d:fill", "-r", "16"), [1]
    yield "group3_low_bit_first.tiff", tiffcp(plain, "-c", "g3:2d", "-f", "lsb2msb"), [1]
    yield "group3_rows.tiff", save(lines, "TIFF", compression="tiff_ccitt"), [1]
    yield "group4.tiff", save(lines, "TIFF", compression="group4"), [1]
    yield "group3_black_white.tiff", save(black_white, "TIFF", compression="group3"), [1]

    yield "no_end.png", without_end(save(PHOTO, "PNG")), [1]
    yield "no_end_palette.png", without_end(save(palette, "PNG")), [1]
    first = PHOTO.convert("RGBA")
    second = first.transpose(Image.Transpose.ROTATE_180)
    second.putalpha(grey)
    third = Image.new("RGBA", first.size)
    third.paste(second.crop((5, 3, 20, 20)), (9, 9))
    yield "frames.png", save(first, "PNG", save_all=True, append_images=[second, third], blend=0), [1, 2, 3]
    yield "own_first.png", save(first, "PNG", save_all=True, default_image=True, append_images=[second, third]), [1, 2, 3]
    yield "frames_alpha.webp", save(first, "WEBP", save_all=True, append_images=[second], lossless=True, exact=True), [1, 2]
    yield "two_frames.gif", None, [1, 2]
    frames = [palette, PHOTO.transpose(Image.Transpose.ROTATE_180).quantize(30), palette.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    # What becomes of a frame when the next one comes: it stays, the background comes back, what was before it comes back. (The last
    # of a first frame means another thing to each decoder.)
    for name, disposal in [("1", 1), ("2", 2), ("3", [1, 3, 1])]:
        yield f"frames_{name}.gif", save(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=disposal), [1, 2, 3]

    yield "profile.png", save(PHOTO, "PNG", icc_profile=named_profile("Odd colours")), [1]
    yield "profile.webp", save(PHOTO, "WEBP", lossless=True, icc_profile=named_profile("Odd colours")), [1]
    yield "profile.tiff", save(PHOTO, "TIFF", icc_profile=named_profile("Odd colours")), [1]
    yield "srgb_profile.png", save(PHOTO, "PNG", icc_profile=undated(ImageCms.createProfile("sRGB"))), [1]


def close():
    # Frames laid over what was there: opaque again, but rounded.
    over = PHOTO.convert("RGBA").transpose(Image.Transpose.ROTATE_180)
    over.putalpha(PHOTO.convert("L"))
    yield "frames_over.png", save(PHOTO.convert("RGBA"), "PNG", save_all=True, append_images=[over, over], blend=1), [1, 2, 3]
    flips = [PHOTO.transpose(flip) for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)]
    yield "frames.webp", save(PHOTO, "WEBP", save_all=True, append_images=flips, lossless=True), [1, 2, 3]
    for name, sampling in [("440", "1x2"), ("411", "4x1"), ("410", "4x2"), ("441", "1x4"), ("311", "3x1"), ("uneven", "2x2,1x2,1x1")]:
        yield f"colour_{name}.jpg", cjpeg("-sample", sampling), [1]
        yield f"progressive_{name}.jpg", cjpeg("-sample", sampling, "-progressive"), [1]
    for width, height in [(1, 1), (1, 17), (9, 1), (15, 31), (17, 16), (33, 7)]:
        odd = PHOTO.crop((0, 0, width, height))
        yield f"odd_{width}_{height}.jpg", cjpeg("-sample", "2x2", image=odd), [1]
    yield "odd_440.jpg", cjpeg("-sample", "1x2", image=PHOTO.crop((0, 0, 15, 31))), [1]
    yield "odd_411.jpg", cjpeg("-sample", "4x1", image=PHOTO.crop((0, 0, 31, 15))), [1]
    yield "odd_444.jpg", cjpeg("-sample", "1x1", image=PHOTO.crop((0, 0, 13, 11))), [1]
    yield "restarts_411.jpg", cjpeg("-sample", "4x1", "-restart", "1B"), [1]
    yield "progressive_restarts.jpg", cjpeg("-progressive", "-restart", "1"), [1]
    for name, script, *options in [
        ("scans", "0;\n1;\n2;\n", "-sample", "2x2"),
        ("scans_two", "1 2;\n0;\n", "-sample", "2x1", "-restart", "2B"),
        ("scans_440", "2;\n0 1;\n", "-sample", "1x2", "-optimize"),
    ]:
        with tempfile.NamedTemporaryFile("w", suffix=".scans") as scans:
            scans.write(script)
            scans.flush()
            yield f"{name}.jpg", cjpeg(*options, "-scans", scans.name), [1]
    yield "grey_progressive.jpg", cjpeg("-grayscale", "-progressive"), [1]
    grey = cjpeg("-grayscale")
    yield "grey_2x2.jpg", jpeg_with(grey, lambda marker, data: data[:11] + b"\x22" + data[12:] if marker == 0xC0 else data), [1]
    yield "extended.jpg", cjpeg("-quality", "1"), [1]
    cmyk = save(PHOTO.convert("CMYK"), "JPEG", quality=90)
    yield "cmyk_unmarked.jpg", jpeg_with(cmyk, lambda marker, data: b"" if marker == 0xEE else data), [1]
    yield "ycck.jpg", jpeg_with(cmyk, lambda marker, data: data[:-1] + b"\x02" if marker == 0xEE else data), [1]
    yield "cmyk_420.jpg", save(PHOTO.convert("CMYK"), "JPEG", quality=90, subsampling="4:2:0"), [1]
    yield "cmyk_progressive.jpg", save(PHOTO.convert("CMYK"), "JPEG", quality=90, progressive=True), [1]
    rgb = save(PHOTO, "JPEG", quality=90, keep_rgb=True)
    yield "rgb_unmarked.jpg", jpeg_with(rgb, lambda marker, data: b"" if marker in (0xE0, 0xEE) else data), [1]
    yield "profile.jpg", save(PHOTO, "JPEG", quality=90, icc_profile=named_profile("Odd colours")), [1]
    yield "colours.tiff", save(PHOTO, "TIFF", compression="jpeg", quality=90), [1]
    yield "arithmetic.jpg", cjpeg("-arithmetic"), [1]
    yield "arithmetic_progressive.jpg", cjpeg("-arithmetic", "-progressive"), [1]
    yield "lossless.jpg", imagecodecs.jpeg8_encode(np.asarray(PHOTO), lossless=True), [1]
    yield "twelve.jpg", imagecodecs.jpeg8_encode(np.asarray(PHOTO).astype(np.uint16) << 4, level=90, bitspersample=12), [1]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def main():
    lines = []
    for is_close, files in [(0, exact()), (1, close())]:
        for name, data, pages in files:
            if data is None:
                data = (HERE / name).read_bytes()
            else:
                (HERE / name).write_bytes(data)
            for page in pages:
                called = name if page == 1 else f"{name}#{page}"
                try:
                    image = Image.open(io.BytesIO(data))
                    image.seek(page - 1)
                    orientation = image.getexif().get(274, 1)
                    image = ImageOps.exif_transpose(image)
                except OSError as error:
                    print(called, "refused:", error)
                    lines.append("\t".join(map(str, [called, 0, 0, 1, is_close, "-", "-"])))
                    continue
                dropped = image.convert("RGB").tobytes()
                over_white = np.ascontiguousarray(convert_to_rgb(image, return_numpy=True)).tobytes()
                if is_close and name not in REFUSED:
                    (HERE / f"{called}.rgb").write_bytes(dropped)
                lines.append("\t".join(map(str, [called, *image.size, orientation, is_close, digest(dropped), digest(over_white)])))
    (HERE / "kinds.tsv").write_text("\n".join(lines) + "\n")


main()
