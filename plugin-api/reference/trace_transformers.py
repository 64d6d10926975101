"""What transformers computes for one question, as a file that `monocle trace MODEL PICTURE --golden FILE` compares with.

    python trace_transformers.py MODEL [PICTURE...] -p "What is this?" -o golden.safetensors [--tokens 16] [--all-logits]

MODEL is a folder or a repository. Needs torch, transformers, pillow and safetensors. Everything is computed in 32 bits on the processor, and the
answer is the likeliest token at each step, whatever the model's own settings say. Arrays: input_ids, pixel_values, greedy_tokens, step_logits
(before each token of the answer), and with --all-logits prompt_logits and prompt_argmax (after each token of the prompt). The prompt's text
and the versions are in the file's metadata.
"""

import argparse
import json

import torch
import transformers
from PIL import Image
from safetensors.torch import save_file


def main() -> None:
    arguments = read_arguments()
    # Pillow's resizing, which models were trained with; torchvision's rounds otherwise. (Before transformers 5: use_fast=False.)
    older = int(transformers.__version__.split(".")[0]) < 5
    backend = {"use_fast": False} if older else {"backend": "pil"}
    processor = transformers.AutoProcessor.from_pretrained(arguments.model, **backend)
    model = transformers.AutoModelForImageTextToText.from_pretrained(arguments.model, dtype=torch.float32).eval()
    pictures = [Image.open(path).convert("RGB") for path in arguments.pictures]
    words = [{"type": "text", "text": arguments.prompt}]
    messages = [{"role": "user", "content": [{"type": "image"}] * len(pictures) + words}]
    if arguments.system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": arguments.system}]})
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(text=[prompt], images=pictures or None, return_tensors="pt", add_special_tokens=not begins(processor, prompt))
    arrays = {"input_ids": inputs["input_ids"][0]}
    if "pixel_values" in inputs:
        arrays["pixel_values"] = inputs["pixel_values"].float()
    with torch.no_grad():
        arrays |= answer(model, inputs, arguments.tokens, arguments.all_logits)
    notes = {
        "format": "monocle trace 1",
        "model": arguments.model,
        "prompt": prompt,
        "question": arguments.prompt,
        "pictures": json.dumps(arguments.pictures),
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    if arguments.system is not None:
        notes["system"] = arguments.system
    save_file({name: array.contiguous() for name, array in arrays.items()}, arguments.output, metadata=notes)
    for name, array in arrays.items():
        print(name, list(array.shape))


def begins(processor, prompt: str) -> bool:
    """Templates that write the beginning token themselves must not get a second one."""
    beginning = processor.tokenizer.bos_token
    return beginning is not None and prompt.startswith(beginning)


def answer(model, inputs, tokens: int, all_logits: bool) -> dict[str, torch.Tensor]:
    """The likeliest token, again and again; an end token ends nothing."""
    outputs = model(**inputs, use_cache=True)
    logits = outputs.logits[0].float()
    arrays = {}
    if all_logits:
        arrays = {"prompt_logits": logits, "prompt_argmax": logits.argmax(-1)}
    chosen, steps, mask = [], [], inputs["attention_mask"]
    last = logits[-1]
    for _ in range(tokens):
        token = last.argmax()
        chosen.append(token)
        steps.append(last)
        mask = torch.cat([mask, mask.new_ones(1, 1)], dim=-1)
        outputs = model(
            input_ids=token.view(1, 1), attention_mask=mask, past_key_values=outputs.past_key_values, use_cache=True
        )
        last = outputs.logits[0, -1].float()
    return arrays | {"greedy_tokens": torch.stack(chosen), "step_logits": torch.stack(steps)}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="*")
    parser.add_argument("-p", "--prompt", default="Describe this image.")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--system")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--all-logits", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
