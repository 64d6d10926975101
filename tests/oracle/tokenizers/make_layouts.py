"""Makes layouts/: tokenizers in the layouts that models have beside tokenizer.json, and what they answer.

Run: python make_layouts.py   (needs transformers 5.23.0, tokenizers, sentencepiece, tiktoken, protobuf; no network)

Every case of layouts/cases.json is a folder: `copy` names files of layouts/ to put into it, `files` holds small ones.
Its probes were answered by `by`:

- transformers (`AutoTokenizer`) for tokens that stand beside tokenizer.json, and for vocab.json with merges.txt;
- tiktoken for files of ranks;
- sentencepiece for its models. Special tokens in a text divide it, and each part is encoded by itself, with the space
  before it always (legacy) or only where the text begins: what transformers' tokenizers in Python did. transformers
  5.23's `LlamaTokenizer` is asked as well, where a text begins with no space, and has to agree.
"""

import base64
import io
import json
import pathlib
import random
import re
import tempfile

import sentencepiece
import tiktoken
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent / "layouts"
WORDS = ("a photograph shows red disc above blue bar image small colours plain what is this picture Straße café naïve "
         "中文 字符 日本語 привет мир שלום مرحبا 123 2024 3.14 hello world the of and in to it was don't I'll for on as").split()
HARD = [
    "", "Hello, world!", " leading", "trailing ", "two  spaces", "   many     spaces   ", "tab\tand\nline\r\n\n\nend\n",
    "\n\n\n", "   ", "123456 7,890.12 ٣٤ Ⅷ", "Straße ÀÉÎ naïve café", "cafe\u0301 e\u0301\u0327 n\u0303o", "中文字符，日本語のテキスト中abc",
    "😀👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪", "שלום עולם مرحبا بالعالم abc", "\u200bzero\u200dwidth\ufeffbom\u00adsoft", "x" * 300, "ab" * 80, "=" * 41 + "-" * 23,
    "ﬁ ﬂ ① ½ Ｆｕｌｌ ㎞", "▁literal▁ ▁ Ġ Ċ", "\u00a0nbsp\u3000ideo\u2028line", "a\x00\x01\x7fb", "don't I'LL we've DON'T", "e" + "\u0301" * 20,
    "𝒳𝓎 𐍈", "CamelCaseHTTPServer snake_case", "중국어 ไทย हिन्दी", "The image is small and the colours are plain.", "\ufffd", "# a ## b ### c #### d",
]


def mashed(count):
    """Parts of words in a row, which can be put together in more than one way."""
    draw = random.Random(3)
    def part():
        word = draw.choice(WORDS)
        start = draw.randrange(len(word))
        return word[start:start + draw.randint(1, 4)]
    return [" ".join("".join(part() for _ in range(draw.randint(2, 5))) for _ in range(4)) for _ in range(count)]


def corpus(count=3000):
    draw = random.Random(1)
    for _ in range(count):
        yield " ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 14))) + draw.choice([".", "!", "?", "  ", "..."])


def around(tokens):
    """Texts with special tokens in them."""
    texts = []
    for token in tokens:
        texts += [token, f"a{token}b", f"a {token} b", f"{token} a", f"a  {token}\n\n{token}b", f"{token}{token}", token[:-1]]
    return texts


def token(content, special=True, **marks):
    made = {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special}
    return {**made, **marks}


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def folder_of(case, root):
    folder = pathlib.Path(root) / case["name"]
    folder.mkdir()
    for name, source in case["copy"].items():
        (folder / name).write_bytes((HERE / source).read_bytes())
    for name, value in case["files"].items():
        (folder / name).write_text(json.dumps(value))
    return folder


def ask_transformers(case, texts):
    with tempfile.TemporaryDirectory() as root:
        made = transformers.AutoTokenizer.from_pretrained(folder_of(case, root))
    case["by"] = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    case["added"] = [[id, made.content, made.special] for id, made in sorted(made.added_tokens_decoder.items())]
    case["probes"] = []
    for text in texts:
        ids = made(text, add_special_tokens=False).input_ids
        case["probes"].append({
            "text": text, "ids": made(text).input_ids, "ids_no_special": ids,
            "decoded": made.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False),
            "decoded_skip": made.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)})
    return case


# -- byte-level pairs --------------------------------------------------------------------------------------------

def make_pairs():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    # Pairs of `#`, which begins comments elsewhere: in `merges.txt` it begins none.
    made.train_from_iterator([*corpus(), *["# one ## two ### three"] * 400], trainer)
    made.model.save(str(HERE))
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(HERE / "tokenizer.json"), pretty=False)
    return made.get_vocab_size()


def added_cases(size):
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    vocabulary = {"tokenizer.json": "tokenizer.json"}
    marks = {str(size - 1): token("<|endoftext|>"), str(size): token("<|im_start|>"), str(size + 1): token("<|left|>", lstrip=True),
             str(size + 2): token("<|right|>", rstrip=True), str(size + 3): token("word", special=False, single_word=True),
             str(size + 4): token("<think>", special=False), str(size + 5): {"content": "<short>"},
             str(size + 6): {"content": "<eos>", "special": False}}
    texts = HARD + around(["<|im_start|>", "<|left|>", "<|right|>", "word", "<think>", "<short>", "<eos>", "<|endoftext|>"]) + ["words word, sword"]
    yield ask_transformers({
        "name": "added-tokens-decoder", "copy": vocabulary, "files": {
            # Not in the order of their ids.
            "config.json": {}, "tokenizer_config.json": {
                **plain, "added_tokens_decoder": dict(reversed(marks.items())), "eos_token": "<eos>"}}}, texts)
    # Marks that differ between the files, and special tokens that are only named.
    marks = {str(size - 1): token("<|endoftext|>", lstrip=True), str(size): token("<image>")}
    yield ask_transformers({
        "name": "only-named", "copy": vocabulary, "files": {
            "config.json": {}, "tokenizer_config.json": {
                **plain, "added_tokens_decoder": marks, "bos_token": "<bos>", "pad_token": "<pad>",
                "additional_special_tokens": ["<image>", "<box>", "</box>"]}}},
        HARD[:8] + around(["<|endoftext|>", "<image>", "<bos>", "<pad>", "</box>"]))
    yield ask_transformers({
        "name": "extra-named", "copy": vocabulary, "files": {
            "config.json": {}, "tokenizer_config.json": {
                **plain, "extra_special_tokens": {"image_token": "<image>", "boi_token": "<boi>"}}}},
        HARD[:8] + around(["<image>", "<boi>"]))
    yield ask_transformers({
        "name": "older-files", "copy": vocabulary, "files": {
            "config.json": {}, "tokenizer_config.json": plain,
            "special_tokens_map.json": {"eos_token": token("</s>")},
            "added_tokens.json": {"<image>": size, "</s>": size + 1, "<plain>": size + 2}}},
        HARD[:8] + around(["<image>", "</s>", "<plain>"]))


def pair_cases(size):
    vocabulary = {"vocab.json": "vocab.json", "merges.txt": "merges.txt"}
    base = size - 1
    special = {str(base): token("<|endoftext|>"), str(base + 1): token("<|im_start|>"), str(base + 2): token("<|im_end|>")}
    texts = HARD + around(["<|endoftext|>", "<|im_start|>"])
    for name, kind, more in (
        ("pairs-qwen2", "Qwen2Tokenizer", {"add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>"}),
        ("pairs-qwen2-space", "Qwen2TokenizerFast", {"add_prefix_space": True}),
        ("pairs-gpt2", "GPT2Tokenizer", {}),
        ("pairs-gpt2-begin", "GPT2Tokenizer", {"add_bos_token": True, "add_prefix_space": True}),
        ("pairs-gpt-neox", "GPTNeoXTokenizerFast", {}),
        ("pairs-codegen", "CodeGenTokenizer", {}),
    ):
        config = {"tokenizer_class": kind, "added_tokens_decoder": special, **more}
        yield ask_transformers({"name": name, "copy": vocabulary, "files": {
            "config.json": {}, "tokenizer_config.json": config}}, texts)
    special = {str(base + place): token(text, special=True) for place, text in enumerate(["<s>", "</s>", "<pad>", "<unk>"])}
    special[str(base + 4)] = token("<mask>", lstrip=True)
    yield ask_transformers({"name": "pairs-bart", "copy": vocabulary, "files": {
        "config.json": {}, "tokenizer_config.json": {"tokenizer_class": "BartTokenizer", "added_tokens_decoder": special}}},
        HARD + around(["<s>", "<mask>"]))
    yield ask_transformers({"name": "pairs-older", "copy": vocabulary, "files": {
        "config.json": {}, "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"},
        "added_tokens.json": {"<|endoftext|>": base, "<|im_start|>": base + 1, "<plain>": base + 2},
        "special_tokens_map.json": {"additional_special_tokens": ["<|im_start|>"], "eos_token": "<|endoftext|>"}}},
        HARD[:8] + around(["<|im_start|>", "<plain>"]))


# -- ranks -------------------------------------------------------------------------------------------------------

CLASSES = json.loads((pathlib.Path(__file__).parents[3] / "host/text/data/tokenizer_classes.json").read_text())["ranks"]


def make_ranks():
    """Byte pair encoding as tiktoken's own teaching code trains it: the most frequent pair next."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    cut = re.compile(r"\s*\S+")
    words = [[bytes([byte]) for byte in word.encode()] for line in corpus(300) for word in cut.findall(line)]
    words += [[bytes([byte]) for byte in run * 24] for run in (b" ", b"=", b"-", b"ab", b"\n")]
    while len(ranks) < 520:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda pair: (counts[pair], pair))
        ranks.setdefault(best[0] + best[1], len(ranks))
        for word in words:
            place = 0
            while place + 1 < len(word):
                if (word[place], word[place + 1]) == best:
                    word[place:place + 2] = [best[0] + best[1]]
                place += 1
    # A token that no pairs make: only a piece that is it, whole, becomes it.
    ranks[b" zqxjv"] = len(ranks)
    lines = [f"{base64.b64encode(piece).decode()} {rank}" for piece, rank in ranks.items()]
    (HERE / "ranks.tiktoken").write_text("\n".join(lines) + "\n")
    return ranks


def rank_cases(ranks):
    base = len(ranks)
    # A gap between the declared tokens: its ids are reserved.
    names = {base: "[BOS]", base + 1: "[EOS]", base + 4: "<|im_end|>", base + 5: "<|media_pad|>"}
    special = {names.get(id, f"<|reserved_token_{id}|>"): id for id in range(base, base + 6)}
    decoder = {str(id): token(text) for id, text in names.items()}
    o200k = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    for name, file, config, pattern in (
        ("ranks-tiktoken-model", "tiktoken.model", {"tokenizer_class": "TikTokenTokenizer"}, CLASSES["TikTokenTokenizer"]["pattern"]),
        ("ranks-in-tokenizer-model", "tokenizer.model", {"tokenizer_class": "ChatGLM4Tokenizer"}, CLASSES["ChatGLM4Tokenizer"]["pattern"]),
        ("ranks-with-pattern", "own.tiktoken", {"tokenizer_class": "Unheard", "pat_str": o200k}, o200k),
    ):
        encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        case = {"name": name, "copy": {file: "ranks.tiktoken"}, "by": f"tiktoken {tiktoken.__version__}",
                "files": {"config.json": {}, "tokenizer_config.json": {
                    **config, "added_tokens_decoder": decoder, "bos_token": "[BOS]", "eos_token": "[EOS]"}},
                "added": [[id, text, True] for text, id in special.items()], "probes": []}
        for text in HARD + around(["[BOS]", "<|im_end|>"]) + [" zqxjv zqxjvw zqxjv"]:
            ids = encoding.encode(text, allowed_special="all")
            case["probes"].append({"text": text, "ids": ids, "ids_no_special": ids, "decoded": encoding.decode(ids)})
        yield case


# -- SentencePiece -----------------------------------------------------------------------------------------------

RULES = {"ﬁ": "fi", "ﬂ": "fl", "①": "1", "½": "1/2", "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "\r": " ", "e\u0301": "é",
         "n\u0303": "ñ", "Ｆ": "F", "ｕ": "u", "ｌ": "l", "㎞": "km", "\u200b": " ", "\ufeff": "", "\u00ad": "", "A": "a", "T": "t", "e\u0301\u0327": "ȩ"}


def make_model(name, **options):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=out, hard_vocab_limit=False, minloglevel=2, num_threads=1, **options)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    for key in ("input", "model_prefix"):
        proto.trainer_spec.ClearField(key)
    (HERE / name).write_bytes(proto.SerializeToString())


def shuffle(name):
    """The same model with its ordinary pieces in another order: their scores say which is merged first."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((HERE / name).read_bytes())
    ordinary = [place for place, piece in enumerate(proto.pieces) if piece.type == sentencepiece_model_pb2.ModelProto.SentencePiece.NORMAL]
    pieces = [(proto.pieces[place].piece, proto.pieces[place].score) for place in ordinary]
    random.Random(2).shuffle(pieces)
    for place, (piece, score) in zip(ordinary, pieces):
        proto.pieces[place].piece, proto.pieces[place].score = piece, score
    (HERE / name).write_bytes(proto.SerializeToString())


def processors(name):
    """As the file has it, and without the space before a text."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((HERE / name).read_bytes())
    whole = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    proto.normalizer_spec.add_dummy_prefix = False
    return whole, sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def piece_cases():
    for name, file, config, special, options in (
        ("pieces-pairs", "pairs.model", {"tokenizer_class": "InternLM2Tokenizer", "bos_token": "<s>"}, {"<|im_start|>": 600, "<|im_end|>": 601}, {}),
        ("pieces-pairs-legacy", "pairs.model", {"tokenizer_class": "LlamaTokenizer", "legacy": True, "add_bos_token": True}, {"<image>": 600}, {}),
        ("pieces-pairs-first", "pairs.model", {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False}, {"<image>": 600}, {}),
        ("pieces-pairs-symbols", "symbols.model", {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<s>"}, {}, {}),
        ("pieces-unigram", "unigram.model", {"tokenizer_class": "Unheard"}, {}, {}),
        ("pieces-unigram-bytes", "unigram-bytes.model", {"tokenizer_class": "Unheard", "add_eos_token": True}, {}, {}),
    ):
        whole, rest = processors(file)
        legacy = config.get("legacy", True)
        begins = config.get("add_bos_token", config["tokenizer_class"] == "InternLM2Tokenizer")
        control = {whole.id_to_piece(id): id for id in (whole.bos_id(), whole.eos_id())}
        tokens = {**control, **special}
        divide = re.compile("(" + "|".join(re.escape(text) for text in tokens) + ")")
        config = {**config, "added_tokens_decoder": {
            **{str(id): token(text) for text, id in tokens.items()}}}
        case = {"name": name, "copy": {"tokenizer.model": file}, "by": f"sentencepiece {sentencepiece.__version__}",
                "files": {"config.json": {}, "tokenizer_config.json": config},
                "added": [[id, text, True] for text, id in tokens.items()], "probes": []}
        with tempfile.TemporaryDirectory() as root:
            reference = transformers.AutoTokenizer.from_pretrained(folder_of(case, root)) if "first" in name else None
        texts = HARD + mashed(8) + around([*tokens]) + ["a<ud>b <ud> c", "\n\na\n\n\n b", "<0x41>"][: 2 if "unigram" in name else 3]
        for text in texts:
            ids = []
            for place, part in enumerate(divide.split(text)):
                if part in tokens:
                    ids.append(tokens[part])
                elif part:
                    first = legacy or (place == 0)
                    ids += (whole if first else rest).encode(part)
            if reference and not text.startswith(" ") and "▁" not in text and "</s>" not in text:
                got = reference(text, add_special_tokens=False).input_ids
                assert got == ids, (text, got, ids)
            before = [whole.bos_id()] if begins else []
            after = [whole.eos_id()] if config.get("add_eos_token") else []
            probe = {"text": text, "ids": before + ids + after, "ids_no_special": ids}
            # sentencepiece shows unknown text as ⁇, and control pieces as nothing.
            if whole.unk_id() not in ids and not any(id in tokens.values() for id in ids):
                probe["decoded"] = whole.decode(ids)
            case["probes"].append(probe)
        yield case


def main():
    HERE.mkdir(exist_ok=True)
    size = make_pairs()
    ranks = make_ranks()
    plain = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    make_model("pairs.model", model_type="bpe", vocab_size=600, byte_fallback=True, **plain)
    make_model("symbols.model", model_type="bpe", vocab_size=500, byte_fallback=True, add_dummy_prefix=False,
               user_defined_symbols=["<ud>", "\n\n", "\n\n\n"], **plain)
    shuffle("symbols.model")
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for before, after in RULES.items():
            rules.write(" ".join(f"{ord(c):X}" for c in before) + "\t" + " ".join(f"{ord(c):X}" for c in after) + "\n")
        rules.flush()
        make_model("unigram.model", model_type="unigram", vocab_size=200, normalization_rule_tsv=rules.name, user_defined_symbols=["<ud>"])
        make_model("unigram-bytes.model", model_type="unigram", vocab_size=500, byte_fallback=True, normalization_rule_tsv=rules.name,
                   add_dummy_prefix=False)
    cases = [*added_cases(size), *pair_cases(size), *rank_cases(ranks), *piece_cases()]
    (HERE / "cases.json").write_text("[\n" + ",\n".join(
        json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n")


main()
