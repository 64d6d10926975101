"""A prompt for a base model, without a chat template, as transformers answers it: writes gemma3/base.json.

    python make_base_prompt.py    (made with transformers 5.23.0, torch 2.15.0)
"""

import json
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoTokenizer, Gemma3ForConditionalGeneration, Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

FOLDER = Path(__file__).parent / "gemma3"
PROMPT = "<start_of_image>in this picture, there is"

processor = Gemma3Processor(
    Gemma3ImageProcessorPil.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER), image_seq_length=4
)
inputs = processor(text=PROMPT, images=[Image.open(FOLDER / "image.png")], return_tensors="pt")
model = Gemma3ForConditionalGeneration.from_pretrained(FOLDER, attn_implementation="eager").eval()
with torch.no_grad():
    answer = model.generate(**inputs, max_new_tokens=16, do_sample=False, eos_token_id=[])
ids = inputs["input_ids"][0].tolist()
golden = {"prompt": PROMPT, "input_ids": ids, "greedy_tokens": answer[0, len(ids) :].tolist()}
(FOLDER / "base.json").write_text(json.dumps(golden) + "\n")
