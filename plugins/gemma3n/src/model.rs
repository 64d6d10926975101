//! The architecture.

use monocle_plugin::prelude::*;

use crate::config::TextConfig;
use crate::decoder::Layer;
use crate::embedder::Embedder;
use crate::tower::MobileNet;
use crate::updates::{join, spread};

/// Vision tower, embedders, decoder.
pub struct Gemma3n {
    vision: MobileNet,
    /// Features along a side of a picture.
    side: u32,
    embedders: Vec<Embedder>,
    config: TextConfig,
    words: Embedding,
    /// Embeddings of each layer, one after another.
    words_of_layers: Embedding,
    layers_projection: Linear,
    layers_norm: Norm,
    spread: Vec<Linear>,
    join: Vec<Linear>,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
}

impl Network for Gemma3n {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let text = TextConfig::read(&config)?;
        // Names of checkpoints, then those of conversions to MLX.
        let tower = ["model.vision_tower.timm_model", "vision_tower.timm_model"];
        let tower = root.find(&tower, "conv_stem.conv.weight")?;
        let place = root.find(&["model.language_model", "language_model.model"], "norm.weight")?;
        let embedder = |name: &str, config: &str, first| {
            let place = root.pick(&[&format!("model.{name}"), name]);
            Embedder::load(&place, &files.config()?.section(config)?, first)
        };
        let linear = |name: &str| {
            let others = 0..text.keys.altup_num_inputs - 1;
            others
                .map(|number| place.at(name).linear(&number.to_string()))
                .collect()
        };
        let layer = |number| Layer::load(&place.at("layers").at(number), &text, number);
        Ok(Self {
            vision: MobileNet::load(&tower)?,
            side: config.get_or("vision_soft_tokens_per_image", 256_u32)?.isqrt(),
            embedders: vec![
                embedder("embed_vision", "vision_config", 262_144)?,
                embedder("embed_audio", "audio_config", 262_272)?,
            ],
            words: place.embedding("embed_tokens"),
            words_of_layers: place.embedding("embed_tokens_per_layer"),
            layers_projection: place.linear("per_layer_model_projection"),
            layers_norm: text.llama.norm(&place.at("per_layer_projection_norm")),
            spread: linear("altup_projections"),
            join: linear("altup_unembed_projections"),
            layers: (0..text.llama.num_hidden_layers)
                .map(layer)
                .collect::<Result<_>>()?,
            norm: text.llama.norm(&place.at("norm")),
            head: place.head(),
            config: text,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.vision.forward(&pixels[0], self.side)?.flatten(0, 2); // [features, channels]
        let scale = (features.dimension(1) as f32).sqrt();
        Ok(vec![self.embedders[0].features(&(features * scale))])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let (ids, positions, llama) = (batch.ids(), batch.positions(), &self.config.llama);
        let x = self.words.forward(&ids) * (llama.hidden_size as f32).sqrt();
        let x = self
            .embedders
            .iter()
            .fold(x, |x, embedder| embedder.embed(&ids, x));
        let x = batch.splice_features(&x, 0); // [tokens, hidden]
        let own = self.own_embeddings(&ids, &x);
        let rows = spread(&x, &self.spread); // [tokens, rows, hidden]
        let channels = self.config.keys.hidden_size_per_layer_input;
        let rows = (0..).zip(&self.layers).fold(rows, |rows, (number, layer)| {
            let own = own
                .narrow(1, number, number + 1)
                .reshape(&[own.dimension(0), channels]);
            layer.forward(&rows, &own, batch, &positions)
        });
        let x = self.norm.forward(&join(&batch.select_logits(&rows), &self.join));
        let logits = self.head.forward(&x);
        Ok(match llama.final_logit_softcapping {
            Some(cap) => logits.softcap(cap),
            None => logits,
        })
    }
}

impl Gemma3n {
    /// The embeddings that layers have of their own, from the tokens' ids and from what goes into the decoder: `[tokens, layers, channels]`.
    fn own_embeddings(&self, ids: &Tensor, x: &Tensor) -> Tensor {
        let keys = &self.config.keys;
        let tokens = x.dimension(0);
        let shape = [
            tokens,
            self.config.llama.num_hidden_layers,
            keys.hidden_size_per_layer_input,
        ];
        let known = ids.less(&ints(&[1], &[keys.vocab_size_per_layer_input as i32]));
        let ids = known.select(ids, &ints(&[1], &[0]));
        let of_ids = self.words_of_layers.forward(&ids) * (keys.hidden_size_per_layer_input as f32).sqrt();
        let of_ids = of_ids.narrow(1, 0, shape[1] * shape[2]).reshape(&shape);
        let scale = 1.0 / (self.config.llama.hidden_size as f32).sqrt();
        let of_rows = (self.layers_projection.forward(x) * scale).reshape(&shape);
        (self.layers_norm.forward(&of_rows) + of_ids) * std::f32::consts::FRAC_1_SQRT_2
    }
}
