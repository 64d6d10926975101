"""A small Florence-2 and what transformers answers with it: writes florence2/ (a folder as on Hugging Face, golden.json and golden.safetensors,
regions.json).

    python make_florence2.py    (made with transformers 5.23.0, torch 2.15.0, Pillow)

Florence2ForConditionalGeneration with random weights, which are multiples of what bfloat16 holds. The tokenizer is nanollava's words with
BART's special tokens, and without those for places and tasks: published repositories of the first layout (microsoft/Florence-2-base) have
them in no file; the processor adds them. Prompts are `<image>.. <s> words </s>`, as both layouts were trained. (Florence2Processor of 5.23.0
puts `<s>` and `</s>` around all of that once more unless it is called with add_special_tokens=False, as here.) Beams are not searched: tokens are
greedy, after the forced `<s>`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from collect_parity import packed
from PIL import Image
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import CLIPImageProcessorPil, Florence2Config, Florence2ForConditionalGeneration, Florence2Processor, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

HERE = Path(__file__).parent
OUT, WORDS = HERE / "florence2", HERE / "nanollava"
SIDE, STEPS = 96, 16
CASES = {
    "caption": ("<DETAILED_CAPTION>", "image.png"),
    "detection": ("<OD>", "image2.png"),
    "grounding": ("<CAPTION_TO_PHRASE_GROUNDING>a red disc over a blue square", "image.png"),
    "region": ("<REGION_TO_DESCRIPTION><loc_52><loc_332><loc_932><loc_774>", "image2.png"),
}
ADDED = ["<od>", "</od>", "<ocr>", "</ocr>"] + [f"<loc_{place}>" for place in range(1000)] + [
    f"<{end}{name}>" for name in ("cap", "ncap", "dcap", "grounding", "seg") for end in ("", "/")
] + ["<sep>"] + [f"<{end}{name}>" for name in ("region_cap", "region_to_desciption", "proposal", "poly") for end in ("", "/")] + ["<and>"]
# Answers and how Florence2PostProcessor reads them, for a picture of 333 by 217 pixels.
ANSWERS = [
    ("<OD>", "car<loc_52><loc_332><loc_932><loc_774>door<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>"),
    ("<OD>", "</s><s>wheel<loc_0><loc_0><loc_999><loc_999><loc_7></s>"),
    ("<OD>", "nothing at all"),
    ("<DENSE_REGION_CAPTION>", "a blue car <loc_52><loc_332><loc_932><loc_774> the wheel of it<loc_8><loc_9><loc_10><loc_11>"),
    ("<CAPTION_TO_PHRASE_GROUNDING>", "A red disc<loc_52><loc_332><loc_932><loc_774>it<loc_1><loc_2><loc_3><loc_4>"),
    ("<OPEN_VOCABULARY_DETECTION>", "a disc<loc_52><loc_332><loc_932><loc_774>"),
    ("<OPEN_VOCABULARY_DETECTION>", "a disc<poly><loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><sep><loc_7><loc_8><loc_9><loc_10></poly>"),
    ("<REFERRING_EXPRESSION_SEGMENTATION>", "<loc_10><loc_20><loc_30><loc_40><loc_50><loc_60><loc_70>"),
    ("<REGION_TO_SEGMENTATION>", "<poly><loc_10><loc_20><loc_30><loc_40></poly><poly><loc_50><loc_60><loc_70><loc_80></poly>"),
    ("<REGION_PROPOSAL>", "<loc_10><loc_20><loc_30><loc_40><loc_50><loc_60><loc_70><loc_80>"),
    ("<OCR_WITH_REGION>", "STOP<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8> no entry<loc_11><loc_12><loc_13><loc_14><loc_15><loc_16><loc_17><loc_18>"),
    ("<REGION_TO_CATEGORY>", "car<loc_52><loc_332><loc_932><loc_774>"),
]
BANNED = ["it", "this", "the image"]


def tokenizer():
    """nanollava's words behind BART's special tokens."""
    words = json.loads((WORDS / "tokenizer.json").read_text())
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocab = {token: number for number, token in enumerate(special)}
    vocab |= {token: number + len(special) for token, number in words["model"]["vocab"].items()}
    vocab["<mask>"] = len(vocab)
    added = [{"id": vocab[token], "content": token, "single_word": False, "lstrip": token == "<mask>", "rstrip": False, "normalized": False,
              "special": True} for token in (*special, "<mask>")]
    words["model"] |= {"vocab": vocab, "unk_token": "<unk>"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    words |= {"added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level, "decoder": byte_level, "post_processor": {
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": False}}
    (OUT / "tokenizer.json").write_text(json.dumps(words, ensure_ascii=False) + "\n")
    Tokenizer.from_file(str(OUT / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    (OUT / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BartTokenizer", "model_max_length": 1024} | names, indent=1) + "\n")
    found = PreTrainedTokenizerFast(tokenizer_file=str(OUT / "tokenizer.json"), **names)
    found.add_special_tokens({"additional_special_tokens": ADDED} if hasattr(found, "additional_special_tokens") else {"extra_special_tokens": ADDED})
    found.add_tokens(["<image>"], special_tokens=True)
    found.image_token, found.image_token_id = "<image>", found.convert_tokens_to_ids("<image>")
    return found


def write(name, content):
    (OUT / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


OUT.mkdir(exist_ok=True)
for picture in ("image.png", "image2.png"):
    shutil.copyfile(WORDS / picture, OUT / picture)
tokens = tokenizer()
vision = dict(
    activation_function="gelu", depths=[1, 1, 2, 1], embed_dim=[16, 24, 32, 32], in_channels=3, max_position_embeddings=12, max_temporal_embeddings=10,
    mlp_ratio=2.0, num_groups=[2, 2, 4, 4], num_heads=[2, 2, 4, 4], patch_padding=[3, 1, 1, 1], patch_prenorm=[False, True, True, True],
    patch_size=[7, 3, 3, 3], patch_stride=[4, 2, 2, 2], projection_dim=32, qkv_bias=True, window_size=4,
)
text = dict(
    model_type="bart", activation_function="gelu", d_model=32, decoder_attention_heads=4, decoder_ffn_dim=48, decoder_layers=2,
    decoder_start_token_id=2, encoder_attention_heads=4, encoder_ffn_dim=48, encoder_layers=2, max_position_embeddings=80, vocab_size=len(tokens),
    bos_token_id=0, eos_token_id=2, pad_token_id=1, forced_eos_token_id=2, tie_word_embeddings=True,
)
config = Florence2Config(text_config=text, vision_config=vision, image_token_id=tokens.image_token_id, tie_word_embeddings=True)
model = Florence2ForConditionalGeneration(config).eval()
rules = dict(
    do_center_crop=False, do_convert_rgb=None, do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.485, 0.456, 0.406],
    image_std=[0.229, 0.224, 0.225], resample=3, rescale_factor=1 / 255, size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE},
)
images = CLIPImageProcessorPil(**rules)
images.image_seq_length = (SIDE // 32) ** 2 + 1
tasks = {task: {} for task in ("pure_text", "description_with_bboxes", "bboxes", "polygons", "description_with_polygons", "description_with_bboxes_or_polygons", "ocr")}
tasks["phrase_grounding"] = {"banned_grounding_tokens": BANNED}
processor = Florence2Processor(images, tokens, post_processor_config=tasks)


@torch.no_grad()
def draw(seed):
    """Nothing is dead: each part changes the answer. But rounding does not grow: in 64 bits the logits are the same within 1e-5."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            random = 1 + 0.1 * random
        elif weight.dim() == 1:
            random *= 0.1
        elif "embed_positions" not in name and ("shared" in name or "_embeddings" in name):
            random *= 0.5
        elif "embed_positions" not in name:
            random *= 0.9 * weight[0].numel() ** -0.5 * (2 if "encoder_attn" in name else 1)
        weight.copy_(random.bfloat16())


@torch.no_grad()
def answer(task, file):
    picture = Image.open(OUT / file).convert("RGB")
    inputs = processor(images=picture, text=task, return_tensors="pt", add_special_tokens=False)
    read, pixels = inputs["input_ids"], inputs["pixel_values"]
    decoder, logits, encoded = [2, 0], [], None
    for _ in range(STEPS):
        seen = dict(input_ids=read, pixel_values=pixels) if encoded is None else dict(encoder_outputs=encoded)
        every = model(**seen, decoder_input_ids=torch.tensor([decoder]))
        encoded, every = BaseModelOutput(every.encoder_last_hidden_state), every.logits[0]
        logits.append(every)
        decoder.append(int(every[-1].argmax()))
    features = model.model.get_image_features(pixels).pooler_output[0]
    top = torch.stack([step[-1] for step in logits]).topk(2).values
    arrays = {
        "encoder_ids": read[0].numpy(), "input_ids": np.array([2, 0]), "pixel_values": pixels.numpy(), "image_features": features.numpy(),
        "prefill_last_logits": logits[0][-1].numpy(), "prefill_argmax": logits[0].argmax(-1).numpy(),
        "step_logits": torch.stack([step[-1] for step in logits]).numpy(),
    }
    return arrays, decoder[2:], float((top[:, 0] - top[:, 1]).min())


for seed in range(1000):
    draw(seed)
    answers = {name: answer(*case) for name, case in CASES.items()}
    answered = [tuple(tokens_) for _, tokens_, _ in answers.values()]
    variety = min(len(set(row)) for row in answered)
    if min(margin for _, _, margin in answers.values()) > 0.005 and len(set(answered)) == len(answered) and variety > 3:
        break
else:
    raise SystemExit("no seed gives answers that differ clearly")

weights = {name: tensor for name, tensor in model.state_dict().items()
           if "embed_tokens" not in name and not name.startswith("lm_head") and "pos_idx_to_embed" not in name}
save_file({name: tensor.contiguous().numpy() for name, tensor in weights.items()}, OUT / "model.safetensors")
write("config.json", {"architectures": ["Florence2ForConditionalGeneration"], "model_type": "florence2", "is_encoder_decoder": True,
                      "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "image_token_id": tokens.image_token_id,
                      "tie_word_embeddings": True, "text_config": text, "vision_config": {"model_type": "florence_vision"} | vision})
write("generation_config.json", {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2, "forced_bos_token_id": 0,
                                 "forced_eos_token_id": 2, "no_repeat_ngram_size": 0, "num_beams": 1})
write("preprocessor_config.json", rules | {"image_processor_type": "CLIPImageProcessor", "image_seq_length": images.image_seq_length,
                                           "processor_class": "Florence2Processor"})
write("processor_config.json", {"processor_class": "Florence2Processor", "num_additional_image_tokens": 0, "post_processor_config": tasks})
arrays = {f"{case}/{name}": array for case, (found, _, _) in answers.items() for name, array in found.items()}
for case in ("grounding", "region"):
    del arrays[f"{case}/pixel_values"]  # As those of the case before with this picture.
arrays = {name: np.ascontiguousarray(part) for key, array in arrays.items() for name, part in packed(key, array).items()}
save_file(arrays, OUT / "golden.safetensors")
write("golden.json", {
    "arch": "florence2", "stands_for": "microsoft/Florence-2-base and -large, and their conversions florence-community/Florence-2-*", "seed": seed,
    "reference": {"transformers": transformers.__version__, "torch": torch.__version__, "class": type(model).__name__},
    "cases": {
        name: {
            "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": CASES[name][0]}]}], "images": [CASES[name][1]],
            "prompt": processor._construct_prompts(CASES[name][0])[0], "greedy_tokens": chosen,
            "greedy_text": tokens.decode(chosen, skip_special_tokens=False), "min_margin": margin,
        } for name, (_, chosen, margin) in answers.items()
    },
})
write("regions.json", [{"task": task, "answer": said, "size": [333, 217], **processor.post_process_generation(said, task=task, image_size=(333, 217))}
                       for task, said in ANSWERS])
(OUT / "golden.safetensors").chmod(0o644)
for name, (found, chosen, margin) in answers.items():
    print(name, found["encoder_ids"].tolist(), chosen, round(margin, 3))
print("seed", seed, {file.name: file.stat().st_size for file in sorted(OUT.iterdir())}, sum(file.stat().st_size for file in OUT.iterdir()))
