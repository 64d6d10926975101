"""The tokenizer: byte-level BPE over the world's own sentences, with SmolVLM's special tokens and chat template."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import language
import world

BPE_SIZE = 256 + 260
FIRST = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LAST = [
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
]
BEGIN, PAD, END = "<|im_start|>", "<|im_end|>", "<end_of_utterance>"

# SmolVLM's layout of a conversation: the roles' names, `<end_of_utterance>` and a line break after each message.
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def special(tokens):
    return [AddedToken(token, special=True, normalized=False) for token in tokens]


def train() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    # As SmolLM2's: each digit is its own piece, then GPT-2's split into words.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    scenes = (world.make_scene(1, index) for index in range(1500))
    trainer = trainers.BpeTrainer(
        vocab_size=len(FIRST) + BPE_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=special(FIRST),
        show_progress=False,
    )
    tokenizer.train_from_iterator(language.corpus(8, scenes), trainer)
    tokenizer.add_special_tokens(special(LAST))
    return tokenizer


def save(folder: Path, tokenizer: Tokenizer):
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = tokenizer.get_vocab()
    named = dict(bos_token=BEGIN, eos_token=END, pad_token=PAD, unk_token=FIRST[0])
    images = dict(
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token=END,
    )
    config = dict(
        # GPT2Tokenizer would rebuild the pre-tokenizer without the digit rule.
        tokenizer_class="PreTrainedTokenizerFast",
        **named,
        **images,
        extra_special_tokens=images,
        additional_special_tokens=["<fake_token_around_image>", "<image>", END],
        added_tokens_decoder={
            str(vocabulary[token]): dict(
                content=token, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True
            )
            for token in FIRST + LAST
        },
        add_prefix_space=False,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
        processor_class="Idefics3Processor",
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(named, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Rows of the embedding: the vocabulary, rounded up to a multiple of 64."""
    return -(-tokenizer.get_vocab_size() // 64) * 64
