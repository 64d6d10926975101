//! The decoder: Qwen2 or OLMo in names of the training code, with fused layers.

use monocle_plugin::rope::RopeConfig;
use monocle_plugin::{BinaryOperation, prelude::*};

use crate::config::TextConfig;

/// See the module.
pub struct Decoder {
    words: Embedding,
    /// Of the tokens after the vocabulary's last.
    more_words: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
}

struct Layer {
    norms: [Norm; 2],
    attention: Linear,
    out: Linear,
    inner: Linear,
    outer: Linear,
    kind: CachedAttention,
    angles: RopeAngles,
    sizes: [u32; 3],
    head_dim: u32,
}

impl Decoder {
    /// What is at this place.
    pub fn load(place: &Weights, config: &TextConfig) -> Result<Self> {
        let layer = |number| Layer::load(&place.at("blocks").at(number), config, number);
        Ok(Self {
            words: place.embedding("wte.embedding"),
            more_words: place.embedding("wte.new_embedding"),
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: Norm::rms(&place.at("ln_f"), config.layer_norm_eps),
            head: place.linear("ff_out"),
        })
    }

    /// Embeddings of ids, int `[tokens]`: `[tokens, hidden]`.
    pub fn embed(&self, ids: &Tensor) -> Tensor {
        let int = |value: u32| ints(&[1], &[value as i32]);
        let [count, more] = [&self.words, &self.more_words].map(|table| table.shape()[0]);
        let known = ids.less(&int(count));
        let words = self.words.forward(&known.select(ids, &int(0)));
        let beyond = ids
            .binary(BinaryOperation::Subtract, &int(count))
            .binary(BinaryOperation::Maximum, &int(0))
            .binary(BinaryOperation::Minimum, &int(more - 1));
        known
            .unsqueeze(-1)
            .select(&words, &self.more_words.forward(&beyond))
    }

    /// Rows of the batch to the logits that the host wants.
    pub fn forward(&self, x: Tensor, batch: &Batch) -> Tensor {
        let positions = batch.positions();
        let x = self
            .layers
            .iter()
            .fold(x, |x, layer| layer.forward(x, batch, &positions));
        self.head.forward(&self.norm.forward(&batch.select_logits(&x)))
    }
}

impl Layer {
    fn load(place: &Weights, config: &TextConfig, number: u32) -> Result<Self> {
        let hidden = config.hidden_size;
        let head_dim = hidden / config.num_attention_heads;
        let attention = place.linear("att_proj");
        let all = attention.shape()[0];
        let keys = all.saturating_sub(hidden) / 2;
        ensure!(
            keys > 0 && keys.is_multiple_of(head_dim) && hidden + 2 * keys == all,
            "`{}` has {all} outputs, which do not fit {} heads of {head_dim}",
            place.name("att_proj"),
            config.num_attention_heads
        );
        Ok(Self {
            norms: ["attn_norm", "ff_norm"].map(|name| Norm::rms(&place.at(name), config.layer_norm_eps)),
            attention,
            out: place.linear("attn_out"),
            inner: place.linear("ff_proj"),
            outer: place.linear("ff_out"),
            kind: CachedAttention::of_heads(head_dim, number),
            angles: RopeConfig::plain(config.rope_theta).angles(head_dim)?,
            sizes: [hidden, keys, keys],
            head_dim,
        })
    }

    fn forward(&self, x: Tensor, batch: &Batch, positions: &Tensor) -> Tensor {
        let parts = self
            .attention
            .forward(&self.norms[0].forward(&x))
            .split(self.sizes, -1);
        let [q, k, v] = parts.map(|part| {
            part.reshape(&[
                part.dimension(0),
                part.dimension(1) / self.head_dim,
                self.head_dim,
            ])
        });
        let (q, k) = (q.rope(positions, &self.angles), k.rope(positions, &self.angles));
        let mixed = batch.attend(&q, &k, Some(&v), self.kind);
        let x = x + self.out.forward(&mixed.flatten(1, 2));
        let both = self.inner.forward(&self.norms[1].forward(&x));
        let half = both.dimension(-1) / 2;
        // The gate is the second half.
        let [up, gate] = both.split([half, half], -1);
        x + self.outer.forward(&(gate.silu() * up))
    }
}
