//! The decoder: attention and feed-forward block of a layer read the same normed rows (as in Phi-1.5, arXiv:2309.05463).

use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;

use crate::config::TextConfig;

const EPSILON: f32 = 1e-5;
/// Elements that heads get more, so that rows can be hidden: kernels like eights.
const EXTRA: u32 = 8;
/// What a hidden row's key has in each of them: the score is then far below all others, and still a number of 16 bits.
const HIDDEN: f32 = -7500.0;

/// Layers, a norm, logits.
pub struct Decoder {
    pub words: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
}

struct Layer {
    norm: Norm,
    attention: Attention,
    kind: CachedAttention,
    mlp: Mlp,
    angles: RopeAngles,
}

impl Decoder {
    /// What is at this place.
    pub fn load(place: &Weights, config: &TextConfig) -> Result<Self> {
        // Names of conversions to MLX come second.
        let model = place.find(&["", "model"], "post_ln.weight")?;
        let layers = model.pick(&["blocks", "layers"]);
        let layer = |number| Layer::load(&layers.at(number), config, number);
        Ok(Self {
            words: model.embedding(if model.has("wte") { "wte" } else { "embed_tokens" }),
            layers: (0..config.n_layers).map(layer).collect::<Result<_>>()?,
            norm: model.norm("post_ln", EPSILON),
            head: place.linear("lm_head"),
        })
    }

    /// `[tokens, hidden]` to the same. `hidden`, int `[tokens]`, is 1 at rows that no row is to see; a model that has such has it at every step.
    pub fn forward(&self, x: Tensor, batch: &Batch, positions: &Tensor, hidden: Option<&Tensor>) -> Tensor {
        let keys = hidden.map(|hidden| {
            let more = hidden.reshape(&[hidden.dimension(0), 1, 1]);
            more.select(&full(&[1, 1, 1], HIDDEN), &full(&[1, 1, 1], 0.0))
        });
        let layers = self.layers.iter();
        layers.fold(x, |x, layer| layer.forward(&x, batch, positions, keys.as_ref()))
    }

    /// Rows to logits of words.
    pub fn logits(&self, x: &Tensor) -> Tensor {
        self.head.forward(&self.norm.forward(x))
    }
}

impl Layer {
    fn load(place: &Weights, config: &TextConfig, number: u32) -> Result<Self> {
        let head_dim = config.dim / config.n_heads;
        let rope = RopeConfig {
            partial: 0.5,
            ..RopeConfig::plain(10_000.0)
        };
        Ok(Self {
            norm: place.norm("ln", EPSILON),
            attention: Attention::grouped(&place.at("attn"), config.n_heads, head_dim, EPSILON)?,
            kind: CachedAttention::of_heads(head_dim, number),
            mlp: Mlp::load(&place.at("mlp"), Activation::GeluTanh),
            angles: rope.angles(head_dim)?,
        })
    }

    /// `keys` is what each row's keys get more: `[tokens, 1, 1]`.
    fn forward(&self, x: &Tensor, batch: &Batch, positions: &Tensor, keys: Option<&Tensor>) -> Tensor {
        let normed = self.norm.forward(x);
        let [q, k, v] = self.attention.project(&normed);
        let [q, k] = [q, k].map(|x| x.rope(positions, &self.angles));
        let mixed = match keys {
            None => batch.attend(&q, &k, Some(&v), self.kind),
            Some(keys) => {
                let keys = keys.broadcast(&[k.dimension(0), k.dimension(1), EXTRA]);
                batch.attend(
                    &q.pad(2, 0, EXTRA, 1.0),
                    &concat(&[&k, &keys], 2),
                    Some(&v),
                    self.kind,
                )
            }
        };
        x + (self.attention.merge(&mixed) + self.mlp.forward(&normed))
    }
}
