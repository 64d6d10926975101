//! The architecture.

use monocle_plugin::decoders::Step;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::layers_before;

use crate::config::{Geometry, decoder_config, text_section};
use crate::temperature::Temperature;
use crate::tower::Pixtral;

/// Vision tower, patch merger, projector, decoder.
pub struct Mistral3 {
    vision: Pixtral,
    merger: Option<Merger>,
    projector: Mlp,
    language: Decoder,
    temperature: Option<Temperature>,
}

/// Packs squares of patches (Mistral Small 3.1 and later).
struct Merger {
    norm: Norm,
    layer: Linear,
    by: u32,
}

impl Network for Mistral3 {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let Geometry { vision, merge } = Geometry::read(&config)?;
        let section = text_section(&config)?;
        let text = decoder_config(&section)?;
        // Names of checkpoints, of conversions to MLX, and inside transformers.
        let tower = ["vision_tower", "vision_tower.vision_model", "model.vision_tower"];
        let tower = root.find(&tower, "patch_conv.weight")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = root.find(&projector, "linear_1.weight")?;
        let decoder = root.find(&["language_model.model", "model.language_model"], "norm.weight")?;
        refuse_scaled(&decoder)?;
        let merger = || Merger {
            norm: projector.norm("norm", text.rms_norm_eps),
            layer: projector.linear("patch_merger.merging_layer"),
            by: merge,
        };
        let last = config.get_or("vision_feature_layer", -1)?;
        let layers = layers_before(last, vision.num_hidden_layers)?;
        let activation = config.get_or("projector_hidden_act", Activation::Gelu)?;
        Ok(Self {
            vision: Pixtral::load(&tower, &vision, &config.section("vision_config")?, layers)?,
            merger: projector.has("norm.weight").then(merger),
            projector: Mlp::load(&projector, activation),
            language: Decoder::load(&decoder, &text)?,
            temperature: Temperature::read(&section)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let patches = self.vision.forward(&pixels[0])?; // [rows, columns, hidden]
        let features = match &self.merger {
            Some(merger) => merger.forward(&patches)?,
            None => patches.flatten(0, 1),
        };
        Ok(vec![self.projector.forward(&features)])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }

    fn step<'a>(&self, batch: &'a Batch) -> Step<'a> {
        let mut step = Step::new(batch);
        let temperature = self.temperature;
        step.scales = temperature.map(|temperature| temperature.scales(&step.positions));
        step
    }
}

impl Merger {
    /// `[rows, columns, hidden]` to `[features, hidden]`. A square's channels lie together, as PyTorch's `unfold` has them.
    fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let normed = self.norm.forward(patches);
        let [rows, columns, hidden] = normed.dimensions("the patches")?;
        let (rows, columns, by) = (rows / self.by, columns / self.by, self.by);
        let squares = normed
            .reshape(&[rows, by, columns, by, hidden])
            .permute(&[0, 2, 4, 1, 3]) // [rows, columns, hidden, by, by]
            .reshape(&[rows * columns, hidden * by * by]);
        Ok(self.layer.forward(&squares))
    }
}

/// Mistral's own releases of 2025 store 8-bit floats, whose scales stand beside them; without those, answers are noise.
fn refuse_scaled(decoder: &Weights) -> Result<()> {
    let scaled = weights::names(&decoder.name("layers.0."));
    let scaled = scaled.iter().find(|name| name.ends_with("_scale_inv"));
    ensure!(
        scaled.is_none(),
        "the weights are 8-bit floats with scales (`{}`), which are not read here; use a conversion of the model to bf16 or to MLX's 4 or \
         8 bits",
        scaled.map_or("", String::as_str)
    );
    Ok(())
}
