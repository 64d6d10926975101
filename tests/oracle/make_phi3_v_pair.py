"""Two pictures for the tiny Phi-3.5-vision, as mlx-vlm answers them: adds the case `two_images` to phi3_v/golden.json and golden.safetensors.

    python make_phi3_v_pair.py    (made with mlx-vlm 0.7.10 and mlx 0.32.4 on CPU)

mlx-vlm has the tower's sizes in its code: they are set to the checkpoint's from outside. The prompt is the checkpoint's template with both marks in one
string, as the model's own code puts them. mlx-vlm gives the second picture's tokens the id -2; all are -1 here. Of pixels nothing is kept:
those of `image` are compared. The case's figures in low_precision.json are make_low_precision.py's, from an oracle folder with this case in it.
"""

import inspect
import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import mlx.core as mx
import mlx_vlm.models.phi3_v.phi3_v as phi3_v
import mlx_vlm.models.phi3_v.vision as vision
import numpy as np
from mlx_vlm.generate.ar import generate_step
from mlx_vlm.utils import load_model, load_processor, prepare_inputs
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

FOLDER = Path(__file__).parent / "phi3_v"
STEPS, CASE = 16, "two_images"
FILES, ASKED = ["image.png", "image2.png"], "Compare the two images."
PROMPT = f"<|user|>\n<|image_1|>\n<|image_2|>\n{ASKED}<|end|>\n<|assistant|>\n"


def small_tower():
    names = dict(vars(vision))
    exec(inspect.getsource(vision.VisionModel).replace("image_dim_out = 1024", "image_dim_out = 32"), names)
    small = names["VisionModel"]
    small.CLIP_VIT_LARGE_PATCH14_336_CONFIG = SimpleNamespace(
        model_type="phi3_v", hidden_size=32, intermediate_size=48, num_attention_heads=4, num_hidden_layers=3, layer_norm_eps=1e-5, num_channels=3,
        image_size=336, patch_size=14)
    return small


phi3_v.VisionModel = small_tower()
with tempfile.TemporaryDirectory() as copy:
    # mlx-vlm reads all files of weights, the goldens too.
    for file in (file for file in FOLDER.iterdir() if file.name != "golden.safetensors"):
        shutil.copyfile(file, Path(copy) / file.name)
    model, processor = load_model(Path(copy)), load_processor(Path(copy), True)
    mx.eval(model.parameters())


def answer(prompt, files):
    given = prepare_inputs(processor, images=[str(FOLDER / file) for file in files], prompts=prompt, add_special_tokens=True)
    ids, pixels, mask = (given.pop(key, None) for key in ("input_ids", "pixel_values", "attention_mask"))
    tokens, logits = [], []
    for token, row in generate_step(ids, model, pixels, mask, max_tokens=STEPS, temperature=0.0, **given):
        tokens.append(int(token))
        logits.append(np.array(row.astype(mx.float32)).reshape(-1))
    return np.array(ids), tokens[:STEPS], np.stack(logits[:STEPS])


golden = json.loads((FOLDER / "golden.json").read_text())
arrays = load_file(FOLDER / "golden.safetensors")
# What is there already is answered as it was.
known = golden["cases"]["image"]
ids, tokens, logits = answer(known["prompt"], known["images"])
assert np.array_equal(ids, arrays["image/input_ids"]) and tokens == known["greedy_tokens"]
assert np.abs(logits - arrays["image/mlx_step_logprobs"]).max() < 1e-4

ids, tokens, logits = answer(PROMPT, FILES)
assert {-1, -2} <= set(ids[0].tolist())
top = np.sort(logits, axis=-1)
margin = float((top[:, -1] - top[:, -2]).min())
print(len(ids[0]), tokens, margin)
assert margin > 0.005 and len(set(tokens)) > 3
golden["cases"][CASE] = {
    "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": ASKED}]}],
    "images": FILES, "prompt": PROMPT, "greedy_tokens": tokens, "greedy_text": Tokenizer.from_file(str(FOLDER / "tokenizer.json")).decode(tokens),
    "min_margin": margin,
}
arrays[f"{CASE}/input_ids"] = np.where(ids < 0, -1, ids).astype(np.int64)
arrays[f"{CASE}/mlx_step_logprobs"] = logits
save_file(arrays, FOLDER / "golden.safetensors")
(FOLDER / "golden.safetensors").chmod(0o644)
(FOLDER / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
