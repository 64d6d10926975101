"""Measure a checkpoint on fresh pictures: the share of exactly right answers, for each kind of request.

A greedy answer is right, token for token, if and only if each token of the right answer, given those before it, is the
likeliest one. So one pass over the right answers measures what greedy decoding would say, for many requests at once;
captions that are not exact are then decoded for real, to see whether they still name every object with its colour.
"""

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import language
import packing
import pixels
import world
from network import Network
from stream import normalise

EVALUATION_SEED = 1200
BATCH = 16


def load(folder: Path, bits: int = 16) -> tuple[Network, packing.Packer]:
    config = json.loads((folder / "config.json").read_text())
    network = Network(config["vocab_size"], config["image_token_id"])
    weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
    if bits < 16:
        weights = {name: quantised(name, value, bits) for name, value in weights.items()}
    network.load_state_dict(weights)
    packer = packing.Packer(str(folder / "tokenizer.json"))
    packer.load()
    return network.eval(), packer


def quantised(name: str, weight: torch.Tensor, bits: int, group: int = 64) -> torch.Tensor:
    """A language model's matrix after affine quantisation in groups along its rows, as MLX stores it, and back."""
    if weight.dim() != 2 or "vision" in name or weight.shape[1] % group:
        return weight
    w = weight.view(weight.shape[0], -1, group)
    low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp(min=1e-8)
    return (((w - low) / step).round() * step + low).view_as(weight)


def requests(index: int, scene) -> list[tuple[str, list]]:
    """One conversation of each kind that can be asked about the scene."""
    found = []
    for kind in language.KINDS:
        turns = language.ask(random.Random(f"shapes/ask/{EVALUATION_SEED}/{index}/{kind}"), scene, kind)
        if turns:
            found.append((kind, turns))
    return found


@torch.no_grad()
def judge(network, packer, scenes, asked) -> list[list[bool]]:
    """For each scene and each of its conversations: are all tokens of all its answers right?"""
    packed = [[packer.block(turns) for _, turns in row] for row in asked]
    length = max(len(packer.prefix) + sum(len(ids) for ids, _ in row) for row in packed)
    columns = zip(*(packer.arrange(row, length) for row in packed))
    ids, blocks, positions, weights = (torch.from_numpy(np.stack(column)) for column in columns)
    images = torch.from_numpy(np.stack([pixels.to_square(world.draw(scene)) for scene in scenes]))
    _, hidden = network(normalise(images), ids, positions, packing.attention_mask(blocks))
    guesses = network.lm_head(hidden).argmax(-1)
    wrong = (guesses[:, :-1] != ids[:, 1:]) & (weights[:, 1:] > 0)
    return [
        [not bool((wrong[i] & (blocks[i, 1:] == number + 1)).any()) for number in range(len(row))]
        for i, row in enumerate(asked)
    ]


@torch.no_grad()
def answer(network, packer, scene, request: str, limit: int = 80) -> str:
    """Greedy decoding of one request, the plain way."""
    ids = packer.prefix + packer.encode(request) + packer.reply
    start = len(ids)
    image = normalise(torch.from_numpy(np.array(pixels.to_square(world.draw(scene))))[None])
    while len(ids) < start + limit:
        mask = torch.ones(1, 1, len(ids), len(ids), dtype=torch.bool).tril()
        _, hidden = network(image, torch.tensor([ids]), torch.arange(len(ids))[None], mask)
        ids.append(int(network.lm_head(hidden[0, -1]).argmax()))
        if ids[-1] == packer.end[0]:
            break
    return packer.tokenizer.decode(ids[start:]).strip()


def names_everything(text: str, scene) -> bool:
    """Does a caption name exactly the scene's objects, each with its colour, in whatever order?"""
    words = text.lower().replace(",", " ").replace(".", " ").split()
    said = Counter(pair for pair in zip(words, words[1:]) if pair[0] in world.COLOURS and pair[1] in world.SHAPES)
    return said == Counter((o.colour, o.shape) for o in scene.objects)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the checkpoint")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--bits", type=int, default=16, help="4 or 8: quantise the language model first")
    parser.add_argument("--mistakes", type=int, default=0, help="print so many wrong answers")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    network, packer = load(args.folder, args.bits)
    started = time.time()
    right, total, named = Counter(), Counter(), 0
    for first in range(0, args.pictures, BATCH):
        indices = range(first, min(first + BATCH, args.pictures))
        scenes = [world.make_scene(EVALUATION_SEED, index) for index in indices]
        asked = [requests(index, scene) for index, scene in zip(indices, scenes)]
        for index, scene, row, marks in zip(indices, scenes, asked, judge(network, packer, scenes, asked)):
            for (kind, turns), good in zip(row, marks):
                total[kind] += 1
                right[kind] += good
                said = None
                if kind == "caption":
                    said = turns[0][1] if good else answer(network, packer, scene, turns[0][0])
                    named += names_everything(said, scene)
                if not good and args.mistakes > 0:
                    args.mistakes -= 1
                    got = said or answer(network, packer, scene, turns[0][0])
                    print(f"picture {index}, {kind}: {turns}\n    said: {got!r}")
    questions = [kind for kind in language.KINDS if kind not in ("caption", "detail", "structured")]
    figures = dict(
        pictures=args.pictures,
        seed=EVALUATION_SEED,
        bits=args.bits,
        exact={kind: round(100 * right[kind] / total[kind], 1) for kind in language.KINDS},
        asked=dict(total),
        questions=sum(total[kind] for kind in questions),
        questions_exact=round(100 * sum(right[k] for k in questions) / sum(total[k] for k in questions), 2),
        captions_naming_everything=round(100 * named / args.pictures, 1),
    )
    for kind in language.KINDS:
        print(f"{kind:16s} {figures['exact'][kind]:6.1f} %  of {total[kind]}")
    print(f"questions exact: {figures['questions_exact']} % of {figures['questions']}")
    print(f"captions naming every object: {figures['captions_naming_everything']} %")
    print(f"{time.time() - started:.0f} s")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
