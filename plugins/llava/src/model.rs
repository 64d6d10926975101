//! The architecture.

use monocle_plugin::Interpolation;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::{Clip, Positions, Siglip};

use crate::config::{Vision, text_config};

/// What sees.
enum Tower {
    Clip(Clip),
    Siglip(Siglip),
}

/// Vision tower, projector, decoder.
pub struct Llava {
    vision: Tower,
    keep_class: bool,
    projector: Mlp,
    /// What ends each row of patches (LLaVA-1.6 and later).
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
        let tower = root.find(&tower, "embeddings.position_embedding.weight")?;
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
            vision: match vision.is_siglip {
                true => {
                    let layers = Some(vision.layers);
                    Tower::Siglip(Siglip::load(&tower, &vision.config, Positions::Fixed, layers)?)
                }
                false => Tower::Clip(Clip::load(&tower, &vision.config, vision.layers)?),
            },
            keep_class: vision.keep_class,
            projector: Mlp::load(&projector, activation),
            newline: vision.tiled.then(newline).transpose()?,
            language: Decoder::load(&text, &text_config(&config)?)?,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let features = match &self.vision {
            Tower::Siglip(tower) => tower.forward(&pixels[0])?,
            Tower::Clip(tower) => tower.forward(&pixels[0])?,
        };
        let [squares, rows, _] = features.dimensions("features of the vision tower")?;
        let has_class = matches!(self.vision, Tower::Clip(_));
        let features = match has_class && !self.keep_class {
            true => features.narrow(1, 1, rows),
            false => features,
        };
        let features = self.projector.forward(&features); // [squares, patches, hidden]
        let Some(newline) = &self.newline else {
            return Ok(vec![features.flatten(0, 1)]);
        };
        let whole = features.narrow(0, 0, 1).flatten(0, 1);
        if layout.is_empty() {
            return Ok(vec![concat(&[&whole, &newline.value().unsqueeze(0)], 0)]);
        }
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

/// Tiles `[tiles, patches, hidden]` joined to one picture, less the padding, stretched to the size that the plan says, with `newline` `[hidden]`
/// after each row: `[features, hidden]`; `None` when nothing is left of them.
fn join(tiles: &Tensor, layout: &[u32], newline: &Tensor) -> Result<Option<Tensor>> {
    let &[rows, columns, top, bottom, left, right, height, width] = layout else {
        let found = layout.len();
        return Err(Error::new(format_args!(
            "a layout of {found} numbers, expected 8"
        )));
    };
    let [count, patches, hidden] = tiles.dimensions("the tiles")?;
    let side = patches.isqrt();
    if height == 0 {
        return Ok(None);
    }
    let ends = newline.broadcast(&[height, 1, hidden]);
    if width == 0 {
        return Ok(Some(ends.flatten(0, 1)));
    }
    let picture = nn::join_tiles(&tiles.reshape(&[count, side, side, hidden]), rows, columns)?;
    let mut picture = picture.narrow(0, top, bottom).narrow(1, left, right);
    if (bottom - top, right - left) != (height, width) {
        let whole = picture.unsqueeze(0); // [1, rows, columns, hidden]
        picture = whole.interpolate(height, width, Interpolation::Bilinear, false, false);
        picture = picture.reshape(&[height, width, hidden]);
    }
    Ok(Some(concat(&[&picture, &ends], 1).flatten(0, 1)))
}
