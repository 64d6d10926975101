"""Each picture is squeezed into one square: the model sees less, and answers sooner."""

import json

from wit_world import exports
from wit_world.imports import images
from wit_world.imports.types import MediumPlan, Size

import monocle

IMAGE = "<image>"
# What the model's files say. An instance serves one request, so this is no more global than the request.
SIDE = FEATURES = 0


@monocle.guard
class Processor(exports.Processor):
    def configure(self, files):
        global SIDE, FEATURES
        config, rules = json.loads(files.config), json.loads(files.preprocessor or "{}")
        SIDE = rules["max_image_size"]["longest_edge"]
        per_side = SIDE // (config["vision_config"]["patch_size"] * config["scale_factor"])
        if per_side == 0:
            raise ValueError("`max_image_size`, `patch_size` and `scale_factor` make no features")
        FEATURES = per_side**2

    def plan(self, request):
        text, pictures = monocle.render(request, IMAGE)
        media = [
            MediumPlan(used=Size(SIDE, SIDE), pieces=1, tensors=[[1, SIDE, SIDE, 3]], layout=[], features=FEATURES)
            for _ in pictures
        ]
        tokens = IMAGE * FEATURES
        expanded = monocle.expand(
            text, IMAGE, len(media), lambda _: f"<fake_token_around_image><global-img>{tokens}<fake_token_around_image>"
        )
        return monocle.plan(text, expanded, IMAGE, media)

    def pixels(self, index, image):
        square = image.resize(SIDE, SIDE, images.Filter.LANCZOS)
        half = (0.5, 0.5, 0.5)
        return [images.stack([square], images.Normalisation(1 / 255, half, half), images.Layout.CHANNELS_LAST)]

    def output(self, text, last):
        return text

    def parts(self, answer):
        return []
