"""Prompts of an exact number of tokens."""

import itertools

from tokenizers import Tokenizer

WORDS = (
    "the harbour wakes before town does small boats leave in single file with their lamps still burning and gulls follow as if they had "
    "paid for it on quay two clerks count crates of oranges write down what they found then count again because nobody ever agrees"
).split()


def of_length(tokenizer, render, count):
    """Words whose rendered prompt has exactly `count` tokens."""
    length = lambda text: len(tokenizer.encode(render(text), add_special_tokens=False).ids)
    words = []
    for word in itertools.cycle(WORDS):
        if length(" ".join([*words, word])) > count:
            break
        words.append(word)
    # What is missing is filled with words of one token.
    while length(" ".join(words)) < count:
        words.append("a")
    text = " ".join(words)
    assert length(text) == count, f"{length(text)} tokens"
    return text


def write(folder, render, lengths):
    """`{name: {"text": …, "rendered": …, "tokens": …}}`."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = {}
    for name, count in lengths.items():
        text = of_length(tokenizer, render, count)
        prompts[name] = {"text": text, "rendered": render(text), "tokens": count}
    return prompts
