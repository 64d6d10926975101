"""Small models of the shape of another folder's, and what transformers answers with them: writes qwen3_vl_moe/ (weights as conversions to MLX have
them) and glm_ocr/ (a folder as on Hugging Face), each with golden.json and golden.safetensors.

    python make_kin.py [NAME...]    (made with transformers 5.23.0, torch 2.15.0)

Qwen3VLMoeForConditionalGeneration and GlmOcrForConditionalGeneration with random weights. Tokenizers, templates, pictures and ids are those of
qwen3_vl/ and glm4v/, whose pixels are compared there. Weights of qwen3_vl_moe have the names and the order of axes that mlx-vlm gives them
(make_mlx_names.py loads them with it): published checkpoints store experts by their inputs, which Monocle does not use.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_weights
from transformers import GlmOcrConfig, GlmOcrForConditionalGeneration, Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration
from transformers.models.glm46v.image_processing_pil_glm46v import Glm46VImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

HERE = Path(__file__).parent
STEPS = 16
COPIED = ("chat_template.jinja", "generation_config.json", "image.png", "image2.png", "preprocessor_config.json", "special_tokens_map.json", "tokenizer.json",
          "tokenizer_config.json")
KINDS = {
    "qwen3_vl_moe": dict(
        of="qwen3_vl", stands_for="Qwen3-VL-30B-A3B and 235B-A22B as converted to MLX", config=Qwen3VLMoeConfig, model=Qwen3VLMoeForConditionalGeneration,
        images=Qwen2VLImageProcessorPil,
        text=dict(model_type="qwen3_vl_moe_text", hidden_size=32, intermediate_size=48, moe_intermediate_size=24, num_experts=6, num_experts_per_tok=2,
                  decoder_sparse_step=1, mlp_only_layers=[1], norm_topk_prob=True),
        vision=dict(model_type="qwen3_vl_moe", hidden_size=32, intermediate_size=48, out_hidden_size=32)),
    "glm_ocr": dict(
        of="glm4v", stands_for="zai-org/GLM-OCR", config=GlmOcrConfig, model=GlmOcrForConditionalGeneration, images=Glm46VImageProcessorPil,
        text=dict(model_type="glm_ocr_text", attention_bias=False, hidden_size=32, intermediate_size=48, head_dim=16, rope_theta=None, rope_scaling=None, partial_rotary_factor=None,
                  rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3], "partial_rotary_factor": 1.0}),
        vision=dict(model_type="glm_ocr_vision", hidden_size=32, intermediate_size=48, out_hidden_size=32, attention_bias=True)),
}


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


@torch.no_grad()
def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            random = 1 + 0.1 * random
        elif weight.dim() == 1:
            random *= 0.1
        elif "embed_tokens" not in name and "pos_embed" not in name:
            random *= (1.6 if "language" in name else 1.2) * (weight.shape[-1] if weight.dim() < 4 else weight[0].numel()) ** -0.5
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(model, images, image_token, folder, dense, name, case):
    ids = torch.from_numpy(dense[f"{name}/input_ids"].reshape(1, -1))
    pictures = [Image.open(folder / file).convert("RGB") for file in case["images"]]
    seen = dict(images(images=pictures, return_tensors="pt")) if pictures else {}
    if pictures:
        places, levels = (dense[f"{name}/pixel_values{part}"] for part in ("", "/levels"))
        assert np.array_equal(levels[places].reshape(-1), seen["pixel_values"].numpy().reshape(-1)), "the same pixels"
    logits, chosen = [], []
    for _ in range(STEPS):
        every = model(input_ids=ids, mm_token_type_ids=(ids == image_token).int(), **seen).logits[0]
        logits.append(every)
        chosen.append(int(every[-1].argmax()))
        ids = torch.cat([ids, torch.tensor([chosen[-1:]])], 1)
    last = torch.stack([step[-1] for step in logits])
    top = last.topk(2).values
    found = {"input_ids": dense[f"{name}/input_ids"], "step_logits": last.numpy(), "prefill_last_logits": logits[0][-1].numpy(), "prefill_argmax": logits[0].argmax(-1).numpy()}
    return found, chosen, float((top[:, 0] - top[:, 1]).min())


def as_mlx(state):
    """Names and orders of axes of conversions."""
    weights = {}
    for name, weight in state.items():
        name = name.replace("model.language_model.", "language_model.model.").replace("model.visual.", "vision_tower.")
        name = "language_model.lm_head.weight" if name == "lm_head.weight" else name
        if name.endswith("experts.gate_up_proj"):
            place = name.replace("experts.gate_up_proj", "switch_mlp")
            weights[f"{place}.gate_proj.weight"], weights[f"{place}.up_proj.weight"] = weight.chunk(2, 1)
        elif name.endswith("experts.down_proj"):
            weights[name.replace("experts.down_proj", "switch_mlp.down_proj.weight")] = weight
        else:
            weights[name] = weight.permute(0, 2, 3, 4, 1) if weight.dim() == 5 else weight
    return weights


def make(arch, kind):
    source, folder = HERE / kind["of"], HERE / arch
    folder.mkdir(exist_ok=True)
    for file in COPIED:
        shutil.copyfile(source / file, folder / file)
        (folder / file).chmod(0o644)
    config = json.loads((source / "config.json").read_text())
    config |= {"architectures": [kind["model"].__name__], "model_type": arch}
    config["text_config"] = {key: value for key, value in (config["text_config"] | kind["text"]).items() if value is not None}
    config["vision_config"] |= kind["vision"]
    write(folder, "config.json", config)
    model = kind["model"](kind["config"](**config)).eval()
    model.set_experts_implementation("eager")
    rules = json.loads((source / "preprocessor_config.json").read_text())
    images = kind["images"](**{key: value for key, value in rules.items() if not key.endswith("_type") and not key.endswith("_class")})
    dense, golden = load_file(source / "golden.safetensors"), json.loads((source / "golden.json").read_text())
    image_token = config["image_token_id"]
    for seed in range(1000):
        draw(model, seed)
        answers = {name: answer(model, images, image_token, folder, dense, name, case) for name, case in golden["cases"].items()}
        chosen = [tuple(row) for _, row, _ in answers.values()]
        model.double()
        exact = {name: answer(model, images, image_token, folder, dense, name, case)[0]["step_logits"] for name, case in golden["cases"].items()}
        model.float()
        # Rounding does not grow.
        rounding = max(np.abs(exact[name] - found["step_logits"]).max() for name, (found, *_) in answers.items())
        # Where a feature's token is answered, the reference looks for a picture.
        marked = any(token in (image_token, config["video_token_id"]) for row in chosen for token in row)
        clear = min(margin for *_, margin in answers.values()) > 0.005 and min(len(set(row)) for row in chosen) > 3
        if clear and rounding < 2e-5 and not marked and len(set(chosen)) == len(chosen):
            break
    else:
        raise SystemExit("no seed gives answers that differ clearly")
    weights = as_mlx(model.state_dict()) if arch == "qwen3_vl_moe" else model.state_dict()
    save_weights({name: weight.bfloat16().contiguous().clone() for name, weight in weights.items()}, folder / "model.safetensors")
    save_file({f"{case}/{key}": np.ascontiguousarray(array) for case, (found, *_) in answers.items() for key, array in found.items()}, folder / "golden.safetensors")
    (folder / "golden.safetensors").chmod(0o644)
    write(folder, "golden.json", {
        "arch": arch, "stands_for": kind["stands_for"], "seed": seed,
        "reference": {"transformers": transformers.__version__, "torch": torch.__version__, "class": type(model).__name__},
        "cases": {name: {key: golden["cases"][name][key] for key in ("messages", "images", "prompt")} | {"greedy_tokens": row, "min_margin": margin}
                  for name, (_, row, margin) in answers.items()}})
    for name, (found, row, margin) in answers.items():
        print(arch, name, found["input_ids"].size, row, round(margin, 3))
    print(arch, "seed", seed, sum(file.stat().st_size for file in folder.iterdir()))


for arch in sys.argv[1:] or KINDS:
    make(arch, KINDS[arch])
