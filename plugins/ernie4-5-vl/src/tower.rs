//! The vision tower, and what makes features of squares of patches.

use monocle_plugin::Pairing;
use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use monocle_plugin::towers::Block;

use crate::config::VisionConfig;

/// Pixels to features. Patches are kept in the order of the squares that become one feature.
pub struct Tower {
    config: VisionConfig,
    patches: Linear,
    blocks: Vec<Block>,
    norm: Norm,
    spatial: Merger,
    temporal: Merger,
    projection: Linear,
    last_norm: Norm,
}

/// Two layers and a norm.
struct Merger {
    mlp: Mlp,
    norm: Norm,
}

impl Tower {
    /// The tower and the resampler at these places.
    pub fn load(place: &Weights, resampler: &Weights, config: &VisionConfig, epsilon: f32) -> Result<Self> {
        let block = |number| {
            Block::load(
                &place.at("blocks").at(number),
                config.num_heads,
                config.hidden_act,
                config.rms_norm_eps,
            )
        };
        let merger =
            |name: &str| Merger::load(&resampler.at(name).pick(&["layers", ""]), config.rms_norm_eps);
        Ok(Self {
            config: config.clone(),
            patches: place.linear("patch_embed.proj"),
            blocks: (0..config.depth).map(block).collect::<Result<_>>()?,
            norm: place.norm("ln", config.rms_norm_eps),
            spatial: merger("spatial_linear"),
            temporal: merger("temporal_linear"),
            projection: resampler.linear("mlp"),
            last_norm: Norm::rms(&resampler.at("after_norm"), epsilon),
        })
    }

    /// Pixels `[1, height, width, 3]` to features `[squares, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let [_, height, width, _] = pixels.dimensions("the pixels")?;
        let (patch, by) = (self.config.patch_size, self.config.spatial_merge_size);
        let unit = patch * by;
        ensure!(
            height.is_multiple_of(unit) && width.is_multiple_of(unit),
            "a picture of {width} by {height} pixels is not made of squares of {unit}"
        );
        let (rows, columns) = (height / unit, width / unit);
        let patches = pixels
            .reshape(&[rows, by, patch, columns, by, patch, 3])
            .permute(&[0, 3, 1, 4, 6, 2, 5])
            .reshape(&[rows * columns * by * by, 3 * patch * patch]);
        let x = self.patches.forward(&patches); // [patches, hidden]
        let places = ints(&[2, x.dimension(0)], &places(rows, columns, by));
        let angles = angles(self.blocks.first().map_or(0, |block| block.attention.head_dim));
        let x = self
            .blocks
            .iter()
            .fold(x, |x, block| block.forward_at(x, &places, &angles, &[]));
        let x = self.norm.forward(&x);
        let squares = x.reshape(&[rows * columns, x.dimension(1) * by * by]);
        let x = self.spatial.forward(&squares);
        // A picture is shown twice, as two frames of a film.
        let x = self.temporal.forward(&concat(&[&x, &x], 1));
        Ok(self.last_norm.forward(&self.projection.forward(&x)))
    }
}

impl Merger {
    /// Layers `0` and `2` and the norm `3` at this place.
    fn load(place: &Weights, epsilon: f32) -> Self {
        Self {
            mlp: Mlp::new(place.linear("0"), Activation::Gelu, place.linear("2")),
            norm: place.norm("3", epsilon),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.norm.forward(&self.mlp.forward(x))
    }
}

/// The row of each patch, then the column of each, square by square.
fn places(rows: u32, columns: u32, by: u32) -> Vec<i32> {
    let mut places = [vec![], vec![]];
    for square in 0..rows * columns {
        for inner in 0..by * by {
            places[0].push((square / columns * by + inner / by) as i32);
            places[1].push((square % columns * by + inner % by) as i32);
        }
    }
    places.concat()
}

/// The first half of the pairs turns by the row, the second by the column.
fn angles(head: u32) -> RopeAngles {
    let half = frequencies(10_000.0, head / 2);
    RopeAngles {
        axes: [vec![0; half.len()], vec![1; half.len()]].concat(),
        frequencies: [half.clone(), half].concat(),
        pairing: Pairing::Halves,
        scale: 1.0,
    }
}
