"""What can be said about a scene: requests in several phrasings, each with the one right answer."""

import random

from world import COLOURS, PLACES, SHAPES, Scene

CAPTION = [
    "Describe this picture.", "Describe the picture.", "Describe the image.", "Describe this image.",
    "What is in this image?", "What is in this picture?", "What is in the picture?", "What do you see?",
    "What can you see in this picture?", "Caption this.", "Caption this image.", "Write a caption.",
    "Describe what you see.", "What does this picture show?", "What is this?", "Tell me about this picture.",
]  # fmt: skip
DETAIL = [
    "Describe this picture in detail.", "Describe the image in detail.", "Describe the picture with sizes and places.",
    "Give a detailed description.", "Describe everything in this picture.",
]  # fmt: skip
STRUCTURED = [
    "Give a title, a description and keywords.", "Write a title, a description and keywords.",
    "Title, description and keywords, please.", "Give me a title, a description and keywords for this picture.",
    "Answer with Title, Description and Keywords.", "Write a title, a description and keywords for this image.",
]  # fmt: skip
COUNT_ALL = [
    "How many shapes are there?", "How many objects are there?", "How many shapes are in the picture?",
    "How many objects do you see?", "How many shapes can you see?", "Count the shapes.", "How many things are there?",
]  # fmt: skip
READ = [
    "What does it say?", "What does the text say?", "What is written here?", "Read the text.", "What word is this?",
    "What is the text in this picture?", "What does the picture say?", "What number is this?",
]  # fmt: skip
COLOUR_LIST = [
    "Which colours do you see?", "What colours are there?", "Which colors do you see?", "List the colours.",
    "What colors are in the picture?",
]  # fmt: skip
SHAPE_LIST = [
    "Which shapes do you see?", "What shapes are there?", "List the shapes.", "What shapes are in the picture?",
]  # fmt: skip
COUNT_SOME = [
    "How many {n} are there?", "How many {n} do you see?", "How many {n} are in the picture?", "Count the {n}.",
]  # fmt: skip
COLOUR_OF = [
    "What colour is the {n}?", "What color is the {n}?", "Which colour is the {n}?", "What is the colour of the {n}?",
]  # fmt: skip
WHERE = ["Where is the {n}?", "Where is the {n} in the picture?", "In which part of the picture is the {n}?"]
EXISTS = ["Is there {an}?", "Is there {an} in the picture?", "Do you see {an}?", "Can you see {an}?"]
SIZE_OF = ["How big is the {n}?", "What size is the {n}?"]
SHAPE_OF = ["Which shape is {c}?", "What is {c}?", "What shape is the {c} one?"]
AT = ["What is {p}?", "Which shape is {p}?", "What shape is {p}?", "What do you see {p}?"]
IS_COLOUR = ["Is the {n} {c}?"]
ANY_TEXT = ["Is there any text?", "Is there text in the picture?", "Is anything written here?"]

# Two-turn requests: the second question leans on the first.
COLOUR_IT = ["What colour is it?", "What color is it?", "And its colour?"]
WHERE_IT = ["Where is it?", "And where is it?", "Where?"]
SIZE_IT = ["How big is it?", "And how big is it?"]
COLOURS_THEM = ["Which colours are they?", "What colours are they?", "What colors are they?"]
SHAPES_THEM = ["Which shapes are they?", "What shapes are they?"]
WHAT_ELSE = ["What is there then?", "What do you see instead?", "So what is there?"]

YES_NO = ("no", "yes")
KINDS = [
    "caption", "detail", "structured", "count all", "count some", "colour", "where", "exists", "read", "size",
    "shape of colour", "what is at", "is it coloured", "colour list", "shape list", "absent", "any text", "follow-up",
]  # fmt: skip
# How often training asks each kind: at first evenly, later more of what is learnt slowly (lists, counts, repeats).
EARLY = [10, 4, 5, 4, 9, 9, 9, 9, 8, 4, 5, 9, 4, 4, 3, 3, 1, 10]
LATE = [14, 5, 8, 6, 14, 3, 4, 5, 6, 5, 3, 4, 6, 9, 9, 2, 1, 9]


def a(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def name(o) -> str:
    return f"{o.colour} {o.shape}"


def in_place(place: str) -> str:
    prepositions = {"left": "on", "right": "on", "top": "at", "bottom": "at"}
    return f"{prepositions.get(place, 'in')} the {place}"


def unique(items: list) -> list:
    return list(dict.fromkeys(items))


def text_kind(scene: Scene) -> str:
    return "number" if scene.text.value.isdigit() else "word"


def text_part(scene: Scene) -> list[str]:
    return [f"the {text_kind(scene)} {scene.text.value}"] if scene.text else []


def sentence(parts: list[str]) -> str:
    text = join(parts) if parts else "an empty picture"
    return text[0].upper() + text[1:] + "."


def caption(scene: Scene) -> str:
    return sentence([a(name(o)) for o in scene.objects] + text_part(scene))


def detail(scene: Scene) -> str:
    return sentence([f"{a(o.size)} {name(o)} {in_place(o.place)}" for o in scene.objects] + text_part(scene))


def structured(scene: Scene) -> str:
    count = len(scene.objects)
    if count:
        title = ("", "One shape", "Two shapes", "Three shapes", "Four shapes")[count]
        title += f" and a {text_kind(scene)}" if scene.text else ""
    else:
        title = f"A {text_kind(scene)}" if scene.text else "Empty picture"
    keywords = unique([w for o in scene.objects for w in (o.colour, o.shape)])
    keywords += [scene.text.value] if scene.text else []
    return f"Title: {title}\nDescription: {caption(scene)}\nKeywords: {', '.join(keywords) or 'empty'}"


def plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")


def find(scene: Scene, shape=None, colour=None) -> list:
    return [o for o in scene.objects if (not shape or o.shape == shape) and (not colour or o.colour == colour)]


def some_noun(rng, scene: Scene) -> tuple[str | None, str | None]:
    """A (shape, colour) to ask about, one of them or both; about as often there as not, and often nearly there."""
    shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
    if scene.objects and rng.random() < 0.75:
        o = rng.choice(scene.objects)
        if rng.random() < 0.7:
            shape, colour = o.shape, o.colour
        elif rng.random() < 0.5:
            shape = o.shape
        else:
            colour = o.colour
    form = rng.choices(["shape", "colour", "both"], [3, 3, 4])[0]
    return (shape if form != "colour" else None), (colour if form != "shape" else None)


def noun_of(shape, colour) -> str:
    return " ".join(w for w in (colour, shape or "shape") if w)


def single(rng, scene: Scene):
    """An object and the shortest or the full noun that means it alone; nothing if there is none."""
    choices = []
    for o in scene.objects:
        if len(find(scene, o.shape)) == 1:
            choices.append((o, o.shape))
        elif len(find(scene, o.shape, o.colour)) == 1:
            choices.append((o, name(o)))
        if len(find(scene, None, o.colour)) == 1 and rng.random() < 0.3:
            choices.append((o, f"{o.colour} shape"))
    if not choices:
        return None
    o, noun = rng.choice(choices)
    if noun == o.shape and rng.random() < 0.4:
        noun = name(o)
    return o, noun


def ask(rng: random.Random, scene: Scene, kind: str):
    """One conversation of this kind about the scene, as a list of (request, answer); nothing if it cannot be asked."""
    pick = rng.choice
    if kind == "caption":
        return [(pick(CAPTION), caption(scene))]
    if kind == "detail":
        return [(pick(DETAIL), detail(scene))]
    if kind == "structured":
        return [(pick(STRUCTURED), structured(scene))]
    if kind == "count all":
        return [(pick(COUNT_ALL), str(len(scene.objects)))]
    if kind == "count some":
        shape, colour = some_noun(rng, scene)
        return [(pick(COUNT_SOME).format(n=plural(noun_of(shape, colour))), str(len(find(scene, shape, colour))))]
    if kind == "exists":
        shape, colour = some_noun(rng, scene)
        return [(pick(EXISTS).format(an=a(noun_of(shape, colour))), YES_NO[bool(find(scene, shape, colour))])]
    if kind == "read":
        return [(pick(READ), scene.text.value if scene.text else "nothing")]
    if kind == "any text":
        return [(pick(ANY_TEXT), YES_NO[scene.text is not None])]
    if kind == "what is at":
        return at_place(rng, scene)
    if kind == "colour list":
        return [(pick(COLOUR_LIST), join(unique([o.colour for o in scene.objects]) or ["none"]))]
    if kind == "shape list":
        return [(pick(SHAPE_LIST), join(unique([o.shape for o in scene.objects]) or ["none"]))]
    if kind == "absent":
        shape = pick(SHAPES)
        form = pick(COLOUR_OF + WHERE + SIZE_OF)
        return None if find(scene, shape) else [(form.format(n=shape), f"there is no {shape}")]
    if kind == "follow-up":
        return follow_up(rng, scene)
    meant = single(rng, scene)
    return about_one(rng, scene, kind, *meant) if meant else None


def at_place(rng, scene):
    place = rng.choice(PLACES)
    if scene.objects and rng.random() < 0.65:
        place = rng.choice(scene.objects).place
    # The words of a text have no place of their own to ask about.
    if scene.text and PLACES.index(place) // 3 == scene.text.row:
        return None
    there = [o for o in scene.objects if o.place == place]
    spelled = in_place(place).replace("centre", rng.choice(["centre", "center", "middle"]))
    return [(rng.choice(AT).format(p=spelled), a(name(there[0])) if there else "nothing")]


def about_one(rng, scene, kind, o, noun):
    pick = rng.choice
    if kind == "colour":
        if noun.startswith(o.colour):
            if len(find(scene, o.shape)) > 1:
                return None
            noun = o.shape
        return [(pick(COLOUR_OF).format(n=noun), o.colour)]
    if kind == "where":
        return [(pick(WHERE).format(n=noun), in_place(o.place))]
    if kind == "size":
        return [(pick(SIZE_OF).format(n=noun), o.size)]
    if kind == "is it coloured":
        if len(find(scene, o.shape)) > 1:
            return None
        colour = o.colour if rng.random() < 0.5 else pick([c for c in COLOURS if c != o.colour])
        return [(pick(IS_COLOUR).format(n=o.shape, c=colour), YES_NO[colour == o.colour])]
    # shape of colour
    if len(find(scene, None, o.colour)) > 1:
        return None
    return [(pick(SHAPE_OF).format(c=o.colour), a(o.shape))]


def follow_up(rng, scene):
    pick = rng.choice
    if not scene.objects:
        return [(pick(COUNT_ALL), "0"), (pick(WHAT_ELSE), caption(scene))]
    form = rng.randrange(6)
    if form == 0:
        colours = join(unique([o.colour for o in scene.objects]))
        return [(pick(COUNT_ALL), str(len(scene.objects))), (pick(COLOURS_THEM), colours)]
    if form == 1:
        shapes = join(unique([o.shape for o in scene.objects]))
        return [(pick(COUNT_ALL), str(len(scene.objects))), (pick(SHAPES_THEM), shapes)]
    if form == 2:
        gone = [s for s in SHAPES if not find(scene, s)]
        return [(pick(EXISTS).format(an=a(pick(gone))), "no"), (pick(WHAT_ELSE), caption(scene))]
    meant = single(rng, scene)
    if not meant:
        return None
    o, noun = meant
    if form == 3:
        first = (pick(EXISTS).format(an=a(noun)), "yes")
    elif form == 4 and not (scene.text and o.cell // 3 == scene.text.row):
        first = (pick(AT).format(p=in_place(o.place)), a(name(o)))
    else:
        first = (pick(WHERE).format(n=noun), in_place(o.place))
    seconds = [(pick(SIZE_IT), o.size)]
    if not noun.startswith(o.colour) and form != 4:
        seconds += [(pick(COLOUR_IT), o.colour)] * 3
    if form in (3, 4) and first[1] != in_place(o.place):
        seconds += [(pick(WHERE_IT), in_place(o.place))] * 2
    return [first, pick(seconds)]


def vary(rng: random.Random, request: str) -> str:
    """The same request as people type it: now and then without capital or final mark, or with a polite word."""
    roll = rng.random()
    if roll < 0.06:
        request = request[0].lower() + request[1:]
    elif roll < 0.12:
        request = request.rstrip("?.")
    elif roll < 0.18:
        request = request[0].lower() + request[1:].rstrip("?.")
    elif roll < 0.22 and request.endswith("."):
        request = "Please " + request[0].lower() + request[1:]
    return request


def unknown_request(rng: random.Random) -> str:
    """A request the world has no answer to; the model then describes the picture."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = range(len(letters) + 4, 4, -1)
    words = ["".join(rng.choices(letters, weights, k=rng.randint(2, 8))) for _ in range(rng.randint(1, 5))]
    text = " ".join(words)
    return text.capitalize() + rng.choice(["", ".", "?", "!"])


def conversation(rng: random.Random, scene: Scene, weights=EARLY) -> list[tuple[str, str]]:
    """A training conversation: a kind by weight, now and then two single questions one after the other."""
    if rng.random() < 0.02:
        return [(unknown_request(rng), caption(scene))]
    turns = None
    while not turns:
        turns = ask(rng, scene, rng.choices(KINDS, weights)[0])
    if len(turns) == 1 and rng.random() < 0.1:
        more = ask(rng, scene, rng.choices(KINDS[3:17], weights[3:17])[0])
        turns = turns + (more or [])
    return [(vary(rng, request), answer) for request, answer in turns]


def corpus(count: int, scenes) -> list[str]:
    """Text to train the tokenizer on; the words in pictures are left out so that they stay single letters."""
    rng = random.Random("shapes/corpus")
    lines = []
    for scene in scenes:
        for _ in range(count):
            for request, answer in conversation(rng, scene):
                line = f"User: {request}\n{request}\nAssistant: {answer}"
                if scene.text:
                    line = line.replace(scene.text.value, "")
                lines.append(line)
    return lines
