"""How far the reference implementations come from their own float32 answers in bfloat16 and float16: writes low_precision.json.

    python make_low_precision.py ORACLE_FOLDER    (made with transformers 5.23.0, torch 2.15.0, mlx-vlm 0.7.10 and mlx 0.32.4)

ORACLE_FOLDER holds what collect_parity.py collects from (each `golden.json` and `golden.npz` with all inputs) and the
generator `make_oracle.py`, which makes the native twins of architectures that come as remote code alone and shrinks mlx-vlm's
tower for phi3_v.

The weights and pixels take the precision; the rest is as the reference does it by default on a CPU, with eager attention. Each
step is given the golden's token, whatever the model preferred. `max` is the largest absolute difference of any logit of the 16
steps from the float32 golden's, `rms` the root of their mean square, `scale` the root of the mean square of the golden's logits
themselves; null where the reference gives no finite numbers. phi3_v, which mlx-vlm alone judges, is measured in logarithms of
probabilities, as its golden is, with no rounding between its logits and those. In float32 each case must repeat its golden: the
script stops where one does not.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

TORCH = (
    "smolvlm", "idefics3", "llava", "llava_next", "nanollava", "internvl", "internvl3_5", "internvl_chat", "gemma3", "paligemma2",
    "pixtral", "apriel", "mistral3", "ministral3", "mllama", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "glm4v", "lfm2_vl",
)  # fmt: skip
MLX = "phi3_v"
PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
REPEATS = 1e-4  # the largest difference of a float32 answer from its golden
NOT_FED = "labels"  # what a processor gives for training


def golden_cases(folder: Path) -> dict:
    """Each case's inputs, greedy tokens and golden logits, [steps, vocabulary]."""
    cases = {}
    with np.load(folder / "golden.npz") as arrays:
        for name, case in json.loads((folder / "golden.json").read_text())["cases"].items():
            inputs = {key: arrays[f"{name}/{key}"] for key in case["inputs"] if f"{name}/{key}" in arrays}
            logits = "mlx_step_logprobs" if folder.name == MLX else "step_logits"
            cases[name] = inputs, case["greedy_tokens"], arrays[f"{name}/{logits}"].astype(np.float64)
    return cases


def torch_model(folder: Path, precision: str):
    import torch
    import transformers

    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    dtype = getattr(torch, precision)
    model = getattr(transformers, name).from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    kept = [key for key, weights in model.named_parameters() if weights.dtype != dtype]
    assert not kept, f"{folder.name} keeps weights in another precision: {kept}"
    return model


def torch_logits(model, inputs: dict, tokens: list):
    """[steps, vocabulary]"""
    import torch

    def force(sequence, scores):
        """Leaves the golden's token as the only one to choose."""
        forced = torch.full_like(scores, -torch.inf)
        forced[:, tokens[sequence.shape[1] - inputs["input_ids"].shape[1]]] = 0
        return forced

    given = {name: torch.from_numpy(array) for name, array in inputs.items() if name != NOT_FED}
    given = {name: value.to(model.dtype) if value.is_floating_point() else value for name, value in given.items()}
    with torch.no_grad():
        answer = model.generate(
            **given, do_sample=False, max_new_tokens=len(tokens), eos_token_id=[], pad_token_id=0, logits_processor=[force],
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    assert answer.sequences[0, -len(tokens) :].tolist() == tokens
    return torch.cat(answer.logits).double().numpy()


def mlx_model(folder: Path, precision: str):
    import mlx.core as mx
    from mlx_vlm.utils import load_model

    model = load_model(folder)
    model.set_dtype(getattr(mx, precision))
    return model


def mlx_logits(model, inputs: dict, tokens: list):
    """Logarithms of probabilities, [steps, vocabulary]."""
    import mlx.core as mx
    from mlx_vlm.generate.ar import generate_step

    seen = []

    def force(_, logits):
        """Leaves the golden's token as the only one to choose; the step after the last, which nobody asks for, has none."""
        seen.append(logits[0].astype(mx.float32))
        chosen = tokens[min(len(seen), len(tokens)) - 1]
        return mx.where(mx.arange(logits.shape[-1]) == chosen, 0.0, -mx.inf)[None]

    given = {name: mx.array(array) for name, array in inputs.items()}
    leading = [given.pop("input_ids"), model, given.pop("pixel_values", None), given.pop("attention_mask")]
    steps = generate_step(*leading, max_tokens=len(tokens), temperature=0.0, logits_processors=[force], **given)
    assert [token for token, _ in steps] == tokens
    logits = np.array(mx.stack(seen[: len(tokens)])).astype(np.float64)
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def rounded(number: float) -> float:
    return float(f"{number:.4g}")


def apart(logits: np.ndarray, golden: np.ndarray) -> dict | None:
    if not np.isfinite(logits).all():
        return None
    difference = logits - golden
    return {"max": rounded(np.abs(difference).max()), "rms": rounded(np.sqrt(np.mean(difference**2)))}


def measure(folder: Path, checkpoint: Path, load, answer) -> dict:
    """Every case of one architecture; `checkpoint` is what the reference loads."""
    cases = golden_cases(folder)
    measured = {name: {} for name in cases}
    for short, precision in PRECISIONS.items():
        model = load(checkpoint, precision)
        for name, (inputs, tokens, golden) in cases.items():
            logits = answer(model, inputs, tokens)
            measured[name][short] = apart(logits, golden)
            other = int((logits.argmax(-1) != golden.argmax(-1)).sum())
            print(folder.name, name, short, measured[name][short], f"{other} other tokens preferred", flush=True)
            if short == "f32":
                found = measured[name].pop("f32")
                assert found and found["max"] < REPEATS, f"{folder.name}/{name} does not repeat its golden: {found}"
    for name, (_, _, golden) in cases.items():
        measured[name]["scale"] = rounded(np.sqrt(np.mean(golden**2)))
    return measured


def measure_all(oracle: Path) -> dict:
    sys.path.insert(0, str(oracle))
    import make_oracle
    import torch

    torch.set_num_threads(1)
    folders = {}
    for name in TORCH:
        twin = make_oracle.ARCHS[name].get("derived")
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint = Path(scratch) / name if twin else oracle / name
            if twin:
                seed = json.loads((oracle / name / "golden.json").read_text())["seed"]
                make_oracle.stage_build(make_oracle.ARCHS[twin], checkpoint, seed)
            folders[name] = measure(oracle / name, checkpoint, torch_model, torch_logits)
    # After the others: mlx-vlm changes what transformers loads.
    make_oracle.phi3v_shrink()
    folders[MLX] = measure(oracle / MLX, oracle / MLX, mlx_model, mlx_logits)
    return folders


def write(folders: dict) -> None:
    made_with = {name: version(name.replace("_", "-")) for name in ("torch", "transformers", "mlx_vlm", "mlx")}
    lines = [
        f"  {json.dumps(folder)}: {{\n"
        + ",\n".join(f"   {json.dumps(case)}: {json.dumps(numbers)}" for case, numbers in cases.items())
        + "\n  }"
        for folder, cases in folders.items()
    ]
    text = f'{{\n "made_with": {json.dumps(made_with)},\n "folders": {{\n' + ",\n".join(lines) + "\n }\n}\n"
    (Path(__file__).parent / "low_precision.json").write_text(text)


if __name__ == "__main__":
    write(measure_all(Path(sys.argv[1])))
