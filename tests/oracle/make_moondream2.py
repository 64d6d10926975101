"""A small Moondream 2 and what the original answers with it: writes moondream2/ (a folder as on Hugging Face, golden.json, golden.safetensors and
sizes.json).

    python make_moondream2.py FOLDER    (made with github.com/vikhyat/moondream at 44146f1, torch 2.15.0, tokenizers 0.23.3, Pillow 13.0.0)

FOLDER is a clone of the original, whose own code answers (`moondream/torch`): no class of transformers has this model. Weights are random, multiples
of what bfloat16 holds. Changed from outside: the tokenizer is nanollava's (the original takes moondream/starmie-v1 from the hub); numbers are of 32
bits, pixels too (the original rounds pixels to bfloat16); a head turns 8 of its 16 elements (32 of 64 is a constant of the original); the vision
transformer has 2 blocks (27 is its constant for blocks and for features along a side). Pictures are resized by Pillow's Lanczos: the original prefers
pyvips where that is installed, whose numbers differ and were not compared. Of pixels every 37th is kept. Not checked: the published tokenizer and
weights, reasoning, LoRA variants. The original stops after 50 points or rectangles unless it is told otherwise; here it is asked for more than it finds.
"""

import dataclasses
import functools
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from collect_parity import packed
from PIL import Image, ImageDraw
from safetensors.numpy import save_file
from tokenizers import Tokenizer

sys.path.insert(0, sys.argv[1])
import moondream.torch.moondream as original  # noqa: E402
from moondream.torch import config as sizes  # noqa: E402
from moondream.torch import image_crops, rope, text  # noqa: E402

HERE = Path(__file__).parent
OUT, WORDS = HERE / "moondream2", HERE / "nanollava"
STEPS, EVERY = 16, 37
END, NEVER = 9, -100.0
CASES = {
    "image": ("query", "How many objects are there?", "image.png"),
    "crops": ("query", "What is in the middle?", "wide.png"),
    "caption": ("caption", "short caption", "image.png"),
}
# Of the end's row of the head, see `end`: other rows have a length of 3.
RIDGE, LONGEST = 0.02, 15
POINT = ("point: a red disc", "wide.png")
DETECT = ("detect: a blue wall", "wide.png")
SIZES = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024), (5477, 7819), (378, 378), (379, 378), (379, 379), (645, 380), (700, 500), (640, 480)]


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def pixels(image, config, device=None):
    """As `prepare_crops`, in 32 bits."""
    found = image_crops.overlap_crop_image(np.array(image.convert("RGB")), max_crops=config.max_crops, overlap_margin=config.overlap_margin)
    crops = torch.from_numpy(np.transpose(found["crops"], (0, 3, 1, 2))).float().div_(255.0).sub_(0.5).div_(0.5)
    return crops, found["tiling"]


OUT.mkdir(exist_ok=True)
shutil.copyfile(WORDS / "image.png", OUT / "image.png")
wide = Image.new("RGB", (700, 500), (230, 220, 200))
draw_on = ImageDraw.Draw(wide)
draw_on.rectangle((40, 60, 300, 420), fill=(30, 60, 160))
draw_on.ellipse((330, 120, 640, 440), fill=(190, 40, 40), outline=(20, 20, 20), width=6)
for line in range(0, 700, 25):
    draw_on.line((line, 0, 700 - line, 500), fill=(60, 140, 90))
wide.save(OUT / "wide.png", optimize=True)
for name in ("tokenizer.json", "tokenizer_config.json"):
    shutil.copyfile(WORDS / name, OUT / name)
words = Tokenizer.from_file(str(OUT / "tokenizer.json"))
vocabulary = 512
around = {"prefix": [11, 21, 12], "suffix": [13]}
length = lambda word: [11, 22, 12, word, 13]
tokens = dict(bos_id=10, eos_id=9, answer_id=13, thinking_id=14, coord_id=15, size_id=16, start_ground_points_id=17, end_ground_id=18, templates={
    "caption": {"short": length(23), "normal": length(24), "long": length(25)}, "query": around,
    "detect": {"prefix": [11, 26, 12], "suffix": [13]}, "point": {"prefix": [11, 27, 12], "suffix": [13]}})
parts = dict(
    text=dict(dim=64, ff_dim=96, n_layers=2, vocab_size=vocabulary, max_context=2048, n_heads=4, n_kv_heads=4),
    vision=dict(enc_dim=24, enc_n_layers=2, enc_ff_dim=32, enc_n_heads=2, proj_out_dim=64, proj_inner_dim=48),
    region=dict(dim=64, coord_feat_dim=16, coord_out_dim=1024, size_feat_dim=16, size_out_dim=2048, inner_dim=8),
    tokenizer=tokens,
)
original.Tokenizer = SimpleNamespace(from_pretrained=lambda name: words)
original.prepare_crops = pixels
text.apply_rotary_emb = functools.partial(rope.apply_rotary_emb, rot_dim=8)
config = sizes.MoondreamConfig.from_dict(parts)
model = original.MoondreamModel(config, dtype=torch.float32).eval()
model.config = dataclasses.replace(config, vision=dataclasses.replace(config.vision, enc_n_layers=27))

recorded = []
plain_head = original.lm_head


def recording(hidden, w):
    logits = plain_head(hidden, w)
    recorded.append((logits[0].clone(), text.layer_norm(hidden[:, -1, :], w.post_ln)[0]))
    return logits


original.lm_head = recording
sizes_found = []
plain_sizes = original.decode_size


def recording_sizes(hidden, w):
    logits = plain_sizes(hidden, w)
    sizes_found.append(logits.argmax(-1).tolist())
    return logits


original.decode_size = recording_sizes


@torch.no_grad()
def draw(seed):
    """Nothing is dead: each part changes the answer."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if ".ln" in name or "post_ln" in name:
            random = (1 if name.endswith("weight") else 0) + 0.1 * random
        elif weight.dim() == 1:
            random *= 0.1
        elif "wte" not in name and "pos_emb" not in name and "features" not in name:
            random *= weight[0].numel() ** -0.5 * (3 if "lm_head" in name or "_decoder" in name else 1)
        weight.copy_(random.bfloat16())
    # Ids of no token come after the tokenizer's: the plugin has places there.
    model.text.lm_head.bias[words.get_vocab_size():] = NEVER
    model.text.lm_head.bias[END] = NEVER


def answer(kind, said, file):
    picture = Image.open(OUT / file).convert("RGB")
    recorded.clear()
    settings = {"temperature": 0, "max_tokens": STEPS, "variant": None}
    if kind == "query":
        model.query(picture, said, settings=settings)["answer"]
        asked = around["prefix"] + words.encode(said).ids + around["suffix"] * 2
    else:
        model.caption(picture, length="short", settings=settings)["caption"]
        asked = tokens["templates"]["caption"]["short"]
    # The original computes one step more than it takes.
    taken = recorded[:STEPS]
    logits = torch.stack([step for step, _ in taken])
    chosen = logits.argmax(-1).tolist()
    top = logits.topk(2).values
    crops, _ = pixels(picture, config.vision)
    arrays = {
        "input_ids": np.array([10] * 730 + asked), "pixel_values": crops.flatten()[::EVERY].numpy(), "step_logits": logits.numpy(),
        "image_features": model._run_vision_encoder(picture).detach().numpy(),
    }
    return arrays, chosen, float((top[:, 0] - top[:, 1]).min()), len(recorded), taken


def point(most):
    recorded.clear()
    return model.point(Image.open(OUT / POINT[1]).convert("RGB"), POINT[0].split(": ")[1], settings={"max_objects": most, "variant": None})["points"]


def detect(most):
    recorded.clear()
    sizes_found.clear()
    settings = {"max_objects": most, "variant": None}
    return model.detect(Image.open(OUT / DETECT[1]).convert("RGB"), DETECT[0].split(": ")[1], settings=settings)["objects"]


@torch.no_grad()
def end():
    """The end's row of the head: what ends points and rectangles after the third, and no text."""
    # No word is asked for after a place across, nor for a size.
    point(4)
    points = recorded[::2]
    detect(4)
    rectangles = recorded[::3]
    steps = points + rectangles + [step for case in CASES.values() for step in answer(*case)[4]]
    wanted = torch.stack([logits.max() - 4 for logits, _ in steps])
    for third in (3, len(points) + 3):
        wanted[third] += 5
    states = torch.stack([state for _, state in steps])
    # Not to the last digit: a long row would make much of what states are rounded by.
    return torch.linalg.solve(states.T @ states + RIDGE * torch.eye(states.shape[1]), states.T @ wanted).bfloat16()


for seed in range(1000):
    draw(seed)
    with torch.no_grad():
        row = end()
        if row.norm() > LONGEST:
            continue
        model.text.lm_head.weight[END] = row
        model.text.lm_head.bias[END] = 0
    with torch.inference_mode():
        points = point(6)
        objects, bins = detect(6), list(sizes_found)
        answers = {name: answer(*case) for name, case in CASES.items()}
    answered = [tuple(found[1]) for found in answers.values()]
    whole = all(len(row) == STEPS and not {END, 13} & set(row) for row in answered)
    varied = min(len(set(row)) for row in answered) > 3 and len(set(answered)) == len(answered)
    if whole and varied and min(found[2] for found in answers.values()) > 0.005 and len(points) == len(objects) == 3 and all(
            found[0] != found[1] for found in (points, objects, bins)):
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")

weights = {f"model.{name}": weight.contiguous().numpy() for name, weight in model.state_dict().items() if "kv_cache" not in name}
save_file(weights, OUT / "model.safetensors")
write("config.json", {"architectures": ["HfMoondream"], "model_type": "moondream1", "torch_dtype": "float32", "config": parts})
arrays = {f"{case}/{name}": array for case, (found, *_) in answers.items() for name, array in found.items()}
# As those of `image`, and as the first of `crops` are made.
for name in ("caption/pixel_values", "caption/image_features", "image/image_features"):
    del arrays[name]
arrays = {name: np.ascontiguousarray(part) for key, array in arrays.items() for name, part in packed(key, array).items()}
save_file(arrays, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
messages = lambda said: [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": said}]}]
write("golden.json", {
    "arch": "moondream2", "stands_for": "vikhyatk/moondream2 of June 2025", "seed": seed,
    "reference": {"torch": torch.__version__, "class": "moondream.torch.moondream.MoondreamModel",
                  "code": "github.com/vikhyat/moondream at 44146f1"},
    "cases": {name: {"messages": messages(CASES[name][1]), "images": [CASES[name][2]], "prompt": CASES[name][1], "greedy_tokens": chosen,
                     "min_margin": margin} for name, (_, chosen, margin, *_) in answers.items()},
    "point": {"said": POINT[0], "image": POINT[1], "points": [[point["x"], point["y"]] for point in points]},
    # Corners as parts of the sides, and which of 1,024 widths and heights each has.
    "detect": {"said": DETECT[0], "image": DETECT[1], "sizes": bins,
               "rectangles": [[box[side] for side in ("x_min", "y_min", "x_max", "y_max")] for box in objects]},
})
grid = lambda width, height: image_crops.select_tiling(height - 112, width - 112, 266, 12)
(OUT / "sizes.json").write_text('{"cases": [\n' + ",\n".join(
    "  " + json.dumps({"size": list(size), "crops": list(grid(*size))[::-1]}) for size in SIZES) + "\n]}\n")
print("points", points)
print("objects", objects, bins)
for name, (found, chosen, margin, steps, _) in answers.items():
    print(name, found["input_ids"][730:].tolist(), chosen, round(margin, 4), steps)
print("seed", seed, {file.name: file.stat().st_size for file in sorted(OUT.iterdir())}, sum(file.stat().st_size for file in OUT.iterdir()))
