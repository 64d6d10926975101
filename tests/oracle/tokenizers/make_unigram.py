"""Makes unigram/: a small Unigram tokenizer with byte fallback and a Metaspace decoder, and what it answers.

Run: python make_unigram.py   (needs tokenizers)
"""

import json
import pathlib

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXT = ("A photograph shows a red disc above a blue bar. The image is small and the colours are plain. "
        "Describe the image in one short sentence. What is in the picture? It's 2024 and they've 12345 items.")

PROBES = [
    "Describe the image in one short sentence.",
    " leading space, double  space",
    "café 中文 😀🚀 naïve",
    "<|image|>What?</s>",
    "",
]


def main():
    # Scores by hand: every substring of a word up to 5 characters, longer is likelier per character.
    pieces = {}
    for word in TEXT.split():
        word = "▁" + word
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + 5) + 1):
                pieces.setdefault(word[start:end], -8.0 + 0.5 * (end - start))
    vocabulary = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    vocabulary += sorted(pieces.items())
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    tokenizer.add_special_tokens(["<s>", "</s>", "<|image|>"])
    folder = pathlib.Path(__file__).with_name("unigram")
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>", "special": True}, "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    probes = []
    for text in PROBES:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        probes.append({"text": text, "ids": tokenizer.encode(text).ids, "ids_no_special": ids,
                       "decoded": tokenizer.decode(ids, skip_special_tokens=True)})
    out = {"made_by": f"tokenizers {tokenizers.__version__}", "probes": probes}
    (folder / "probes.json").write_text(json.dumps(out, ensure_ascii=False) + "\n")


main()
