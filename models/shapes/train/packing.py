"""Many conversations about one picture in one row of tokens.

The picture's tokens come once; each conversation sees them and itself, never its neighbours, and counts its positions
as if it followed the picture directly. So training sees exactly what a single question looks like at inference, while
the picture is encoded once for about ten of them.
"""

import random

import numpy as np
from tokenizers import Tokenizer

import language
from network import IMAGE_TOKENS

ROW = 208


class Packer:
    def __init__(self, tokenizer_file: str, late_from: int = 0):
        """Pictures from number `late_from` on are talked about with `language.LATE` weights."""
        self.file, self.late_from, self.tokenizer = tokenizer_file, late_from, None

    def load(self):
        # Loaded late, in the process that makes batches.
        self.tokenizer = Tokenizer.from_file(self.file)
        around, image = "<fake_token_around_image>", "<image>" * IMAGE_TOKENS
        self.prefix = self.encode(f"<|im_start|>User:{around}<global-img>{image}{around}")
        self.end = self.encode("<end_of_utterance>")
        self.reply = self.encode("<end_of_utterance>\nAssistant:")
        self.again = self.encode("\nUser:")
        self.pad = self.encode("<|im_end|>")[0]

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def block(self, turns) -> tuple[list[int], list[float]]:
        """Tokens of one conversation, and for each the weight of the loss of predicting it."""
        ids, weights = [], []
        for number, (request, answer) in enumerate(turns):
            asked = self.encode(request) if number == 0 else self.again + self.encode(" " + request)
            said = self.encode(" " + answer) + self.end
            ids += asked + self.reply + said
            # Long answers count more than short ones, but not in proportion.
            weights += [0.0] * (len(asked) + len(self.reply)) + [len(said) ** -0.5] * len(said)
        return ids, weights

    def pack(self, scene, seed: int, index: int):
        """As many conversations about a scene as a row holds; arrays as in `arrange`."""
        if self.tokenizer is None:
            self.load()
        rng = random.Random(f"shapes/talk/{seed}/{index}")
        weights = language.LATE if index >= self.late_from else language.EARLY
        chosen, free, misses = [], ROW - len(self.prefix), 0
        while misses < 3:
            block = self.block(language.conversation(rng, scene, weights))
            if len(block[0]) > free:
                misses += 1
                continue
            chosen.append(block)
            free -= len(block[0])
        return self.arrange(chosen, ROW)

    def arrange(self, chosen, length: int):
        """Arrays [length]: tokens, block numbers (0 the picture, -1 padding), positions, loss weights."""
        start = len(self.prefix)
        ids, blocks, positions = list(self.prefix), [0] * start, list(range(start))
        weights = [0.0] * start
        for number, (more, worth) in enumerate(chosen, 1):
            ids += more
            blocks += [number] * len(more)
            positions += range(start, start + len(more))
            weights += worth
        gap = length - len(ids)
        return (
            np.array(ids + [self.pad] * gap, np.int64),
            np.array(blocks + [-1] * gap, np.int64),
            np.array(positions + [0] * gap, np.int64),
            np.array(weights + [0.0] * gap, np.float32),
        )


def attention_mask(blocks):
    """True where a token (row) may look at another (column): [pictures, 1, ROW, ROW]."""
    same = blocks[:, :, None] == blocks[:, None, :]
    seen = same | (blocks == 0)[:, None, :]
    return seen.tril()[:, None]
