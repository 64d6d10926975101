"""Collects what the tests of host/text need from a folder of tiny checkpoints with goldens.

Run: python collect_text.py CHECKPOINTS

Every checkpoint is a Hugging Face-style folder with a golden.json, in which transformers 5.23 rendered conversations
(`cases`, `renders`) and encoded probe strings (`tokenizer_probes`). Writes templates/NAME/ (chat_template.jinja and
renders.json) for each that has a template, and tokenizers/NAME/ (tokenizer files and probes.json) for those in
TOKENIZERS.
"""

import json
import pathlib
import shutil
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

# One of each kind: byte-level with a digit splitter, byte-level with NFC, sentencepiece-like BPE with and without a
# leading space, all but the first with byte fallback.
TOKENIZERS = ["smolvlm", "qwen2_vl", "llava", "gemma3"]
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"]
# Templates that take only strings: how the reference's processor writes a picture into them.
IMAGE_MARKERS = {"phi3_v": "<|image_{n}|>\n"}
HERE = pathlib.Path(__file__).parent


def special_tokens(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    token = lambda value: value["content"] if isinstance(value, dict) else value
    return {key: token(config[key]) for key in ("bos_token", "eos_token", "unk_token", "pad_token") if config.get(key)}


def renders(folder, golden):
    special = special_tokens(folder)
    out = []
    for name, case in golden["cases"].items():
        out.append({"name": name, "messages": case["messages"], "text": case["prompt"]})
    for name, case in golden["renders"].items():
        out.append({"name": name, "messages": case["messages"], "text": case["text"]})
    if golden["arch"] == "internvl_chat":
        # Its goldens were rendered with another checkpoint's template; render its own.
        template = _compile_jinja_template((folder / "chat_template.jinja").read_text())
        for case in out:
            case["text"] = template.render(messages=case["messages"], add_generation_prompt=True, **special)
    versions = [f"{name} {version}" for name, version in golden["reference"].items()
                if name in ("transformers", "mlx_vlm", "mlx-vlm")]
    result = {"made_by": ", ".join(versions), "special": special, "renders": out}
    if golden["arch"] in IMAGE_MARKERS:
        result["image_marker"] = IMAGE_MARKERS[golden["arch"]]
    return result


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        if not (folder / "golden.json").exists():
            continue
        golden = json.loads((folder / "golden.json").read_text())
        if (folder / "chat_template.jinja").exists():
            target = HERE / "templates" / folder.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "chat_template.jinja", target / "chat_template.jinja")
            write(target / "renders.json", renders(folder, golden))
        if folder.name in TOKENIZERS:
            target = HERE / "tokenizers" / folder.name
            target.mkdir(parents=True, exist_ok=True)
            for name in TOKENIZER_FILES:
                if (folder / name).exists():
                    shutil.copyfile(folder / name, target / name)
            prompt = {"text": golden["cases"]["text"]["prompt"], "ids": golden["cases"]["text"]["input_ids"]}
            write(target / "probes.json", {"made_by": "transformers 5.23.0, tokenizers 0.23.3",
                                           "probes": golden["tokenizer_probes"], "prompt": prompt})


main()
