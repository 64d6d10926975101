//! Llama and its kin (arXiv:2302.13971): pre-norm layers of grouped-query attention and a gated feed-forward block.
//!
//! What differs between families is found in the checkpoint where it can be (biases, head norms, norms around blocks, fused
//! projections, a tied head) and is a field of the config where it cannot.

use serde::Deserialize;

use super::{Attention, Layer, Part, Residual};
use crate::config::Section;
use crate::nn::{Activation, Mlp, Norm};
use crate::rope::RopeConfig;
use crate::weights::Weights;
use crate::{Result, ensure};

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
    /// Rotary positions of prompts beyond the trained context, where they differ: [`super::Step::long`] says which rows are of such.
    #[serde(skip)]
    pub long_rope: Option<RopeConfig>,
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
        }
    }
}

impl LlamaConfig {
    /// From a text config; what it leaves out is as in transformers' `LlamaConfig`. A family with other defaults gives them first
    /// ([`Section::with_defaults`]).
    pub fn read(text_config: &Section) -> Result<Self> {
        let mut config: Self = text_config.read()?;
        ensure!(
            config.num_attention_heads > 0 && config.head_dim() > 0,
            "`num_attention_heads` and `head_dim` of the text config must not be 0"
        );
        config.rope = RopeConfig::read(text_config, false)?;
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

    /// The decoder's norm at this place.
    pub fn norm(&self, place: &Weights) -> Norm {
        Norm::rms(place, self.rms_norm_eps).with_offset(self.norm_offset)
    }

    /// Channels of a head.
    pub fn head_dim(&self) -> u32 {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads)
    }
}

impl Layer {
    /// Attention and a gated feed-forward block at this place, as layer number `layer`.
    pub fn llama(place: &Weights, config: &LlamaConfig, layer: u32) -> Result<Self> {
        let attention = Attention::load(&place.at("self_attn"), config, layer)?;
        let mlp = Mlp::load(&place.at("mlp"), config.hidden_act);
        Ok(Self::normed(place, config, attention, mlp))
    }

    /// These two parts with the norms at this place: one before each, and where the checkpoint has them, one after each (Gemma 2 and 3, GLM-4).
    pub fn normed(
        place: &Weights,
        config: &LlamaConfig,
        attention: impl Part + 'static,
        mlp: impl Part + 'static,
    ) -> Self {
        let norm = |name: &str| config.norm(&place.at(name));
        let has = |name: &str| place.has(&format!("{name}.weight"));
        let after = "post_attention_layernorm";
        let [before_mlp, after_attention, after_mlp] = if has("pre_feedforward_layernorm") {
            ["pre_feedforward_layernorm", after, "post_feedforward_layernorm"]
        } else {
            [after, "post_self_attn_layernorm", "post_mlp_layernorm"]
        };
        let optional = |name: &str| has(name).then(|| norm(name));
        Self::new(vec![
            Residual::pre_norm(norm("input_layernorm"), attention).normed(optional(after_attention)),
            Residual::pre_norm(norm(before_mlp), mlp).normed(optional(after_mlp)),
        ])
    }
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
