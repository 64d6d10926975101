"""What is compared: for each row the two commands, the figure, and the goal."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent

DECODE = "/timings/decode_tokens_per_s"
PREFILL = "/timings/prefill_tokens_per_s"
WHOLE = "/timings/whole_s"
PEAK = "/memory/process_peak_bytes"


@dataclass
class Goal:
    """What b/a, or b less a in milliseconds, should be at least or at most."""

    limit: float
    at_least: bool = True
    is_difference: bool = False


@dataclass
class Setting:
    """Where things are, and how much is done."""

    monocle: str
    python: str
    processor_python: str
    models: Path
    threads: int
    cores: str
    busy: str
    before: str
    after: str
    tokens: int | None
    has_vnni: bool

    def answer(self, tokens):
        """Tokens of an answer: what the row says, or less where a try was asked for."""
        return min(tokens, self.tokens) if self.tokens else tokens

    def model(self, name):
        return str(self.models / name)

    def picture(self, name):
        return str(self.models / "pictures" / name)

    def script(self, name, *words):
        return [self.python, str(HERE / name), *map(str, words)]


@dataclass
class Row:
    """A comparison of a with b."""

    what: str
    names: tuple[str, str]
    commands: Callable
    measure: str
    goal: Callable = lambda setting: None
    higher: bool = True
    # Whether both must have read as many tokens.
    same_prompt: bool = True


def ask(setting, prompts, folder, prompt, tokens, *more, program=None):
    """Monocle's command, with a prompt of `prompts.json`, `MODEL/NAME`."""
    model, name = prompt.split("/")
    words = [program or setting.monocle, "run", setting.model(folder), *more, "-p", prompts[model][name]["text"]]
    return [*words, "--max-tokens", str(setting.answer(tokens)), "--threads", str(setting.threads), "--json"]


def llama(setting, file, prompt, tokens, *more):
    """llama.cpp's."""
    return setting.script(
        "llama.py", setting.model(file), "--prompts", setting.models / "prompts.json", "--prompt", prompt, "--max-tokens",
        setting.answer(tokens), "--threads", setting.threads, *more,
    )


def against_llama(what, kind, ours, prompt, tokens, measure, goal, higher=True, mode=None):
    """A row of text: llama.cpp's file `kind`, Monocle's folder or file `ours`, in a mode that `--precision` names."""

    def commands(setting, prompts):
        file = f"{prompt.split('/')[0]}-{kind}"
        more = ["--precision", mode] if mode else []
        return llama(setting, f"{file}/{file}.gguf", prompt, tokens), ask(setting, prompts, ours, prompt, tokens, *more)

    name = ours.split("/")[-1] + (f", {mode}" if mode else "")
    return Row(what, (f"llama.cpp, {kind}", name), commands, measure, goal, higher)


def by_processor(vnni, avx2):
    """A goal that depends on the processor."""
    return lambda setting: Goal(vnni if setting.has_vnni else avx2)


def always(limit, at_least=True, is_difference=False):
    return lambda setting: Goal(limit, at_least, is_difference)


def photo(setting, tokens, folder, prompts, kind, *more):
    """A question about the photo, to both."""
    theirs = llama(
        setting, f"smol-{kind}/smol-{kind}.gguf", "smol/short", tokens, "--mmproj", setting.model(f"smol-{kind}/mmproj-smol-{kind}.gguf"),
        "--picture", setting.picture("photo.png"),
    )
    ours = ask(setting, prompts, folder, "smol/short", tokens, setting.picture("photo.png"), *more)
    return theirs, ours


def cold(setting, prompts):
    """The time to the first token; llama.py leaves Python's part out, Monocle's is its whole process."""
    ours = ask(setting, prompts, "smol-4bit", "smol/short", 1)
    return llama(setting, "smol-q4_0/smol-q4_0.gguf", "smol/short", 1), setting.script("whole.py", *ours)


def preparation(picture):
    """The processor alone: Monocle's model there is next to nothing."""

    def commands(setting, prompts):
        script = [setting.processor_python, str(HERE / "processor.py"), setting.picture(picture), "--model", setting.model("preparation")]
        ours = ask(setting, prompts, "preparation", "smol/short", 1, setting.picture(picture))
        return [*script, "--threads", str(setting.threads)], ours

    sides = "1024x768" if picture.startswith("photo") else "43 MP"
    form = "JPEG" if picture.endswith("jpg") else "PNG"
    return Row(
        f"picture preparation with decoding, {sides}, {form}", ("transformers, fast, with Pillow", "Monocle"), commands,
        "/timings/images_s", always(1 / 2, at_least=False), higher=False, same_prompt=False,
    )


def stolen(is_llama):
    """The same program, alone on its cores and with one of them taken."""

    def commands(setting, prompts):
        words = (
            llama(setting, "smol-q4_0/smol-q4_0.gguf", "smol/short", 128)
            if is_llama
            else ask(setting, prompts, "smol-4bit", "smol/short", 128)
        )
        beside = lambda busy: setting.script("stolen.py", "--cores", setting.cores, "--busy", busy, "--", *words)
        return beside("none"), beside(setting.busy)

    name = "llama.cpp, q4_0" if is_llama else "smol-4bit"
    goal = (lambda setting: None) if is_llama else always(0.45)
    return Row("decode, one core taken by another process", (f"{name}, quiet", "one core taken"), commands, DECODE, goal)


def together(setting, prompts):
    """`monocle bench` wants a picture too: a small one that is not cut."""
    words = [
        setting.monocle, "bench", setting.model("small-picture"), "--prompt-tokens", "20", "--picture-sizes", "1x1", "--max-tokens",
        str(max(2, setting.answer(64))), "--runs", "1", "--warm-up", "0", "--threads", str(setting.threads),
    ]
    several = lambda count: setting.script("together.py", "--count", count, "--", *words)
    return several(1), several(8)


def isolation(setting, prompts):
    command = ask(setting, prompts, "smol-4bit", "smol/short", 1)
    return setting.script("whole.py", *command), setting.script("whole.py", *command, "--isolate")


def builds(measure, tokens, goal, higher):
    """Two builds, given by their paths."""

    def commands(setting, prompts):
        if not (setting.before and setting.after):
            raise SystemExit("this row compares two builds: expected --before PROGRAM --after PROGRAM")
        programs = setting.before, setting.after
        return tuple(ask(setting, prompts, "smol-4bit", "smol/short", tokens, program=program) for program in programs)

    what = "decode, 128 tokens" if higher else "time to first token, model loaded"
    return Row(f"two builds: {what}", ("before", "after"), commands, measure, goal, higher)


ROWS = {
    "decode-short": against_llama(
        "decode, 128 tokens, short prompt", "q4_0", "smol-4bit", "smol/short", 128, DECODE, by_processor(2, 1.7)
    ),
    "decode-long": against_llama("decode, 64 tokens after 1,000", "q4_0", "smol-4bit", "smol/long", 64, DECODE, by_processor(2.5, 1.7)),
    "decode-2b": against_llama("decode, 32 tokens, 2B shape", "q4_0", "2b-4bit", "2b/short", 32, DECODE, always(1.3)),
    "decode-bf16": against_llama("decode, 128 tokens, short prompt", "f16", "smol-bf16", "smol/short", 128, DECODE, always(1.3)),
    "decode-bf16-long": against_llama("decode, 64 tokens after 1,000", "f16", "smol-bf16", "smol/long", 64, DECODE, always(1.3)),
    "prefill": against_llama("prefill of 1,000 tokens", "q4_0", "smol-4bit", "smol/long", 1, PREFILL, by_processor(2, 1.5)),
    "prefill-bf16": against_llama("prefill of 1,000 tokens", "f16", "smol-bf16", "smol/long", 1, PREFILL, by_processor(2, 1.1)),
    "prefill-int8": against_llama(
        "prefill of 1,000 tokens", "q4_0", "smol-4bit", "smol/long", 1, PREFILL, by_processor(2, 1.5), mode="int8"
    ),
    "prefill-bf16-mode": against_llama(
        "prefill of 1,000 tokens", "f16", "smol-bf16", "smol/long", 1, PREFILL, by_processor(2, 1.1), mode="bf16"
    ),
    "encode": Row(
        "image encode, 1024x768, 13 tiles, in f32", ("llama.cpp's mtmd, f16", "smol-bf16, f32"),
        lambda setting, prompts: photo(setting, 1, "smol-bf16", prompts, "f16", "--precision", "f32"), "/timings/encode_s",
        always(1 / 1.3, at_least=False), higher=False,
    ),
    "encode-bf16": Row(
        "image encode, 1024x768, 13 tiles, in bf16", ("llama.cpp's mtmd, f16", "smol-bf16, bf16"),
        lambda setting, prompts: photo(setting, 1, "smol-bf16", prompts, "f16", "--precision", "bf16"), "/timings/encode_s",
        always(1 / 2.5, at_least=False), higher=False,
    ),
    "prepare-photo-jpeg": preparation("photo.jpg"),
    "prepare-photo-png": preparation("photo.png"),
    "prepare-large-jpeg": preparation("large.jpg"),
    "prepare-large-png": preparation("large.png"),
    "stolen-core": stolen(is_llama=False),
    "stolen-core-llama": stolen(is_llama=True),
    "together": Row(
        "8 sequences together, tokens a second in all", ("one, smol-4bit", "eight"), together, "/together_tokens_per_s", always(3),
        same_prompt=False,
    ),
    "memory": against_llama(
        "peak memory, 1,000 tokens", "q4_0", "smol-4bit", "smol/long", 16, PEAK, always(1.05, at_least=False), higher=False
    ),
    "memory-photo": Row(
        "peak memory, with the photo", ("llama.cpp, q4_0", "smol-4bit"),
        lambda setting, prompts: photo(setting, 16, "smol-4bit", prompts, "q4_0"), PEAK, always(1.05, at_least=False), higher=False,
    ),
    "cold-start": Row(
        "cold start to first token, 20-token prompt", ("llama.cpp, q4_0", "smol-4bit"), cold, WHOLE, always(1, at_least=False), higher=False
    ),
    "gguf-decode-short": against_llama(
        "the same file: decode, 128 tokens, short prompt", "q4_0", "smol-q4_0/smol-q4_0.gguf", "smol/short", 128, DECODE, by_processor(2, 1.7)
    ),
    "gguf-decode-long": against_llama(
        "the same file: decode, 64 tokens after 1,000", "q4_0", "smol-q4_0/smol-q4_0.gguf", "smol/long", 64, DECODE, by_processor(2.5, 1.7)
    ),
    "gguf-prefill": against_llama(
        "the same file: prefill of 1,000 tokens", "q4_0", "smol-q4_0/smol-q4_0.gguf", "smol/long", 1, PREFILL, by_processor(2, 1.5)
    ),
    "gguf-prefill-int8": against_llama(
        "the same file: prefill of 1,000 tokens", "q4_0", "smol-q4_0/smol-q4_0.gguf", "smol/long", 1, PREFILL, by_processor(2, 1.5),
        mode="int8",
    ),
    "gguf-f16-decode-short": against_llama(
        "the same file: decode, 128 tokens, short prompt", "f16", "smol-f16/smol-f16.gguf", "smol/short", 128, DECODE, always(1.3)
    ),
    "gguf-f16-prefill": against_llama(
        "the same file: prefill of 1,000 tokens", "f16", "smol-f16/smol-f16.gguf", "smol/long", 1, PREFILL, by_processor(2, 1.1)
    ),
    "isolate": Row(
        "first token of a process, 20-token prompt", ("smol-4bit", "the same with --isolate"), isolation, WHOLE, higher=False
    ),
    "builds-decode": builds(DECODE, 128, always(0.99), higher=True),
    "builds-first-token": builds("/timings/first_token_s", 1, always(2, at_least=False, is_difference=True), higher=False),
}
