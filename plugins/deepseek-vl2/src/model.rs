//! The architecture.

use monocle_plugin::prelude::*;

use crate::config::{VisionConfig, downsampling, text_config};
use crate::tower::Tower;

/// Vision tower, projector, decoder.
pub struct DeepseekVl2 {
    vision: Tower,
    /// Squares of so many patches a side become one feature.
    by: u32,
    projector: Mlp,
    /// Ends each row of features.
    newline: Parameter,
    /// Between the overview and the tiles.
    separator: Parameter,
    overview_first: bool,
    language: Decoder,
}

impl Network for DeepseekVl2 {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (files.config()?, Weights::root());
        let tower = root.find(&["vision", "vision.vision_tower"], "patch_embed.proj.weight")?;
        let language = root.find(&["language.model", "language_model.model"], "norm.weight")?;
        // The original's spelling, and that of conversions.
        let separator = ["view_seperator", "view_separator"];
        let separator = separator.into_iter().find(|name| root.has(name));
        let first = config.get_or("global_view_pos", "head".to_owned())?;
        Ok(Self {
            vision: Tower::load(&tower, &VisionConfig::read(&config)?)?,
            by: downsampling(&config)?,
            projector: Mlp::load(&root.at("projector.layers"), Activation::Gelu),
            newline: root.parameter("image_newline"),
            separator: root.parameter(separator.unwrap_or("view_seperator")),
            overview_first: first == "head",
            language: Decoder::deepseek(&language, &text_config(&config)?)?,
        })
    }

    /// `layout`: rows and columns of tiles.
    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let &[rows, columns] = layout else {
            return Err(Error::new("the layout of a picture is rows and columns"));
        };
        let views = self.features(&pixels[0])?; // [1 + tiles, side, side, hidden]
        let [count, _, _, _] = views.dimensions("the features")?;
        let overview = self.lines(&views.narrow(0, 0, 1).flatten(0, 1));
        let tiles = self.lines(&nn::join_tiles(&views.narrow(0, 1, count), rows, columns)?);
        let separator = self.separator.value().unsqueeze(0);
        Ok(vec![match self.overview_first {
            true => concat(&[&overview, &separator, &tiles], 0),
            false => concat(&[&tiles, &separator, &overview], 0),
        }])
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.language)
    }
}

impl DeepseekVl2 {
    /// Pixels `[n, side, side, 3]` to features `[n, rows, columns, hidden]`.
    fn features(&self, pixels: &Tensor) -> Result<Tensor> {
        let mut patches = self.vision.forward(pixels)?;
        let [n, rows, columns, channels] = patches.dimensions("the patches")?;
        for (axis, count) in [(1, rows), (2, columns)] {
            let missing = count.next_multiple_of(self.by) - count;
            if missing > 0 {
                patches = patches.pad(axis, 0, missing, 0.0);
            }
        }
        let square = self.by * self.by;
        let squares = nn::pixel_shuffle(&patches, self.by)?; // [n, squares, square · channels]
        let count = squares.dimension(1);
        // A feature has all patches' first channels, then all their second ones.
        let squares = squares.reshape(&[n, count, square, channels]).transpose();
        let features = self.projector.forward(&squares.flatten(2, 3));
        let hidden = features.dimension(2);
        Ok(features.reshape(&[n, rows.div_ceil(self.by), columns.div_ceil(self.by), hidden]))
    }

    /// Features `[rows, columns, hidden]` one after another, each row ended: `[rows · (columns + 1), hidden]`.
    fn lines(&self, features: &Tensor) -> Tensor {
        let (rows, hidden) = (features.dimension(0), features.dimension(2));
        let ends = self.newline.value().reshape(&[1, 1, hidden]);
        let ends = ends.broadcast(&[rows, 1, hidden]);
        concat(&[features, &ends], 1).flatten(0, 1)
    }
}
