"""Vocabularies of byte pairs: a made-up one, or that of a GGUF file; as `tokenizer.json`."""

import itertools
import json

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPACE = "Ġ"
LINE_END = "Ċ"


class Vocabulary:
    """Tokens in the order of their ids, merges, and which tokens are special."""

    def __init__(self, tokens, merges, special):
        self.tokens, self.merges, self.special = tokens, merges, set(special)

    def id(self, token):
        return self.tokens.index(token)

    def types(self):
        """As GGUF files number them: 1 is a usual token, 3 a special one."""
        return [3 if token in self.special else 1 for token in self.tokens]


def byte_letters():
    """The letter that stands for each byte, as GPT-2 chose them: https://github.com/openai/gpt-2/blob/master/src/encoder.py."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return [chr(byte) for byte in seen] + [chr(256 + number) for number in range(len(hidden))]


def made_up(count, special, first=0):
    """A vocabulary of `count` tokens: bytes, and pieces of two to four letters with the merges that make them; `special` from the id `first` on."""
    # As many merges as a real vocabulary has: to read them is a part of a cold start.
    merges, pieces = [], []

    def merge(left, right):
        merges.append((left, right))
        pieces.append(left + right)

    # llama.cpp puts it behind a picture's tiles as one token.
    merge(LINE_END, LINE_END)
    for letter in LETTERS:
        merge(SPACE, letter)
    for left, right in itertools.product(LETTERS, repeat=2):
        merge(left, right)
    for left, right in itertools.product([SPACE + letter for letter in LETTERS], LETTERS):
        merge(left, right)
    pairs = [left + right for left, right in itertools.product(LETTERS, repeat=2)]
    for left, right in itertools.product(pairs, LETTERS):
        merge(left, right)
    for left, right in itertools.product(pairs, pairs):
        merge(left, right)
    usual = byte_letters() + pieces
    tokens = usual[:first] + special + usual[first:]
    tokens = tokens[:count]
    there = set(tokens)
    merges = [pair for pair in merges if pair[0] + pair[1] in there]
    assert len(tokens) == count and len(there) == count, "tokens differ"
    return Vocabulary(tokens, merges, special)


def write_tokenizer(folder, vocabulary, end, template, pattern=None):
    """`tokenizer.json` and what stands beside it. Without a pattern, digits stand alone, as in SmolLM2; with one, it cuts the text, as in Qwen2."""
    if pattern:
        first = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    else:
        first = {"type": "Digits", "individual_digits": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern is None}
    added = [
        dict(id=id, content=token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        for id, token in enumerate(vocabulary.tokens)
        if token in vocabulary.special
    ]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [first, bytes_]},
        "post_processor": None, "decoder": bytes_,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(vocabulary.tokens)},
            "merges": [list(pair) for pair in vocabulary.merges],
        },
    }
    write = lambda name, text: (folder / name).write_text(text, encoding="utf-8")
    write("tokenizer.json", json.dumps(tokenizer, ensure_ascii=False))
    write("tokenizer_config.json", json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "pad_token": end, "bos_token": "<|im_start|>",
        "unk_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in token if key != "id"} for token in added},
    }, indent=1))
    write("chat_template.jinja", template)
