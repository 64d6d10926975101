// Each picture is squeezed into one square: the model sees less, and answers sooner.

import { stack } from 'monocle:plugin/images@0.2.0';
import { expand, guard, plan, render } from './monocle.js';

// What the model's files say. An instance serves one request, so this is no more global than the request.
let side, features;

export const processor = guard({
  configure(files) {
    const config = JSON.parse(files.config);
    const rules = JSON.parse(files.preprocessor ?? '{}');
    side = rules.max_image_size?.longest_edge;
    const perSide = Math.floor(side / (config.vision_config?.patch_size * config.scale_factor));
    if (!(perSide > 0)) throw new Error('`max_image_size`, `patch_size` and `scale_factor` make no features');
    features = perSide * perSide;
  },

  plan(request) {
    const { text, pictures } = render(request, '<image>');
    const media = pictures.map(() => ({ used: { width: side, height: side }, tensors: [[1, side, side, 3]], features }));
    const tokens = '<image>'.repeat(features);
    const expansion = () => `<fake_token_around_image><global-img>${tokens}<fake_token_around_image>`;
    return plan(text, expand(text, '<image>', media.length, expansion), '<image>', media);
  },

  pixels(index, image) {
    const square = image.resize(side, side, 'lanczos');
    const half = [0.5, 0.5, 0.5];
    const pixels = stack([square], { rescale: 1 / 255, mean: half, deviation: half }, 'channels-last');
    // Pictures are large, and the garbage collector does not know it.
    square[Symbol.dispose]();
    return [pixels];
  },
});
