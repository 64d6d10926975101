"""A small LLaVA-OneVision and what transformers answers with it: writes llava_onevision/ (a folder as on Hugging Face, golden.json, golden.safetensors,
sizes.json).

    python make_llava_onevision.py    (made with transformers 5.23.0, torch 2.15.0, Pillow)

LlavaOnevisionForConditionalGeneration with random weights under the names of llava-hf's repositories. The tokenizer is nanollava's words with the
published special tokens; the template is written from knowledge of the published one.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from collect_parity import packed
from jinja2 import Environment
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_weights
from tokenizers import AddedToken, Tokenizer
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration
from transformers.image_processing_utils import select_best_resolution
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

HERE = Path(__file__).parent
OUT, WORDS, STEPS = HERE / "llava_onevision", HERE / "nanollava", 16
TEMPLATE = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}\
{{ '<image>' }}{% endfor %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\\n' + content['text'] }}{% endfor %}\
{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
# One picture whose tiles are too many and are stretched to fewer, one whose are not, two that are not cut.
CASES = {"image": ("What is in the picture?", ["image.png"]), "small": ("What is in the picture?", ["image3.png"]),
         "two_images": ("What differs?", ["image.png", "image2.png"]), "text": ("What is the capital of France?", [])}
SIZES = [(1, 1), (16, 3000), (3000, 16), (1, 2000), (333, 217), (160, 241), (100, 40), (384, 384), (385, 384), (1024, 1024), (2304, 2304), (5477, 7819), (640, 480),
         (1920, 1080), (3000, 900), (900, 3000)]
SIDE, PATCH, TILES, MOST = 56, 14, 4, 6
PINPOINTS = [[SIDE * rows, SIDE * columns] for rows in range(1, TILES + 1) for columns in range(1, TILES + 1)]
RULES = dict(do_convert_rgb=True, do_normalize=True, do_pad=True, do_rescale=True, do_resize=True, image_grid_pinpoints=PINPOINTS, image_mean=[0.5] * 3,
             image_std=[0.5] * 3, resample=3, rescale_factor=1 / 255, size={"height": SIDE, "width": SIDE})
VISION = dict(model_type="siglip_vision_model", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=PATCH,
              vision_use_head=False)


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def tokenizer():
    words = json.loads((WORDS / "tokenizer.json").read_text())
    found = Tokenizer.from_str(json.dumps(words, ensure_ascii=False))
    found.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<|im_start|>", "<|im_end|>", "<image>", "<video>")])
    (OUT / "tokenizer.json").write_text(found.to_str() + "\n")
    write("tokenizer_config.json", {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "image_token": "<image>", "video_token": "<video>",
                                    "tokenizer_class": "Qwen2TokenizerFast"})
    return found


@torch.no_grad()
def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            random = 1 + 0.1 * random
        elif weight.dim() == 1 and "newline" not in name:
            random *= 0.1
        elif not any(part in name for part in ("embed_tokens", "position_embedding", "newline")):
            random *= (1.6 if "language" in name else 1.2) * weight[0].numel() ** -0.5
        weight.copy_(random.bfloat16())


class Rules:
    """What `LlavaOnevisionProcessor` counts features with."""

    def __init__(self, images, features, most):
        self.image_processor, self.num_image_tokens, self.vision_aspect_ratio, self.vision_feature_select_strategy = images, features, f"anyres_max_{most}", "full"
        self.image_token = "<image>"

    replace_image_token = LlavaOnevisionProcessor.replace_image_token
    _get_number_of_features = LlavaOnevisionProcessor._get_number_of_features
    _get_unpadded_features = LlavaOnevisionProcessor._get_unpadded_features


@torch.no_grad()
def answer(model, tokens, images, text, files):
    messages = [{"role": "user", "content": [{"type": "image"}] * len(files) + [{"type": "text", "text": text}]}]
    rendered = Environment().from_string(TEMPLATE).render(messages=messages, add_generation_prompt=True)
    seen = dict(images(images=[[Image.open(OUT / file).convert("RGB") for file in files]], return_tensors="pt")) if files else {}
    rules, expanded = Rules(images, (SIDE // PATCH) ** 2, MOST), rendered
    for number in range(len(files)):
        expanded = expanded.replace("<image>", rules.replace_image_token(seen, number).replace("<image>", "<|image|>"), 1)
    read = torch.tensor([tokens.encode(expanded.replace("<|image|>", "<image>"), add_special_tokens=False).ids])
    ids, logits, chosen = read[0].numpy(), [], []
    for _ in range(STEPS):
        every = model(input_ids=read, **seen).logits[0]
        logits.append(every)
        chosen.append(int(every[-1].argmax()))
        read = torch.cat([read, torch.tensor([chosen[-1:]])], 1)
    last = torch.stack([step[-1] for step in logits])
    top = last.topk(2).values
    arrays = {"input_ids": ids, "step_logits": last.numpy(), "prefill_last_logits": logits[0][-1].numpy(), "prefill_argmax": logits[0].argmax(-1).numpy()}
    if files and files != ["image.png"]:
        arrays["pixel_values"] = torch.cat([picture for picture in seen["pixel_values"]]).float().numpy()
    return messages, arrays, rendered, chosen, float((top[:, 0] - top[:, 1]).min())


OUT.mkdir(exist_ok=True)
for picture in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / picture, OUT / picture)
Image.open(OUT / "image.png").convert("RGB").crop((120, 60, 220, 100)).save(OUT / "image3.png")
tokens = tokenizer()
id_of = tokens.token_to_id
text = dict(
    model_type="qwen2", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=tokens.get_vocab_size(),
    rms_norm_eps=1e-6, hidden_act="silu", max_position_embeddings=32768, rope_theta=1000000.0, tie_word_embeddings=True, use_sliding_window=False,
)
about = dict(image_token_index=id_of("<image>"), video_token_index=id_of("<video>"), image_grid_pinpoints=PINPOINTS, projector_hidden_act="gelu",
             tie_word_embeddings=True, vision_aspect_ratio=f"anyres_max_{MOST}", vision_feature_layer=-1, vision_feature_select_strategy="full")
config = LlavaOnevisionConfig(text_config=dict(text), vision_config=dict(VISION), **about)
model, images = LlavaOnevisionForConditionalGeneration(config).eval(), LlavaOnevisionImageProcessorPil(**RULES)
for seed in range(1000):
    draw(model, seed)
    try:
        answers = {name: answer(model, tokens, images, *case) for name, case in CASES.items()}
    except ValueError:
        continue  # a feature's token was answered
    chosen = [tuple(row) for _, _, _, row, _ in answers.values()]
    model.double()
    exact = {name: answer(model, tokens, images, *case)[1]["step_logits"] for name, case in CASES.items()}
    model.float()
    # Rounding does not grow.
    rounding = max(np.abs(exact[name] - found["step_logits"]).max() for name, (_, found, *_) in answers.items())
    clear = min(margin for *_, margin in answers.values()) > 0.005 and min(len(set(row)) for row in chosen) > 3
    if clear and rounding < 2e-5 and len(set(chosen)) == len(chosen):
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")
weights = {}
for name, weight in model.state_dict().items():
    if name.endswith("position_ids") or name == "lm_head.weight":
        continue
    for ours, theirs in (("model.language_model.", "language_model.model."), ("model.vision_tower.", "vision_tower.vision_model."), ("model.", "")):
        if name.startswith(ours):
            name = name.replace(ours, theirs, 1)
            break
    name = name.replace("vision_tower.vision_model.vision_model.", "vision_tower.vision_model.")
    weights[name] = weight.bfloat16().contiguous().clone()
save_weights(weights, OUT / "model.safetensors")
write("config.json", {"architectures": ["LlavaOnevisionForConditionalGeneration"], "model_type": "llava_onevision", "text_config": text, "vision_config": VISION} | about)
write("generation_config.json", {"eos_token_id": id_of("<|im_end|>")})
write("preprocessor_config.json", RULES | {"image_processor_type": "LlavaOnevisionImageProcessor", "processor_class": "LlavaOnevisionProcessor"})
write("processor_config.json", {"image_token": "<image>", "num_image_tokens": (SIDE // PATCH) ** 2, "processor_class": "LlavaOnevisionProcessor", "video_token": "<video>",
                                "vision_aspect_ratio": f"anyres_max_{MOST}", "vision_feature_select_strategy": "full"})
(OUT / "chat_template.jinja").write_text(TEMPLATE)
arrays = {f"{case}/{key}": array for case, (_, found, *_) in answers.items() for key, array in found.items()}
save_file({part: np.ascontiguousarray(value) for key, array in arrays.items() for part, value in packed(key, array).items()}, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
write("golden.json", {
    "arch": "llava_onevision", "stands_for": "llava-hf/llava-onevision-qwen2-0.5b-ov-hf, -7b-ov-hf and their kin", "seed": seed,
    "reference": {"transformers": transformers.__version__, "torch": torch.__version__, "class": type(model).__name__},
    "cases": {case: {"messages": messages, "images": CASES[case][1], "prompt": rendered, "greedy_tokens": row, "min_margin": margin}
              for case, (messages, _, rendered, row, margin) in answers.items()}})
# As published: tiles of 384 pixels, 27 patches a side, at most nine tiles' features.
published = Rules(LlavaOnevisionImageProcessorPil(), 27 * 27, 9)
lines = []
for width, height in SIZES:
    best = select_best_resolution([height, width], published.image_processor.image_grid_pinpoints)
    lines.append("  " + json.dumps({"size": [width, height], "padded": list(best)[::-1], "features": published._get_number_of_features(height, width, 384, 384)}))
(OUT / "sizes.json").write_text('{"cases": [\n' + ",\n".join(lines) + "\n]}\n")
for case, (_, found, _, row, margin) in answers.items():
    print(case, len(found["input_ids"]), row, round(margin, 3))
print("seed", seed, rounding, sum(file.stat().st_size for file in OUT.iterdir()), sorted(weights)[:6])
