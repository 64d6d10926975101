//! The architecture.

use monocle_plugin::prelude::*;

use crate::config::{VisionConfig, text_config};
use crate::tower::MoonVit;

/// Vision tower, projector, decoder.
pub struct KimiVl {
    vision: MoonVit,
    /// Squares of so many patches a side become one feature.
    by: u32,
    norm: Norm,
    projector: Mlp,
    language: Decoder,
}

impl Network for KimiVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let vision = VisionConfig::read(&config)?;
        let projector = root.at("multi_modal_projector");
        let language = root.find(&["language_model.model", "model"], "norm.weight")?;
        Ok(Self {
            by: vision.merge_kernel_size[0],
            vision: MoonVit::load(&root.at("vision_tower"), &vision)?,
            norm: projector.norm("pre_norm", 1e-5),
            projector: Mlp::load(&projector, Activation::Gelu),
            language: Decoder::deepseek(&language, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let patches = self.norm.forward(&self.vision.forward(&pixels[0])?);
        let squares = nn::pixel_shuffle(&patches, self.by)?; // [1, squares, square · channels]
        Ok(vec![self.projector.forward(&squares.flatten(0, 1))])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}
