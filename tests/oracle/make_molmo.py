"""A small Molmo and what the published code answers with it: writes molmo/ (a folder as on Hugging Face, golden.json, golden.safetensors and
sizes.json).

    python make_molmo.py FOLDER    (made with torch 2.15.0, transformers 5.23.0, einops 0.8.2, Pillow 13.0.0)

FOLDER has `config_molmo.py`, `modeling_molmo.py` and `image_preprocessing_molmo.py` of allenai/Molmo-7B-D-0924, whose own classes answer: transformers
has none of this model. They are in public copies of the repository (github.com/reubzdubz/Molmo7B_D_NF4Quant at 6afb2ae). Weights are random, multiples
of what bfloat16 holds; the tokenizer is nanollava's with Molmo's tokens after the last row of the first table of embeddings, as published. Changed from
outside: pictures are resized by Pillow's bilinear filter to bytes, where the original resizes in floats (TensorFlow, in later revisions torchvision), so
a pixel differs from it by half a grey level at most; MolmoProcessor's few lines about beginning and message format are written here anew, as its
base class has changed. Of pixels every 5th is kept. Not checked: the published tokenizer and weights. Several pictures: the published code gives all of
them the tokens of the first, so one is taken.
"""

import json
import shutil
import sys
from pathlib import Path

import molmo_pictures
import numpy as np
import torch
import transformers
from collect_parity import packed
from molmo_pictures import SHAPE, fitted, modules
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer

HERE = Path(__file__).parent
OUT, WORDS = HERE / "molmo", HERE / "nanollava"
STEPS, EVERY = 16, 5
MARKS = ["<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<|image|>"]
CASES = {
    "image": ("Describe the image in one short sentence.", "image.png"),
    "tall": ("What differs?", "image2.png"),
    "text": ("Name three colours.", None),
}
SIZES = [(1, 1), (16, 3000), (3000, 16), (112, 112), (333, 217), (1024, 1024), (5477, 7819), (336, 336), (337, 336), (640, 480), (1541, 1540)]


_, modeling, pictures = modules(sys.argv[1], "config_molmo", "modeling_molmo", "image_preprocessing_molmo")
processor = molmo_pictures.processor(pictures)


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


OUT.mkdir(exist_ok=True)
for name in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / name, OUT / name)
words = json.loads((WORDS / "tokenizer.json").read_text())
vocabulary = 480
first = max(token["id"] for token in words["added_tokens"]) + 1
unused = [f"|<EXTRA_TOKENS_{id}>|" for id in range(first, vocabulary)]
words["added_tokens"] += [{"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                          for id, content in enumerate(unused + MARKS, first)]
(OUT / "tokenizer.json").write_text(json.dumps(words, ensure_ascii=False) + "\n")
write("tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})
tokens = Tokenizer.from_file(str(OUT / "tokenizer.json"))
ids = {mark: tokens.token_to_id(mark) for mark in MARKS}
assert min(ids.values()) == vocabulary, ids
text = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, vocab_size=vocabulary,
            embedding_size=vocabulary, layer_norm_eps=1e-6, rope_theta=1000000.0, max_position_embeddings=1024)
full = modeling.FullMolmoConfig(
    image_padding_embed="pad_and_partial_pad", image_pooling_2d="attention-meanq", attention_layer_norm=False, rope_impl="llama", vocab_size=vocabulary,
    embedding_size=vocabulary, max_sequence_length=1024, qkv_bias=True, norm_after=False, attention_type="sdpa", embedding_dropout=0,
    attention_dropout=0, residual_dropout=0, rope=True, weight_tying=False, include_bias=False, d_model=48, mlp_hidden_size=96, n_layers=2,
    additional_vocab_size=8, n_heads=4, n_kv_heads=2, rope_theta=1000000.0, layer_norm_eps=1e-6, layer_norm_type="rms", vit_layers=[-2, -4],
    vision_backbone=modeling.VisionBackboneConfig(
        image_default_input_size=(112, 112), image_emb_dim=32, image_num_heads=4, image_num_key_value_heads=4, image_num_layers=5, image_head_dim=8,
        image_mlp_dim=48, image_mlp_activations="quick_gelu", image_num_pos=65),
)
model = modeling.Molmo(full, init_params=False).eval()


@torch.no_grad()
def draw(seed):
    """Nothing is dead: each part changes the answer."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name or "ln_f" in name or "pre_ln" in name:
            random = (0 if name.endswith("bias") else 1) + 0.1 * random
        elif name.endswith("bias"):
            random *= 0.1
        elif weight.dim() == 2 and "embed" not in name or "patch_embedding" in name:
            random *= weight.shape[1] ** -0.5 * (2 if name.endswith("transformer.ff_out.weight") else 1)
        else:
            random *= 0.7
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(said, file):
    prompt = f" User: {said} Assistant:"
    asked = np.array(tokens.encode(prompt, add_special_tokens=False).ids, np.int32)
    begin = tokens.token_to_id("<|endoftext|>")
    found = {"input_ids": asked}
    if file:
        image = np.asarray(Image.open(OUT / file).convert("RGB"))
        found = processor.multimodal_preprocess(
            images=[image], image_idx=[-1], tokens=asked, sequence_length=1024, image_patch_token_id=ids["<im_patch>"],
            image_col_token_id=ids["<im_col>"], image_start_token_id=ids["<im_start>"], image_end_token_id=ids["<im_end>"])
    read = torch.tensor(np.concatenate([[begin], found["input_ids"]]))[None].long()
    arrays = {"input_ids": read[0].numpy()}
    seen = {}
    if file:
        places = found["image_input_idx"]
        places = torch.tensor(np.where(places < 0, places, places + 1))[None].long()
        seen = {"images": torch.tensor(found["images"])[None], "image_masks": torch.tensor(found["image_masks"])[None], "image_input_idx": places}
        features = model.vision_backbone(seen["images"], seen["image_masks"])[0].flatten(1, 2)[0]
        places = places.flatten()
        order = torch.argsort(places)[int((places < 0).sum()):]
        arrays |= {"pixel_values": found["images"].astype(np.float32).flatten()[::EVERY], "image_features": features[order].numpy()}
    logits, every = [], None
    for _ in range(STEPS):
        step = model(input_ids=read, **seen).logits[0]
        every = step if every is None else every
        logits.append(step[-1])
        read = torch.cat([read, step[-1].argmax()[None, None]], 1)
    top = torch.stack(logits).topk(2).values
    arrays |= {"prefill_last_logits": every[-1].numpy(), "prefill_argmax": every.argmax(-1).numpy(), "step_logits": torch.stack(logits).numpy()}
    return arrays, read[0, -STEPS:].tolist(), float((top[:, 0] - top[:, 1]).min()), prompt


for seed in range(300):
    draw(seed)
    answers = {name: answer(*case) for name, case in CASES.items()}
    answered = [tuple(found[1]) for found in answers.values()]
    variety = min(len(set(row)) for row in answered)
    if min(found[2] for found in answers.values()) > 0.005 and len(set(answered)) == len(answered) and variety > 3:
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")

weights = {f"model.{name}": weight.contiguous().numpy() for name, weight in model.state_dict().items()}
save_file(weights, OUT / "model.safetensors")
write("config.json", {"architectures": ["MolmoForCausalLM"], "model_type": "molmo", "attention_layer_norm": False, "clip_qkv": None, "layer_norm_type": "rms",
                      "norm_after": False, "qkv_bias": True, "use_position_ids": True, "weight_tying": False, "tie_word_embeddings": False} | text | {
    "vision_config": {"image_num_heads": 4, "vit_layers": [-2, -4]}})
write("preprocessor_config.json", SHAPE | {"do_normalize": True, "image_mean": list(pictures.OPENAI_CLIP_MEAN), "image_std": list(pictures.OPENAI_CLIP_STD),
                                           "image_padding_mask": True, "image_processor_type": "MolmoImageProcessor", "processor_class": "MolmoProcessor"})
arrays = {f"{case}/{name}": array for case, (found, *_) in answers.items() for name, array in found.items()}
arrays = {name: np.ascontiguousarray(part) for key, array in arrays.items() for name, part in packed(key, array).items()}
save_file(arrays, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
write("golden.json", {
    "arch": "molmo", "stands_for": "allenai/Molmo-7B-D-0924", "seed": seed,
    "reference": {"torch": torch.__version__, "transformers": transformers.__version__, "class": "modeling_molmo.Molmo",
                  "code": "github.com/reubzdubz/Molmo7B_D_NF4Quant at 6afb2ae"},
    "cases": {
        name: {"messages": [{"role": "user", "content": ([{"type": "image"}] if CASES[name][1] else []) + [{"type": "text", "text": CASES[name][0]}]}],
               "images": [CASES[name][1]] if CASES[name][1] else [], "prompt": prompt, "greedy_tokens": chosen, "min_margin": margin}
        for name, (_, chosen, margin, prompt) in answers.items()
    },
})
cases = []
for width, height in SIZES:
    down, across = (int(count) for count in pictures.select_tiling(height - 112, width - 112, 224, 12))
    inside = fitted((width, height), (down * 224 + 112, across * 224 + 112))
    features = 144 + (across * 16 + 9) // 2 * ((down * 16 + 9) // 2)
    cases.append({"size": [width, height], "crops": [across, down], "inside": [max(side, 1) for side in inside], "features": features})
(OUT / "sizes.json").write_text('{"cases": [\n' + ",\n".join("  " + json.dumps(case) for case in cases) + "\n]}\n")
for name, (found, chosen, margin, _) in answers.items():
    print(name, len(found["input_ids"]), chosen, round(margin, 4))
print("seed", seed, {file.name: file.stat().st_size for file in sorted(OUT.iterdir())}, sum(file.stat().st_size for file in OUT.iterdir()))
