"""A small Kimi-VL and what is answered with it: writes kimi_vl/ (a folder as on Hugging Face, golden.json, golden.safetensors, sizes.json).

    python make_kimi_vl.py    (made with transformers 5.23.0, torch 2.15.0, tiktoken 0.14.0, Pillow)

The hub's code cannot be fetched here. transformers has its parts, for the model that came after: Kimi-K2.5's tower is MoonViT with a time axis, which
a picture does not use, and DeepSeek-V3's decoder. Their weights are stored here as Kimi-VL's checkpoints have them: one projection of queries, keys and
values whose neighbouring elements turn together, experts one by one. Ids are tiktoken's. The rules for pictures are our reading of the original's
`rescale` (`image_processing_kimi_vl.py`): scaled down beyond `in_token_limit` whole patches, then black to the right and below. Not checked against the
original running: those rules, and its chat template, which is written from knowledge of it.
"""

import base64
import json
import math
import shutil
from pathlib import Path

import numpy as np
import tiktoken
import torch
import transformers
from collect_parity import packed
from jinja2 import Environment
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_weights
from torch import nn
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.kimi_k25.configuration_kimi_k25 import Kimi_K25Config, Kimi_K25VisionConfig
from transformers.models.kimi_k25.modeling_kimi_k25 import Kimi_K25MultimodalProjection, Kimi_K25VisionModel

HERE = Path(__file__).parent
OUT, WORDS = HERE / "kimi_vl", HERE / "nanollava"
PATCH, BY, LIMIT, STEPS = 14, 2, 60, 16
# The pattern that cuts text: letters of Han by themselves, words with their capitals, numbers of three digits at most.
LETTERS = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]", r"\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERN = "|".join([
    r"[\p{Han}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{LETTERS[0]}]*[{LETTERS[1]}]+{CONTRACTIONS}",
    rf"[^\r\n\p{{L}}\p{{N}}]?[{LETTERS[0]}]+[{LETTERS[1]}]*{CONTRACTIONS}", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])
# Places behind the vocabulary, as in the published files; what is between is reserved.
SPECIAL = {"[BOS]": 0, "[EOS]": 1, "<|im_end|>": 2, "<|im_user|>": 3, "<|im_assistant|>": 4, "<|start_header_id|>": 6, "<|end_header_id|>": 7, "[EOT]": 9,
           "<|im_system|>": 10, "<|im_middle|>": 17, "<|media_start|>": 18, "<|media_content|>": 19, "<|media_end|>": 20, "<|media_pad|>": 21, "[UNK]": 22, "[PAD]": 23}
PICTURE = "<|media_start|>image<|media_content|><|media_pad|><|media_end|>"
CASES = {
    "image": ("Describe the image in one short sentence.", ["image.png"]),
    "two_images": ("What is different? 你好 HTTPServer's 12345", ["image.png", "image2.png"]),
    "text": ("What is the capital of France?", []),
}
SIZES = [(1, 1), (16, 3000), (3000, 16), (16, 8000), (8000, 16), (333, 217), (1024, 1024), (5477, 7819), (28, 28), (29, 28), (896, 896), (897, 896), (910, 896),
         (1541, 1540), (640, 480), (1792, 1793)]
VISION = dict(patch_size=PATCH, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
TEXT = dict(
    hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, n_shared_experts=2,
    n_routed_experts=6, num_experts_per_tok=2, first_k_dense_replace=1, n_group=1, topk_group=1, q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=8,
    qk_rope_head_dim=4, v_head_dim=12, norm_topk_prob=True, routed_scaling_factor=2.446, max_position_embeddings=131072, rms_norm_eps=1e-5, tie_word_embeddings=False,
)


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def tokenizer():
    """nanollava's words as ranks."""
    words = json.loads((WORDS / "tokenizer.json").read_text())["model"]["vocab"]
    letters = bytes_to_unicode()
    back = {letter: byte for byte, letter in letters.items()}
    plain = [bytes(back[letter] for letter in word) for word in sorted(words, key=words.get) if all(letter in back for letter in word)]
    tokens = [bytes([byte]) for byte in range(256)] + [token for token in plain if len(token) > 1]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    (OUT / "tiktoken.model").write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
    special = {token: len(ranks) + place for token, place in SPECIAL.items()}
    entry = lambda token: {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    write("tokenizer_config.json", {
        "added_tokens_decoder": {str(number): entry(token) for token, number in special.items()}, "bos_token": "[BOS]", "eos_token": "[EOS]", "pad_token": "[PAD]",
        "unk_token": "[UNK]", "clean_up_tokenization_spaces": False, "model_max_length": 1048576, "tokenizer_class": "TikTokenTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_moonshot.TikTokenTokenizer", None]}})
    return tiktoken.Encoding("kimi", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special), special


def sizes(size, limit):
    """A picture's size after scaling, and what it is padded to."""
    whole = (size[0] // PATCH) * (size[1] // PATCH)
    scale = math.sqrt(limit / whole) if whole > limit else 1
    scaled = [int(side * scale) for side in size] if whole > limit else list(size)
    return scaled, [-(-side // (BY * PATCH)) * BY * PATCH for side in scaled]


def pixels(picture):
    scaled, padded = sizes(picture.size, LIMIT)
    shown = Image.new("RGB", padded)
    shown.paste(picture.resize(scaled, Image.Resampling.BICUBIC), (0, 0))
    return (torch.from_numpy(np.array(shown)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5


class Model(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        vision = Kimi_K25VisionConfig(**VISION, pos_emb_height=6, pos_emb_width=6)
        text = DeepseekV3Config(**TEXT, vocab_size=vocabulary, rope_parameters={"rope_type": "default", "rope_theta": 800000.0})
        self.vision = Kimi_K25VisionModel(vision)
        self.projector = Kimi_K25MultimodalProjection(Kimi_K25Config(vision_config=vision, text_config=text, projection_hidden_size=VISION["hidden_size"]))
        self.language_model = DeepseekV3ForCausalLM(text)
        self.language_model.set_experts_implementation("eager")

    def features(self, picture):
        rows, columns = picture.shape[1] // PATCH, picture.shape[2] // PATCH
        patches = picture.unflatten(2, (columns, PATCH)).unflatten(1, (rows, PATCH)).permute(1, 3, 0, 2, 4).flatten(0, 1)
        patches = patches.to(self.vision.dtype)
        return self.projector(self.vision(patches, grid_thw=torch.tensor([[1, rows, columns]])).pooler_output).flatten(0, -2)


@torch.no_grad()
def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, weight in [*model.named_parameters(), *((name, buffer) for name, buffer in model.named_buffers() if "correction" in name)]:
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            random = 1 + 0.1 * random
        elif "correction" in name:
            random *= 0.25
        elif weight.dim() == 1:
            random *= 0.1
        elif "embed" not in name or "proj" in name:
            random *= (1.6 if "language" in name else 1.2) * weight.flatten(1).shape[1] ** -0.5 if weight.dim() == 4 else 1.4 * weight.shape[-1] ** -0.5
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(model, tokens, special, text, files):
    messages = [{"role": "user", "content": [{"type": "image"}] * len(files) + [{"type": "text", "text": text}]}]
    rendered = Environment().from_string((OUT / "chat_template.jinja").read_text()).render(messages=messages, add_generation_prompt=True)
    shown = [pixels(Image.open(OUT / file).convert("RGB")) for file in files]
    features = [model.features(one) for one in shown]
    image, ids, counts = special["<|media_pad|>"], [], iter([len(one) for one in features])
    for token in tokens.encode(rendered, allowed_special="all"):
        ids += [image] * next(counts) if token == image else [token]
    embed = model.language_model.get_input_embeddings()
    x = embed(torch.tensor([ids]))
    if features:
        x[0, torch.tensor(ids) == image] = torch.cat(features)
    logits, chosen = [], []
    for _ in range(STEPS):
        every = model.language_model(inputs_embeds=x).logits[0]
        logits.append(every)
        chosen.append(int(every[-1].argmax()))
        x = torch.cat([x, embed(torch.tensor([[chosen[-1]]]))], 1)
    last = torch.stack([step[-1] for step in logits])
    top = last.topk(2).values
    arrays = {"input_ids": np.array(ids), "step_logits": last.numpy(), "prefill_last_logits": logits[0][-1].numpy(), "prefill_argmax": logits[0].argmax(-1).numpy()}
    if len(shown) == 2:
        arrays["pixel_values"] = torch.cat([one.flatten() for one in shown]).numpy()  # of pictures of two sizes, one after another
    return messages, arrays, rendered, chosen, float((top[:, 0] - top[:, 1]).min())


def neighbours(weight):
    """Rows of queries or keys whose halves turn together, as the original stores them."""
    heads = VISION["num_attention_heads"]
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def stored(model):
    found, state = {}, model.state_dict()
    for name, weight in state.items():
        if name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj"):
            place, kind = name.rsplit(".", 1)
            for number, one in enumerate(weight):
                halves = one.chunk(2) if kind == "gate_up_proj" else [one]
                found |= {f"{place}.{number}.{part}.weight": half for part, half in zip(["gate_proj", "up_proj"] if len(halves) == 2 else ["down_proj"], halves)}
            continue
        if name.startswith("vision."):
            if "k_proj" in name or "v_proj" in name:
                continue
            if "q_proj" in name:
                weight = torch.cat([neighbours(weight), neighbours(state[name.replace("q_proj", "k_proj")]), state[name.replace("q_proj", "v_proj")]])
            for old, new in [("vision.", "vision_tower."), ("position_embeddings", "weight"), ("tower.layers", "tower.encoder.blocks"),
                             ("tower.final", "tower.encoder.final"), ("norm1", "norm0"), ("norm2", "norm1"), ("attn.q_proj", "wqkv"), ("attn.proj", "wo"),
                             ("mlp.fc1", "mlp.fc0"), ("mlp.fc2", "mlp.fc1")]:
                name = name.replace(old, new)
        name = name.replace("projector.", "multi_modal_projector.").replace("in_proj", "linear_1").replace("out_proj", "linear_2")
        found[name] = weight
    return {name: weight.bfloat16().contiguous().clone() for name, weight in found.items()}


OUT.mkdir(exist_ok=True)
for picture in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / picture, OUT / picture)
tokens, special = tokenizer()
vocabulary = max(special.values()) + 1
model = Model(vocabulary).eval()
for seed in range(1000):
    draw(model, seed)
    answers = {name: answer(model, tokens, special, *case) for name, case in CASES.items()}
    chosen = [tuple(row) for _, _, _, row, _ in answers.values()]
    model.double()
    exact = {name: answer(model, tokens, special, *case)[1]["step_logits"] for name, case in CASES.items()}
    model.float()
    # Rounding does not grow.
    rounding = max(np.abs(exact[name] - found["step_logits"]).max() for name, (_, found, *_) in answers.items())
    if rounding > 1e-5:
        continue
    if min(margin for *_, margin in answers.values()) > 0.005 and len(set(chosen)) == len(chosen) and min(len(set(row)) for row in chosen) > 3:
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")
save_weights(stored(model), OUT / "model.safetensors")
text = {key: value for key, value in TEXT.items()} | {
    "model_type": "deepseek_v3", "vocab_size": vocabulary, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "moe_layer_freq": 1, "hidden_act": "silu",
    "rope_theta": 800000.0, "rope_scaling": None, "attention_bias": False}
write("config.json", {
    "architectures": ["KimiVLForConditionalGeneration"], "model_type": "kimi_vl", "ignore_index": -100, "media_placeholder_token_id": special["<|media_pad|>"],
    "pad_token_id": special["[PAD]"], "vocab_size": vocabulary, "text_config": text, "vision_config": {
        "model_type": "moonvit", "init_pos_emb_height": 6, "init_pos_emb_width": 6, "merge_kernel_size": [BY, BY]} | VISION})
write("generation_config.json", {"eos_token_id": special["<|im_end|>"], "pad_token_id": special["[PAD]"]})
write("preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "in_token_limit": LIMIT, "num_pooled_tokens": 1024, "pad_input": True,
                                   "patch_size": PATCH, "image_processor_type": "KimiVLImageProcessor"})
arrays = {f"{case}/{key}": array for case, (_, found, *_) in answers.items() for key, array in found.items()}
save_file({part: np.ascontiguousarray(value) for key, array in arrays.items() for part, value in packed(key, array).items()}, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
write("golden.json", {
    "arch": "kimi_vl", "stands_for": "moonshotai/Kimi-VL-A3B-Instruct, -Thinking and -Thinking-2506", "seed": seed,
    "reference": {"transformers": f"{transformers.__version__}'s Kimi_K25VisionModel and DeepseekV3ForCausalLM, pictures by our reading of the published rules",
                  "torch": torch.__version__, "tiktoken": tiktoken.__version__},
    "cases": {case: {"messages": messages, "images": CASES[case][1], "prompt": rendered, "greedy_tokens": row,
                     "greedy_text": tokens.decode_bytes([token for token in row if token < special["[BOS]"]]).decode(errors="replace"), "min_margin": margin}
              for case, (messages, _, rendered, row, margin) in answers.items()}})
lines = []
for limit in (4096, 16384, LIMIT):
    for size in SIZES:
        scaled, padded = sizes(size, limit)
        # The original refuses what it has no rotary positions for.
        lines.append("  " + json.dumps({"size": size, "patches": limit, "scaled": scaled, "padded": padded if max(padded) // PATCH < 512 else None}))
(OUT / "sizes.json").write_text('{"cases": [\n' + ",\n".join(lines) + "\n]}\n")
for case, (_, found, _, row, margin) in answers.items():
    print(case, len(found["input_ids"]), row, round(margin, 3))
print("seed", seed, {file.name: file.stat().st_size for file in sorted(OUT.iterdir())}, sum(file.stat().st_size for file in OUT.iterdir()))
