"""The world: scenes of coloured shapes and a short text, chosen from a seed and drawn with Pillow."""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

import font

SHAPES = ["circle", "square", "triangle", "star", "cross", "heart"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "black"]
SIZES = ["small", "medium", "large"]
PLACES = ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"]
WORDS = (
    "CAT DOG SUN SKY SEA MAP BOX HAT CUP KEY BUS CAR TREE FISH BIRD MOON "
    "LEAF BOAT DOOR HOME OPEN STOP LOVE PLAY SNOW RAIN WIND KING GOLD JUMP ZERO QUIZ"
).split()

# Two corners of the box of RGB values that each name covers.
PAINT = {
    "red": ((190, 15, 15), (255, 55, 55)),
    "orange": ((235, 120, 0), (255, 160, 40)),
    "yellow": ((235, 205, 0), (255, 240, 70)),
    "green": ((0, 120, 30), (70, 200, 80)),
    "blue": ((15, 50, 170), (60, 130, 255)),
    "purple": ((100, 20, 130), (155, 70, 205)),
    "pink": ((240, 100, 160), (255, 165, 210)),
    "black": ((0, 0, 0), (45, 45, 45)),
}
# Radius as a share of the picture's shorter side.
RADII = [(0.085, 0.105), (0.13, 0.15), (0.175, 0.2)]
# Neighbours may come this close, as a share of the sum of their radii: below 1 they can overlap a little.
CLOSEST = 0.85


@dataclass
class Object:
    """One coloured shape; `x`, `y` and `radius` are in pixels of the picture."""

    shape: str
    colour: str
    size: str
    cell: int
    x: float
    y: float
    radius: float
    angle: float
    paint: tuple

    @property
    def place(self) -> str:
        return PLACES[self.cell]


@dataclass
class Text:
    """A word or a number; `x`, `y` are its centre and `dot` is one dot of the font, in pixels."""

    value: str
    row: int
    x: float
    y: float
    dot: float
    angle: float
    paint: tuple


@dataclass
class Scene:
    """What a picture holds; objects are in reading order (row by row, left to right)."""

    width: int
    height: int
    backdrop: tuple
    noise: float
    noise_seed: int
    objects: list
    text: Text | None


def outline(shape: str) -> list[tuple[float, float]]:
    """The polygon of a shape around the origin, about one unit in radius, y downwards."""
    if shape == "circle":
        return [(math.cos(a), math.sin(a)) for a in (math.tau * i / 40 for i in range(40))]
    if shape == "square":
        return [(-0.87, -0.87), (0.87, -0.87), (0.87, 0.87), (-0.87, 0.87)]
    if shape == "triangle":
        return [(0.0, -1.05), (1.05, 0.8), (-1.05, 0.8)]
    if shape == "star":
        points = []
        for i in range(10):
            reach, a = (1.15, 0.48)[i % 2], math.pi * i / 5 - math.pi / 2
            points.append((reach * math.cos(a), reach * math.sin(a)))
        return points
    if shape == "cross":
        a, b = 0.36, 1.05
        upper = [(-b, a), (-b, -a), (-a, -a), (-a, -b), (a, -b), (a, -a), (b, -a)]
        return upper + [(b, a), (a, a), (a, b), (-a, b), (-a, a)]
    # The usual parametric heart curve, scaled to one unit.
    points = []
    for t in (math.tau * i / 40 for i in range(40)):
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 15.5, -(y + 2.5) / 14.5))
    return points


OUTLINES = {shape: outline(shape) for shape in SHAPES}


def make_scene(seed: int, index: int, size: tuple[int, int] | None = None, text: str | None = None) -> Scene:
    """The scene number `index` of the stream `seed`; `size` and `text` override what chance would choose."""
    rng = random.Random(f"shapes/{seed}/{index}")
    width, height = size or choose_size(rng)
    wants_text = rng.random() < 0.45 or text is not None
    words = choose_text(rng, width, height, text) if wants_text else None
    count = rng.choices(range(5), [0.08, 0.27, 0.3, 0.2, 0.15] if words else [0.02, 0.23, 0.3, 0.25, 0.2])[0]
    cells = [cell for cell in range(9) if not (words and cell // 3 == words.row)]
    objects = []
    for _ in range(count):
        placed = place_object(rng, width, height, cells, objects, words)
        if placed:
            cells.remove(placed.cell)
            objects.append(placed)
    objects.sort(key=lambda o: o.cell)
    noise = rng.choice([0.0, 0.0, rng.uniform(1, 12)])
    return Scene(width, height, choose_backdrop(rng), noise, rng.getrandbits(32), objects, words)


def choose_size(rng) -> tuple[int, int]:
    side = rng.randint(96, 288)
    ratio = rng.choices([1.0, rng.uniform(0.75, 1.34), rng.uniform(0.56, 1.78)], [0.55, 0.35, 0.1])[0]
    return (side, max(64, round(side / ratio))) if ratio >= 1 else (max(64, round(side * ratio)), side)


def choose_backdrop(rng) -> tuple:
    """Two RGB colours, for the top and the bottom edge, both light."""

    def light():
        if rng.random() < 0.4:
            grey = rng.randint(205, 255)
            return (grey, grey, grey)
        return tuple(rng.randint(215, 255) for _ in range(3))

    if rng.random() < 0.35:
        return ((255, 255, 255), (255, 255, 255))
    first = light()
    return (first, light() if rng.random() < 0.3 else first)


def mix(rng, colour: str) -> tuple:
    low, high = PAINT[colour]
    return tuple(rng.randint(a, b) for a, b in zip(low, high))


def choose_text(rng, width: int, height: int, value: str | None) -> Text:
    if value is None:
        value = rng.choice(WORDS) if rng.random() < 0.65 else str(rng.randint(0, 99))
    row = rng.randrange(3)
    side = min(width, height)
    dot = side * rng.uniform(0.024, 0.033)
    columns = len(value) * (font.WIDTH + 1) - 1
    dot = min(dot, 0.92 * width / columns)
    slack = max(0.0, width * 0.95 - columns * dot) / 2
    x = width / 2 + rng.uniform(-slack, slack)
    y = height * (0.2 + 0.3 * row) + side * rng.uniform(-0.03, 0.03)
    colour = rng.choice(["black", "black", "blue", "red", "green", "purple"])
    return Text(value, row, x, y, dot, rng.uniform(-0.07, 0.07), mix(rng, colour))


def place_object(rng, width, height, cells, others, words) -> Object | None:
    """A new object in one of the free cells that keeps its distance from the others, or nothing after some tries."""
    shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
    # Repeats make "how many" worth asking.
    if others and rng.random() < 0.3:
        shape = rng.choice(others).shape
    if others and rng.random() < 0.3:
        colour = rng.choice(others).colour
    side = min(width, height)
    shift_y = 0.04 if words else 0.09
    for _ in range(20):
        cell, size = rng.choice(cells), rng.randrange(3)
        radius = side * rng.uniform(*RADII[size])
        x = width * (0.2 + 0.3 * (cell % 3) + rng.uniform(-0.09, 0.09))
        y = height * (0.2 + 0.3 * (cell // 3) + rng.uniform(-shift_y, shift_y))
        x = min(max(x, 0.9 * radius), width - 0.9 * radius)
        y = min(max(y, 0.9 * radius), height - 0.9 * radius)
        if all(math.dist((x, y), (o.x, o.y)) >= CLOSEST * (radius + o.radius) for o in others):
            angle = rng.uniform(-0.26, 0.26)
            return Object(shape, colour, SIZES[size], cell, x, y, radius, angle, mix(rng, colour))
    return None


def polygon(o: Object, sx: float, sy: float) -> list[tuple[float, float]]:
    cos, sin = math.cos(o.angle) * o.radius, math.sin(o.angle) * o.radius
    return [((o.x + px * cos - py * sin) * sx, (o.y + px * sin + py * cos) * sy) for px, py in OUTLINES[o.shape]]


def text_quads(text: Text, sx: float, sy: float, whole_letters: bool = False):
    """(position of the letter, polygon) for each run of dots of a text, or one for each letter."""
    columns = len(text.value) * (font.WIDTH + 1) - 1
    cos, sin = math.cos(text.angle) * text.dot, math.sin(text.angle) * text.dot

    def point(column, row):
        column, row = column - columns / 2, row - font.HEIGHT / 2
        return ((text.x + column * cos - row * sin) * sx, (text.y + column * sin + row * cos) * sy)

    for position, letter in enumerate(text.value):
        left = position * (font.WIDTH + 1)
        runs = [(0, 0, font.WIDTH)] if whole_letters else font.runs(letter)
        for row, start, end in runs:
            bottom = font.HEIGHT if whole_letters else row + 1
            corners = [(left + start, row), (left + end, row), (left + end, bottom), (left + start, bottom)]
            yield position, [point(*corner) for corner in corners]


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB; small pictures are drawn at twice their size so that edges are smooth."""
    scale = 2 if max(scene.width, scene.height) < 400 else 1
    top, bottom = scene.backdrop
    canvas = Image.new("RGB", (scene.width * scale, scene.height * scale), top)
    pen = ImageDraw.Draw(canvas)
    if top != bottom:
        for y in range(canvas.height):
            t = y / canvas.height
            pen.line([(0, y), (canvas.width, y)], tuple(round(a + (b - a) * t) for a, b in zip(top, bottom)))
    for o in scene.objects:
        pen.polygon(polygon(o, scale, scale), fill=o.paint)
    if scene.text:
        for _, quad in text_quads(scene.text, scale, scale):
            pen.polygon(quad, fill=scene.text.paint)
    if scale > 1:
        canvas = canvas.reduce(scale)
    if scene.noise:
        grain = np.random.default_rng(scene.noise_seed).normal(0, scene.noise, (scene.height, scene.width, 3))
        canvas = Image.fromarray(np.clip(np.asarray(canvas) + grain, 0, 255).astype(np.uint8))
    return canvas


def patch_labels(scene: Scene, grid: int) -> np.ndarray:
    """What covers each patch, 0 for nothing: [5, grid * grid] of shape, colour, size, cell, letter.

    They teach the vision tower directly, before and beside the language model.
    """
    fine = 4
    side = grid * fine
    index = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(index)
    sx, sy = side / scene.width, side / scene.height
    table = [(0, 0, 0, 0, 0)]
    for o in scene.objects:
        pen.polygon(polygon(o, sx, sy), fill=len(table))
        table.append((SHAPES.index(o.shape) + 1, COLOURS.index(o.colour) + 1, SIZES.index(o.size) + 1, o.cell + 1, 0))
    if scene.text:
        for position, quad in text_quads(scene.text, sx, sy, whole_letters=True):
            pen.polygon(quad, fill=len(table))
            table.append((0, 0, 0, 0, font.ORDER.index(scene.text.value[position]) + 1))
    cover = np.asarray(index).reshape(grid, fine, grid, fine).transpose(0, 2, 1, 3).reshape(grid * grid, fine * fine)
    counts = np.stack([(cover == i).sum(1) for i in range(len(table))], 1)
    counts[:, 0] = 2  # a patch is "nothing" unless some object covers more than 2 of its 16 sample points
    return np.array(table)[counts.argmax(1)].T
