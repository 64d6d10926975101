#!/usr/bin/env python3
"""How long Hugging Face's fast processor takes for a picture file, decoded by Pillow; prints it where `monocle run --json` does.

The first preparations, in which libraries get ready, do not count; of the others the middle one does.
"""

import argparse
import json
import statistics
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="a folder with `preprocessor_config.json`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()

    import torch
    import transformers
    from PIL import Image

    # transformers calls the fast one by the plain name since version 5.
    from transformers.models.idefics3.image_processing_idefics3 import Idefics3ImageProcessor

    torch.set_num_threads(arguments.threads)
    Image.MAX_IMAGE_PIXELS = None
    processor = Idefics3ImageProcessor.from_pretrained(arguments.model)
    times = []
    for _ in range(arguments.warm_up + arguments.times):
        start = time.perf_counter()
        picture = Image.open(arguments.picture).convert("RGB")
        pixels = processor([[picture]], return_tensors="pt")["pixel_values"]
        times.append(time.perf_counter() - start)
    print(json.dumps({
        "version": f"transformers {transformers.__version__}, torch {torch.__version__}, Pillow {Image.__version__}",
        "class": type(processor).__name__,
        "shape": list(pixels.shape),
        "timings": {"images_s": statistics.median(times[arguments.warm_up :])},
    }))


if __name__ == "__main__":
    main()
