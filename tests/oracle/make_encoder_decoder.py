"""A small encoder-decoder and what transformers answers with it: writes encoder_decoder/ (config, weights, golden.json).

    python make_encoder_decoder.py    (made with transformers 5.23.0, torch 2.15.0, Pillow)

BART (arXiv:1910.13461) with random weights. Its encoder reads words, and features of pictures before them: one convolution over a picture
of 16x16 pixels gives four. Two embeddings tell features and words apart, so that the encoder's marks show. Tokenizer and pictures are
those of nanollava.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BartConfig, BartForConditionalGeneration

HERE = Path(__file__).parent
OUT = HERE / "encoder_decoder"
SIDE, PATCH, STEPS = 16, 8, 8
CASES = {"no_picture": [], "one_picture": ["image.png"], "two_pictures": ["image2.png", "image.png"]}
TEXT = "What is in the image?"

torch.manual_seed(12)
config = BartConfig(
    vocab_size=480, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
    encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, activation_function="gelu", pad_token_id=476,
    bos_token_id=477, eos_token_id=478, decoder_start_token_id=478, forced_eos_token_id=None, init_std=0.3, dropout=0.0,
    tie_word_embeddings=False,
)
model = BartForConditionalGeneration(config).eval()
with torch.no_grad():
    # So that a token's successor depends on it, and on what was read.
    model.model.shared.weight *= 4
    for layer in model.model.decoder.layers:
        layer.encoder_attn.v_proj.weight *= 3
        layer.encoder_attn.q_proj.weight *= 3
model.model.encoder.embed_tokens = model.model.decoder.embed_tokens = model.model.shared
picture = torch.nn.Conv2d(3, config.d_model, PATCH, PATCH)
kinds = torch.nn.Embedding(2, config.d_model)
tokenizer = Tokenizer.from_file(str(HERE / "nanollava" / "tokenizer.json"))


def features(name):
    """[4, hidden]"""
    image = Image.open(HERE / "nanollava" / name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = (torch.tensor(np.asarray(image), dtype=torch.float32) / 255 - 0.5) / 0.5
    return picture(pixels.permute(2, 0, 1)[None])[0].flatten(1).T


golden = {}
with torch.no_grad():
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    for name, pictures in CASES.items():
        seen = [features(file) + kinds.weight[1] for file in pictures]
        embeddings = torch.cat([*seen, model.model.shared(torch.tensor(ids)) + kinds.weight[0]])[None]
        context = model.model.encoder(inputs_embeds=embeddings).last_hidden_state
        tokens, logits = [config.decoder_start_token_id], []
        for _ in range(STEPS):
            hidden = model.model.decoder(input_ids=torch.tensor([tokens]), encoder_hidden_states=context).last_hidden_state
            logits.append(model.lm_head(hidden[0, -1]))
            tokens.append(int(logits[-1].argmax()))
        rounded = lambda values: [round(float(value), 6) for value in values.flatten()]
        golden[name] = {
            "pictures": pictures, "text": TEXT, "ids": ids, "context": rounded(context), "tokens": tokens[1:],
            "first_logits": rounded(logits[0]), "last_logits": rounded(logits[-1]),
        }
OUT.mkdir(exist_ok=True)
weights = {name: tensor for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
weights |= {"picture.weight": picture.weight.data, "picture.bias": picture.bias.data, "kinds.weight": kinds.weight.data}
save_file({name: tensor.contiguous() for name, tensor in weights.items()}, OUT / "model.safetensors")
wanted = ("d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads", "vocab_size", "max_position_embeddings",
          "decoder_start_token_id", "eos_token_id")
(OUT / "config.json").write_text(json.dumps(
    {"model_type": "encoder-decoder-of-tests", "picture_side": SIDE, "picture_patch": PATCH}
    | {key: getattr(config, key) for key in wanted}, indent=2) + "\n")
lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(case)}" for name, case in golden.items())
(OUT / "golden.json").write_text("{\n" + lines + "\n}\n")
for name, case in golden.items():
    print(name, case["tokens"], len(case["context"]))
