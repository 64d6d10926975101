//! The architecture.

use monocle_plugin::decoders::{Layer, Part, Step};
use monocle_plugin::prelude::*;

use crate::config::{MixtureConfig, TextConfig, VisionConfig};
use crate::experts::Mixtures;
use crate::tower::Tower;

/// Vision tower with its resampler, decoder.
pub struct Ernie {
    vision: Tower,
    language: Decoder,
}

/// Attention whose rotary positions have three axes.
struct Attention {
    heads: nn::Attention,
    kind: CachedAttention,
    angles: RopeAngles,
}

impl Part for Attention {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        let [q, k, v] = self.heads.project(x);
        let [q, k] = [q, k].map(|x| x.rope(&step.positions, &self.angles));
        self.heads.merge(&step.batch.attend(&q, &k, Some(&v), self.kind))
    }
}

impl Network for Ernie {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let text = TextConfig::read(&config)?;
        // Names of checkpoints, then those of conversions to MLX.
        let tower = root.find(&["vision_model", "vision_tower"], "patch_embed.proj.weight")?;
        let resampler = root.find(&["model.resampler_model", "resampler_model"], "after_norm.weight")?;
        let decoder = root.find(&["model", "language_model.model"], "norm.weight")?;
        let layer = |place: &Weights, number| layer(place, &text, &text.mixture, number);
        Ok(Self {
            vision: Tower::load(
                &tower,
                &resampler,
                &VisionConfig::read(&config)?,
                text.llama.rms_norm_eps,
            )?,
            language: Decoder::with_layers(&decoder, &text.llama, layer)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        Ok(vec![self.vision.forward(&pixels[0])?])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}

fn layer(place: &Weights, text: &TextConfig, mixture: &MixtureConfig, number: u32) -> Result<Layer> {
    let (llama, own) = (&text.llama, place.at("self_attn"));
    let head_dim = llama.head_dim();
    let attention = Attention {
        heads: nn::Attention::grouped(&own, llama.num_attention_heads, head_dim, llama.rms_norm_eps)?,
        kind: CachedAttention::of_heads(head_dim, number),
        angles: text.angles.clone(),
    };
    let mlp = place.at("mlp");
    Ok(match Mixtures::is_at(&mlp) {
        true => Layer::normed(place, llama, attention, Mixtures::load(&mlp, llama, mixture)?),
        false => Layer::normed(place, llama, attention, Mlp::load(&mlp, llama.hidden_act)),
    })
}
