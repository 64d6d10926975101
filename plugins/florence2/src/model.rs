//! The architecture.

use monocle_plugin::decoders::{Bart, BartConfig};
use monocle_plugin::prelude::*;

use crate::config::VisionConfig;
use crate::tower::DaVit;

/// Vision tower, projector, BART.
pub struct Florence2 {
    vision: DaVit,
    rows: Embedding,
    columns: Embedding,
    projection: Projection,
    norm: Norm,
    language: Bart,
}

enum Projection {
    Layer(Linear),
    /// A bare matrix `[in, out]`, as the first repositories have it.
    Matrix(Parameter),
}

impl Network for Florence2 {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let tower = root.find(&["model.vision_tower", "vision_tower"], "convs.0.norm.weight")?;
        let projector = root.find(
            &["model.multi_modal_projector", "multi_modal_projector", ""],
            "image_proj_norm.weight",
        )?;
        let positions = projector.pick(&["image_position_embed", "image_pos_embed"]);
        let language = root.find(&["model.language_model", "language_model.model"], "shared.weight")?;
        Ok(Self {
            vision: DaVit::load(&tower, &VisionConfig::read(&config)?)?,
            rows: positions.embedding("row_embeddings"),
            columns: positions.embedding("column_embeddings"),
            projection: match projector.has("image_projection.weight") {
                true => Projection::Layer(projector.linear("image_projection")),
                false => Projection::Matrix(projector.parameter("image_projection")),
            },
            norm: projector.norm("image_proj_norm", 1e-5),
            language: Bart::load(&language, &BartConfig::read(&config.section("text_config")?)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let patches = self.vision.forward(pixels[0].clone())?;
        let [_, rows, columns, channels] = patches.dimensions("the patches")?;
        let count = |count: u32| ints(&[count], &(0..count as i32).collect::<Vec<_>>());
        let across = self.columns.forward(&count(columns)).unsqueeze(0);
        let down = self.rows.forward(&count(rows)).unsqueeze(1);
        let half = across.dimension(-1);
        let across = across.broadcast(&[rows, columns, half]);
        let down = down.broadcast(&[rows, columns, channels - half]);
        let x = (patches + concat(&[&across, &down], 2)).reshape(&[rows * columns, channels]);
        // The sines and cosines of the first of several frames: there is one.
        let frame: Vec<f32> = (0..channels).map(|channel| (channel % 2) as f32).collect();
        let x = x + floats(&[channels], &frame);
        let x = concat(&[&x.mean(&[0]).unsqueeze(0), &x], 0); // [1 + patches, channels]
        let x = match &self.projection {
            Projection::Layer(layer) => layer.forward(&x),
            Projection::Matrix(matrix) => x.matmul(&matrix.value(), false),
        };
        Ok(vec![self.norm.forward(&x)])
    }

    fn encode_prompt(&self, batch: &Batch) -> Result<Tensor> {
        let x = batch.splice_features(&self.language.embed(batch), 0);
        Ok(self.language.encode(x, batch))
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        Ok(self.language.forward(batch))
    }
}
