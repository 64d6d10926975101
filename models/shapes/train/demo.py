"""Draw the demo pictures, from seeds training never used, and write down what is in them."""

import argparse
import json
from pathlib import Path

import language
import world

DEMO_SEED = 3000
# name: (scene, size, text)
PICTURES = {
    "shapes.png": (13, (320, 320), None),
    "wide.png": (14, (640, 480), None),
    "word.png": (6, (256, 256), "BOAT"),
    "tall.png": (23, (300, 400), None),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for name, (index, size, text) in PICTURES.items():
        scene = world.make_scene(DEMO_SEED, index, size, text)
        world.draw(scene).save(args.folder / name, optimize=True)
        truth[name] = dict(
            scene=index,
            size=list(size),
            objects=[dict(shape=o.shape, colour=o.colour, size=o.size, place=o.place) for o in scene.objects],
            text=scene.text.value if scene.text else None,
            caption=language.caption(scene),
            structured=language.structured(scene),
        )
    (args.folder / "truth.json").write_text(json.dumps(dict(seed=DEMO_SEED, pictures=truth), indent=2) + "\n")


if __name__ == "__main__":
    main()
