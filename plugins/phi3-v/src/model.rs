//! The architecture.

use monocle_plugin::decoders::Step;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Clip, layers_before};

use crate::config::{text_config, vision_config};
use crate::long_context;
use crate::tiling::SIDE;

/// Vision tower, separators, projector, decoder.
pub struct Phi3V {
    vision: Clip,
    /// Follows each row of features.
    row_end: Parameter,
    /// Stands before the overview.
    overview: Parameter,
    projector: Mlp,
    language: Decoder,
}

impl Network for Phi3V {
    fn load(files: &ModelFiles) -> Result<Self> {
        let config = files.config()?;
        let vision = vision_config(&config)?;
        // Inside transformers' modules, and in conversions to MLX, all parts have the same names.
        let (model, pictures) = (
            Weights::root().at("model"),
            Weights::root().at("model.vision_embed_tokens"),
        );
        let layers = layers_before(-2, vision.num_hidden_layers)?;
        Ok(Self {
            vision: Clip::load(&pictures.at("img_processor.vision_model"), &vision, layers)?,
            row_end: pictures.parameter("sub_GN"),
            overview: pictures.parameter("glb_GN"),
            projector: Mlp::load(&pictures.at("img_projection"), Activation::Gelu),
            language: Decoder::load(&model, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let &[rows, columns] = layout else {
            return Err(Error::new("the layout must be rows and columns of tiles"));
        };
        let hidden = self.vision.forward(&pixels[0])?; // [1 + tiles, 1 + patches, hidden]
        let [pictures, tokens, _] = hidden.dimensions("the hidden states of the tower")?;
        let squares = nn::pixel_shuffle(&hidden.narrow(1, 1, tokens), 2)?; // [1 + tiles, SIDE², 4 · hidden]
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

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }

    fn step<'a>(&self, batch: &'a Batch) -> Step<'a> {
        let mut step = Step::new(batch);
        step.long = Some(long_context::rows(batch));
        step
    }
}

impl Phi3V {
    /// `[rows, columns, channels]` to `[rows · (columns + 1), channels]`.
    fn with_row_ends(&self, features: &Tensor) -> Tensor {
        let (rows, channels) = (features.dimension(0), features.dimension(2));
        let ends = self.row_end.value().reshape(&[1, 1, channels]);
        concat(&[features, &ends.broadcast(&[rows, 1, channels])], 1).flatten(0, 1)
    }
}
