//! Llama and its kin (arXiv:2302.13971): pre-norm layers of grouped-query attention and a gated feed-forward block.
//!
//! What differs between families is found in the checkpoint where it can be (biases, head norms, norms around blocks, fused
//! projections, a tied head) and is a field of the config where it cannot.

use serde::Deserialize;

use super::attention::{Attention, Positions};
use super::{Temperature, long_context};
use crate::config::Section;
use crate::nn::{Activation, GatedMlp, RmsNorm};
use crate::rope::RopeConfig;
use crate::weights::{self, Embedding, Linear};
use crate::{Batch, Context, Result, Tensor};

/// Sizes and variations. [`LlamaConfig::read`] fills it from a text config; a family then changes what differs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct LlamaConfig {
    /// Channels of a row.
    pub hidden_size: u32,
    /// How many layers.
    pub num_hidden_layers: u32,
    /// Query heads.
    pub num_attention_heads: u32,
    /// Key-value heads; when absent, as many as the weights have.
    pub num_key_value_heads: Option<u32>,
    /// Channels of a head; when absent, `hidden_size / num_attention_heads`.
    pub head_dim: Option<u32>,
    /// Added to the mean of squares in norms.
    pub rms_norm_eps: f32,
    /// In the feed-forward blocks.
    pub hidden_act: Activation,
    /// Scores are multiplied by `1 / √` of this instead of the head's size (Gemma).
    pub query_pre_attn_scalar: Option<f32>,
    /// Soft cap of scores (arXiv:2408.00118).
    pub attn_logit_softcapping: Option<f32>,
    /// Soft cap of logits.
    pub final_logit_softcapping: Option<f32>,
    /// Added to the weights of norms: 1 for Gemma.
    #[serde(skip)]
    pub norm_offset: f32,
    /// Multiplies token embeddings (√hidden for Gemma).
    #[serde(skip)]
    pub embedding_scale: Option<f32>,
    /// Sliding windows, one entry a layer; empty when no layer has one.
    #[serde(skip)]
    pub windows: Vec<Option<u32>>,
    /// Rotary positions.
    #[serde(skip)]
    pub rope: RopeConfig,
    /// Rotary positions of layers with a window, where they differ (Gemma 3).
    #[serde(skip)]
    pub window_rope: Option<RopeConfig>,
    /// Rotary positions of prompts beyond the trained context, where they differ: the plan must have the mark
    /// [`super::long_context::mark`].
    #[serde(skip)]
    pub long_rope: Option<RopeConfig>,
    /// Queries grow with their position (Ministral 3).
    #[serde(skip)]
    pub temperature: Option<Temperature>,
}

/// As transformers' `LlamaConfig` has them.
impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            hidden_size: 4096,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            rms_norm_eps: 1e-6,
            hidden_act: Activation::Silu,
            query_pre_attn_scalar: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            norm_offset: 0.0,
            embedding_scale: None,
            windows: vec![],
            rope: RopeConfig::plain(10_000.0),
            window_rope: None,
            long_rope: None,
            temperature: None,
        }
    }
}

impl LlamaConfig {
    /// From a text config; what it leaves out is as in transformers' `LlamaConfig`. A family with other defaults gives them first
    /// ([`Section::with_defaults`]).
    pub fn read(text_config: &Section) -> Result<Self> {
        let mut config: Self = text_config.read()?;
        let valid = config.num_attention_heads > 0 && config.head_dim() > 0;
        valid
            .then_some(())
            .context("`num_attention_heads` and `head_dim` of the text config must not be 0")?;
        config.rope = RopeConfig::read(text_config, false)?;
        config.temperature = Temperature::read(text_config)?;
        Ok(config)
    }

    /// Sliding windows of the layers: those that `layer_types` names have the window `sliding_window`; without it, all but the
    /// last of every `sliding_window_pattern` (else `pattern`) layers. No `sliding_window`, no windows.
    pub fn read_windows(&self, text_config: &Section, pattern: u32) -> Result<Vec<Option<u32>>> {
        let window: Option<u32> = text_config.find("sliding_window")?;
        let pattern = text_config.get_or("sliding_window_pattern", pattern)?;
        let types: Option<Vec<String>> = text_config.find("layer_types")?;
        let slides = |layer: u32| match &types {
            Some(types) => types
                .get(layer as usize)
                .is_some_and(|name| name == "sliding_attention"),
            None => !(layer + 1).is_multiple_of(pattern),
        };
        let windows = (0..self.num_hidden_layers).map(|layer| window.filter(|_| slides(layer)));
        Ok(windows.collect())
    }

    /// Channels of a head.
    pub fn head_dim(&self) -> u32 {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads)
    }
}

/// The decoder.
pub struct Llama {
    embedding: Embedding,
    embedding_scale: Option<f32>,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    softcap: Option<f32>,
    temperature: Option<Temperature>,
    long_context: bool,
}

/// One layer, for decoders that mix it with layers of another kind.
pub struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    mlp: GatedMlp,
    /// Norms of what the two blocks add (Gemma 2 and 3, GLM-4).
    after: Option<(RmsNorm, RmsNorm)>,
}

impl Llama {
    /// `NAME.embed_tokens`, `NAME.layers`, `NAME.norm`, and the output layer `head`; where the checkpoint has no such layer, the
    /// embedding serves (tied weights, which checkpoints do not store twice).
    pub fn load(name: &str, head: &str, config: &LlamaConfig) -> Result<Self> {
        let embedding = format!("{name}.embed_tokens");
        let tied = !weights::has(&format!("{head}.weight"));
        let layers = 0..config.num_hidden_layers;
        let layers = layers.map(|layer| Layer::load(&format!("{name}.layers.{layer}"), config, layer));
        Ok(Self {
            embedding: weights::embedding(&embedding),
            embedding_scale: config.embedding_scale,
            layers: layers.collect::<Result<_>>()?,
            norm: norm(&format!("{name}.norm"), config),
            head: weights::linear(if tied { &embedding } else { head }),
            softcap: config.final_logit_softcapping,
            temperature: config.temperature,
            long_context: config.long_rope.is_some(),
        })
    }

    /// Embeddings of the batch's token ids: `[tokens, hidden]`.
    pub fn embed(&self, batch: &Batch) -> Tensor {
        let x = self.embedding.forward(&batch.ids());
        match self.embedding_scale {
            Some(scale) => x * scale,
            None => x,
        }
    }

    /// All layers: `[tokens, hidden]` to the same.
    pub fn forward(&self, x: Tensor, batch: &Batch) -> Tensor {
        self.forward_with(x, batch, |_, x| x)
    }

    /// As [`Llama::forward`]; `after` may change what comes out of each layer (DeepStack, arXiv:2406.04334).
    pub fn forward_with(&self, x: Tensor, batch: &Batch, after: impl Fn(usize, Tensor) -> Tensor) -> Tensor {
        let axes = batch.positions();
        let long = self.long_context.then(|| long_context::rows(batch));
        let positions = Positions {
            scales: self.temperature.map(|temperature| temperature.scales(&axes)),
            axes,
            long,
        };
        let step = |x, (number, layer): (usize, &Layer)| after(number, layer.forward(x, batch, &positions));
        self.layers.iter().enumerate().fold(x, step)
    }

    /// Logits of the rows that the host wants: `[tokens, hidden]` to `[wanted, vocabulary]`.
    pub fn logits(&self, x: &Tensor, batch: &Batch) -> Tensor {
        let x = self.norm.forward(&batch.select_logits(x));
        let logits = self.head.forward(&x);
        match self.softcap {
            Some(softcap) => logits.softcap(softcap),
            None => logits,
        }
    }
}

impl Layer {
    /// Everything under `NAME.`, as layer number `layer`.
    pub fn load(name: &str, config: &LlamaConfig, layer: u32) -> Result<Self> {
        let norm = |part: &str| norm(&format!("{name}.{part}"), config);
        let has = |part: &str| weights::has(&format!("{name}.{part}.weight"));
        let (mlp_norm, after) = if has("pre_feedforward_layernorm") {
            let after = ("post_attention_layernorm", "post_feedforward_layernorm");
            ("pre_feedforward_layernorm", Some(after))
        } else if has("post_self_attn_layernorm") {
            let after = ("post_self_attn_layernorm", "post_mlp_layernorm");
            ("post_attention_layernorm", Some(after))
        } else {
            ("post_attention_layernorm", None)
        };
        Ok(Self {
            attention_norm: norm("input_layernorm"),
            attention: Attention::load(&format!("{name}.self_attn"), config, layer)?,
            mlp_norm: norm(mlp_norm),
            mlp: GatedMlp::load(&format!("{name}.mlp"), config.hidden_act),
            after: after.map(|(attention, mlp)| (norm(attention), norm(mlp))),
        })
    }

    /// `[tokens, hidden]` to the same.
    pub fn forward(&self, x: Tensor, batch: &Batch, positions: &Positions) -> Tensor {
        let mut mixed = self
            .attention
            .forward(&self.attention_norm.forward(&x), batch, positions);
        if let Some((after_attention, _)) = &self.after {
            mixed = after_attention.forward(&mixed);
        }
        let x = x + mixed;
        let mut fed = self.mlp.forward(&self.mlp_norm.forward(&x));
        if let Some((_, after_mlp)) = &self.after {
            fed = after_mlp.forward(&fed);
        }
        x + fed
    }
}

fn norm(name: &str, config: &LlamaConfig) -> RmsNorm {
    RmsNorm::load_with_offset(name, config.rms_norm_eps, config.norm_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: LlamaConfig()
        let config = LlamaConfig::read(&Section::parse("config.json", "{}").unwrap()).unwrap();
        assert_eq!(
            (
                config.hidden_size,
                config.num_hidden_layers,
                config.num_attention_heads
            ),
            (4096, 32, 32)
        );
        assert_eq!((config.num_key_value_heads, config.head_dim()), (None, 128));
        assert_eq!((config.rms_norm_eps, config.hidden_act), (1e-6, Activation::Silu));
        assert_eq!(config.rope, RopeConfig::plain(10_000.0));
    }

    #[test]
    fn what_is_given_is_taken() {
        let text = r#"{"hidden_size": 960, "num_attention_heads": 15, "head_dim": null, "rms_norm_eps": 1e-5,
                       "rope_theta": 100000, "num_key_value_heads": 5, "vocab_size": 7, "unknown": {}}"#;
        let config = LlamaConfig::read(&Section::parse("config.json", text).unwrap()).unwrap();
        assert_eq!((config.head_dim(), config.num_key_value_heads), (64, Some(5)));
        assert_eq!((config.rms_norm_eps, config.rope.theta), (1e-5, 100_000.0));
        let error =
            LlamaConfig::read(&Section::parse("config.json", r#"{"num_attention_heads": 0}"#).unwrap());
        assert!(error.unwrap_err().to_string().contains("`num_attention_heads`"));
    }
}
