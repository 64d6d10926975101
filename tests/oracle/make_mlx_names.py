"""What mlx-vlm calls and how it lays out the weights of each tiny checkpoint: writes mlx_names.json.

    python make_mlx_names.py ORACLE_FOLDER    (made with mlx-vlm 0.7.10 and mlx 0.32.4 on CPU, transformers 5.23.0)

Conversions on the hub that are made by mlx-vlm store a model's parameters as mlx-vlm's classes have them. So each checkpoint is
loaded by mlx-vlm, and its parameters are found again by their values. An entry is [name here, name there, order of axes]; a
parameter that mlx-vlm drops is absent, and one that it makes of others is left out of the comparison.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_vlm.utils import load_model
from safetensors.numpy import load_file

HERE = Path(__file__).parent
ORDERS = [(0, 2, 3, 1), (0, 2, 3, 4, 1), (0, 2, 1)]


def arrangements(array):
    yield array, list(range(array.ndim))
    for order in ORDERS:
        if len(order) == array.ndim:
            yield array.transpose(order), list(order)


def common_end(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a[::-1], b[::-1])) if x != y), min(len(a), len(b)))


def names(folder: Path) -> list:
    stored = {name: value for file in folder.glob("model*.safetensors") for name, value in load_file(file).items()}
    with tempfile.TemporaryDirectory() as copy:
        for file in folder.iterdir():
            shutil.copyfile(file, Path(copy) / file.name)
        # Where mlx-vlm wants another configuration than transformers writes.
        if (folder / "config.mlx_vlm.json").exists():
            shutil.copyfile(folder / "config.mlx_vlm.json", Path(copy) / "config.json")
        model = load_model(Path(copy), lazy=False)
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
        else:
            print(f"{folder.name}: {there} {value.shape} is not stored")
    return found


if __name__ == "__main__":
    lines = []
    for folder in sorted(path.parent for path in HERE.glob("*/golden.json")):
        try:
            rows = ",\n  ".join(json.dumps(row) for row in names(Path(sys.argv[1]) / folder.name))
            lines.append(f'"{folder.name}": [\n  {rows}]')
        except Exception as error:
            print(f"{folder.name}: mlx-vlm does not load it: {type(error).__name__}: {str(error)[:200]}")
    (HERE / "mlx_names.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
