"""Writes operations/goldens.safetensors and operations/cases.json: small operands of every tensor operation and the
results that PyTorch gives (computed in double precision, stored as float32).

Run from the project's root, with torch 2.15, numpy and safetensors installed:

    python tests/oracle/make_operation_goldens.py
"""

import json
import math
import pathlib

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "operations"
generator = torch.Generator().manual_seed(20240131)
tensors, cases = {}, []


def floats(*shape, scale=1.0):
    return (torch.randn(shape, generator=generator) * scale).float()


def ints(low, high, *shape):
    return torch.randint(low, high, shape, generator=generator, dtype=torch.int32)


def keep(tensor):
    if tensor.dtype == torch.float64:
        tensor = tensor.float()
    elif tensor.dtype in (torch.int64, torch.bool):
        tensor = tensor.int()
    for name, known in tensors.items():
        if known.dtype == tensor.dtype and known.shape == tensor.shape and bytes_of(known) == bytes_of(tensor):
            return name
    name = f"t{len(tensors)}"
    tensors[name] = tensor.contiguous().clone()
    return name


def bytes_of(tensor):
    return tensor.contiguous().view(torch.uint8 if tensor.dim() else tensor.dtype).numpy().tobytes()


def case(op, inputs, expected, weight=None, bias=None, shape=None, tolerance=2e-6, **attributes):
    """One operation. `weight` and `bias` are stored weights; `shape` is what reshapes and broadcasts take."""
    entry = {"op": op, "inputs": [keep(x) for x in inputs], "expected": keep(expected), "tolerance": tolerance}
    if weight is not None:
        entry["weight"] = keep(weight)
    if bias is not None:
        entry["bias"] = keep(bias)
    if shape is not None:
        entry["shape"] = list(shape)
    cases.append(entry | attributes)


def nchw(x):
    return x.permute(0, 3, 1, 2).double()


def nhwc(x):
    return x.permute(0, 2, 3, 1)


# Element by element.
UNARY = {
    "negate": torch.neg,
    "absolute": torch.abs,
    "exponential": torch.exp,
    "square": torch.square,
    "sine": torch.sin,
    "cosine": torch.cos,
    "hyperbolic-tangent": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick-gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "softplus": lambda x: F.softplus(x, threshold=100),
}
edges = torch.tensor([0.0, -0.0, 1e-6, -1e-6, 1e-3, 0.3, 0.62, 0.63, -0.99, 1.0, 1.01, -1.5, 3.0, -4.3, 5.0, 12.0, -20.0])
for name, f in UNARY.items():
    x = torch.cat([edges, floats(116, scale=3.0)]).reshape(7, 19)
    case("unary", [x], f(x.double()), kind=name)
case("unary", [torch.tensor([-1e9, -200.0, -100.0, -87.5, 87.5, 88.5, 88.8, 200.0, math.inf, -math.inf])],
     torch.exp(torch.tensor([-1e9, -200.0, -100.0, -87.5, 87.5, 88.5, 88.8, 200.0, math.inf, -math.inf])),
     kind="exponential")
positive = floats(3, 33).abs() + 0.01
for name, f in {"logarithm": torch.log, "square-root": torch.sqrt, "reciprocal-square-root": torch.rsqrt}.items():
    case("unary", [positive], f(positive.double()), kind=name)
for name, f in {"negate": torch.neg, "absolute": torch.abs, "square": torch.square}.items():
    x = ints(-50, 50, 5, 7)
    case("unary", [x], f(x), kind=name)

BINARY = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "power": lambda a, b: torch.pow(a.abs(), b),
    "equal": torch.eq,
    "less": torch.lt,
    "greater": torch.gt,
}
SHAPES = [((7, 17), (7, 17)), ((7, 17), (17,)), ((7, 17), (7, 1)), ((3, 1, 5), (4, 1)), ((), (33,)), ((2, 3, 1, 4), (3, 5, 1)), ((1,), (1, 1))]
for name, f in BINARY.items():
    for first, second in SHAPES if name in ("add", "subtract", "less") else SHAPES[1:4]:
        a, b = floats(*first), floats(*second)
        if name == "power":
            a = a.abs()
        if name == "equal":
            a, b = a.round(), b.round()
        case("binary", [a, b], f(a.double(), b.double()), kind=name)
for name in ("add", "subtract", "multiply", "maximum", "minimum", "equal", "less", "greater"):
    a, b = ints(-9, 9, 7, 1, 3), ints(-9, 9, 5, 1)
    case("binary", [a, b], BINARY[name](a, b), kind=name)
x = floats(3, 17)
case("scale-shift", [x], x.double() * 1.5 - 0.25, scale=1.5, shift=-0.25)
case("clamp", [x], x.double().clamp(-0.5, 0.75), low=-0.5, high=0.75)
condition, a, b = ints(0, 2, 7, 1), floats(7, 5), floats(5)
case("select", [condition, a, b], torch.where(condition != 0, a, b))
condition, a, b = ints(0, 2, 4), ints(-5, 5, 3, 1), ints(-5, 5, 1, 4)
case("select", [condition, a, b], torch.where(condition != 0, a, b))
x = floats(3, 7, scale=9.0)
case("to-int", [x], x.trunc().int())
x = ints(-1000, 1000, 3, 7)
case("to-float", [x], x.float())

# Products.
for rows, inner, outputs, kind, biased in [
    (1, 33, 17, torch.float32, True),
    (7, 33, 17, torch.float16, False),
    (17, 31, 33, torch.bfloat16, True),
    (5, 40, 7, torch.bfloat16, True),
    (2, 48, 1, torch.float16, True),
]:
    x, w = floats(rows, inner), floats(outputs, inner).to(kind)
    b = floats(outputs).to(kind) if biased else None
    expected = F.linear(x.double(), w.double(), None if b is None else b.double())
    case("linear", [x], expected, weight=w, bias=b)
x, w = floats(2, 3, 1, 7), floats(5, 7)
case("linear", [x], F.linear(x.double(), w.double()), weight=w)
for first, second in [((7, 17), (17, 33)), ((3, 7, 5), (5, 9)), ((2, 1, 4, 6), (3, 6, 5)), ((6, 1, 8), (6, 8, 3)), ((9, 4), (4, 1))]:
    a, b = floats(*first), floats(*second)
    case("matmul", [a, b], a.double() @ b.double(), transpose_right=False)
    case("matmul", [a, b.transpose(-1, -2).contiguous()], a.double() @ b.double(), transpose_right=True)
table, ids = floats(13, 9).half(), ints(0, 13, 2, 4)
case("embed", [ids], table[ids.long()].float(), weight=table)
w, b, indices = floats(5, 7, 12).bfloat16(), floats(5, 7), ints(0, 5, 9, 2)
for x in (floats(9, 12), floats(9, 2, 12)):
    rows = x.double() if x.dim() == 3 else x.double()[:, None].expand(9, 2, 12)
    expected = torch.einsum("tki,tkoi->tko", rows, w.double()[indices.long()])
    case("expert-linear", [x, indices], expected, weight=w)
    case("expert-linear", [x, indices], expected + b.double()[indices.long()], weight=w, bias=b)

# Norms and reductions.
for shape in ((7, 33), (2, 3, 64), (1, 5)):
    x, w, b = floats(*shape, scale=2.0), floats(shape[-1]), floats(shape[-1])
    normal = x.double() / torch.sqrt(x.double().square().mean(-1, keepdim=True) + 1e-5)
    case("rms-norm", [x], normal, epsilon=1e-5, offset=0.0)
    case("rms-norm", [x, w], normal * (w.double() + 1), epsilon=1e-5, offset=1.0)
    case("layer-norm", [x, w], F.layer_norm(x.double(), shape[-1:], w.double(), None, 1e-6), epsilon=1e-6)
    case("layer-norm", [x, w, b], F.layer_norm(x.double(), shape[-1:], w.double(), b.double(), 1e-6), epsilon=1e-6)
    case("softmax", [x * 5], (x.double() * 5).softmax(-1))
x = torch.tensor([[0.0, -math.inf, 5.0], [1e4, 1e4, -1e4]])
case("softmax", [x], x.softmax(-1))
x = floats(3, 7, 5, 2)
for axes in ([3], [0], [1, 2], [0, 2], [0, 1, 2, 3]):
    for hold in (False, True):
        case("reduce", [x], x.double().sum(axes, keepdim=hold), reduction="sum", axes=axes, keep=hold)
        case("reduce", [x], x.double().mean(axes, keepdim=hold), reduction="mean", axes=axes, keep=hold)
        case("reduce", [x], x.amax(axes, keepdim=hold), reduction="maximum", axes=axes, keep=hold)
x = ints(0, 4, 7, 17).float()
for k in (1, 3, 17):
    # Stable, so that the lowest index comes first among equals.
    case("top-k", [x], torch.argsort(x, dim=-1, descending=True, stable=True)[:, :k], k=k)
x, indices = floats(3, 4, 9), ints(0, 9, 3, 4, 5)
case("gather-last", [x, indices], torch.gather(x, -1, indices.long()))
x = ints(-9, 9, 6, 4)
indices = ints(0, 4, 6, 1)
case("gather-last", [x, indices], torch.gather(x, -1, indices.long()))

# Moving elements.
x = floats(2, 3, 4, 5)
case("reshape", [x], x.reshape(6, 20), shape=(6, 20))
for axes in ([0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [1, 2, 3, 0], [0, 1, 3, 2], [2, 3, 0, 1]):
    case("permute", [x], x.permute(axes), axes=axes)
x1 = floats(1, 3, 1, 5)
case("permute", [x1], x1.permute(2, 1, 0, 3), axes=[2, 1, 0, 3])
x2 = ints(-9, 9, 3, 7)
case("permute", [x2], x2.permute(1, 0), axes=[1, 0])
for axis, start, end, step in [(0, 1, 2, 1), (1, 0, 3, 2), (2, 1, 4, 1), (3, 0, 5, 3), (3, 4, 5, 1), (0, 0, 2, 2)]:
    index = [slice(None)] * 4
    index[axis] = slice(start, end, step)
    case("slice", [x], x[tuple(index)], axis=axis, start=start, end=end, step=step)
for axis in range(3):
    parts = []
    for size in (1, 3, 2):
        shape = [2, 3, 4]
        shape[axis] = size
        parts.append(floats(*shape))
    case("concat", parts, torch.cat(parts, axis), axis=axis)
for first, second in [((3, 1), (3, 5)), ((5,), (2, 3, 5)), ((), (4,)), ((2, 1, 3), (2, 7, 3))]:
    x = floats(*first)
    case("broadcast", [x], x.expand(second), shape=second)
x = floats(3, 4, 2)
for axis, before, after in [(0, 1, 0), (1, 2, 3), (2, 0, 1)]:
    widths = [(0, 0)] * 3
    widths[axis] = (before, after)
    expected = torch.from_numpy(numpy.pad(x.numpy(), widths, constant_values=0.5))
    case("pad", [x], expected, axis=axis, before=before, after=after, value=0.5)
x, indices = floats(9, 2, 3), ints(0, 9, 4, 2)
case("take-rows", [x, indices], x[indices.long()])
x, indices, rows = floats(9, 3), torch.tensor([4, 0, 7], dtype=torch.int32), floats(3, 3)
expected = x.clone()
expected[indices.long()] = rows
case("put-rows", [x, indices, rows], expected)

# Pictures.
for size, channels, outputs, kernel, stride, padding, groups, biased in [
    ((14, 21), 3, 8, (7, 7), (7, 7), (0, 0), 1, True),
    ((9, 7), 4, 6, (3, 3), (1, 1), (1, 1), 1, True),
    ((9, 8), 6, 4, (3, 2), (2, 3), (1, 0), 2, True),
    ((7, 5), 6, 6, (3, 3), (1, 1), (1, 1), 6, False),
    ((7, 5), 3, 6, (3, 3), (2, 1), (2, 1), 3, True),
    ((1, 1), 17, 5, (1, 1), (1, 1), (0, 0), 1, False),
]:
    x, w = floats(2, *size, channels), floats(outputs, channels // groups, *kernel, scale=0.3)
    b = floats(outputs) if biased else None
    expected = F.conv2d(nchw(x), w.double(), None if b is None else b.double(), stride, padding, groups=groups)
    case("conv2d", [x, w] + ([b] if biased else []), nhwc(expected), stride=stride, padding=padding, groups=groups)
x = floats(2, 9, 7, 3)
for size, stride, padding in [((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 0)), ((3, 3), (2, 2), (1, 1)), ((9, 7), (1, 1), (0, 0))]:
    expected = F.avg_pool2d(nchw(x), size, stride, padding, count_include_pad=False)
    case("pool2d", [x], nhwc(expected), pooling="average", size=size, stride=stride, padding=padding)
    expected = F.max_pool2d(nchw(x), size, stride, padding)
    case("pool2d", [x], nhwc(expected), pooling="maximum", size=size, stride=stride, padding=padding)
for size, to in [((5, 7), (11, 3)), ((8, 8), (16, 12)), ((9, 12), (4, 5)), ((1, 3), (2, 1)), ((6, 6), (6, 6))]:
    x = floats(2, *size, 2)
    case("interpolate", [x], nhwc(F.interpolate(nchw(x), to, mode="nearest")), size=to, method="nearest",
         align_corners=False, antialias=False)
    for method in ("bilinear", "bicubic"):
        for align, smooth in ((False, False), (True, False), (False, True)):
            expected = F.interpolate(nchw(x), to, mode=method, align_corners=align, antialias=smooth)
            case("interpolate", [x], nhwc(expected), size=to, method=method, align_corners=align, antialias=smooth,
                 tolerance=5e-6)


# Attention.
def attention(q, k, v, scale, visible, softcap=None):
    """q, k, v `[tokens, heads, dim]`; visible `[queries, keys]` of bools."""
    repeat = q.shape[1] // k.shape[1]
    k, v = k.double().repeat_interleave(repeat, 1), v.double().repeat_interleave(repeat, 1)
    scores = torch.einsum("qhd,khd->hqk", q.double(), k) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~visible[None], -math.inf).softmax(-1).nan_to_num(0.0)
    return torch.einsum("hqk,khd->qhd", weights, v)


def rounding(q, k, scale):
    """What rounding the largest score once may move a weight by; the usual tolerance, where that is larger."""
    k = k.double().repeat_interleave(q.shape[1] // k.shape[1], 1)
    largest = torch.einsum("qhd,khd->hqk", q.double().abs(), k.abs()).max() * scale
    return max(2e-6, float(largest) * 2.0**-23)


def intervals(bounds, keys):
    at = torch.arange(keys)
    return torch.stack([(at >= low) & (at < end) for low, end in bounds])


for queries, keys, heads, shared, dim, value_dim, causal, softcap, segments in [
    (1, 1, 1, 1, 4, 4, False, None, []),
    (7, 17, 4, 2, 8, 8, False, None, []),
    (3, 70, 4, 1, 17, 5, False, 2.0, []),
    (70, 70, 2, 1, 8, 20, True, None, []),
    (33, 33, 2, 2, 16, 16, False, 3.0, [0, 1, 8, 8, 25, 33]),
    (33, 33, 3, 1, 5, 33, True, None, [0, 17, 33]),
    (101, 101, 1, 1, 5, 3, True, 5.0, [0, 100, 101]),
    (4, 4, 2, 1, 8, 8, True, None, []),
]:
    q, k, v = floats(queries, heads, dim, scale=2.0), floats(keys, shared, dim), floats(keys, shared, value_dim)
    bounds = []
    for row in range(queries):
        low, end = 0, keys
        for first, last in zip(segments, segments[1:]):
            if first <= row < last:
                low, end = first, last
        bounds.append((low, row + 1 if causal else end))
    expected = attention(q, k, v, 0.4, intervals(bounds, keys), softcap)
    case("attention", [q, k, v], expected, scale=0.4, softcap=softcap, causal=causal, segments=segments)
q, k, v = floats(3, 9, 2, 8), floats(3, 9, 1, 8), floats(3, 9, 1, 8)
everything = torch.ones(9, 9, dtype=torch.bool)
case("attention", [q, k, v], torch.stack([attention(*each, 0.3, everything) for each in zip(q, k, v)]), scale=0.3,
     softcap=None, causal=False, segments=[])


def rope(x, positions, frequencies, axes, pairing, scale):
    pairs = len(frequencies)
    rows = positions[axes or [0] * pairs]  # [pairs, tokens]
    angles = (rows.float() * torch.tensor(frequencies)[:, None]).double().T  # rounded to float first
    cos, sin = (angles.cos() * scale)[:, None], (angles.sin() * scale)[:, None]
    out = x.double().clone()
    if pairing == "halves":
        first, second = slice(0, pairs), slice(pairs, 2 * pairs)
    else:
        first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    a, b = x.double()[..., first], x.double()[..., second]
    out[..., first], out[..., second] = a * cos - b * sin, b * cos + a * sin
    return out


for shape, dim_rotated, axes, pairing, scale in [
    ((7, 2, 8), 8, [], "halves", 1.0),
    ((7, 2, 8), 8, [], "neighbours", 1.0),
    ((5, 3, 17), 12, [0, 1, 2, 0, 1, 2], "halves", 1.25),
    ((5, 3, 17), 12, [0, 0, 1, 1, 2, 2], "neighbours", 0.5),
    ((2, 7, 1, 6), 4, [], "halves", 1.0),
]:
    x = floats(*shape)
    frequencies = [float(numpy.float32(10000.0 ** (-2 * i / dim_rotated))) for i in range(dim_rotated // 2)]
    positions = ints(0, 30000, 3, shape[-3])
    case("rope", [x, positions], rope(x, positions, frequencies, axes, pairing, scale), frequencies=frequencies,
         axes=axes, pairing=pairing, scale=scale, tolerance=3e-6)

# Attention over a cache, given whole: tests cut it into steps at `cuts`, which never split a block of rows that see
# each other.
for tokens, heads, shared, dim, value_dim, window, softcap, blocks, cuts in [
    (17, 4, 2, 8, 8, None, None, [], [1, 2, 7, 8]),
    (150, 2, 1, 6, 7, None, 4.0, [], [70, 71, 72, 140]),
    (150, 2, 2, 4, 4, 33, None, [], [7, 64, 128, 129]),
    (90, 2, 1, 8, 8, None, None, [(0, 20)], [20, 21, 85]),
    (90, 2, 1, 8, 8, 16, None, [(3, 40), (50, 75)], [3, 40, 41, 50, 75, 76]),
]:
    q, k, v = floats(tokens, heads, dim, scale=2.0), floats(tokens, shared, dim), floats(tokens, shared, value_dim)
    visible, bounds = [], []
    for row in range(tokens):
        start, end = row, row + 1
        for first, last in blocks:
            if first <= row < last:
                start, end = first, last
        visible.append([start, end])
        bounds.append((0 if window is None else min(start, max(0, row + 1 - window)), end))
    expected = attention(q, k, v, 0.35, intervals(bounds, tokens), softcap)
    case("kv.attend", [q, k, v], expected, scale=0.35, softcap=softcap, window=window, visible=visible, cuts=cuts)

# Cross attention: rows see an interval of the context, or nothing.
q, k, v = floats(19, 4, 8, scale=2.0), floats(75, 2, 8), floats(75, 2, 8)
visible = [[0, 0]] * 3 + [[0, 30]] * 6 + [[30, 75]] * 9 + [[0, 75]]
case("kv.cross-attend", [q, k, v], attention(q, k, v, 0.35, intervals(visible, 75)), scale=0.35, softcap=None,
     visible=visible, cuts=[1, 5, 12])

# A causal depthwise convolution: conv1d of torch with zeros before, cut as above.
for tokens, channels, taps, biased, cuts in [(23, 5, 4, True, [1, 2, 9, 20]), (9, 17, 3, False, [4]), (5, 3, 1, True, [2])]:
    x, w, b = floats(tokens, channels), floats(channels, taps), floats(channels)
    padded = F.pad(x.double().T[None], (taps - 1, 0))
    expected = F.conv1d(padded, w.double()[:, None], b.double() if biased else None, groups=channels)[0].T
    case("kv.short-conv", [x, w] + ([b] if biased else []), expected, cuts=cuts)

# Attention to latent vectors: values are the first elements of the keys (arXiv:2405.04434 section 2.1).
for tokens, heads, shared, dim, value_dim, window, softcap, cuts in [
    (70, 4, 1, 24, 16, None, None, [1, 2, 9, 64, 65]),
    (150, 6, 2, 9, 5, 33, 4.0, [7, 64, 128, 129]),
    (11, 3, 1, 8, 8, None, None, [4, 5]),
]:
    q, k = floats(tokens, heads, dim, scale=2.0), floats(tokens, shared, dim)
    bounds = [(0 if window is None else max(0, row + 1 - window), row + 1) for row in range(tokens)]
    expected = attention(q, k, k[..., :value_dim], 0.35, intervals(bounds, tokens), softcap)
    case("kv.attend", [q, k], expected, scale=0.35, softcap=softcap, window=window, value_dim=value_dim,
         visible=[[row, row + 1] for row in range(tokens)], cuts=cuts, tolerance=rounding(q, k, 0.35))

# A matrix head by head (arXiv:2405.04434 section 2.1.2), and its transpose.
for tokens, heads, size, inner in [(1, 3, 5, 64), (7, 3, 5, 64), (40, 2, 17, 33)]:
    w = floats(heads * size, inner)
    each = w.double().reshape(heads, size, inner)
    x, y = floats(tokens, heads, inner), floats(tokens, heads, size)
    case("linear-heads", [x], torch.einsum("thi,hsi->ths", x.double(), each), weight=w, heads=heads, transposed=False,
         tolerance=1e-5)
    case("linear-heads", [y], torch.einsum("ths,hsi->thi", y.double(), each), weight=w, heads=heads, transposed=True,
         tolerance=1e-5)

# The gated delta rule, token by token (arXiv:2412.06464, equation 10). torch_recurrent_gated_delta_rule in transformers 5.23's
# modeling_qwen3_next.py gives the same within 5e-7, in single precision and with its scale taken out of q.
for tokens, heads, value_heads, dim, value_dim, cuts in [(70, 2, 4, 16, 12, [1, 2, 9, 64]), (23, 3, 3, 5, 19, [7, 8]), (9, 1, 2, 32, 40, [4])]:
    q, k = floats(tokens, heads, dim), F.normalize(floats(tokens, heads, dim), dim=-1)
    v, gate, beta = floats(tokens, value_heads, value_dim), -floats(tokens, value_heads).abs(), torch.sigmoid(floats(tokens, value_heads))
    group, out = value_heads // heads, []
    state = torch.zeros(value_heads, value_dim, dim, dtype=torch.float64)
    for t in range(tokens):
        key, query = (x[t].double().repeat_interleave(group, 0) for x in (k, q))
        rate, write = gate[t].double().exp()[:, None, None], beta[t].double()[:, None, None]
        outer = key[:, :, None] * key[:, None, :]
        state = rate * state @ (torch.eye(dim, dtype=torch.float64) - write * outer) + write * v[t].double()[:, :, None] * key[:, None, :]
        out.append((state @ query[:, :, None])[..., 0])
    case("kv.recurrent", [q, k, v, gate, beta], torch.stack(out), cuts=cuts, tolerance=1e-5)

OUT.mkdir(exist_ok=True)
used = {name for entry in cases for name in entry["inputs"] + [entry["expected"], entry.get("weight"), entry.get("bias")]}
save_file({name: tensor for name, tensor in tensors.items() if name in used}, OUT / "goldens.safetensors",
          metadata={"made_by": "tests/oracle/make_operation_goldens.py", "torch": torch.__version__.split("+")[0]})
(OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in cases) + "\n]\n")
print(len(cases), "cases,", (OUT / "goldens.safetensors").stat().st_size, "bytes")
