"""Write the checkpoint folder from a training state, and check that transformers loads it and agrees."""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

import packing
import pixels
import tokeniser
import world
from network import (
    GRID,
    HEAD,
    IMAGE,
    IMAGE_TOKENS,
    LAYER_NORM_EPS,
    PATCH,
    RMS_NORM_EPS,
    ROPE_THETA,
    SHUFFLE,
    TEXT,
    VISION,
    Network,
)
from stream import normalise

CHECK_SEED = 300


def write_json(path: Path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_configs(folder: Path, words: Tokenizer):
    size, pad = tokeniser.vocabulary_size(words), words.token_to_id(tokeniser.PAD)
    begin, end = words.token_to_id(tokeniser.BEGIN), words.token_to_id(tokeniser.END)
    text = dict(
        model_type="llama",
        **TEXT,
        head_dim=HEAD,
        vocab_size=size,
        rms_norm_eps=RMS_NORM_EPS,
        rope_theta=ROPE_THETA,
        max_position_embeddings=2048,
        hidden_act="silu",
        attention_bias=False,
        tie_word_embeddings=False,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=pad,
    )
    vision = dict(
        model_type="idefics3",
        **VISION,
        image_size=IMAGE,
        patch_size=PATCH,
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=LAYER_NORM_EPS,
    )
    config = dict(
        architectures=["Idefics3ForConditionalGeneration"],
        model_type="idefics3",
        image_token_id=words.token_to_id("<image>"),
        pad_token_id=pad,
        scale_factor=SHUFFLE,
        tie_word_embeddings=False,
        use_cache=True,
        vocab_size=size,
        dtype="bfloat16",
        text_config=text,
        vision_config=vision,
    )
    write_json(folder / "config.json", config)
    write_json(
        folder / "generation_config.json",
        dict(bos_token_id=begin, eos_token_id=end, pad_token_id=pad, do_sample=False, max_new_tokens=128),
    )
    half = [0.5, 0.5, 0.5]
    preprocessor = dict(
        image_processor_type="Idefics3ImageProcessor",
        processor_class="Idefics3Processor",
        do_convert_rgb=True,
        do_resize=True,
        size=dict(longest_edge=IMAGE),
        resample=1,
        # One view of IMAGE x IMAGE pixels, whatever the picture's shape: no tiles.
        do_image_splitting=False,
        max_image_size=dict(longest_edge=IMAGE),
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=half,
        image_std=half,
        do_pad=True,
    )
    write_json(folder / "preprocessor_config.json", preprocessor)
    write_json(folder / "processor_config.json", dict(image_seq_len=IMAGE_TOKENS, processor_class="Idefics3Processor"))


def load_reference(folder: Path):
    """transformers' own model (float32) and processor (Pillow's resizing) of a checkpoint folder."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    processor = AutoProcessor.from_pretrained(folder)
    processor.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return model.eval(), processor


def check(folder: Path, network: Network, words: Tokenizer):
    """The same pixels, the same tokens and the same logits as transformers."""
    model, processor = load_reference(folder)
    packer = packing.Packer(str(folder / "tokenizer.json"))
    packer.load()
    print("processor:", type(processor).__name__, type(processor.image_processor).__name__)
    worst = {"pixels": 0.0, "logits": 0.0}
    for index in range(20):
        picture = world.draw(world.make_scene(CHECK_SEED, index))
        content = [{"type": "image"}, {"type": "text", "text": "What colour is the star?"}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=[prompt], images=[[picture]], return_tensors="pt", add_special_tokens=False)
        ours = packer.prefix + packer.encode("What colour is the star?") + packer.reply
        assert inputs["input_ids"][0].tolist() == ours, (inputs["input_ids"][0].tolist(), ours)
        square = normalise(torch.from_numpy(np.array(pixels.to_square(picture)))[None])
        worst["pixels"] = max(worst["pixels"], (square - inputs["pixel_values"][0]).abs().max().item())
        with torch.no_grad():
            reference = model(**inputs).logits[0]
            ids = torch.tensor([ours])
            mask = torch.ones(1, 1, len(ours), len(ours), dtype=torch.bool).tril()
            _, hidden = network(square, ids, torch.arange(len(ours))[None], mask)
            worst["logits"] = max(worst["logits"], (network.lm_head(hidden)[0] - reference).abs().max().item())
    print("largest differences from transformers:", worst)
    assert worst["pixels"] < 1e-5 and worst["logits"] < 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the training folder, with state.pt")
    parser.add_argument("folder", type=Path, help="where the checkpoint goes")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    words = Tokenizer.from_file(str(args.run / "tokenizer.json"))
    tokeniser.save(args.folder, words)
    write_configs(args.folder, words)
    network = Network(tokeniser.vocabulary_size(words), words.token_to_id("<image>"))
    network.load_state_dict(torch.load(args.run / "state.pt", weights_only=True)["network"])
    weights = {name: value.to(torch.bfloat16).contiguous() for name, value in network.state_dict().items()}
    save_file(weights, args.folder / "model.safetensors", metadata={"format": "pt"})
    (args.folder / "model.safetensors").chmod(0o644)
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    check(args.folder, network.eval(), words)
    parameters = sum(value.numel() for value in weights.values())
    print(f"{parameters} parameters, {GRID * GRID} patches, {IMAGE_TOKENS} image tokens")


if __name__ == "__main__":
    main()
