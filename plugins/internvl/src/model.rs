//! The architecture.

use monocle_plugin::prelude::*;

use crate::config::Config;
use crate::vision::InternVit;

/// Vision tower, projector, decoder.
pub struct InternVl {
    vision: InternVit,
    shuffle: u32,
    norm: Norm,
    projector: Mlp,
    language: Decoder,
}

impl Network for InternVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (Config::read(&files.config()?)?, Weights::root());
        // Names of the original layout, of the published checkpoints in transformers', and those that its newer releases write.
        let tower = ["vision_model", "vision_tower", "model.vision_tower"];
        let projector = root.pick(&["mlp1", "multi_modal_projector", "model.multi_modal_projector"]);
        let [norm, first, last] = match config.original {
            true => ["0", "1", "3"],
            false => ["layer_norm", "linear_1", "linear_2"],
        };
        // The third are those of some conversions to MLX.
        let text = [
            "language_model.model",
            "model.language_model",
            "language_model.model.model",
        ];
        let text = root.find(&text, "norm.weight")?;
        Ok(Self {
            vision: InternVit::load(&root.pick(&tower), &config)?,
            shuffle: config.shuffle,
            // PyTorch's default epsilon.
            norm: projector.norm(norm, 1e-5),
            projector: Mlp::new(projector.linear(first), config.activation, projector.linear(last)),
            language: Decoder::load(&text, &LlamaConfig::read(&config.text)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.vision.forward(&pixels[0])?;
        let packed = nn::pixel_shuffle(&features, self.shuffle)?; // [tiles, features, shuffle² · hidden]
        Ok(vec![
            self.projector.forward(&self.norm.forward(&packed.flatten(0, 1))),
        ])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
