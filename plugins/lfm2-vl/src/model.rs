//! The architecture.

use monocle_plugin::decoders::{self, Layer, Part, Residual, Step};
use monocle_plugin::nn::Conv1d;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::VisionConfig;

use crate::config::text_config;
use crate::tower::Siglip2;

/// Vision tower, projector, decoder.
pub struct Lfm2Vl {
    vision: Siglip2,
    shuffle: u32,
    norm: Option<Norm>,
    projector: Mlp,
    language: Decoder,
}

impl Network for Lfm2Vl {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let vision = VisionConfig::siglip(config.section("vision_config")?)?;
        // Names of the published checkpoints, those that newer releases of transformers write, those of conversions to MLX.
        let tower = [
            "model.vision_tower.vision_model",
            "model.vision_tower",
            "vision_tower",
        ];
        let tower = root.find(&tower, "embeddings.position_embedding.weight")?;
        let projector = ["model.multi_modal_projector", "multi_modal_projector"];
        let projector = root.find(&projector, "linear_1.weight")?;
        let text = ["model.language_model", "language_model.model"];
        let text = root.find(&text, "embedding_norm.weight")?;
        let language = text_config(&config)?;
        let normed = config.get_or("projector_use_layernorm", true)?;
        let activation = config.get_or("projector_hidden_act", Activation::Gelu)?;
        Ok(Self {
            vision: Siglip2::load(&tower, &vision)?,
            shuffle: config.get_or("downsample_factor", 2)?,
            // PyTorch's default epsilon.
            norm: normed.then(|| projector.norm("layer_norm", 1e-5)),
            projector: Mlp::load(&projector, activation),
            language: Decoder::with_layers(&text, &language, |place, number| {
                layer(place, &language, number)
            })?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let features: Vec<Tensor> = pixels
            .iter()
            .map(|views| self.views(views))
            .collect::<Result<_>>()?;
        let features: Vec<&Tensor> = features.iter().collect();
        Ok(vec![concat(&features, 0)])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}

impl Lfm2Vl {
    /// Pixels `[n, height, width, 3]` to features `[features, hidden]`.
    fn views(&self, pixels: &Tensor) -> Result<Tensor> {
        let packed = nn::pixel_shuffle(&self.vision.forward(pixels)?, self.shuffle)?.flatten(0, 1);
        Ok(self.projector.forward(&match &self.norm {
            Some(norm) => norm.forward(&packed),
            None => packed,
        }))
    }
}

/// One layer of the decoder: a gated short convolution, or attention, and a gated feed-forward block.
fn layer(place: &Weights, config: &LlamaConfig, number: u32) -> Result<Layer> {
    let norm = |name: &str| config.norm(&place.at(name));
    let mixer = match place.has("conv.conv.weight") {
        true => Residual::pre_norm(
            norm("operator_norm"),
            Convolution::load(&place.at("conv"), number),
        ),
        false => {
            let attention = decoders::Attention::load(&place.at("self_attn"), config, number)?;
            Residual::pre_norm(norm("operator_norm"), attention)
        }
    };
    let mlp = Mlp::load(&place.at("feed_forward"), Activation::Silu);
    Ok(Layer::new(vec![mixer, Residual::pre_norm(norm("ffn_norm"), mlp)]))
}

/// `out(c · convolution(b · x))` for `[b, c, x]` of one layer.
struct Convolution {
    input: Linear,
    convolution: Conv1d,
    out: Linear,
    number: u32,
}

impl Convolution {
    fn load(place: &Weights, number: u32) -> Self {
        Self {
            input: place.linear("in_proj"),
            convolution: Conv1d::load(&place.at("conv")),
            out: place.linear("out_proj"),
            number,
        }
    }
}

impl Part for Convolution {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        let size = x.dimension(1);
        let [before, after, x] = self.input.forward(x).split([size; 3], 1);
        let mixed = self.convolution.forward(&(before * x), step.batch, self.number);
        self.out.forward(&(after * mixed))
    }
}
