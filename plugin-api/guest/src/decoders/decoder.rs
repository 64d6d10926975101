//! A decoder: embeddings, layers, a norm, logits.

use super::{Layer, LlamaConfig, Step};
use crate::nn::Norm;
use crate::weights::{Embedding, Linear, Weights};
use crate::{Batch, Result, Tensor};

/// See the module.
pub struct Decoder {
    embedding: Embedding,
    embedding_scale: Option<f32>,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
    softcap: Option<f32>,
}

impl Decoder {
    /// Llama and its kin: `embed_tokens`, `layers` and `norm` at this place, and the output layer as [`Weights::head`] finds it.
    pub fn load(place: &Weights, config: &LlamaConfig) -> Result<Self> {
        Self::with_layers(place, config, |place, layer| Layer::llama(place, config, layer))
    }

    /// As [`Decoder::load`], with layers of another kind: `layer` gets each layer's place and its number.
    pub fn with_layers(
        place: &Weights,
        config: &LlamaConfig,
        layer: impl Fn(&Weights, u32) -> Result<Layer>,
    ) -> Result<Self> {
        let layers = 0..config.num_hidden_layers;
        let layers = layers.map(|number| layer(&place.at("layers").at(number), number));
        Ok(Self {
            embedding: place.embedding("embed_tokens"),
            embedding_scale: config.embedding_scale,
            layers: layers.collect::<Result<_>>()?,
            norm: config.norm(&place.pick(&["norm", "embedding_norm"])),
            head: place.head(),
            softcap: config.final_logit_softcapping,
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
    pub fn forward(&self, x: Tensor, step: &Step) -> Tensor {
        self.forward_with(x, step, |_, x| x)
    }

    /// As [`Decoder::forward`]; `after` may change what comes out of each layer (DeepStack, arXiv:2406.04334).
    pub fn forward_with(&self, x: Tensor, step: &Step, after: impl Fn(usize, Tensor) -> Tensor) -> Tensor {
        let layers = self.layers.iter().enumerate();
        layers.fold(x, |x, (number, layer)| after(number, layer.forward(x, step)))
    }

    /// Logits of the rows that the host wants: `[tokens, hidden]` to `[wanted, vocabulary]`.
    pub fn logits(&self, x: &Tensor, batch: &Batch) -> Tensor {
        let logits = self.head.forward(&self.norm.forward(&batch.select_logits(x)));
        match self.softcap {
            Some(softcap) => logits.softcap(softcap),
            None => logits,
        }
    }
}
