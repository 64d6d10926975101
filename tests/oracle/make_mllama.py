"""Prompts and pictures that the goldens of mllama lack, as transformers answers them: writes mllama/more.json.

    python make_mllama.py    (made with transformers 5.23.0, torch 2.15.0)

Pictures of one and of two tiles, alone and in one request, one of them between others; texts between pictures; a prompt for a base
model, without a chat template.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, MllamaForConditionalGeneration, MllamaProcessor
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

FOLDER = Path(__file__).parent / "mllama"
HEAD, TAIL = "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
CHAT = "<|begin_of_text|>" + HEAD + "{}" + TAIL
IMAGE = "<|image|>"
# Pictures' [width, height]; what stands between the user's marks; whether the template writes the prompt.
CASES = {
    "one_tile": ([(50, 40)], IMAGE + "Describe the image.", True),
    "two_tiles": ([(110, 30)], IMAGE + "Describe the image.", True),
    "group": ([(333, 217), (50, 40), (40, 150), (110, 30)], 3 * IMAGE + "Compare." + IMAGE + "And this?", True),
    "words_first": ([(40, 150)], "Describe the image:" + IMAGE, True),
    "base": ([(110, 30)], IMAGE + "in this picture, there is", False),
}


def grey(width, height):
    """As `grey` in tests/src/pictures.rs."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(((x * 7 + y * 13) % 251).astype(np.uint8)).convert("RGB")


processor = MllamaProcessor(MllamaImageProcessorPil.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER))
model = MllamaForConditionalGeneration.from_pretrained(FOLDER, attn_implementation="eager").eval()
golden = {}
for name, (pictures, text, chat) in CASES.items():
    images = [grey(*size) for size in pictures]
    prompt = CHAT.format(text) if chat else text
    inputs = processor(text=prompt, images=images, return_tensors="pt", add_special_tokens=not chat)
    with torch.no_grad():
        answer = model.generate(
            **inputs, max_new_tokens=8, do_sample=False, eos_token_id=[], output_logits=True, return_dict_in_generate=True
        )
    ids = inputs["input_ids"][0].tolist()
    golden[name] = {
        "pictures": pictures,
        "text": text,
        "chat": chat,
        "input_ids": ids,
        "greedy_tokens": answer.sequences[0, len(ids) :].tolist(),
        "logits": [[round(float(value), 6) for value in row[0]] for row in (answer.logits[0], answer.logits[-1])],
    }
lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(case)}" for name, case in golden.items())
(FOLDER / "more.json").write_text("{\n" + lines + "\n}\n")
