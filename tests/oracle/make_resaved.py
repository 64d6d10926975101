"""The small checkpoints' `config.json` and `preprocessor_config.json` as transformers saves them again, which is how fine-tuned copies have them: writes
resaved.json. Where there is a processor of words and pictures, the rules for pictures are a part of its `processor_config.json`.

    python make_resaved.py    (made with transformers 5.23.0, torchvision 0.29.2)

Keys have newer names, and defaults are written out. Folders whose model transformers does not know are left out.
"""

import json
import tempfile
from pathlib import Path

import transformers
from small_processors import ernie4_5_vl_processor, paddleocr_vl_processor
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, Ernie4_5_VLMoeConfig

HERE = Path(__file__).parent
# Read by the model's own code, or without pictures' rules of transformers'.
OTHERS = {"deepseek_vl2", "deepseek_vl2_base", "deepseek_vl2_small", "internvl_chat", "kimi_vl", "molmo", "moondream2", "nanollava", "phi3_v"}
PROCESSORS = {"ernie4_5_vl": ernie4_5_vl_processor, "paddleocr_vl": paddleocr_vl_processor}
# Their processors ask for tokens that the small tokenizers lack, or for packages that have nothing to do with pictures.
ALONE = {"florence2", "smolvlm"}


def config(folder):
    if folder.name != "ernie4_5_vl":
        return AutoConfig.from_pretrained(folder)
    # Published flat, with another name of the type; transformers' has a part for the decoder.
    read = json.loads((folder / "config.json").read_text())
    vision = read.pop("vision_config") | {"model_type": "ernie4_5_vl_moe_vision"}
    outer = {key: value for key, value in read.items() if key.endswith("_token_id") or key == "tie_word_embeddings"}
    inner = {key: value for key, value in read.items() if key not in ("architectures", "model_type") and key not in outer}
    allocation = inner.pop("freq_allocation")
    rest = inner["hidden_size"] // inner["num_attention_heads"] // 2 - allocation
    rope = {"rope_type": "default", "rope_theta": inner.pop("rope_theta"), "mrope_section": [rest // 2, rest // 2, allocation]}
    inner["moe_num_experts"] = inner["moe_num_experts"][0]
    return Ernie4_5_VLMoeConfig(text_config=inner | {"rope_parameters": rope, "tie_word_embeddings": True}, vision_config=vision, **outer)


def saved(thing, name):
    with tempfile.TemporaryDirectory() as place:
        thing.save_pretrained(place)
        return json.loads((Path(place) / name).read_text())


if __name__ == "__main__":
    rows = {}
    for golden in sorted(HERE.glob("*/golden.json")):
        folder = golden.parent
        if not (folder / "model.safetensors").exists() or not (folder / "config.json").exists() or folder.name in OTHERS:
            continue
        if "model_type" not in json.loads((folder / "config.json").read_text()) or folder.name in ("encoder_decoder", "latent_experts"):
            continue
        make = PROCESSORS.get(folder.name)
        if make or folder.name in ALONE:
            images, name = make() if make else AutoImageProcessor.from_pretrained(folder), "preprocessor_config.json"
        else:
            images, name = AutoProcessor.from_pretrained(folder), "processor_config.json"
        rows[folder.name] = {"config.json": saved(config(folder), "config.json"), name: saved(images, name)}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(files)}" for name, files in rows.items())
    (HERE / "resaved.json").write_text(f'{{"transformers": "{transformers.__version__}", "folders": {{\n{lines}\n}}}}\n')
    print(len(rows), (HERE / "resaved.json").stat().st_size)
