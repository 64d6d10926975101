"""What mlx-vlm calls and how it lays out the weights of each tiny checkpoint: writes mlx_names.json.

    python make_mlx_names.py ORACLE_FOLDER [ARCHITECTURE...]    (made with mlx-vlm 0.7.10 and mlx 0.32.4 on CPU, transformers 5.23.0)

Conversions on the hub that are made by mlx-vlm store a model's parameters as mlx-vlm's classes have them. So each checkpoint is
loaded by mlx-vlm, and its parameters are found again by their values. An entry is [name here, name there, order of axes]; a
parameter that mlx-vlm drops is absent, and one that it makes of others is left out of the comparison, but for experts that it stacks and
projections of queries, keys and values that it joins: their name here is a list. Where one row of a parameter has become a parameter, the entry has
that row's number in the fourth place. Named architectures are made anew, the others stay as they are.

mlx-vlm loads no internvl (its class has no biases of queries, keys and values, which Qwen2 has), and of Florence-2 the first layout alone, whose
names it keeps: parity/florence2.rs has that.
"""

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import mlx_vlm.models.gemma3n.vision as mobilenet
import numpy as np
from mlx.utils import tree_flatten
from mlx_vlm.utils import load_model

HERE = Path(__file__).parent
ORDERS = [(0, 2, 3, 1), (0, 2, 3, 4, 1), (0, 2, 1), (1, 0)]
# What mlx-vlm's classes have fixed sizes for; these checkpoints also lack parts that no answer depends on.
SIZES = {
    "deepseek_vl2": {"vision_config": {"image_size": 44, "intermediate_size": 48}},
    "kimi_vl": {"vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 4}},
    "paddleocr_vl": {"text_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                                     "head_dim": 16, "vocab_size": 483}},
    "molmo": {"text_config": {"d_model": 48, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "mlp_hidden_size": 192, "vocab_size": 480,
                              "embedding_size": 480, "layer_norm_eps": 1e-6},
              "vision_config": {"d_model": 48, "hidden_size": 96}},
    "moondream2": {"text_config": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 512, "num_attention_heads": 4,
                                   "num_key_value_heads": 4},
                   "vision_config": {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                                     "proj_inner_dim": 48, "proj_out_dim": 64}},
    "ernie4_5_vl": {"pixel_hidden_size": 32},
    "gemma3n": {"vision_config": {}},
    "phi3_v": {"vision_config": {}},
}


def small_tower() -> list:
    """The blocks of make_gemma3n.py's tower; those of the published one are fixed."""
    residual, inverted, attention = mobilenet._er, mobilenet._uir, mobilenet._mmqa
    return [
        [residual(3, 8, 2, 2.0), residual(3, 8, 1, 2.0)],
        [inverted(3, 5, 16, 2, 2.0), inverted(5, 0, 16, 1, 2.0)],
        [inverted(5, 5, 24, 2, 2.0), attention(3, 8, 2), inverted(0, 0, 24, 1, 2.0, is_multiscale=True)],
        [inverted(5, 5, 32, 2, 2.0), attention(2, 16, 1), inverted(0, 0, 32, 1, 2.0, is_multiscale=True)],
    ]


mobilenet.gemma3n_mobilenet_def = small_tower


def arrangements(array):
    yield array, list(range(array.ndim))
    for order in ORDERS:
        if len(order) == array.ndim:
            yield array.transpose(order), list(order)


def common_end(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a[::-1], b[::-1])) if x != y), min(len(a), len(b)))


def stacked(stored: dict, value) -> list:
    """Experts that are stored one by one."""
    for name in stored:
        first = re.search(r"experts\.(\d+)\.", name)
        if not first:
            continue
        numbers = range(int(first[1]), int(first[1]) + value.shape[0])
        each = [name.replace(first[0], f"experts.{number}.") for number in numbers]
        fits = all(one in stored and stored[one].shape == value.shape[1:] for one in each)
        if fits and np.array_equal(np.stack([stored[one] for one in each]), value):
            return each
    return []


def joined(stored: dict, value) -> list:
    """Projections of queries, keys and values that are stored one by one."""
    for name in (name for name in stored if "q_proj" in name):
        each = [name.replace("q_proj", f"{part}_proj") for part in "qkv"]
        if all(one in stored for one in each):
            found = np.concatenate([stored[one] for one in each])
            if found.shape == value.shape and np.array_equal(found, value):
                return each
    return []


def row(stored: dict, value) -> list:
    """A name and the number of its row."""
    for name, array in stored.items():
        if array.ndim == value.ndim + 1 and array.shape[1:] == value.shape:
            for number, one in enumerate(array):
                if np.array_equal(one, value):
                    return [name, number]
    return []


def opened(folder: Path):
    """The folder's model, as mlx-vlm loads it."""
    with tempfile.TemporaryDirectory() as copy:
        for file in (file for file in folder.iterdir() if file.name != "golden.safetensors"):
            shutil.copyfile(file, Path(copy) / file.name)
        # Where mlx-vlm wants another configuration than transformers writes.
        if (folder / "config.mlx_vlm.json").exists():
            shutil.copyfile(folder / "config.mlx_vlm.json", Path(copy) / "config.json")
        config = json.loads((Path(copy) / "config.json").read_text())
        sizes = next((sizes for start, sizes in SIZES.items() if folder.name.startswith(start)), {})
        for part, more in sizes.items():
            config[part] = config.get(part, {}) | more if isinstance(more, dict) else more
        (Path(copy) / "config.json").write_text(json.dumps(config))
        strict = not any(isinstance(more, dict) for more in sizes.values())
        return load_model(Path(copy), lazy=False, strict=strict)


def names(folder: Path) -> list:
    stored = {name: np.array(value.astype(mx.float32)) for file in folder.glob("model*.safetensors") for name, value in mx.load(str(file)).items()}
    model = opened(folder)
    found = []
    for there, value in tree_flatten(model.parameters()):
        value = np.array(value.astype(mx.float32))
        same = [
            (common_end(here, there), here, order)
            for here, array in stored.items()
            if array.size == value.size
            for arranged, order in arrangements(array)
            if arranged.shape == value.shape and np.array_equal(arranged, value)
        ]
        if same:
            _, here, order = max(same)
            found.append([here, there, order])
        elif value.ndim == 3 and (each := stacked(stored, value)):
            found.append([each, there, list(range(3))])
        elif each := joined(stored, value):
            found.append([each, there, list(range(value.ndim))])
        elif one := row(stored, value):
            found.append([one[0], there, list(range(value.ndim)), one[1]])
        else:
            print(f"{folder.name}: {there} {value.shape} is not stored")
    return found


if __name__ == "__main__":
    lines = []
    oracle, *wanted = sys.argv[1:]
    known = json.loads((HERE / "mlx_names.json").read_text())
    for folder in sorted(path.parent for path in HERE.glob("*/golden.json")):
        try:
            found = names(Path(oracle) / folder.name) if folder.name in wanted or not wanted else known.get(folder.name)
            if found:
                rows = ",\n  ".join(json.dumps(row) for row in found)
                lines.append(f'"{folder.name}": [\n  {rows}]')
        except Exception as error:
            print(f"{folder.name}: mlx-vlm does not load it: {type(error).__name__}: {str(error)[:200]}")
    (HERE / "mlx_names.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
