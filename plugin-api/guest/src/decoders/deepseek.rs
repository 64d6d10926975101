//! DeepSeek-V2's and V3's decoders (arXiv:2405.04434, arXiv:2412.19437): latent attention, or plain attention in the smallest; the first layers
//! dense, the others of experts.

use super::{Attention, Decoder, Layer, LlamaConfig, Part};
use crate::config::Section;
use crate::nn::{LatentAttention, LatentConfig, Mixture, MixtureConfig, Mlp};
use crate::weights::Weights;
use crate::{Result, ensure};

impl Decoder {
    /// From a text config; a family with other defaults than `LlamaConfig`'s gives them first. Which attention there is, the checkpoint says. No
    /// `n_routed_experts`, no experts.
    pub fn deepseek(place: &Weights, text_config: &Section) -> Result<Self> {
        let config = LlamaConfig::read(text_config)?;
        let latent = place.has("layers.0.self_attn.kv_a_proj_with_mqa.weight");
        let latent = latent.then(|| LatentConfig::read(text_config)).transpose()?;
        let mixture = text_config.get_or("n_routed_experts", 0)? > 0;
        let mixture = mixture.then(|| MixtureConfig::read(text_config)).transpose()?;
        let (dense, every): (u32, u32) = (
            text_config.get_or("first_k_dense_replace", 0)?,
            text_config.get_or("moe_layer_freq", 1)?,
        );
        ensure!(every > 0, "`moe_layer_freq` of the text config must not be 0");
        Self::with_layers(place, &config, |place, number| {
            let (attention, mlp) = (place.at("self_attn"), place.at("mlp"));
            let attention: Box<dyn Part> = match &latent {
                Some(latent) => Box::new(LatentAttention::load(&attention, latent, number)?),
                None => Box::new(Attention::load(&attention, &config, number)?),
            };
            let mlp: Box<dyn Part> = match &mixture {
                Some(mixture) if number >= dense && number.is_multiple_of(every) => {
                    Box::new(Mixture::load(&mlp, config.hidden_act, mixture))
                }
                _ => Box::new(Mlp::load(&mlp, config.hidden_act)),
            };
            Ok(Layer::normed(place, &config, attention, mlp))
        })
    }
}
