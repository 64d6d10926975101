//! The decoder: attention and feed-forward block of a layer read the same normed rows (as in Phi-1.5, arXiv:2309.05463).

use monocle_plugin::decoders::{self, Layer, Part, Residual, Step};
use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;

use crate::config::TextConfig;

pub const EPSILON: f32 = 1e-5;

/// Layers, a norm, logits.
pub struct Decoder {
    pub words: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
}

/// Two parts at once.
struct Beside(decoders::Attention, Mlp);

impl Part for Beside {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        self.0.forward(x, step) + self.1.forward(x)
    }
}

impl Decoder {
    /// What is at this place.
    pub fn load(place: &Weights, config: &TextConfig) -> Result<Self> {
        // Names of conversions to MLX come second.
        let model = place.find(&["", "model"], "post_ln.weight")?;
        let llama = LlamaConfig {
            hidden_size: config.dim,
            num_hidden_layers: config.n_layers,
            num_attention_heads: config.n_heads,
            rope: RopeConfig {
                partial: 0.5,
                ..RopeConfig::plain(10_000.0)
            },
            ..LlamaConfig::default()
        };
        let layer = |number| {
            let place = model.pick(&["blocks", "layers"]).at(number);
            let attention = decoders::Attention::load(&place.at("attn"), &llama, number)?;
            let mlp = Mlp::load(&place.at("mlp"), Activation::GeluTanh);
            Ok(Layer::new(vec![Residual::pre_norm(
                place.norm("ln", EPSILON),
                Beside(attention, mlp),
            )]))
        };
        Ok(Self {
            words: model.embedding(if model.has("wte") { "wte" } else { "embed_tokens" }),
            layers: (0..config.n_layers).map(layer).collect::<Result<_>>()?,
            norm: model.norm("post_ln", EPSILON),
            head: place.linear("lm_head"),
        })
    }

    /// `[tokens, hidden]` to the same.
    pub fn forward(&self, x: Tensor, batch: &Batch) -> Tensor {
        let step = Step::new(batch);
        self.layers.iter().fold(x, |x, layer| layer.forward(x, &step))
    }

    /// Rows to logits of words.
    pub fn logits(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.norm.forward(x))
    }
}
