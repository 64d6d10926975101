"""A small ERNIE 4.5 VL and what transformers answers with it: writes ernie4_5_vl/ (a folder as on Hugging Face, golden.json, golden.safetensors and
sizes.json).

    python make_ernie4_5_vl.py    (made with transformers 5.23.0, torch 2.15.0, Pillow)

Ernie4_5_VLMoeForConditionalGeneration with random weights, which are multiples of what bfloat16 holds, saved in the names of published repositories
(experts one by one, those of pictures after those of text, routers transposed), whose config.json is flat. The tokenizer is gemma3's with ERNIE's tokens
behind it. The template writes what published ones do for a picture and a text, and not their tools. Scores of experts tie nowhere: two experts whose
scores differ by less than 1e-4 at a choice would make a test of rounding.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from collect_parity import packed
from PIL import Image
from safetensors.numpy import load_file, save_file
from transformers import Ernie4_5_VLMoeConfig, Ernie4_5_VLMoeForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.ernie4_5_vl_moe.image_processing_pil_ernie4_5_vl_moe import Ernie4_5_VLMoeImageProcessorPil, smart_resize

HERE = Path(__file__).parent
OUT, WORDS = HERE / "ernie4_5_vl", HERE / "gemma3"
STEPS = 16
SIZES = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024), (5477, 7819), (28, 28), (29, 28), (1541, 1540), (640, 480)]
DESCRIBE = "Describe the image in one short sentence."
CASES = {
    "image": (DESCRIBE, ["image.png"]),
    "two_images": ("What differs between the two images?", ["image.png", "image2.png"]),
    "text": ("Name three colours.", []),
}
TEMPLATE = (
    "<|begin_of_sentence|>{% set seen = namespace(pictures=0) %}{% for message in messages %}{% if message.role == 'user' %}User: "
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% elif part.type == 'image' %}{% set seen.pictures = seen.pictures + 1 %}Picture {{ seen.pictures }}:<|IMAGE_START|><|image@placeholder|>"
    "<|IMAGE_END|>{% endif %}{% endfor %}{% endif %}\n{% elif message.role == 'assistant' %}Assistant: {{ message.content }}<|end_of_sentence|>"
    "{% else %}{{ message.content }}\n{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def tokenizer():
    """gemma3's words with ERNIE's tokens."""
    words = json.loads((WORDS / "tokenizer.json").read_text())
    count = len(words["model"]["vocab"])
    special = lambda id, content: {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                                   "special": True}
    marks = ["<|begin_of_sentence|>", "<|end_of_sentence|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>", "<|VIDEO_START|>",
             "<|VIDEO_END|>", "<|VIDEO_PLACEHOLDER|>"]
    words["added_tokens"] = [token for token in words["added_tokens"] if token["id"] < count]
    words["added_tokens"] += [special(count + place, mark) for place, mark in enumerate(marks)]
    words["post_processor"] = None
    (OUT / "tokenizer.json").write_text(json.dumps(words, ensure_ascii=False) + "\n")
    names = {"bos_token": "<|begin_of_sentence|>", "eos_token": "<|end_of_sentence|>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | names)
    return PreTrainedTokenizerFast(tokenizer_file=str(OUT / "tokenizer.json"), **names), count


OUT.mkdir(exist_ok=True)
for picture in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / picture, OUT / picture)
(OUT / "chat_template.jinja").write_text(TEMPLATE)
tokens, count = tokenizer()
image, start, end = (tokens.convert_tokens_to_ids(mark) for mark in ("<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>"))
marks = dict(image_token_id=image, image_start_token_id=start, image_end_token_id=end, video_start_token_id=count + 5, video_end_token_id=count + 6,
             video_token_id=count + 7)
text = dict(
    hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, hidden_act="silu",
    max_position_embeddings=2048, rms_norm_eps=1e-5, vocab_size=count + 8, use_bias=False, moe_intermediate_size=[24, 16], moe_k=2,
    moe_num_experts=4, moe_num_shared_experts=1, mlp_layer_types=["dense", "sparse", "sparse"], tie_word_embeddings=True,
    rope_parameters={"rope_theta": 500000.0, "rope_type": "default", "mrope_section": [2, 2, 2]},
)
vision = dict(depth=2, hidden_size=32, hidden_act="quick_gelu", num_heads=2, in_channels=3, patch_size=14, spatial_merge_size=2, temporal_merge_size=2,
              intermediate_size=48, rms_norm_eps=1e-6)
config = Ernie4_5_VLMoeConfig(text_config=dict(text), vision_config=dict(vision), **marks)
model = Ernie4_5_VLMoeForConditionalGeneration(config).eval()
rules = dict(size={"shortest_edge": 3136, "longest_edge": 15680}, patch_size=14, merge_size=2, temporal_patch_size=1, resample=3,
             image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711], do_resize=True, do_rescale=True,
             do_normalize=True, rescale_factor=1 / 255)
images = Ernie4_5_VLMoeImageProcessorPil(**rules)
closest = []


@torch.no_grad()
def draw(seed):
    """Nothing is dead: each part changes the answer."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name or ".ln." in name:
            random = (0 if name.endswith("bias") else 1) + 0.1 * random
        elif "e_score_correction_bias" in name:
            random *= 0.05
        elif weight.dim() == 1:
            random *= 0.1
        elif "embed_tokens" in name:
            random *= 0.25  # The table makes the logits, too: a word that is read should not be the answer by itself.
        else:
            random *= weight.shape[-1] ** -0.5 * (3 if "gate.weight" in name or "o_proj" in name or "down_proj" in name else 1)
        weight.copy_(random.bfloat16())


def watch(router):
    """How close the last chosen expert and the first that is not are."""
    def hook(module, inputs, outputs):
        scores = module.moe_statics(outputs[0].softmax(-1)).topk(module.top_k + 1, dim=-1).values
        closest.append(float((scores[:, -2] - scores[:, -1]).min()))
    router.register_forward_hook(hook)


for name, part in model.named_modules():
    if name.endswith("_moe.gate"):
        watch(part)


@torch.no_grad()
def answer(said, files):
    content = [{"type": "image"} for _ in files] + [{"type": "text", "text": said}]
    messages = [{"role": "user", "content": content}]
    prompt = tokens.apply_chat_template(messages, chat_template=TEMPLATE, add_generation_prompt=True, tokenize=False)
    seen, expanded = {}, prompt
    if files:
        found = images([Image.open(OUT / file).convert("RGB") for file in files], return_tensors="pt")
        seen = {"pixel_values": found["pixel_values"].float(), "image_grid_thw": found["image_grid_thw"]}
        for grid in found["image_grid_thw"]:
            expanded = expanded.replace("<|image@placeholder|>", "<|IMAGE_PLACEHOLDER|>" * int(grid.prod() // 4), 1)
    asked = tokens(expanded, add_special_tokens=False, return_tensors="pt")["input_ids"]
    read, logits, every = asked, [], None
    for _ in range(STEPS):
        kinds = (read == image).int()
        around = kinds.bool() | (read == start) | (read == end)
        around[:, asked.shape[1]:] = False
        model.model.rope_deltas = None
        step = model(input_ids=read, mm_token_type_ids=kinds, moe_mm_token_type_ids=around.int(), use_cache=False, **seen).logits[0]
        every = step if every is None else every
        logits.append(step[-1])
        read = torch.cat([read, step[-1].argmax()[None, None]], 1)
    top = torch.stack(logits).topk(2).values
    arrays = {"input_ids": asked[0].numpy(), "prefill_last_logits": every[-1].numpy(), "prefill_argmax": every.argmax(-1).numpy(),
              "step_logits": torch.stack(logits).numpy()}
    if files:
        arrays["pixel_values"] = seen["pixel_values"].numpy()
        arrays["image_features"] = torch.cat(list(model.model.get_image_features(**seen).pooler_output)).numpy()
    return arrays, read[0, -STEPS:].tolist(), float((top[:, 0] - top[:, 1]).min()), prompt, messages


for seed in range(500):
    draw(seed)
    closest.clear()
    answers = {name: answer(*case) for name, case in CASES.items()}
    answered = [tuple(found[1]) for found in answers.values()]
    variety = min(len(set(row)) for row in answered)
    marked = any(token >= count for row in answered for token in row)
    apart = min(found[2] for found in answers.values()) > 0.005 and min(closest) > 1e-4
    if apart and len(set(answered)) == len(answered) and variety > 3 and not marked:
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")

model.save_pretrained(OUT)
# Published repositories have the tower beside the model.
weights = {name.replace("model.vision_model.", "vision_model."): np.ascontiguousarray(weight, np.float32) for name, weight in load_file(OUT / "model.safetensors").items() if name != "lm_head.weight"}
assert "model.layers.1.mlp.gate.weight_1" in weights and "model.layers.1.mlp.experts.7.up_proj.weight" in weights, sorted(weights)
save_file(weights, OUT / "model.safetensors")
(OUT / "model.safetensors").chmod(0o644)
flat = {name: value for name, value in text.items() if name not in ("rope_parameters", "mlp_layer_types")}
flat |= {"moe_num_experts": [4, 4], "rope_theta": 500000.0, "freq_allocation": 2, "rope_3d": True, "moe_layer_start_index": [1, 1], "moe_use_aux_free": True}
write("config.json", {"architectures": ["Ernie4_5_VLMoeForConditionalGeneration"], "model_type": "ernie4_5_moe_vl", "im_patch_id": image,
                      "vision_config": {"model_type": "DFNRope_vision_transformer", "embed_dim": 32, "mlp_ratio": 1.5} | vision} | marks | flat)
write("generation_config.json", {"eos_token_id": tokens.eos_token_id, "pad_token_id": 0, "do_sample": True, "top_p": 0.8, "temperature": 0.2})
write("preprocessor_config.json", {name: value for name, value in rules.items() if name != "size"} | {
    "min_pixels": 3136, "max_pixels": 15680, "image_processor_type": "Ernie_45T_VLImageProcessor", "processor_class": "Ernie_45T_VLProcessor"})
arrays = {f"{case}/{name}": array for case, (found, *_) in answers.items() for name, array in found.items()}
arrays = {name: np.ascontiguousarray(part) for key, array in arrays.items() for name, part in packed(key, array).items()}
save_file(arrays, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
write("golden.json", {
    "arch": "ernie4_5_vl", "stands_for": "baidu/ERNIE-4.5-VL-28B-A3B-PT and -Thinking", "seed": seed,
    "reference": {"transformers": transformers.__version__, "torch": torch.__version__, "class": type(model).__name__},
    "cases": {name: {"messages": messages, "images": CASES[name][1], "prompt": prompt, "greedy_tokens": chosen, "min_margin": margin}
              for name, (_, chosen, margin, prompt, messages) in answers.items()},
})
cases = []
for least, most in [(3136, 4816896), (3136, 1003520), (3136, 15680)]:
    for width, height in SIZES:
        if max(width, height) / min(width, height) <= 200:
            rows, columns = smart_resize(height, width, 28, least, most)
            cases.append({"size": [width, height], "least": least, "most": most, "used": [columns, rows]})
(OUT / "sizes.json").write_text('{"cases": [\n' + ",\n".join("  " + json.dumps(case) for case in cases) + "\n]}\n")
for name, (found, chosen, margin, *_) in answers.items():
    print(name, len(found["input_ids"]), chosen, round(margin, 4))
print("seed", seed, "closest experts", min(closest), {file.name: file.stat().st_size for file in sorted(OUT.iterdir())}, sum(file.stat().st_size for file in OUT.iterdir()))
