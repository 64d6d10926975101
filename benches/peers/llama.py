#!/usr/bin/env python3
"""One run of llama.cpp, greedily, never stopped by an end token; prints what `monocle run --json` prints of it, in the same places.

Every call is one call of llama.cpp's own interface. Python's share is left out: `timings/whole_s` is from loading the library to the first
token, without Python's start and imports; `memory/process_peak_bytes` is the peak (VmHWM) less what Python held before.
"""

import argparse
import ctypes
import importlib.util
import json
import sys
import time
from pathlib import Path

# Tokens of one pass, as llama.cpp's own programs have them.
BATCH = 512
# Contexts come in steps of so many tokens.
CONTEXT_STEP = 256


def load_library():
    """Loads llama.cpp's library by itself, so that its time is known; gives the seconds."""
    found = importlib.util.find_spec("llama_cpp")
    if not found:
        sys.exit("llama_cpp is missing: CMAKE_ARGS=-DGGML_NATIVE=ON pip install --requirement benches/peers/requirements.txt")
    folder = Path(found.submodule_search_locations[0]) / "lib"
    start = time.perf_counter()
    for name in ("libllama.so", "libllama.dylib"):
        if (folder / name).is_file():
            ctypes.CDLL(str(folder / name))
    return time.perf_counter() - start


def bytes_of(key):
    """A line of /proc/self/status, in bytes; 0 where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def need(value, what):
    if not value:
        sys.exit(f"llama.cpp failed: {what}")
    return value


class Llama:
    """A model with a context of so many tokens."""

    def __init__(self, library, path, context, threads):
        self.library = library
        library.llama_backend_init()
        options = library.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = need(library.llama_model_load_from_file(path.encode(), options), f"loading `{path}`")
        options = library.llama_context_default_params()
        options.n_threads = options.n_threads_batch = threads
        options.n_ctx = -(-context // CONTEXT_STEP) * CONTEXT_STEP
        options.n_batch = options.n_ubatch = BATCH
        self.context = need(library.llama_init_from_model(self.model, options), "making a context")
        self.sampler = library.llama_sampler_init_greedy()

    def tokens(self, text):
        raw = text.encode()
        places = (self.library.llama_token * (len(raw) + 8))()
        vocabulary = self.library.llama_model_get_vocab(self.model)
        count = self.library.llama_tokenize(vocabulary, raw, len(raw), places, len(places), False, True)
        return list(places[:count])

    def read(self, tokens):
        """The tokens through the decoder."""
        for start in range(0, len(tokens), BATCH):
            part = tokens[start : start + BATCH]
            # The batch has only a pointer: the array must live as long.
            array = (self.library.llama_token * len(part))(*part)
            batch = self.library.llama_batch_get_one(array, len(part))
            need(self.library.llama_decode(self.context, batch) == 0, "llama_decode")

    def next(self):
        return self.library.llama_sampler_sample(self.sampler, self.context, -1)


class Eyes:
    """llama.cpp's mtmd: what prepares and encodes pictures."""

    def __init__(self, llama, path, threads):
        import llama_cpp.mtmd_cpp as mtmd

        self.mtmd, self.llama = mtmd, llama
        options = mtmd.mtmd_context_params_default()
        options.use_gpu, options.print_timings, options.warmup, options.n_threads = False, False, False, threads
        self.context = need(mtmd.mtmd_init_from_file(path.encode(), llama.model, options), f"loading `{path}`")

    def marker(self):
        return self.mtmd.mtmd_default_marker().decode()

    def prepare(self, text, picture):
        """Reads the picture, makes pixels and tokens."""
        mtmd, raw = self.mtmd, text.encode()
        bitmap = need(mtmd.mtmd_helper_bitmap_init_from_file(self.context, picture.encode(), False), f"reading `{picture}`")
        self.chunks = mtmd.mtmd_input_chunks_init()
        words = mtmd.mtmd_input_text(text=raw, text_len=len(raw), add_special=False, parse_special=True)
        done = mtmd.mtmd_tokenize(self.context, self.chunks, ctypes.byref(words), (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap), 1)
        need(done == 0, "mtmd_tokenize")
        mtmd.mtmd_bitmap_free(bitmap)

    def encode(self):
        """The tiles through the tower; gives parts in order: tokens of text, or a chunk with its features."""
        mtmd = self.mtmd
        width = self.llama.library.llama_model_n_embd(self.llama.model)
        self.parts = []
        for number in range(mtmd.mtmd_input_chunks_size(self.chunks)):
            chunk = mtmd.mtmd_input_chunks_get(self.chunks, number)
            if mtmd.mtmd_input_chunk_get_type(chunk) == mtmd.MTMD_INPUT_CHUNK_TYPE_TEXT:
                count = ctypes.c_size_t()
                tokens = mtmd.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
                self.parts.append((tokens[: count.value], None, None))
            else:
                need(mtmd.mtmd_encode_chunk(self.context, chunk) == 0, "mtmd_encode_chunk")
                count = mtmd.mtmd_input_chunk_get_n_tokens(chunk)
                features = (ctypes.c_float * (count * width))()
                ctypes.memmove(features, mtmd.mtmd_get_output_embd(self.context), ctypes.sizeof(features))
                self.parts.append(([0] * count, chunk, features))

    def read(self):
        """All parts through the decoder."""
        mtmd, place = self.mtmd, 0
        for tokens, chunk, features in self.parts:
            if chunk is None:
                self.llama.read(tokens)
            else:
                after = ctypes.c_int32(place)
                done = mtmd.mtmd_helper_decode_image_chunk(
                    self.context, self.llama.context, chunk, features, place, 0, BATCH, ctypes.byref(after),
                    mtmd.mtmd_helper_post_decode_callback(), None,
                )
                need(done == 0, "mtmd_helper_decode_image_chunk")
            place += len(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the language model's GGUF file")
    parser.add_argument("--prompts", type=Path, required=True, help="`prompts.json`, as make_models.py writes it")
    parser.add_argument("--prompt", required=True, metavar="MODEL/NAME", help="which of them")
    parser.add_argument("--mmproj", help="the GGUF file of what sees; `--picture` goes with it")
    parser.add_argument("--picture")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    model, name = arguments.prompt.split("/")
    prompt = json.loads(arguments.prompts.read_text())[model][name]

    clock = time.perf_counter
    loaded = load_library()
    import llama_cpp
    import llama_cpp.llama_cpp as library

    if arguments.mmproj:
        import llama_cpp.mtmd_cpp as mtmd
    silent = library.llama_log_callback(lambda level, text, data: None)
    library.llama_log_set(silent, None)
    if arguments.mmproj:
        mtmd.mtmd_log_set(silent, None)
        mtmd.mtmd_helper_log_set(silent, None)
    python = bytes_of("VmRSS")

    begin = clock()
    timings = {}

    def timed(name, work):
        start = clock()
        found = work()
        timings[name] = clock() - start
        return found

    # Room for a photo's tiles; text needs what it has.
    context = (2048 if arguments.picture else prompt["tokens"]) + arguments.max_tokens
    llama = timed("load_s", lambda: Llama(library, arguments.model, context, arguments.threads))
    if arguments.picture:
        eyes = Eyes(llama, arguments.mmproj, arguments.threads)
        text = prompt["rendered"].replace("User: ", f"User:{eyes.marker()}", 1)
        timed("images_s", lambda: eyes.prepare(text, arguments.picture))
        timed("encode_s", eyes.encode)
        count = sum(len(tokens) for tokens, _, _ in eyes.parts)
        seen = sum(len(tokens) for tokens, chunk, _ in eyes.parts if chunk is not None)
        first = timed("prefill_s", lambda: (eyes.read(), llama.next())[1])
    else:
        tokens = llama.tokens(prompt["rendered"])
        count, seen = len(tokens), 0
        first = timed("prefill_s", lambda: (llama.read(tokens), llama.next())[1])
    timings["whole_s"] = loaded + clock() - begin

    answer = [first]

    def decode():
        while len(answer) < arguments.max_tokens:
            llama.read(answer[-1:])
            answer.append(llama.next())

    timed("decode_s", decode)
    timings["prefill_tokens_per_s"] = count / timings["prefill_s"]
    timings["decode_tokens_per_s"] = (len(answer) - 1) / timings["decode_s"] if len(answer) > 1 else None
    peak = bytes_of("VmHWM")
    print(json.dumps({
        "version": f"llama-cpp-python {llama_cpp.__version__}",
        "device": library.llama_print_system_info().decode().strip(),
        "prompt": {"tokens": count, "image_tokens": seen},
        "output": {"tokens": len(answer)},
        "token_ids": answer,
        "timings": timings,
        "memory": {"process_peak_bytes": peak - python, "with_python_bytes": peak},
    }))


if __name__ == "__main__":
    main()
