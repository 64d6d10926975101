//! The architecture.

use monocle_plugin::decoders::{self, Layer, Part, Step};
use monocle_plugin::nn::Mixture;
use monocle_plugin::prelude::*;

use crate::config::{TextConfig, VisionConfig, text_config};
use crate::vision::Vision;

/// Vision tower with its merger, decoder.
pub struct QwenVl {
    vision: Vision,
    language: Decoder,
}

impl Network for QwenVl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        // Names of the original checkpoints, of newer ones, and of conversions to MLX.
        let tower = root.find(
            &["visual", "model.visual", "vision_tower"],
            "patch_embed.proj.weight",
        )?;
        let text = ["model.language_model", "language_model.model", "model"];
        let text = root.find(&text, "norm.weight")?;
        Ok(Self {
            vision: Vision::load(&tower, &VisionConfig::read(&config)?)?,
            language: decoder(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        self.vision.forward(&pixels[0])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        let deep = self.vision.deep_layers();
        let x = self
            .language
            .forward_with(x, &Step::new(batch), |layer, x| match layer < deep {
                true => batch.add_features(&x, layer as u32 + 1),
                false => x,
            });
        Ok(self.language.logits(&x, batch))
    }
}

fn decoder(place: &Weights, TextConfig { llama, experts }: &TextConfig) -> Result<Decoder> {
    Decoder::with_layers(place, llama, |place, number| {
        let attention = decoders::Attention::load(&place.at("self_attn"), llama, number)?;
        let mlp = place.at("mlp");
        if mlp.has("experts.gate_up_proj") {
            let [first, last] =
                ["gate_up_proj", "down_proj"].map(|name| mlp.at("experts").experts(name).shape());
            ensure!(
                first[2] == llama.hidden_size && last[1] == llama.hidden_size,
                "the checkpoint stores experts by their inputs (`{}` is {first:?}, expected [experts, out, in]): a manifest with `weights.turn = \
                 ['\\.experts\\.(gate_up|down)_proj$']` turns them, as `qwen3-vl-30b-a3b-instruct` does; a conversion to MLX needs no copy in memory",
                mlp.name("experts.gate_up_proj")
            );
        }
        let mlp: Box<dyn Part> = match experts {
            Some(experts) if experts.has(number) => {
                Box::new(Mixture::load(&mlp, llama.hidden_act, &experts.mixture))
            }
            _ => Box::new(Mlp::load(&mlp, llama.hidden_act)),
        };
        Ok(Layer::normed(place, llama, attention, mlp))
    })
}
