"""Makes the small files that fuzzers begin with: python3 tests/fuzz/make_corpora.py

Formats are written here from their specifications. Bytes from which generators choose (`tests/src/made`, `host/text/fuzz/tokenizers.rs`,
`host/engine-tests`) are lists of choices: zeros choose the first of all, the others are spread over all bytes.
"""

import base64
import pathlib
import struct
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write(target, name, content):
    path = ROOT / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def text(value):
    """A string of GGUF: its length, then UTF-8."""
    return struct.pack("<Q", len(value)) + value.encode()


def gguf():
    """https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""
    folder = "host/weights/fuzz/corpus/gguf"
    architecture = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    alignment = text("general.alignment") + struct.pack("<II", 4, 32)
    tokens = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("<s>") + text("a")
    # A name, dimensions with the innermost first, type F32, an offset in the data.
    tensor = text("token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    header = lambda tensors, values: b"GGUF" + struct.pack("<IQQ", 3, tensors, values)
    one = header(1, 2) + architecture + alignment + tensor
    one += bytes(-len(one) % 32) + struct.pack("<8f", *range(8))
    write(folder, "one-tensor.gguf", one)
    write(folder, "values-only.gguf", header(0, 2) + architecture + tokens)
    write(folder, "cut.gguf", one[:-5])
    write(folder, "many-tensors.gguf", header(1 << 60, 0) + tensor)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture():
    # The target's first byte chooses a page: none.
    put = lambda name, content: write("host/image/fuzz/corpus/picture", name, b"\0" + content)
    # PNG (ISO/IEC 15948): 2 x 2 pixels of eight bits, red, green, blue; each line begins with its filter.
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    lines = b"\0" + bytes([255, 0, 0, 0, 255, 0]) + b"\0" + bytes([0, 0, 255, 255, 255, 255])
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    put("four.png", png)
    put("cut.png", png[:50])
    # GIF89a: one pixel of a table of two colours; the codes are clear, 0, end, of three bits each.
    gif = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes([255, 0, 0, 0, 0, 0])
    gif += b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + bytes([2, 2, 0x44, 0x01, 0]) + b";"
    put("one.gif", gif)
    # BMP with a BITMAPINFOHEADER: 2 x 1 pixels of 24 bits, blue first, lines of a multiple of four bytes.
    pixels = bytes([0, 0, 255, 0, 255, 0, 0, 0])
    bmp = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54)
    bmp += struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + pixels
    put("two.bmp", bmp)
    # WebP (RFC 9649), lossless, one pixel.
    webp = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
    put("one.webp", webp)


TEMPLATES = {
    "a-conversation": """{% for message in messages %}{{ message.role }}: {% for part in message.content %}\
{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{{ '\\n' }}{% endfor %}""",
    "a-macro": "{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') }}{{ f('b') }}",
    "filters": "{{ [1, 2]|join(',') }}|{{ 'what'|upper }}|{{ {'a': range(1)|list}|tojson }}",
    "namespaces": "{% set ns = namespace(x='') %}{% for i in range(9) %}{% set ns.x = ns.x ~ i %}{% endfor %}{{ ns.x[::-1] }}",
    "a-tag-without-an-end": "5{%}{}{{ma{a{}s}{",
}


def template():
    # The target's first byte: the others are text, or they choose words (`host/text/fuzz/templates.rs`).
    put = lambda name, content: write("host/text/fuzz/corpus/template", name, content)
    for name, content in TEMPLATES.items():
        put(name, b"\0" + content.encode())
    for seed in range(1, 3):
        put(f"words-{seed}", b"\1" + mixed(seed, 24))


def mixed(seed, count):
    """Bytes that are spread over all there are, the same each time: multiplication modulo 2^32 (Knuth, 3.2.1)."""
    state, numbers = seed, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(state >> 24)
    return bytes(numbers)


def choices():
    targets = {
        "host/text/fuzz/corpus/tokenizer": 300,
        "host/cpu/fuzz/corpus/steps": 60,
        "tests/fuzz/corpus/plan": 200,
        "tests/fuzz/corpus/lifted": 300,
        "tests/fuzz/corpus/answers": 200,
        "tests/fuzz/corpus/component": 60,
        "tests/fuzz/corpus/model_manifest": 80,
    }
    for target, count in targets.items():
        write(target, "first-of-all", bytes(16))
        for seed in range(1, 4):
            write(target, f"mixed-{seed}", mixed(seed, count))


gguf()
picture()
template()
choices()
