"""Small DeepSeek-VL2 models and what is answered with them: writes deepseek_vl2/ (as the tiny model: plain attention, experts weighed by softmax),
deepseek_vl2_small/ (latent attention) and deepseek_vl2_base/ (latent attention, experts weighed by sigmoid with a correction), and
deepseek_vl2/sizes.json.

    python make_deepseek_vl2.py    (made with transformers 5.23.0, torch 2.15.0, Pillow)

Neither transformers nor the hub's files hold a runnable DeepSeek-VL2; its code (github.com/deepseek-ai/DeepSeek-VL2) needs an older transformers. So
this is put together of transformers' own parts: SigLIP's tower, DeepSeek-V2's and V3's decoders, and Llama's attention with DeepSeek-V2's experts.
What joins them is our reading of the published rules: which grid a picture gets, how it is fitted (Pillow's ImageOps.pad), the order of channels in a
square of patches, ends of rows and the separator, prompts, and when pictures are not cut. Not checked against the original running: its own tower
(the same arithmetic under timm's names), and prompts with a system message.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from collect_parity import packed
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_weights
from tokenizers import AddedToken, Tokenizer
from torch import nn
from torch.nn import functional
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

HERE = Path(__file__).parent
WORDS = HERE / "nanollava"
BEGIN, END, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
ADDED = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"]
SIDE, PATCH, BY, STEPS = 44, 14, 2, 16
ACROSS = -(-(SIDE // PATCH) // BY)
# Columns and rows of the published candidates, in their order.
GRIDS = [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (2, 2), (4, 1), (1, 5), (5, 1), (1, 6), (2, 3), (3, 2), (6, 1), (1, 7), (7, 1), (1, 8), (2, 4),
         (4, 2), (8, 1), (1, 9), (3, 3), (9, 1)]
SIZES = [(1, 1), (16, 3000), (3000, 16), (1, 2000), (2000, 1), (333, 217), (1024, 1024), (5477, 7819), (28, 28), (384, 384), (385, 384), (768, 384),
         (1541, 1540), (640, 480), (1152, 1152), (1000, 3000)]
QUESTION = "Describe the image in one short sentence."
CASES = {
    "image": [("user", [QUESTION], ["image.png"])],
    "two_images": [("user", ["What is different?"], ["image.png", "image2.png"])],
    "three_images": [("user", ["How many?"], ["image2.png", "image.png", "image2.png"])],
    "conversation": [("user", ["Describe the image."], ["image2.png"]), ("assistant", ["'s a red disc. "], []), ("user", [" And its colour? "], [])],
    "text": [("user", ["What is the capital of France?"], [])],
}
VISION = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=SIDE, patch_size=PATCH)
TEXT = dict(
    hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, n_shared_experts=2,
    n_routed_experts=6, num_experts_per_tok=2, first_k_dense_replace=1, n_group=1, topk_group=1, max_position_embeddings=4096, bos_token_id=0,
    eos_token_id=1, rms_norm_eps=1e-6, tie_word_embeddings=False,
)
LATENT = dict(q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=12)
SIGMOID = dict(norm_topk_prob=True, routed_scaling_factor=2.0)


def tokenizer(folder, whole):
    """nanollava's words behind DeepSeek's special tokens; those that the processor adds are in the file, or not."""
    words = json.loads((WORDS / "tokenizer.json").read_text())
    first = [BEGIN, END, PAD]
    vocab = {token: number for number, token in enumerate(first)}
    vocab |= {token: number + len(first) for token, number in words["model"]["vocab"].items()}
    entry = lambda token: {"id": vocab[token], "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    words["model"] |= {"vocab": vocab, "unk_token": None}
    words |= {"added_tokens": [entry(token) for token in first], "normalizer": None, "pre_tokenizer": byte_level, "decoder": byte_level, "post_processor": {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {BEGIN: {"id": BEGIN, "ids": [0], "tokens": [BEGIN]}}}}
    plain = json.dumps(words, ensure_ascii=False)
    found = Tokenizer.from_str(plain)
    found.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ADDED])
    (folder / "tokenizer.json").write_text((found.to_str() if whole else plain) + "\n")
    write(folder, "tokenizer_config.json", {"add_bos_token": True, "add_eos_token": False, "bos_token": BEGIN, "eos_token": END, "pad_token": PAD,
                                            "model_max_length": 4096, "tokenizer_class": "LlamaTokenizerFast"})
    return found


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def best(size, candidates):
    """The candidate that keeps most of the picture's pixels, then the one with the least room to spare; the first of equals."""
    def key(candidate):
        scale = min(candidate[0] / size[0], candidate[1] / size[1])
        kept = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        return -kept, candidate[0] * candidate[1] - kept
    return min(candidates, key=key)


def views(picture, cut):
    """The overview, then tiles row by row; pixels and the grid."""
    canvas = best(picture.size, [(columns * SIDE, rows * SIDE) for columns, rows in GRIDS]) if cut else (SIDE, SIDE)
    shown = [ImageOps.pad(picture, (SIDE, SIDE), color=(127, 127, 127))]
    whole = ImageOps.pad(picture, canvas, color=(127, 127, 127))
    shown += [whole.crop((x, y, x + SIDE, y + SIDE)) for y in range(0, canvas[1], SIDE) for x in range(0, canvas[0], SIDE)]
    pixels = torch.stack([(torch.from_numpy(np.array(view)).permute(2, 0, 1).float() / 255 - 0.5) / 0.5 for view in shown])
    return pixels, (canvas[0] // SIDE, canvas[1] // SIDE)


def prompt(turns):
    """The rendered prompt, and its parts as they are tokenised."""
    parts = []
    for role, texts, pictures in turns:
        said = ("<image>\n" * len(pictures) + "".join(texts)).strip()
        parts.append(f"<|User|>: {said}\n\n<|Assistant|>:" if role == "user" else f"{said}{END}")
    return "".join(parts), parts


class Model(nn.Module):
    def __init__(self, kind, vocabulary):
        super().__init__()
        if kind == "tiny":
            text = TEXT | {"vocab_size": vocabulary}
            self.language = LlamaForCausalLM(LlamaConfig(**{key: text[key] for key in text if "expert" not in key and "moe" not in key}))
            experts = DeepseekV2Config(**text, topk_method="greedy", **LATENT)
            for layer in self.language.model.layers[1:]:
                layer.mlp = DeepseekV2Moe(experts)
        elif kind == "small":
            self.language = DeepseekV2ForCausalLM(DeepseekV2Config(**TEXT, **LATENT, vocab_size=vocabulary, topk_method="greedy", head_dim=4))
        else:
            self.language = DeepseekV3ForCausalLM(DeepseekV3Config(**TEXT, **LATENT, **SIGMOID, vocab_size=vocabulary))
        self.vision = SiglipVisionModel(SiglipVisionConfig(**VISION, vision_use_head=False))
        self.projector = nn.Sequential(nn.Linear(VISION["hidden_size"] * BY * BY, 32), nn.GELU(), nn.Linear(32, 32))
        self.image_newline, self.view_seperator = nn.Parameter(torch.zeros(32)), nn.Parameter(torch.zeros(32))

    def features(self, pixels, grid):
        patches = self.vision(pixels).last_hidden_state
        side = SIDE // PATCH
        missing = -side % BY
        patches = functional.pad(patches.unflatten(1, (side, side)), (0, 0, 0, missing, 0, missing)).permute(0, 3, 1, 2)
        squares = functional.unfold(patches, BY, stride=BY).transpose(1, 2)  # all patches' first channels, then their second ones
        found = self.projector(squares).unflatten(1, (ACROSS, ACROSS))
        columns, rows = grid
        tiles = found[1:].unflatten(0, (rows, columns)).permute(0, 2, 1, 3, 4).flatten(0, 1).flatten(1, 2)
        lines = lambda block: torch.cat([block, self.image_newline.expand(block.shape[0], 1, -1)], 1).flatten(0, 1)
        return torch.cat([lines(found[0]), self.view_seperator[None], lines(tiles)])


@torch.no_grad()
def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    named = [*model.named_parameters(), *((name, buffer) for name, buffer in model.named_buffers() if "correction" in name)]
    for name, weight in named:
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            random = 1 + 0.1 * random
        elif "correction" in name:
            random *= 0.25
        elif weight.dim() == 1:
            random *= 0.3 if "image_newline" in name or "view" in name else 0.1
        elif "embed" not in name:
            random *= (1.6 if "language" in name else 1.2) * weight.shape[-1 if "patch" not in name else 0] ** -0.5
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(model, tokens, folder, turns):
    pictures = [Image.open(folder / file).convert("RGB") for _, _, files in turns for file in files]
    shown = [views(picture, len(pictures) <= 2) for picture in pictures]
    rendered, parts = prompt(turns)
    features = [model.features(*view) for view in shown]
    image, ids = tokens.token_to_id("<image>"), [0]
    counts = iter([len(one) for one in features])
    for part in parts:
        for token in tokens.encode(part, add_special_tokens=False).ids:
            ids += [image] * next(counts) if token == image else [token]
    embed = model.language.get_input_embeddings()
    x = embed(torch.tensor([ids]))
    if features:
        x[0, torch.tensor(ids) == image] = torch.cat(features)
    logits, chosen = [], []
    for _ in range(STEPS):
        every = model.language(inputs_embeds=x).logits[0]
        logits.append(every)
        chosen.append(int(every[-1].argmax()))
        x = torch.cat([x, embed(torch.tensor([[chosen[-1]]]))], 1)
    last = torch.stack([step[-1] for step in logits])
    top = last.topk(2).values
    arrays = {"input_ids": np.array(ids), "step_logits": last.numpy(), "prefill_last_logits": logits[0][-1].numpy(), "prefill_argmax": logits[0].argmax(-1).numpy()}
    if shown:
        arrays["pixel_values"] = torch.cat([pixels for pixels, _ in shown]).numpy()
    return arrays, rendered, chosen, float((top[:, 0] - top[:, 1]).min())


def stored(model):
    """Weights under the names of the published checkpoints."""
    found = {}
    for name, weight in model.state_dict().items():
        if name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj"):
            place, kind = name.rsplit(".", 1)
            for number, one in enumerate(weight):
                halves = one.chunk(2) if kind == "gate_up_proj" else [one]
                found |= {f"{place}.{number}.{part}.weight": half for part, half in zip(["gate_proj", "up_proj"] if len(halves) == 2 else ["down_proj"], halves)}
            continue
        name = name.replace("projector.", "projector.layers.")
        if name.startswith("vision."):
            for old, new in [("vision.vision_model.", "vision."), ("embeddings.patch_embedding", "patch_embed.proj"), ("encoder.layers", "blocks"),
                             ("layer_norm", "norm"), ("post_layernorm", "norm"), ("self_attn.out_proj", "attn.proj")]:
                name = name.replace(old, new)
            if "q_proj" in name:
                old = next(key for key in model.state_dict() if key.endswith(".".join(name.split(".")[2:])) and key.startswith("vision"))
                weight = torch.cat([model.state_dict()[old.replace("q_proj", f"{part}_proj")] for part in "qkv"])
                name = name.replace("self_attn.q_proj", "attn.qkv")
            elif "k_proj" in name or "v_proj" in name:
                continue
            elif "position_embedding" in name:
                name, weight = "vision.pos_embed", weight[None]
        found[name] = weight
    return {name: weight.bfloat16().contiguous().clone() for name, weight in found.items()}


def make(kind, name, cases):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    for picture in {file for case in cases for _, _, files in CASES[case] for file in files}:
        shutil.copyfile(WORDS / picture, folder / picture)
    tokens = tokenizer(folder, whole=kind != "tiny")
    vocabulary = tokens.get_vocab_size()
    model = Model(kind, vocabulary).eval()
    for seed in range(1000):
        draw(model, seed)
        answers = {case: answer(model, tokens, folder, CASES[case]) for case in cases}
        chosen = [tuple(tokens_) for _, _, tokens_, _ in answers.values()]
        if min(margin for _, _, _, margin in answers.values()) > 0.005 and len(set(chosen)) == len(chosen) and min(len(set(row)) for row in chosen) > 3:
            break
    else:
        raise SystemExit("no seed gives answers that differ clearly")
    save_weights(stored(model), folder / "model.safetensors")
    language = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "vocab_size": vocabulary, "lm_head": True, "rm_head": False}
    language |= {key: value for key, value in TEXT.items() if key not in ("rms_norm_eps", "tie_word_embeddings")}
    none = {"q_lora_rank": None, "kv_lora_rank": None, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0}
    language |= {"tiny": none | {"topk_method": "greedy", "use_mla": False}, "small": LATENT | {"topk_method": "greedy"},
                 "base": LATENT | SIGMOID | {"topk_method": "noaux_tc", "scoring_func": "sigmoid"}}[kind]
    candidates = [[columns * SIDE, rows * SIDE] for columns, rows in GRIDS]
    write(folder, "config.json", {
        "architectures": ["DeepseekVLV2ForCausalLM"], "model_type": "deepseek_vl_v2", "candidate_resolutions": candidates, "global_view_pos": "head",
        "tile_tag": "2D", "torch_dtype": "bfloat16", "language_config": language,
        "projector_config": {"model_type": "mlp_projector", "input_dim": VISION["hidden_size"], "n_embed": 32},
        "vision_config": {"model_type": "vision", "model_name": "siglip_so400m_patch14_384", "layers": VISION["num_hidden_layers"], "heads": 4,
                          "mlp_ratio": 1.5, "patch_size": PATCH, "width": VISION["hidden_size"]}})
    write(folder, "processor_config.json", {
        "add_special_token": False, "candidate_resolutions": candidates, "downsample_ratio": BY, "ignore_id": -100, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, "image_token": "<image>", "mask_prompt": False, "normalize": True, "pad_token": PAD, "patch_size": PATCH,
        "processor_class": "DeepseekVLV2Processor", "sft_format": "deepseek"})
    arrays = {f"{case}/{key}": array for case, (found, *_) in answers.items() for key, array in found.items()}
    # The other cases' pixels are among these, of the tiny model.
    kept = ("two_images/pixel_values", "three_images/pixel_values")
    arrays = {key: array for key, array in arrays.items() if key in kept or not key.endswith("pixel_values")}
    save_file({part: np.ascontiguousarray(value) for key, array in arrays.items() for part, value in packed(key, array).items()}, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)
    content = lambda texts, pictures: [{"type": "image"}] * len(pictures) + [{"type": "text", "text": text} for text in texts]
    write(folder, "golden.json", {
        "arch": name, "stands_for": {"tiny": "deepseek-ai/deepseek-vl2-tiny", "small": "deepseek-ai/deepseek-vl2-small", "base": "deepseek-ai/deepseek-vl2"}[kind],
        "seed": seed, "reference": {"transformers": f"{transformers.__version__}'s parts, joined by our reading of the published rules", "torch": torch.__version__},
        "cases": {case: {
            "messages": [{"role": role, "content": content(texts, pictures)} for role, texts, pictures in CASES[case]],
            "images": [file for _, _, files in CASES[case] for file in files], "prompt": rendered, "greedy_tokens": tokens_,
            "greedy_text": tokens.decode(tokens_, skip_special_tokens=False), "min_margin": margin,
        } for case, (_, rendered, tokens_, margin) in answers.items()}})
    for case, (found, _, tokens_, margin) in answers.items():
        print(name, case, len(found["input_ids"]), tokens_, round(margin, 3))
    print(name, "seed", seed, {file.name: file.stat().st_size for file in sorted(folder.iterdir())}, sum(file.stat().st_size for file in folder.iterdir()))


def sizes():
    candidates = [(columns * 384, rows * 384) for columns, rows in GRIDS]
    for size in SIZES:
        canvas = best(size, candidates)
        try:
            fitted = ImageOps.contain(Image.new("L", size), canvas).size
        except ValueError:
            fitted = None  # nothing would be left of it
        yield {"size": size, "best": canvas, "fitted": fitted}


make("tiny", "deepseek_vl2", list(CASES))
make("small", "deepseek_vl2_small", ["image", "text"])
make("base", "deepseek_vl2_base", ["image", "text"])
lines = ",\n".join("  " + json.dumps(case) for case in sizes())
rows = json.dumps([[columns * 384, rows * 384] for columns, rows in GRIDS])
(HERE / "deepseek_vl2" / "sizes.json").write_text(f'{{"candidates": {rows},\n"cases": [\n{lines}\n]}}\n')
