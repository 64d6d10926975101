//! The architecture.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::Clip;

use crate::config::{Vision, text_config};

/// Vision tower, projector, decoder.
pub struct Llava {
    vision: Clip,
    keep_class: bool,
    projector: Mlp,
    /// What ends each row of patches (LLaVA-1.6).
    newline: Option<Parameter>,
    language: Decoder,
}

impl Network for Llava {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let vision = Vision::read(&config)?;
        // Names of the published checkpoints and of conversions to MLX, then those that newer releases of transformers write.
        let tower = [
            "vision_tower.vision_model",
            "model.vision_tower.vision_model",
            "model.vision_tower",
        ];
        let tower = root.find(&tower, "embeddings.class_embedding")?;
        let projector = ["multi_modal_projector", "model.multi_modal_projector"];
        let projector = root.find(&projector, "linear_1.weight")?;
        let text = root.find(&["language_model.model", "model.language_model"], "norm.weight")?;
        let newline = || {
            Ok::<_, Error>(
                root.find(&["", "model"], "image_newline")?
                    .parameter("image_newline"),
            )
        };
        let activation = config.get_or("projector_hidden_act", Activation::Gelu)?;
        Ok(Self {
            vision: Clip::load(&tower, &vision.config, vision.layers)?,
            keep_class: vision.keep_class,
            projector: Mlp::load(&projector, activation),
            newline: vision.tiled.then(newline).transpose()?,
            language: Decoder::load(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = self.vision.forward(&pixels[0])?;
        let [squares, rows, _] = features.dimensions("features of the vision tower")?;
        let features = match self.keep_class {
            true => features,
            false => features.narrow(1, 1, rows),
        };
        let features = self.projector.forward(&features); // [squares, patches, hidden]
        let Some(newline) = &self.newline else {
            return Ok(vec![features.flatten(0, 1)]);
        };
        let whole = features.narrow(0, 0, 1).flatten(0, 1);
        let tiles = features.narrow(0, 1, squares);
        Ok(vec![match join(&tiles, layout, &newline.value())? {
            Some(tiles) => concat(&[&whole, &tiles], 0),
            None => whole,
        }])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}

/// Tiles `[tiles, patches, hidden]` joined to one picture, less the padding, with `newline` `[hidden]` after each row of patches:
/// `[features, hidden]`; `None` when nothing is left of them.
fn join(tiles: &Tensor, layout: &[u32], newline: &Tensor) -> Result<Option<Tensor>> {
    let &[rows, columns, top, bottom, left, right] = layout else {
        let found = layout.len();
        return Err(Error::new(format_args!(
            "a layout of {found} numbers, expected 6"
        )));
    };
    let [count, patches, hidden] = tiles.dimensions("the tiles")?;
    let (side, height) = (patches.isqrt(), bottom - top);
    if height == 0 {
        return Ok(None);
    }
    let ends = newline.broadcast(&[height, 1, hidden]);
    if left == right {
        return Ok(Some(ends.flatten(0, 1)));
    }
    let picture = nn::join_tiles(&tiles.reshape(&[count, side, side, hidden]), rows, columns)?;
    let picture = picture.narrow(0, top, bottom).narrow(1, left, right);
    Ok(Some(concat(&[&picture, &ends], 1).flatten(0, 1)))
}
