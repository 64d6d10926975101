"""A small Gemma 3n and what transformers answers with it: writes gemma3n/ (a folder as on Hugging Face, golden.json and golden.safetensors).

    python make_gemma3n.py    (made with transformers 5.23.0, timm 1.0.31, torch 2.15.0, Pillow)

Gemma3nForConditionalGeneration with random weights, which are multiples of what bfloat16 holds. The tower of timm has one size, 300 million
parameters: here its table of blocks and the width of what joins its stages are replaced while it is built. All kinds of blocks are in the small
table: an edge residual, inverted residuals with and without convolutions at their start and middle, attention with and without a stride of keys.
The tokenizer is gemma3's with the tokens of pictures and sounds at the end, beyond the table of the layers' embeddings, as in the published
vocabulary. The audio tower is not stored. Pixels are those of transformers' PIL backend.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import timm.models.mobilenetv5 as mobilenet
import torch
import transformers
from collect_parity import packed
from PIL import Image
from safetensors.numpy import save_file
from transformers import (
    Gemma3nAudioFeatureExtractor,
    Gemma3nConfig,
    Gemma3nForConditionalGeneration,
    Gemma3nProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
)

HERE = Path(__file__).parent
OUT, WORDS = HERE / "gemma3n", HERE / "gemma3"
SIDE, FEATURES, WIDTH, STEPS = 96, 4, 32, 16
BLOCKS = [
    ["er_r1_k3_s2_e2_c8", "er_r1_k3_s1_e2_c8"],
    ["uir_r1_a3_k5_s2_e2_c16", "uir_r1_a5_k0_s1_e2_c16"],
    ["uir_r1_a5_k5_s2_e2_c24", "mqa_r1_k3_h3_v2_s1_d8_c24", "uir_r1_a0_k0_s1_e2_c24"],
    ["uir_r1_a5_k5_s2_e2_c32", "mqa_r1_k3_h2_s1_d16_c32", "uir_r1_a0_k0_s1_e2_c32"],
]
DESCRIBE = "Describe the image in one short sentence."
CASES = {
    "image": ([DESCRIBE], ["image.png"]),
    "two_images": (["What differs between the two images?"], ["image.png", "image2.png"]),
    # A token of another medium's vocabulary may stand in a text.
    "text": (["Name three colours. <end_of_audio>"], []),
}


def small_tower():
    """timm's builder with the small table."""
    decode, join = mobilenet.decode_arch_def, mobilenet.MobileNetV5MultiScaleFusionAdapter
    generate = mobilenet._gen_mobilenet_v5
    mobilenet.decode_arch_def = lambda _, **more: decode(BLOCKS, **more)
    mobilenet.MobileNetV5MultiScaleFusionAdapter = lambda in_chs, out_chs, output_resolution, **more: join(
        in_chs, WIDTH, int(FEATURES**0.5), **more)
    mobilenet._gen_mobilenet_v5 = lambda variant, **more: generate(variant, **({"stem_size": 8} | more))


def tokenizer():
    """gemma3's words; tokens of pictures and sounds at the end."""
    words = json.loads((WORDS / "tokenizer.json").read_text())
    count = len(words["model"]["vocab"])
    words["added_tokens"] = [token for token in words["added_tokens"] if token["id"] < count]
    special = lambda id, content: {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                                   "special": True}
    text = count + 2
    ends = {"<start_of_image>": count, "<start_of_audio>": count + 1, "<end_of_image>": text, "<image_soft_token>": text + 1,
            "<end_of_audio>": text + 8, "<audio_soft_token>": text + 9}
    words["added_tokens"] += [special(id, content) for content, id in ends.items()]
    # Other ids of the three vocabularies.
    words["added_tokens"] += [special(id, f"<unused{id}>") for id in range(text, text + 16) if id not in ends.values()]
    words["added_tokens"].sort(key=lambda token: token["id"])
    (OUT / "tokenizer.json").write_text(json.dumps(words, ensure_ascii=False) + "\n")
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "boi_token": "<start_of_image>",
             "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>", "boa_token": "<start_of_audio>", "eoa_token": "<end_of_audio>",
             "audio_token": "<audio_soft_token>"}
    write("tokenizer_config.json", {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True} | names)
    found = PreTrainedTokenizerFast(tokenizer_file=str(OUT / "tokenizer.json"), **dict(list(names.items())[:4]))
    for name, token in list(names.items())[4:]:
        setattr(found, name, token)
        setattr(found, f"{name}_id", found.convert_tokens_to_ids(token))
    return found, text, ends


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


OUT.mkdir(exist_ok=True)
for picture in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / picture, OUT / picture)
template = (WORDS / "chat_template.jinja").read_text().replace("'<start_of_image>'", "'<image_soft_token>'")
(OUT / "chat_template.jinja").write_text(template)
tokens, table, ids = tokenizer()
small_tower()
sliding, full = "sliding_attention", "full_attention"
text = dict(
    model_type="gemma3n_text", vocab_size=table + 16, vocab_size_per_layer_input=table, hidden_size=32, hidden_size_per_layer_input=8,
    intermediate_size=[48] * 6, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2, head_dim=8, hidden_activation="gelu_pytorch_tanh",
    max_position_embeddings=2048, rms_norm_eps=1e-6, sliding_window=12, layer_types=[sliding, sliding, full, sliding, sliding, full],
    final_logit_softcapping=30.0, altup_active_idx=0, altup_coef_clip=120.0, altup_correct_scale=True, altup_num_inputs=3, num_kv_shared_layers=3,
    laurel_rank=4, activation_sparsity_pattern=[0.95, 0.7, 0.0, 0.0, 0.0, 0.0], rope_theta=1e6, rope_local_base_freq=1e4, pad_token_id=0,
    bos_token_id=2, eos_token_id=1,
)
vision = dict(model_type="gemma3n_vision", architecture="mobilenetv5_300m_enc", do_pooling=False, hidden_size=WIDTH, vocab_size=8,
              vocab_offset=table, rms_norm_eps=1e-6)
audio = dict(model_type="gemma3n_audio", hidden_size=16, vocab_size=8, vocab_offset=table + 8, conf_num_hidden_layers=1, conf_num_attention_heads=2,
             sscp_conv_channel_size=[4, 4], rms_norm_eps=1e-6)
marks = dict(boi_token_id=ids["<start_of_image>"], eoi_token_id=ids["<end_of_image>"], image_token_id=ids["<image_soft_token>"],
             boa_token_id=ids["<start_of_audio>"], eoa_token_id=ids["<end_of_audio>"], audio_token_id=ids["<audio_soft_token>"])
config = Gemma3nConfig(text_config=dict(text), vision_config=dict(vision), audio_config=dict(audio), vision_soft_tokens_per_image=FEATURES, **marks)
model = Gemma3nForConditionalGeneration(config).eval()
rules = dict(do_normalize=False, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2, rescale_factor=1 / 255,
             size={"height": SIDE, "width": SIDE})
processor = Gemma3nProcessor(Gemma3nAudioFeatureExtractor(), SiglipImageProcessorPil(**rules), tokens, chat_template=template,
                             image_seq_length=FEATURES)


@torch.no_grad()
def draw(seed):
    """Nothing is dead: each part changes the answer."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name or ".bn" in name or "correct_output_scale" in name or "gamma" in name:
            random = (0.5 if "gamma" in name else 1) + 0.1 * random
            if name.endswith("language_model.norm.weight"):
                random *= 0.5  # Smaller logits, and less of rounding in them.
        elif weight.dim() == 1:
            random *= 0.1
        elif "coefs" in name or "modality_router" in name:
            random *= 4.0 if "router" in name else 0.5
        elif "embed" not in name or "projection" in name:
            random *= weight[0].numel() ** -0.5
        elif "embed_tokens.weight" in name:
            random *= 0.3  # As above: the table makes the logits, too.
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(said, files):
    pictures = [Image.open(OUT / file).convert("RGB") for file in files]
    content = [{"type": "image"} for _ in files] + [{"type": "text", "text": said[0]}]
    messages = [{"role": "user", "content": content}]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=pictures or None, text=prompt, add_special_tokens=False, return_tensors="pt")
    read = inputs["input_ids"]
    seen = {"pixel_values": inputs["pixel_values"]} if files else {}
    logits, every = [], None
    for _ in range(STEPS):
        found = model(input_ids=read, use_cache=False, **seen).logits[0]
        every = found if every is None else every
        logits.append(found[-1])
        if int(found[-1].argmax()) >= table:
            return None  # A picture's token would need a picture.
        read = torch.cat([read, found[-1].argmax()[None, None]], 1)
    top = torch.stack(logits).topk(2).values
    arrays = {"input_ids": inputs["input_ids"][0].numpy(), "prefill_last_logits": every[-1].numpy(), "prefill_argmax": every.argmax(-1).numpy(),
              "step_logits": torch.stack(logits).numpy()}
    if files:
        arrays["pixel_values"] = inputs["pixel_values"].numpy()
        features = model.model.get_image_features(inputs["pixel_values"]).pooler_output
        arrays["image_features"] = features.numpy()
    return arrays, read[0, -STEPS:].tolist(), float((top[:, 0] - top[:, 1]).min()), prompt, messages


for seed in range(200):
    draw(seed)
    answers = {name: answer(*case) for name, case in CASES.items()}
    if None in answers.values():
        continue
    answered = [tuple(found[1]) for found in answers.values()]
    variety = min(len(set(row)) for row in answered)
    if min(found[2] for found in answers.values()) > 0.005 and len(set(answered)) == len(answered) and variety > 3:
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")

weights = {name: weight for name, weight in model.state_dict().items()
           if "audio_tower" not in name and not name.startswith("lm_head") and "embed_scale" not in name}
shared = {f".{layer}.self_attn.{part}" for layer in (3, 4, 5) for part in ("k_", "v_")}
assert not any(part in name for part in shared for name in weights)
save_file({name: weight.contiguous().numpy() for name, weight in weights.items()}, OUT / "model.safetensors")
write("config.json", {"architectures": ["Gemma3nForConditionalGeneration"], "model_type": "gemma3n", "eos_token_id": [1, 10], "pad_token_id": 0,
                      "vision_soft_tokens_per_image": FEATURES, "text_config": text, "vision_config": vision, "audio_config": audio} | marks)
write("generation_config.json", {"bos_token_id": 2, "eos_token_id": [1, 10], "pad_token_id": 0, "do_sample": True, "top_k": 64, "top_p": 0.95})
write("preprocessor_config.json", rules | {"image_processor_type": "SiglipImageProcessorFast", "processor_class": "Gemma3nProcessor"})
write("processor_config.json", {"processor_class": "Gemma3nProcessor", "image_seq_length": FEATURES, "audio_seq_length": 188})
arrays = {f"{case}/{name}": array for case, (found, *_) in answers.items() for name, array in found.items()}
arrays = {name: np.ascontiguousarray(part) for key, array in arrays.items() for name, part in packed(key, array).items()}
save_file(arrays, OUT / "golden.safetensors")
(OUT / "golden.safetensors").chmod(0o644)
write("golden.json", {
    "arch": "gemma3n", "stands_for": "google/gemma-3n-E2B, -E4B, -E2B-it and -E4B-it, without sound", "seed": seed,
    "reference": {"transformers": transformers.__version__, "torch": torch.__version__, "class": type(model).__name__},
    "cases": {
        name: {"messages": messages, "images": CASES[name][1], "prompt": prompt, "greedy_tokens": chosen,
               "greedy_text": tokens.decode(chosen, skip_special_tokens=False), "min_margin": margin}
        for name, (_, chosen, margin, prompt, messages) in answers.items()
    },
})
# A base model's prompt, without a template.
base = "<image_soft_token>in this picture, there is"
inputs = processor(images=[Image.open(OUT / "image.png")], text=base, return_tensors="pt")
read = inputs["input_ids"]
with torch.no_grad():
    for _ in range(STEPS):
        last = model(input_ids=read, pixel_values=inputs["pixel_values"], use_cache=False).logits[0, -1]
        read = torch.cat([read, last.argmax()[None, None]], 1)
(OUT / "base.json").write_text(json.dumps({
    "prompt": base, "input_ids": inputs["input_ids"][0].tolist(), "greedy_tokens": read[0, -STEPS:].tolist()}) + "\n")
for name, (found, chosen, margin, *_) in answers.items():
    print(name, found["input_ids"].tolist(), chosen, round(margin, 4))
print("seed", seed, {file.name: file.stat().st_size for file in sorted(OUT.iterdir())}, sum(file.stat().st_size for file in OUT.iterdir()))
