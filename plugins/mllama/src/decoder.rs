//! A Llama decoder, some of whose layers read pictures.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Layer, LlamaConfig, Positions};
use monocle_plugin::nn::{GatedMlp, RmsNorm};
use monocle_plugin::prelude::*;
use monocle_plugin::weights::{Embedding, Linear, Parameter};
use monocle_plugin::{CachedAttention, Kind, concat};

use crate::tower::gate;

/// The mark that is 1 at tokens that see a picture.
pub const SEES_PICTURE: &str = "sees-picture";

/// Embedding, layers, head.
pub struct Decoder {
    embedding: Embedding,
    layers: Vec<AnyLayer>,
    norm: RmsNorm,
    head: Linear,
}

enum AnyLayer {
    Text(Box<Layer>),
    Picture(Box<PictureLayer>),
}

/// Cross attention to pictures and a feed-forward block, each behind a gate.
struct PictureLayer {
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    attention_gate: Parameter,
    mlp_norm: RmsNorm,
    mlp: GatedMlp,
    mlp_gate: Parameter,
    heads: u32,
    head_dim: u32,
    kind: CachedAttention,
}

impl Decoder {
    /// `NAME.embed_tokens`, `NAME.layers`, `NAME.norm`, and the output layer `head`.
    pub fn load(name: &str, head: &str, config: &Section) -> Result<Self> {
        let (config, picture_layers) = text_config(config)?;
        let layers = (0..config.num_hidden_layers).map(|number| {
            let name = format!("{name}.layers.{number}");
            Ok(match picture_layers.contains(&number) {
                true => AnyLayer::Picture(Box::new(PictureLayer::load(&name, &config, number))),
                false => AnyLayer::Text(Box::new(Layer::load(&name, &config, number)?)),
            })
        });
        Ok(Self {
            // More rows than the head: the image token is read and never written.
            embedding: weights::embedding(&format!("{name}.embed_tokens")),
            layers: layers.collect::<Result<_>>()?,
            norm: RmsNorm::load(&format!("{name}.norm"), config.rms_norm_eps),
            head: weights::linear(head),
        })
    }

    /// Logits of the rows that the host wants.
    pub fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let positions = Positions {
            axes: batch.positions(),
            long: None,
            scales: None,
        };
        let tokens = batch.tokens();
        let sees = batch.mark(SEES_PICTURE).cast(Kind::Float).reshape(&[tokens, 1]);
        let x = self.embedding.forward(&batch.ids());
        let x = self.layers.iter().fold(x, |x, layer| match layer {
            AnyLayer::Text(layer) => layer.forward(x, batch, &positions),
            AnyLayer::Picture(layer) if batch.has_context() => layer.forward(x, batch, &sees),
            AnyLayer::Picture(_) => x,
        });
        Ok(self.head.forward(&self.norm.forward(&batch.select_logits(&x))))
    }
}

impl PictureLayer {
    fn load(name: &str, config: &LlamaConfig, layer: u32) -> Self {
        let norm = |part: &str| RmsNorm::load(&format!("{name}.{part}"), config.rms_norm_eps);
        let linear = |part: &str| weights::linear(&format!("{name}.cross_attn.{part}"));
        let gate = |part: &str| weights::parameter(&format!("{name}.{part}"));
        let head_dim = config.head_dim();
        Self {
            attention_norm: norm("input_layernorm"),
            q: linear("q_proj"),
            k: linear("k_proj"),
            v: linear("v_proj"),
            out: linear("o_proj"),
            q_norm: norm("cross_attn.q_norm"),
            k_norm: norm("cross_attn.k_norm"),
            attention_gate: gate("cross_attn_attn_gate"),
            mlp_norm: norm("post_attention_layernorm"),
            mlp: GatedMlp::load(&format!("{name}.mlp"), config.hidden_act),
            mlp_gate: gate("cross_attn_mlp_gate"),
            heads: config.num_attention_heads,
            head_dim,
            kind: CachedAttention {
                layer,
                scale: 1.0 / (head_dim as f32).sqrt(),
                softcap: None,
                window: None,
                value_dim: None,
            },
        }
    }

    /// `sees` is 1 at rows that see a picture, `[tokens, 1]`. The reference lets the others attend to everything, and keeps only the
    /// feed-forward block from them.
    fn forward(&self, x: Tensor, batch: &Batch, sees: &Tensor) -> Tensor {
        let mixed = self.attend(&self.attention_norm.forward(&x), batch, sees);
        let x = x + mixed * gate(&self.attention_gate);
        let fed = self.mlp.forward(&self.mlp_norm.forward(&x)) * sees;
        x + fed * gate(&self.mlp_gate)
    }

    /// Heads have one more channel than the weights say: a query's is 1 if its row sees a picture, a key's is what empty tiles add
    /// to the score.
    fn attend(&self, x: &Tensor, batch: &Batch, sees: &Tensor) -> Tensor {
        let tokens = x.dimension(0);
        let split = |x: Tensor| {
            let (rows, heads) = (x.dimension(0), x.dimension(1) / self.head_dim);
            x.reshape(&[rows, heads, self.head_dim])
        };
        let with = |x: &Tensor, channel: &Tensor| {
            let (rows, heads) = (x.dimension(0), x.dimension(1));
            concat(
                &[x, &channel.reshape(&[rows, 1, 1]).broadcast(&[rows, heads, 1])],
                2,
            )
        };
        let q = with(&self.q_norm.forward(&split(self.q.forward(x))), sees);
        let new = batch.new_context().map(|context| {
            let hidden = context.dimension(1) - 1;
            let (features, channel) = (
                context.narrow(1, 0, hidden),
                context.narrow(1, hidden, hidden + 1),
            );
            let k = with(&self.k_norm.forward(&split(self.k.forward(&features))), &channel);
            let v = split(self.v.forward(&features)).pad(2, 0, 1, 0.0);
            (k, v)
        });
        let (k, v) = (new.as_ref().map(|(k, _)| k), new.as_ref().map(|(_, v)| v));
        let mixed = batch
            .cross_attend(&q, k, v, self.kind)
            .narrow(2, 0, self.head_dim);
        self.out
            .forward(&mixed.reshape(&[tokens, self.heads * self.head_dim]))
    }
}

/// The decoder and its layers that read pictures; what `text_config` leaves out is as in transformers' `MllamaTextConfig`.
fn text_config(config: &Section) -> Result<(LlamaConfig, Vec<u32>)> {
    let text = config.section("text_config")?.with_defaults([
        ("num_hidden_layers", 40.into()),
        ("num_key_value_heads", 8.into()),
        ("rms_norm_eps", 1e-5.into()),
        ("rope_theta", 500_000.into()),
        ("max_position_embeddings", 131_072.into()),
        (
            "cross_attention_layers",
            vec![3, 8, 13, 18, 23, 28, 33, 38].into(),
        ),
    ]);
    Ok((LlamaConfig::read(&text)?, text.get("cross_attention_layers")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: MllamaTextConfig()
        let (config, layers) = text_config(&Section::parse("config.json", "{}").unwrap()).unwrap();
        assert_eq!((config.hidden_size, config.num_hidden_layers), (4096, 40));
        assert_eq!(
            (config.num_attention_heads, config.num_key_value_heads),
            (32, Some(8))
        );
        assert_eq!((config.rms_norm_eps, config.rope.theta), (1e-5, 500_000.0));
        assert_eq!(layers, [3, 8, 13, 18, 23, 28, 33, 38]);
    }
}
