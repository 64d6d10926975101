"""A small PaddleOCR-VL and what transformers answers with it: writes paddleocr_vl/ (a folder as on Hugging Face, golden.json, golden.safetensors,
sizes.json).

    python make_paddleocr_vl.py    (made with transformers 5.23.0, torch 2.15.0, Pillow)

PaddleOCRVLForConditionalGeneration with random weights under the published names, and the flat config.json of the published repository. The tokenizer is
nanollava's words with the published special tokens (the published one is SentencePiece's, as tokenizer.json); the template is written from knowledge
of the published one.
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
from transformers import PaddleOCRVLConfig, PaddleOCRVLForConditionalGeneration
from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import PaddleOCRVLImageProcessorPil, smart_resize

HERE = Path(__file__).parent
OUT, WORDS, STEPS = HERE / "paddleocr_vl", HERE / "nanollava", 16
SPECIAL = ["<|begin_of_sentence|>", "<|IMAGE_START|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_END|>"]
TEMPLATE = """{{ '<|begin_of_sentence|>' }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' }}{% for content in message['content'] %}\
{% if content['type'] == 'image' %}{{ '<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>' }}{% endif %}{% endfor %}{% for content in message['content'] %}\
{% if content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{{ '\\n' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant:\\n' }}\
{% for content in message['content'] %}{% if content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{{ '</s>' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"""
CASES = {"image": ("OCR:", ["image.png"]), "two_images": ("Table Recognition:", ["image.png", "image2.png"]), "text": ("What is the capital of France?", [])}
SIZES = [(1, 1), (16, 3000), (3000, 16), (3000, 10), (1, 2000), (333, 217), (1024, 1024), (5477, 7819), (28, 28), (29, 28), (27, 5000), (1541, 1540), (640, 480)]
RULES = dict(do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, max_pixels=28 * 28 * 40,
             merge_size=2, min_pixels=28 * 28 * 4, patch_size=14, resample=3, rescale_factor=1 / 255, temporal_patch_size=1)
VISION = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=84, patch_size=14, spatial_merge_size=2)


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def tokenizer():
    words = json.loads((WORDS / "tokenizer.json").read_text())
    first = ["<unk>", "<s>", "</s>"]
    vocab = {token: number for number, token in enumerate(first)}
    vocab |= {token: number + len(first) for token, number in words["model"]["vocab"].items()}
    entry = lambda token: {"id": vocab[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    words["model"] |= {"vocab": vocab, "unk_token": None}
    words |= {"added_tokens": [entry(token) for token in first], "normalizer": None, "pre_tokenizer": byte_level, "decoder": byte_level, "post_processor": None}
    found = Tokenizer.from_str(json.dumps(words, ensure_ascii=False))
    found.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    (OUT / "tokenizer.json").write_text(found.to_str() + "\n")
    write("tokenizer_config.json", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "cls_token": "<|begin_of_sentence|>", "add_bos_token": False,
                                    "tokenizer_class": "LlamaTokenizerFast"})
    return found


@torch.no_grad()
def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            random = 1 + 0.1 * random
        elif weight.dim() == 1:
            random *= 0.1
        elif "embed_tokens" not in name and "position_embedding" not in name:
            random *= (1.6 if "language" in name else 1.2) * weight[0].numel() ** -0.5
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(model, tokens, images, text, files):
    messages = [{"role": "user", "content": [{"type": "image"}] * len(files) + [{"type": "text", "text": text}]}]
    rendered = Environment().from_string(TEMPLATE).render(messages=messages, add_generation_prompt=True)
    seen = dict(images(images=[Image.open(OUT / file).convert("RGB") for file in files], return_tensors="pt")) if files else {}
    image, ids = tokens.token_to_id("<|IMAGE_PLACEHOLDER|>"), []
    counts = iter(seen["image_grid_thw"].prod(1).tolist() if files else [])
    for token in tokens.encode(rendered, add_special_tokens=False).ids:
        ids += [image] * (next(counts) // 4) if token == image else [token]
    read, logits, chosen = torch.tensor([ids]), [], []
    for _ in range(STEPS):
        every = model(input_ids=read, mm_token_type_ids=(read == image).int(), **seen).logits[0]
        logits.append(every)
        chosen.append(int(every[-1].argmax()))
        read = torch.cat([read, torch.tensor([chosen[-1:]])], 1)
    last = torch.stack([step[-1] for step in logits])
    top = last.topk(2).values
    arrays = {"input_ids": np.array(ids), "step_logits": last.numpy(), "prefill_last_logits": logits[0][-1].numpy(), "prefill_argmax": logits[0].argmax(-1).numpy()}
    if len(files) == 2:
        # Each picture's patches, row by row, as [3, height, width].
        pictures, start = [], 0
        for _, rows, columns in seen["image_grid_thw"].tolist():
            patches = seen["pixel_values"][start:start + rows * columns].unflatten(0, (rows, columns))
            pictures.append(patches.permute(2, 0, 3, 1, 4).flatten())
            start += rows * columns
        arrays["pixel_values"] = torch.cat(pictures).float().numpy()
    return messages, arrays, rendered, chosen, float((top[:, 0] - top[:, 1]).min())


OUT.mkdir(exist_ok=True)
for picture in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / picture, OUT / picture)
tokens = tokenizer()
id_of = tokens.token_to_id
text = dict(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=tokens.get_vocab_size(),
    rms_norm_eps=1e-5, use_bias=False, hidden_act="silu", max_position_embeddings=131072, tie_word_embeddings=False,
)
rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 500000.0}
ids = {"image_token_id": id_of("<|IMAGE_PLACEHOLDER|>"), "video_token_id": id_of("<unk>"), "vision_start_token_id": id_of("<|IMAGE_START|>"),
       "vision_end_token_id": id_of("<|IMAGE_END|>")}
config = PaddleOCRVLConfig(text_config=text | {"rope_parameters": rope}, vision_config=VISION, tie_word_embeddings=False, **ids)
model, images = PaddleOCRVLForConditionalGeneration(config).eval(), PaddleOCRVLImageProcessorPil(**RULES)
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
    if not name.endswith("position_ids"):
        name = name.replace("model.projector", "mlp_AR").replace("model.visual", "visual").replace("model.language_model", "model")
        weights[name] = weight.bfloat16().contiguous().clone()
save_weights(weights, OUT / "model.safetensors")
write("config.json", {"architectures": ["PaddleOCRVLForConditionalGeneration"], "model_type": "paddleocr_vl", "rope_theta": 500000.0, "rope_scaling": {
    "mrope_section": rope["mrope_section"], "rope_type": "default", "type": "default"}, "vision_config": VISION | {"model_type": "paddleocr_vl"}} | text | ids)
write("generation_config.json", {"eos_token_id": id_of("</s>")})
write("preprocessor_config.json", RULES | {"image_processor_type": "SiglipImageProcessor"})
(OUT / "chat_template.jinja").write_text(TEMPLATE)
arrays = {f"{case}/{key}": array for case, (_, found, *_) in answers.items() for key, array in found.items()}
save_file({part: np.ascontiguousarray(value) for key, array in arrays.items() for part, value in packed(key, array).items()}, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
write("golden.json", {
    "arch": "paddleocr_vl", "stands_for": "PaddlePaddle/PaddleOCR-VL and its successors", "seed": seed,
    "reference": {"transformers": transformers.__version__, "torch": torch.__version__, "class": type(model).__name__},
    "cases": {case: {"messages": messages, "images": CASES[case][1], "prompt": rendered, "greedy_tokens": row, "min_margin": margin}
              for case, (messages, _, rendered, row, margin) in answers.items()}})
lines = []
for least, most in [(384 * 384, 1536 * 1536), (147384, 2822400), (RULES["min_pixels"], RULES["max_pixels"])]:
    for width, height in SIZES:
        try:
            used = list(smart_resize(height, width, 28, least, most))[::-1]
        except ValueError:
            used = None
        lines.append("  " + json.dumps({"size": [width, height], "least": least, "most": most, "used": used}))
(OUT / "sizes.json").write_text('{"cases": [\n' + ",\n".join(lines) + "\n]}\n")
for case, (_, found, _, row, margin) in answers.items():
    print(case, len(found["input_ids"]), row, round(margin, 3))
print("seed", seed, rounding, sum(file.stat().st_size for file in OUT.iterdir()))
