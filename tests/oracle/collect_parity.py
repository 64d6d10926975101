"""Collects one architecture's tiny checkpoint and golden answers for the parity tests.

    python collect_parity.py ORACLE_FOLDER ARCHITECTURE...

An oracle folder is a Hugging Face-style repository with tiny random weights, `golden.json` and `golden.npz`: what the
reference implementation (named with its version in `golden.json`) answers. The arrays that tests read are written as
`golden.safetensors`; the rest of the folder is copied, less what no test reads. Weights of the larger folders are stored as bfloat16, which
holds them exactly, and pixels are left out of them where another folder has the same. Needs numpy and safetensors, and torch for the larger folders.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SKIPPED = {"golden.json", "golden.npz", "config.mlx_vlm.json", "video_preprocessor_config.json"}
ARRAYS = ("input_ids", "pixel_values", "step_logits", "prefill_last_logits", "prefill_argmax", "image_features")
HALVED = {"glm4v_moe"}
CASE = ("messages", "images", "prompt", "add_special_tokens", "greedy_tokens", "greedy_text", "min_margin")


def collect(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.name not in SKIPPED:
            shutil.copyfile(file, target / file.name)
    if source.name in HALVED:
        halve(target / "model.safetensors")
    golden = json.loads((source / "golden.json").read_text())
    kept = {key: golden[key] for key in ("arch", "stands_for", "seed", "reference", "template_source") if key in golden}
    if not golden.get("reference"):
        kept["mlx_vlm"] = golden["mlx_vlm"]["versions"]
    kept["cases"] = {
        name: {key: case[key] for key in (*CASE, "hub_input_ids") if key in case} for name, case in golden["cases"].items()
    }
    if kept["arch"] == "paligemma2":
        # The reference's processor takes the task alone, without messages: these say the task that it was given.
        for case in kept["cases"].values():
            case["messages"][0]["content"][1]["text"] = case["prompt"].removeprefix("<image>")
    (target / "golden.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    with np.load(source / "golden.npz") as arrays:
        wanted = {
            name: plain(arrays[name])
            for name in arrays.files
            if name.count("/") == 1 and name.split("/")[1] in ARRAYS
        }
        for case in kept["cases"]:
            # What mlx-vlm alone can judge has logarithms of probabilities.
            if f"{case}/step_logits" not in wanted:
                wanted[f"{case}/mlx_step_logprobs"] = plain(arrays[f"{case}/mlx_step_logprobs"])
    if source.name in HALVED:
        wanted = {name: array for name, array in wanted.items() if not name.endswith("pixel_values")}
    wanted = {name: part for key, array in wanted.items() for name, part in packed(key, array).items()}
    save_file(wanted, target / "golden.safetensors")
    (target / "golden.safetensors").chmod(0o644)


def halve(file: Path) -> None:
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_weights

    weights = load_file(file)
    halves = {name: weight.bfloat16() for name, weight in weights.items()}
    assert all((half.float() == weights[name]).all() for name, half in halves.items())
    file.unlink()
    save_weights(halves, file)
    file.chmod(0o644)


def plain(array: np.ndarray) -> np.ndarray:
    """Integers as 64-bit ones, which not every reference gives."""
    return np.ascontiguousarray(array, dtype=np.int64 if np.issubdtype(array.dtype, np.integer) else array.dtype)


def packed(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """Pixels that come from bytes have few different values: those, in order, and the place of each pixel's among them."""
    if not name.endswith("/pixel_values"):
        return {name: array}
    levels, places = np.unique(array, return_inverse=True)
    if len(levels) > 1 << 16 or array.dtype != np.float32:
        return {name: array}
    places = places.reshape(array.shape).astype(np.uint16)
    assert np.array_equal(levels[places], array)
    return {name: places, f"{name}/levels": levels}


if __name__ == "__main__":
    oracle, *architectures = sys.argv[1:]
    for architecture in architectures:
        collect(Path(oracle) / architecture, Path(__file__).parent / architecture)
