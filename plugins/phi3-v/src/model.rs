//! The architecture.

use monocle_plugin::config::Section;
use monocle_plugin::decoders::{Llama, LlamaConfig};
use monocle_plugin::nn::{Activation, Mlp, Parameter, pixel_shuffle};
use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;
use monocle_plugin::towers::{Clip, VisionConfig, layers_before};
use monocle_plugin::{Error, concat};

use crate::tiling::SIDE;

/// Vision tower, separators, projector, decoder.
pub struct Phi3V {
    vision: Clip,
    /// Follows each row of features.
    row_end: Parameter,
    /// Stands before the overview.
    overview: Parameter,
    projector: Mlp,
    language: Llama,
}

impl Network for Phi3V {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let vision = vision_config(&config)?;
        let name = "model.vision_embed_tokens";
        // Inside transformers' modules, and in conversions to MLX, the layers of the projector have the same names.
        let linear = |number| format!("{name}.img_projection.{number}");
        let tower = format!("{name}.img_processor.vision_model");
        Ok(Self {
            vision: Clip::load(&tower, &vision, layers_before(-2, vision.num_hidden_layers)?)?,
            row_end: nn::parameter(&format!("{name}.sub_GN")),
            overview: nn::parameter(&format!("{name}.glb_GN")),
            projector: Mlp::load(&linear(0), Activation::Gelu, &linear(2)),
            language: Llama::load("model", "lm_head", &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let pixels = pixels.first().context("no pixels to encode")?;
        let &[rows, columns] = layout else {
            return Err(Error::new("the layout must be rows and columns of tiles"));
        };
        let hidden = self.vision.forward(pixels)?; // [1 + tiles, 1 + patches, hidden]
        let [pictures, tokens, _] = hidden.dimensions("the hidden states of the tower")?;
        let squares = pixel_shuffle(&hidden.narrow(1, 1, tokens), 2)?; // [1 + tiles, SIDE², 4 · hidden]
        let channels = squares.dimension(2);
        // Features lie as mlx-vlm lays them: tile after tile, cut into rows of the whole picture's width.
        let tiles = squares.narrow(0, 1, pictures);
        let tiles = self.with_row_ends(&tiles.reshape(&[rows * SIDE, columns * SIDE, channels]));
        let overview = squares.narrow(0, 0, 1).reshape(&[SIDE, SIDE, channels]);
        let overview = self.with_row_ends(&overview);
        let between = self.overview.value().reshape(&[1, channels]);
        let features = concat(&[&tiles, &between, &overview], 0);
        Ok(vec![self.projector.forward(&features)])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.logits(&self.language.forward(x, batch), batch))
    }
}

impl Phi3V {
    /// `[rows, columns, channels]` to `[rows · (columns + 1), channels]`.
    fn with_row_ends(&self, features: &Tensor) -> Tensor {
        let (rows, columns, channels) = (
            features.dimension(0),
            features.dimension(1),
            features.dimension(2),
        );
        let ends = self.row_end.value().reshape(&[1, 1, channels]);
        let ends = ends.broadcast(&[rows, 1, channels]);
        concat(&[features, &ends], 1).reshape(&[rows * (columns + 1), channels])
    }
}

/// All published models have CLIP-L for pictures of 336 pixels, and their configs name it instead of giving its sizes;
/// `tiny_clip` gives those of small models for tests.
fn vision_config(config: &Section) -> Result<VisionConfig> {
    let sizes = config.section("img_processor")?.section("tiny_clip")?;
    VisionConfig::clip(sizes.with_defaults([
        ("hidden_size", 1024.into()),
        ("num_hidden_layers", 24.into()),
        ("num_attention_heads", 16.into()),
        ("image_size", 336.into()),
        ("patch_size", 14.into()),
    ]))
}

/// The decoder; what `config.json` leaves out is as in the model's own config class.
fn text_config(config: &Section) -> Result<LlamaConfig> {
    let text = config.clone().with_defaults([
        ("hidden_size", 3072.into()),
        ("num_hidden_layers", 32.into()),
        ("num_attention_heads", 32.into()),
        ("rms_norm_eps", 1e-5.into()),
        ("max_position_embeddings", 131_072.into()),
        ("original_max_position_embeddings", 4096.into()),
    ]);
    let mut llama = LlamaConfig::read(&text)?;
    if text.section("rope_scaling")?.has("long_factor") {
        llama.long_rope = Some(RopeConfig::read(&text, true)?);
    }
    Ok(llama)
}
