//! A Llama decoder, some of whose layers read pictures.

use monocle_plugin::decoders::{Layer, Part, Residual, Step};
use monocle_plugin::prelude::*;

use crate::config::text_config;
use crate::tower::gate;

/// The mark that is 1 at tokens that see a picture.
pub const SEES_PICTURE: &str = "sees-picture";

/// The decoder at this place. Its embedding has more rows than its head: the image token is read and never written.
pub fn load(place: &Weights, config: &Section) -> Result<Decoder> {
    let (config, picture_layers) = text_config(config)?;
    Decoder::with_layers(place, &config, |place, number| {
        match picture_layers.contains(&number) {
            true => picture_layer(place, &config, number),
            false => Layer::llama(place, &config, number),
        }
    })
}

/// Cross attention to pictures and a feed-forward block, each behind a gate.
fn picture_layer(place: &Weights, config: &LlamaConfig, number: u32) -> Result<Layer> {
    let norm = |name: &str| config.norm(&place.at(name));
    let (heads, head_dim) = (config.num_attention_heads, config.head_dim());
    let attention = PictureAttention {
        heads: Attention::grouped(&place.at("cross_attn"), heads, head_dim, config.rms_norm_eps)?,
        gate: place.parameter("cross_attn_attn_gate"),
        kind: CachedAttention::of_heads(head_dim, number),
    };
    let mlp = PictureMlp {
        mlp: Mlp::load(&place.at("mlp"), config.hidden_act),
        gate: place.parameter("cross_attn_mlp_gate"),
    };
    let attention = Residual::pre_norm(norm("input_layernorm"), attention);
    let mlp = Residual::pre_norm(norm("post_attention_layernorm"), mlp);
    Ok(Layer::new(vec![attention, mlp]).with_context_only())
}

/// Heads have one more channel than the weights say: a query's is 1 if its row sees a picture, a key's is what empty tiles add
/// to the score.
struct PictureAttention {
    heads: Attention,
    gate: Parameter,
    kind: CachedAttention,
}

/// The reference lets rows that see no picture attend to everything, and keeps only this block from them.
struct PictureMlp {
    mlp: Mlp,
    gate: Parameter,
}

impl Part for PictureAttention {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        let q = with_channel(&self.heads.query(x), &sees(step));
        let new = step.new_context().map(|context| {
            let [features, channel] = context.split([context.dimension(1) - 1, 1], 1);
            let [k, v] = self.heads.keys_values(&features);
            [with_channel(&k, &channel), v.pad(2, 0, 1, 0.0)]
        });
        let [k, v] = [0, 1].map(|part| new.as_ref().map(|new| &new[part]));
        let mixed = step.batch.cross_attend(&q, k, v, self.kind);
        self.heads.merge(&mixed.narrow(2, 0, self.heads.head_dim)) * gate(&self.gate)
    }
}

impl Part for PictureMlp {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        self.mlp.forward(x) * sees(step) * gate(&self.gate)
    }
}

/// 1 at rows that see a picture: `[tokens, 1]`.
fn sees(step: &Step) -> Tensor {
    step.batch.mark(SEES_PICTURE).to_float().unsqueeze(-1)
}

/// `[rows, heads, dim]` with one more channel of `[rows, 1]`, the same for all heads.
fn with_channel(x: &Tensor, channel: &Tensor) -> Tensor {
    let (rows, heads) = (x.dimension(0), x.dimension(1));
    let channel = channel.unsqueeze(-1).broadcast(&[rows, heads, 1]);
    concat(&[x, &channel], 2)
}
