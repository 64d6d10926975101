"""What transformers answers on 50 evaluation pictures, for other runtimes to compare with: tests/oracle/shapes."""

import argparse
import hashlib
import json
import random
from importlib.metadata import version
from pathlib import Path

import torch

import language
import world
from export import load_reference

REFERENCE_SEED = 2000
PICTURES = 50
SIZES = [(96, 96), (128, 128), (144, 144), (160, 120), (112, 150), (200, 112), (192, 192)]
ALWAYS = ["caption", "structured", "follow-up"]
OFTEN = 3  # further kinds for each picture


def message(role: str, text: str, image: bool = False) -> dict:
    parts = [{"type": "image"}] if image else []
    return {"role": role, "content": parts + [{"type": "text", "text": text}]}


@torch.no_grad()
def greedy(model, processor, messages, picture) -> dict:
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=[prompt], images=[[picture]], return_tensors="pt", add_special_tokens=False)
    out = model.generate(**inputs, do_sample=False, output_logits=True, return_dict_in_generate=True)
    best = torch.stack([step[0] for step in out.logits]).topk(2, -1).values
    tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    return dict(
        prompt=prompt,
        input_ids=inputs["input_ids"][0].tolist(),
        greedy_ids=tokens,
        greedy_text=processor.tokenizer.decode(tokens, skip_special_tokens=True),
        smallest_margin=round(float((best[:, 0] - best[:, 1]).min()), 4),
    )


def talk(model, processor, turns, picture) -> list[dict]:
    """The answers to a conversation's requests; the second request follows the model's own first answer."""
    messages, answers = [], []
    for request, truth in turns:
        messages.append(message("user", request, image=not messages))
        found = greedy(model, processor, messages, picture)
        said = found["greedy_text"].strip()
        answers.append(dict(messages=list(messages), **found, truth=truth, right=said == truth))
        messages.append(message("assistant", said))
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="where pictures and answers.json go")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model, processor = load_reference(args.checkpoint)
    others = [kind for kind in language.KINDS if kind not in ALWAYS]
    cases, worst = [], 1e9
    for index in range(PICTURES):
        rng = random.Random(f"shapes/reference/{index}")
        scene = world.make_scene(REFERENCE_SEED, index, size=SIZES[index % len(SIZES)])
        file = f"{index:02}.png"
        picture = world.draw(scene)
        picture.save(args.folder / file, optimize=True)
        answers = []
        for kind in ALWAYS + rng.sample(others, OFTEN):
            turns = language.ask(rng, scene, kind)
            for found in talk(model, processor, turns, picture) if turns else []:
                worst = min(worst, found["smallest_margin"])
                answers.append(dict(kind=kind, **found))
        cases.append(dict(picture=file, scene=index, size=list(picture.size), answers=answers))
    right = [answer["right"] for case in cases for answer in case["answers"]]
    packages = ("torch", "transformers", "tokenizers", "pillow", "numpy")
    record = dict(
        made_by="models/shapes/train/reference.py",
        seed=REFERENCE_SEED,
        model_sha256=hashlib.sha256((args.checkpoint / "model.safetensors").read_bytes()).hexdigest(),
        versions={name: version(name) for name in packages},
        dtype="float32",
        attention="eager",
        image_processor="Pillow backend",
        answers=len(right),
        right=sum(right),
        smallest_margin=worst,
        cases=cases,
    )
    # One case a line keeps the file readable and small.
    lines = ",\n".join(json.dumps(case) for case in cases)
    head = json.dumps({key: value for key, value in record.items() if key != "cases"}, indent=1)[:-2]
    (args.folder / "answers.json").write_text(f'{head},\n "cases": [\n{lines}\n]}}\n')
    print(f"{len(right)} answers, {sum(right)} right, smallest margin {worst}")


if __name__ == "__main__":
    main()
