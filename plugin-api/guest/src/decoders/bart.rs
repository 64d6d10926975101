//! BART (arXiv:1910.13461; transformers' `modeling_bart.py`): an encoder and a decoder with learned positions, norms after each part, and one table of
//! words for both and for the logits.

use serde::Deserialize;

use super::{Attention, CrossAttention, Layer, Residual, Step};
use crate::config::Section;
use crate::nn::{self, Activation, Mlp, Norm};
use crate::weights::{Embedding, Linear, Parameter, Weights};
use crate::{Batch, Result, Tensor, ints};

/// The first position's row in tables of positions: those before stood for padding once.
const FIRST_POSITION: i32 = 2;
/// PyTorch's default, which the reference does not change.
const EPSILON: f32 = 1e-5;

/// Sizes; what a config leaves out is as in transformers' `BartConfig`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct BartConfig {
    /// Channels of a row.
    pub d_model: u32,
    /// Layers of the encoder.
    pub encoder_layers: u32,
    /// Layers of the decoder.
    pub decoder_layers: u32,
    /// Heads in the encoder.
    pub encoder_attention_heads: u32,
    /// Heads in the decoder.
    pub decoder_attention_heads: u32,
    /// In the feed-forward blocks.
    pub activation_function: Activation,
    /// Embeddings are multiplied by √`d_model`.
    pub scale_embedding: bool,
    /// The longest prompt of the encoder, and the longest answer.
    pub max_position_embeddings: u32,
    /// What the decoder begins with.
    pub decoder_start_token_id: u32,
}

impl Default for BartConfig {
    fn default() -> Self {
        Self {
            d_model: 1024,
            encoder_layers: 12,
            decoder_layers: 12,
            encoder_attention_heads: 16,
            decoder_attention_heads: 16,
            activation_function: Activation::Gelu,
            scale_embedding: false,
            max_position_embeddings: 1024,
            decoder_start_token_id: 2,
        }
    }
}

impl BartConfig {
    /// From a text config.
    pub fn read(text_config: &Section) -> Result<Self> {
        text_config.read()
    }
}

/// See the module.
pub struct Bart {
    words: Embedding,
    scale: f32,
    encoder: Side,
    decoder: Side,
    head: Linear,
    /// Added to logits.
    bias: Option<Parameter>,
}

/// The encoder, or the decoder.
struct Side {
    positions: Embedding,
    norm: Norm,
    layers: Vec<Layer>,
}

impl Bart {
    /// `shared`, `encoder` and `decoder` at this place, and the output layer as [`Weights::head`] finds it (else `shared`).
    pub fn load(place: &Weights, config: &BartConfig) -> Result<Self> {
        let side = |name: &str, layers, heads| {
            Side::load(&place.at(name), layers, heads, config.activation_function)
        };
        let bias = place.parent().name("final_logits_bias");
        Ok(Self {
            words: place.embedding("shared"),
            scale: if config.scale_embedding {
                (config.d_model as f32).sqrt()
            } else {
                1.0
            },
            encoder: side("encoder", config.encoder_layers, config.encoder_attention_heads)?,
            decoder: side("decoder", config.decoder_layers, config.decoder_attention_heads)?,
            head: place.head_or("shared"),
            bias: Weights::root()
                .has(&bias)
                .then(|| Weights::root().parameter(&bias)),
        })
    }

    /// Embeddings of the batch's token ids, of either side: `[tokens, hidden]`.
    pub fn embed(&self, batch: &Batch) -> Tensor {
        self.words.forward(&batch.ids()) * self.scale
    }

    /// The encoder, for [`crate::Network::encode_prompt`]: embeddings `[tokens, hidden]` to rows of context.
    pub fn encode(&self, x: Tensor, batch: &Batch) -> Tensor {
        self.encoder.forward(x, batch)
    }

    /// The decoder, for [`crate::Network::forward`]: logits of the rows that the host wants.
    pub fn forward(&self, batch: &Batch) -> Tensor {
        let x = self.decoder.forward(self.embed(batch), batch);
        let logits = self.head.forward(&batch.select_logits(&x));
        match &self.bias {
            Some(bias) => logits + bias.value(),
            None => logits,
        }
    }
}

impl Side {
    fn load(place: &Weights, layers: u32, heads: u32, activation: Activation) -> Result<Self> {
        let layer = |number| layer(&place.at("layers").at(number), number, heads, activation);
        Ok(Self {
            positions: place.embedding("embed_positions"),
            norm: place.norm("layernorm_embedding", EPSILON),
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
        })
    }

    fn forward(&self, x: Tensor, batch: &Batch) -> Tensor {
        let step = Step::new(batch);
        let rows = step.positions.narrow(0, 0, 1).flatten(0, 1) + ints(&[1], &[FIRST_POSITION]);
        let x = self.norm.forward(&(x + self.positions.forward(&rows)));
        self.layers.iter().fold(x, |x, layer| layer.forward(x, &step))
    }
}

/// A layer of the decoder where it has attention to the encoder, else one of the encoder.
fn layer(place: &Weights, number: u32, heads: u32, activation: Activation) -> Result<Layer> {
    let norm = |name: &str| place.norm(name, EPSILON);
    let attention = |name: &str| nn::Attention::load(&place.at(name), heads, EPSILON);
    let (own, own_norm) = (attention("self_attn")?, norm("self_attn_layer_norm"));
    let mlp = Residual::post_norm(Mlp::load(place, activation), norm("final_layer_norm"));
    if !place.has("encoder_attn.q_proj.weight") {
        return Ok(Layer::new(vec![Residual::post_norm(own, own_norm), mlp]));
    }
    let other = CrossAttention::new(attention("encoder_attn")?, number);
    Ok(Layer::new(vec![
        Residual::post_norm(Attention::plain(own, number), own_norm),
        Residual::post_norm(other, norm("encoder_attn_layer_norm")),
        mlp,
    ]))
}
