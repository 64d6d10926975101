"""What reference processors make of pictures of one pixel and of very thin ones, with the small checkpoints' rules: writes awkward/golden.json and
awkward/golden.safetensors.

    python make_awkward_pictures.py MOLMO DEEPSEEK MOONDREAM    (made with transformers 5.23.0, mlx-vlm 0.7.10, torch 2.15.0, torchvision 0.29.2,
                                                                 Pillow 13.0.0)

MOLMO as make_molmo.py takes it, DEEPSEEK a clone of github.com/deepseek-ai/DeepSeek-VL2 (at ef9f91e), MOONDREAM one of github.com/vikhyat/moondream (at
44146f1). Pixels of ERNIE 4.5 VL and Florence-2 are transformers', those of DeepSeek-VL2, Molmo and Moondream 2 their published code's (Molmo's resized by
Pillow, see molmo_pictures.py; Moondream's in 32 bits, resized without pyvips), those of Kimi-VL are mlx-vlm's copy of the original's rules. nanoLLaVA's
published code gives pictures a grey border (`expand2square`: Pillow's `paste` onto a square of the mean's colour), then squeezes them; that border
is made here, the rest is transformers'. Phi-3.5-vision's are mlx-vlm's, LFM2-VL's those of transformers' only processor (torchvision's resizing); those of
all other families are those of the processors with Pillow that transformers takes for the folder. Pixels are `[views, 3, height, width]`, of which every 37th is
kept (of some fewer: `sparser`). Listed as `nothing_left` are thin pictures of which references would leave less than a pixel: they refuse them or show none;
as `refused` those that they refuse for being thin. Features are counted for sizes alone.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import mlx_vlm
import molmo_pictures
import numpy as np
import torch
import transformers
from collect_parity import packed
from mlx_vlm.models.kimi_vl.processing_kimi_vl import KimiVLImageProcessor
from mlx_vlm.models.phi3_v.processing_phi3_v import Phi3VImageProcessor
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from small_processors import ernie4_5_vl_processor, paddleocr_vl_processor, rules
from transformers import AutoImageProcessor, CLIPImageProcessorPil, SiglipImageProcessorPil
from transformers.models.lfm2_vl import image_processing_lfm2_vl as lfm2
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

MOLMO, DEEPSEEK, MOONDREAM = (Path(folder) for folder in sys.argv[1:])
HERE = Path(__file__).parent
OUT, EVERY = HERE / "awkward", 37
THIN = [(1, 1), (16, 3000), (3000, 16), (41, 3000), (3000, 41)]
TOO_THIN = [(14, 3000), (3000, 14)]
# Many views of many pixels.
SPARSER = {"phi3_v": 397}
SIZES = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024), (5477, 7819), (41, 3000), (3000, 41)]


def picture(width, height):
    """Each channel differs, and each pixel from its neighbours."""
    across, down, channel = np.arange(width)[None, :, None], np.arange(height)[:, None, None], np.arange(3)
    return Image.fromarray(((across * 7 + down * 13 + channel * 59) % 251).astype(np.uint8))


def channels_first(patches, across, down, side):
    """Patches `[n, 3, side, side]`, row by row, as `[3, height, width]`."""
    return np.asarray(patches).reshape(down, across, 3, side, side).transpose(2, 0, 3, 1, 4).reshape(3, down * side, across * side)


def of_squares(squares, across, down, side):
    """Patches in squares of two by two, as `[3, height, width]`."""
    rows = np.asarray(squares).reshape(down // 2, across // 2, 2, 2, -1).transpose(0, 2, 1, 3, 4)
    return channels_first(rows, across, down, side)


def published(folder, **more):
    """Pixels as transformers' processor with Pillow makes them."""
    images = AutoImageProcessor.from_pretrained(HERE / folder, backend="pil")
    for size in THIN:
        try:
            found = images(picture(*size), return_tensors="np", **more)["pixel_values"]
        except ValueError as refusal:
            assert str(refusal).startswith("Size must contain") and "=0," in str(refusal), refusal
            found = None
        yield size, found


def mllama():
    images = AutoImageProcessor.from_pretrained(HERE / "mllama", backend="pil")
    for size in THIN:
        found = images(picture(*size), return_tensors="np")
        yield size, found["pixel_values"][0, 0, :found["num_tiles"][0][0]]


def lfm2_vl():
    # The small checkpoint's rules have places for 64 patches in a view; overviews of thin pictures have more.
    pad = lfm2.pad_along_first_dim
    lfm2.pad_along_first_dim = lambda patches, _: pad(patches, 1024)
    images = AutoImageProcessor.from_pretrained(HERE / "lfm2_vl")
    side = images.encoder_patch_size
    for size in THIN:
        found = images(picture(*size), return_tensors="np")
        views = []
        for view, (down, across) in zip(found["pixel_values"], found["spatial_shapes"]):
            patches = view[:down * across].reshape(-1, side, side, 3).transpose(0, 3, 1, 2)
            views.append(channels_first(patches, across, down, side).reshape(-1))
        yield size, np.concatenate(views)


def phi3_v():
    images = Phi3VImageProcessor(num_crops=rules("phi3_v")["num_crops"])
    for size in THIN:
        yield size, images._process_single_image(picture(*size))[0]


def qwen_vl(folder):
    images = AutoImageProcessor.from_pretrained(HERE / folder, backend="pil")
    for size in THIN:
        found = images(picture(*size), return_tensors="np")
        _, down, across = (int(count) for count in found["image_grid_thw"][0])
        # Two frames, which are the same.
        patches = found["pixel_values"].reshape(down * across, 3, images.temporal_patch_size, images.patch_size, images.patch_size)
        yield size, of_squares(patches[:, :, 0], across, down, images.patch_size)


def paddleocr_vl():
    images = paddleocr_vl_processor()
    for size in THIN:
        found = images(picture(*size), return_tensors="np")
        _, down, across = (int(count) for count in found["image_grid_thw"][0])
        yield size, channels_first(found["pixel_values"], across, down, images.patch_size)


def kimi_vl():
    images = KimiVLImageProcessor(**{key: value for key, value in rules("kimi_vl").items() if not key.endswith("_type")})
    for size in THIN:
        patches, (down, across) = images._preprocess(picture(*size))
        yield size, channels_first(patches, across, down, images.patch_size)


def ernie4_5_vl():
    images = ernie4_5_vl_processor()
    for size in THIN:
        found = images(picture(*size), return_tensors="np")
        _, down, across = (int(count) for count in found["image_grid_thw"][0])
        yield size, of_squares(found["pixel_values"], across, down, 14)


def florence2():
    read = {key: value for key, value in rules("florence2").items() if not key.endswith(("_type", "_class", "_length"))}
    images = CLIPImageProcessorPil(**read)
    for size in THIN:
        yield size, images(picture(*size), return_tensors="np")["pixel_values"]


def nanollava():
    read = {key: value for key, value in rules("nanollava").items() if not key.endswith(("_type", "_class"))}
    images = SiglipImageProcessorPil(**read)
    for size in THIN:
        side = max(size)
        square = Image.new("RGB", (side, side), tuple(int(mean * 255) for mean in read["image_mean"]))
        square.paste(picture(*size), ((side - size[0]) // 2, (side - size[1]) // 2))
        yield size, images(square, return_tensors="np")["pixel_values"]


def molmo_processor():
    return molmo_pictures.processor(molmo_pictures.modules(MOLMO, "image_preprocessing_molmo")[0])


def molmo_seen(images, array):
    return images.multimodal_preprocess(
        images=[array], image_idx=[-1], tokens=np.array([], np.int32), sequence_length=1024, image_patch_token_id=1, image_col_token_id=2,
        image_start_token_id=3, image_end_token_id=4)


def molmo():
    images = molmo_processor()
    for size in THIN:
        if min(molmo_pictures.fitted(size, images.base_image_input_size)) < 1:
            yield size, None
            continue
        views = molmo_seen(images, np.asarray(picture(*size)))["images"]
        yield size, np.stack([channels_first(view.reshape(-1, 14, 14, 3).transpose(0, 3, 1, 2), 8, 8, 14) for view in views])


def molmo_features(size):
    images = molmo_processor()
    blank = lambda image, into, *_, **__: (np.zeros((*into, 3), np.float32), np.ones(into, dtype=bool))
    sys.modules["molmo.image_preprocessing_molmo"].resize_and_pad = blank
    found = molmo_seen(images, np.broadcast_to(np.uint8(0), (size[1], size[0], 3)))
    return int((found["image_input_idx"] >= 0).sum())


def deepseek():
    """The original's processor, whose package asks for an older transformers: without the package, and without a tokenizer."""
    sys.modules["deepseek"] = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("deepseek", None, is_package=True))
    for name in ("conversation", "processing_deepseek_vl_v2"):
        spec = importlib.util.spec_from_file_location(f"deepseek.{name}", DEEPSEEK / "deepseek_vl2/models" / f"{name}.py")
        sys.modules[f"deepseek.{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[f"deepseek.{name}"])
    module, read = sys.modules["deepseek.processing_deepseek_vl_v2"], rules("deepseek_vl2", "processor_config.json")
    processor = object.__new__(module.DeepseekVLV2Processor)
    processor.image_transform = module.ImageTransform(read["image_mean"], read["image_std"], read["normalize"])
    for key in ("candidate_resolutions", "patch_size", "downsample_ratio", "image_token"):
        setattr(processor, key, read[key])
    processor.image_size, processor.image_token_id = read["candidate_resolutions"][0][0], 0
    processor.tokenizer = SimpleNamespace(encode=lambda text, add_special_tokens: [])
    return module, lambda shown: processor.tokenize_with_images("<image>", [shown], bos=False, eos=False)


def deepseek_vl2():
    side = rules("deepseek_vl2", "processor_config.json")["candidate_resolutions"][0][0]
    _, seen = deepseek()
    for size in THIN:
        # Of the overview of a thin picture nothing is left: Pillow 13.0.0 gives an empty one, older ones refuse it.
        left = min(ImageOps.contain(Image.new("L", size), (side, side)).size)
        yield size, torch.stack(seen(picture(*size))[1]).numpy() if left else None


def deepseek_vl2_features(size):
    module, seen = deepseek()
    module.ImageOps = SimpleNamespace(pad=lambda shown, into, color: Image.new("RGB", into))
    return seen(SimpleNamespace(size=size))[4][0]


def moondream2():
    sys.path.insert(0, str(MOONDREAM))
    from moondream.torch import config, image_crops

    assert not image_crops.HAS_VIPS
    vision = config.VisionConfig()
    for size in THIN:
        found = image_crops.overlap_crop_image(np.array(picture(*size)), max_crops=vision.max_crops, overlap_margin=vision.overlap_margin)
        yield size, torch.from_numpy(np.transpose(found["crops"], (0, 3, 1, 2))).float().div_(255.0).sub_(0.5).div_(0.5).numpy()


def llava_onevision_features(size):
    config, read = rules("llava_onevision", "config.json"), rules("llava_onevision")
    images = LlavaOnevisionImageProcessorPil(**{key: value for key, value in read.items() if not key.endswith(("_type", "_class"))})
    side, patch = config["vision_config"]["image_size"], config["vision_config"]["patch_size"]
    counting = SimpleNamespace(image_processor=images, num_image_tokens=(side // patch) ** 2, vision_aspect_ratio=config["vision_aspect_ratio"])
    counting._get_unpadded_features = lambda *sides: LlavaOnevisionProcessor._get_unpadded_features(counting, *sides)
    return LlavaOnevisionProcessor._get_number_of_features(counting, size[1], size[0], side, side)


def too_thin():
    """What references refuse for being more than 200 times as long as wide."""
    families = {folder: AutoImageProcessor.from_pretrained(HERE / folder, backend="pil") for folder in ("glm4v", "qwen2_vl", "qwen3_vl")}
    families |= {"ernie4_5_vl": ernie4_5_vl_processor(), "paddleocr_vl": paddleocr_vl_processor()}
    for folder, images in families.items():
        for size in TOO_THIN:
            try:
                images(picture(*size))
            except ValueError as refusal:
                assert "aspect ratio" in str(refusal), refusal
                yield {"folder": folder, "size": size}


FAMILIES = {family.__name__: family for family in (
    deepseek_vl2, ernie4_5_vl, florence2, kimi_vl, lfm2_vl, mllama, molmo, moondream2, nanollava, paddleocr_vl, phi3_v)}
FAMILIES |= {folder: lambda folder=folder: qwen_vl(folder) for folder in ("glm4v", "qwen2_vl", "qwen3_vl")}
FAMILIES |= {folder: lambda folder=folder: published(folder) for folder in (
    "gemma3", "gemma3n", "idefics3", "llava", "llava_next", "llava_onevision", "paligemma2", "pixtral", "smolvlm")}
# What the processors of words and pictures ask these for.
FAMILIES["internvl"] = lambda: published("internvl", crop_to_patches=True)
FAMILIES["mistral3"] = lambda: published("mistral3", patch_size={"height": 28, "width": 28})


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    arrays, nothing_left = {}, []
    for folder, family in sorted(FAMILIES.items()):
        for size, pixels in family():
            if pixels is None:
                nothing_left.append({"folder": folder, "size": size})
                continue
            kept = np.ascontiguousarray(np.asarray(pixels, np.float32).reshape(-1)[::SPARSER.get(folder, EVERY)])
            arrays |= packed(f"{folder}/{size[0]}x{size[1]}/pixel_values", kept)
            print(folder, size, np.shape(pixels), len(kept))
    save_file(arrays, OUT / "golden.safetensors")
    (OUT / "golden.safetensors").chmod(0o644)
    counted = {"deepseek_vl2": deepseek_vl2_features, "llava_onevision": llava_onevision_features, "molmo": molmo_features}
    lines = [json.dumps({"folder": folder, "size": size, "features": count(size)}) for folder, count in counted.items() for size in SIZES]
    reference = {"transformers": transformers.__version__, "torch": torch.__version__, "mlx-vlm": mlx_vlm.__version__,
                 "published": ["github.com/deepseek-ai/DeepSeek-VL2 at ef9f91e", "github.com/reubzdubz/Molmo7B_D_NF4Quant at 6afb2ae", "github.com/vikhyat/moondream at 44146f1"]}
    (OUT / "golden.json").write_text(
        f'{{"reference": {json.dumps(reference)},\n"sparser": {json.dumps(SPARSER)},\n"nothing_left": {json.dumps(nothing_left)},\n'
        f'"refused": {json.dumps(list(too_thin()))},\n"features": [\n ' + ",\n ".join(lines) + "\n]}\n")
    print(nothing_left, {file.name: file.stat().st_size for file in OUT.iterdir()})
