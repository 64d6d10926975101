//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{Activation, Linear, Mlp, RmsNorm};
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Pixtral, VisionConfig, layers_before};

/// Vision tower, patch merger, projector, decoder.
pub struct Mistral3 {
    vision: Pixtral,
    merger: Option<Merger>,
    projector: Mlp,
    language: Llama,
}

/// Packs squares of patches (Mistral Small 3.1 and later).
struct Merger {
    norm: RmsNorm,
    layer: Linear,
    by: u32,
}

/// What patches and features measure.
pub struct Geometry {
    pub vision: VisionConfig,
    /// Squares of so many patches a side become one feature.
    pub merge: u32,
}

impl Geometry {
    /// From `config.json`; what it leaves out is as in transformers' `Mistral3Config` (`LlavaConfig` has no merger).
    pub fn read(config: &Section) -> Result<Self> {
        let mistral = config.get_or("model_type", String::new())? == "mistral3";
        let merge = config.get_or("spatial_merge_size", if mistral { 2 } else { 1 })?;
        ensure!(merge > 0, "`spatial_merge_size` in `config.json` must not be 0");
        Ok(Self {
            vision: VisionConfig::pixtral(config.section("vision_config")?)?,
            merge,
        })
    }
}

impl Network for Mistral3 {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let Geometry { vision, merge } = Geometry::read(&config)?;
        let text = text_config(&config)?;
        // Names of checkpoints, of conversions to MLX, and inside transformers.
        let part = |names: &[&'static str], probe| weights::first_prefix(names, probe);
        let tower = ["vision_tower", "vision_tower.vision_model", "model.vision_tower"];
        let tower = part(&tower, "patch_conv.weight")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = part(&projector, "linear_1.weight")?;
        let decoder = part(&["language_model.model", "model.language_model"], "norm.weight")?;
        let head = if decoder == "language_model.model" {
            "language_model.lm_head"
        } else {
            "lm_head"
        };
        refuse_scaled(decoder)?;
        let merger = || Merger {
            norm: RmsNorm::load(&format!("{projector}.norm"), text.rms_norm_eps),
            layer: nn::linear(&format!("{projector}.patch_merger.merging_layer")),
            by: merge,
        };
        let layers = layers_before(
            config.get_or("vision_feature_layer", -1)?,
            vision.num_hidden_layers,
        )?;
        let activation = config.get_or("projector_hidden_act", Activation::Gelu)?;
        let linear = |number| format!("{projector}.linear_{number}");
        Ok(Self {
            vision: Pixtral::load(tower, &vision, &config.section("vision_config")?, layers)?,
            merger: weights::has(&format!("{projector}.norm.weight")).then(merger),
            projector: Mlp::load(&linear(1), activation, &linear(2)),
            language: Llama::load(decoder, head, &text)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let patches = self.vision.forward(pixels)?; // [rows, columns, hidden]
        let features = match &self.merger {
            Some(merger) => merger.forward(&patches),
            None => {
                let [rows, columns, hidden] = patches.dimensions("the patches")?;
                patches.reshape(&[rows * columns, hidden])
            }
        };
        Ok(vec![self.projector.forward(&features)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

impl Merger {
    /// `[rows, columns, hidden]` to `[features, hidden]`. A square's channels lie together, as PyTorch's `unfold` has them.
    fn forward(&self, patches: &Tensor) -> Tensor {
        let normed = self.norm.forward(patches);
        let (rows, columns, hidden) = (normed.dimension(0), normed.dimension(1), normed.dimension(2));
        let (rows, columns) = (rows / self.by, columns / self.by);
        let squares = normed
            .reshape(&[rows, self.by, columns, self.by, hidden])
            .permute(&[0, 2, 4, 1, 3]) // [rows, columns, hidden, by, by]
            .reshape(&[rows * columns, hidden * self.by * self.by]);
        self.layer.forward(&squares)
    }
}

/// Mistral's own releases of 2025 store 8-bit floats, whose scales stand beside them; without those, answers are noise.
fn refuse_scaled(decoder: &str) -> Result<()> {
    let scaled = weights::names(&format!("{decoder}.layers.0."));
    match scaled.iter().find(|name| name.ends_with("_scale_inv")) {
        Some(name) => Err(Error::new(format_args!(
            "the weights are 8-bit floats with scales (`{name}`), which are not read here; use a conversion of the model to \
             bf16 or to MLX's 4 or 8 bits"
        ))),
        None => Ok(()),
    }
}

/// The decoder; what `text_config` leaves out is as in transformers' `MistralConfig` or `Ministral3Config`.
fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.section("text_config")?;
    // Absent, Mistral's window is 4096 tokens; `null` means that there is none.
    let windowed = !text.is_null("sliding_window");
    let text = if text.get_or("model_type", "mistral".to_owned())? == "ministral3" {
        text.with_defaults([
            ("num_hidden_layers", 34.into()),
            ("head_dim", 128.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("max_position_embeddings", 262_144.into()),
        ])
    } else if windowed {
        text.with_defaults([("sliding_window", 4096.into())])
    } else {
        text
    };
    let text = text.with_defaults([("num_key_value_heads", 8.into())]);
    let mut llama = LlamaConfig::read(&text)?;
    llama.windows = llama.read_windows(&text, 0)?;
    Ok(llama)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LlamaConfig {
        text_config(&Section::parse("config.json", text).unwrap()).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_classes() {
        // transformers 5.23: MistralConfig(), Ministral3Config(), PixtralVisionConfig(), Mistral3Config()
        let mistral = read("{}");
        assert_eq!(
            (mistral.num_hidden_layers, mistral.num_key_value_heads),
            (32, Some(8))
        );
        assert_eq!((mistral.head_dim(), mistral.rms_norm_eps), (128, 1e-6));
        assert_eq!(mistral.windows, [Some(4096); 32]);
        let ministral = read(r#"{"text_config": {"model_type": "ministral3", "hidden_size": 2048}}"#);
        assert_eq!((ministral.num_hidden_layers, ministral.head_dim()), (34, 128));
        assert_eq!(
            (ministral.rms_norm_eps, ministral.windows),
            (1e-5, vec![None; 34])
        );
        let config = Section::parse("config.json", r#"{"model_type": "mistral3"}"#).unwrap();
        let Geometry { vision, merge } = Geometry::read(&config).unwrap();
        assert_eq!(
            (vision.hidden_size, vision.num_hidden_layers, vision.patch_size),
            (1024, 24, 16)
        );
        assert_eq!((vision.hidden_act, merge), (Activation::Gelu, 2));
    }

    #[test]
    fn a_window_that_is_null_is_none() {
        let config = read(r#"{"text_config": {"num_hidden_layers": 2, "sliding_window": null}}"#);
        assert_eq!(config.windows, [None, None]);
    }
}
