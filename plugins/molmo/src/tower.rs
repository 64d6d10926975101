//! CLIP's vision transformer on crops, and what pools two of its layers.

use monocle_plugin::prelude::*;

use crate::config::VisionConfig;
use crate::crops::{Rules, corner};

/// Crops to features.
pub struct Tower {
    rules: Rules,
    patches: Linear,
    class: Parameter,
    positions: Parameter,
    norm: Norm,
    blocks: Vec<Block>,
    /// Of which blocks' results features are made.
    layers: Vec<usize>,
    /// Added to what lies beside the picture, all of it and in part.
    pad: Parameter,
    pool: Heads,
    gate: Linear,
    up: Linear,
    down: Linear,
}

struct Block {
    norms: [Norm; 2],
    attention: Heads,
    mlp: Mlp,
}

/// Attention from some rows to others.
struct Heads {
    projections: [Linear; 3],
    out: Linear,
    heads: u32,
}

impl Tower {
    /// `image_vit`, `image_pooling_2d`, `image_projector` and `pad_embed` at this place.
    pub fn load(place: &Weights, config: &VisionConfig, rules: Rules) -> Result<Self> {
        let vit = place.at("image_vit");
        let (blocks, projector) = (vit.at("transformer.resblocks"), place.at("image_projector"));
        let count = (0..)
            .take_while(|number| blocks.at(number).has("attention_norm.weight"))
            .count();
        let layer = |&layer: &i32| {
            let found = usize::try_from(i64::from(layer) + if layer < 0 { count as i64 } else { 0 });
            found.ok().filter(|&layer| layer < count).context(format_args!(
                "`vit_layers` of `vision_config` names layer {layer}, the checkpoint has {count}"
            ))
        };
        let layers: Vec<usize> = config.vit_layers.iter().map(layer).collect::<Result<_>>()?;
        // What comes after the last that is pooled is never run.
        let used = layers.iter().max().map_or(0, |last| last + 1);
        let block = |number| Block::load(&blocks.at(number), config);
        Ok(Self {
            rules,
            patches: vit.linear("patch_embedding"),
            class: vit.parameter("class_embedding"),
            positions: vit.parameter("positional_embedding"),
            norm: vit.norm("pre_ln", config.image_norm_eps),
            blocks: (0..used).map(block).collect(),
            layers,
            pad: place.parameter("pad_embed"),
            pool: Heads::load(&place.at("image_pooling_2d"), config.image_num_heads),
            gate: projector.linear("w1"),
            up: projector.linear("w3"),
            down: projector.linear("w2"),
        })
    }

    /// Pixels `[1 + crops, side, side, 3]`, the overview first, to features `[features, hidden]`: those of the overview, then those of the crops put
    /// together. `inside` is the picture's size within all crops.
    pub fn forward(&self, pixels: &Tensor, grid: Grid, inside: Size) -> Result<Tensor> {
        let [count, height, width, _] = pixels.dimensions("the pixels")?;
        let (patch, side) = (self.rules.patch, self.rules.patches());
        ensure!(
            count == 1 + grid.tiles() && [height, width] == [self.rules.side; 2],
            "{count} crops of {width} by {height} pixels, expected {} of {}",
            1 + grid.tiles(),
            self.rules.side
        );
        let patches = pixels
            .reshape(&[count, side, patch, side, patch, 3])
            .permute(&[0, 1, 3, 2, 4, 5])
            .reshape(&[count, side * side, 3 * patch * patch]);
        let x = self.hidden(&patches);
        let channels = x.dimension(-1);
        let masks = self.masks(grid, inside, channels);
        let mut x = (x + masks).reshape(&[count, side, side, channels]);
        if side % 2 == 1 {
            x = x.pad(1, 0, 1, 0.0).pad(2, 0, 1, 0.0);
        }
        let pooled = self.rules.pooled();
        let windows = x
            .reshape(&[count, pooled, 2, pooled, 2, channels])
            .permute(&[0, 1, 3, 2, 4, 5])
            .reshape(&[count * pooled * pooled, 4, channels]);
        let query = windows.mean(&[1]).unsqueeze(1); // [windows, 1, channels]
        let x = self.pool.forward(&query, &windows).flatten(0, 1);
        let x = self
            .down
            .forward(&(self.gate.forward(&x).silu() * self.up.forward(&x)));
        let hidden = x.dimension(-1);
        let x = x.reshape(&[count, pooled, pooled, hidden]);
        let [overview, crops] = x.split([1, count - 1], 0);
        Ok(concat(
            &[&overview.flatten(0, 2), &self.stitched(&crops, grid)],
            0,
        ))
    }

    /// What the pooled layers make of patches `[crops, patches, pixels]`, side by side: `[crops, patches, channels]`.
    fn hidden(&self, patches: &Tensor) -> Tensor {
        // Conversions widen rows of the weight, so that they can be quantised.
        let missing = self.patches.shape()[1] - patches.dimension(-1).min(self.patches.shape()[1]);
        let x = match missing {
            0 => self.patches.forward(patches),
            more => self.patches.forward(&patches.pad(2, 0, more, 0.0)),
        };
        let (count, channels) = (x.dimension(0), x.dimension(-1));
        let class = self
            .class
            .value()
            .reshape(&[1, 1, channels])
            .broadcast(&[count, 1, channels]);
        let mut x = self
            .norm
            .forward(&(concat(&[&class, &x], 1) + self.positions.value()));
        let mut results = vec![];
        for block in &self.blocks {
            x = block.forward(x);
            results.push(x.clone());
        }
        let chosen: Vec<&Tensor> = self.layers.iter().map(|&layer| &results[layer]).collect();
        let all = concat(&chosen, 2);
        all.narrow(1, 1, all.dimension(1))
    }

    /// What is added to patches beside the picture: `[1 + crops, patches, channels]`. The published code has the crops' masks one place too early, and
    /// calls all of the last crop a part of the picture: so the model was trained.
    fn masks(&self, grid: Grid, inside: Size, channels: u32) -> Tensor {
        let side = self.rules.patches();
        let (beside, in_part) = self
            .coverage(grid, inside)
            .into_iter()
            .map(|share| match share {
                0.0 => (1.0, 0.0),
                share if share < 1.0 => (0.0, 1.0),
                _ => (0.0, 0.0),
            })
            .unzip::<f32, f32, Vec<f32>, Vec<f32>>();
        let last = (side * side) as usize;
        let shape = [1 + grid.tiles(), side * side, 1];
        let beside = floats(&shape, &[beside, vec![0.0; last]].concat());
        let in_part = floats(&shape, &[in_part, vec![1.0; last]].concat());
        let pad = self.pad.value();
        let row = |number: u32| pad.narrow(0, number, number + 1).reshape(&[1, 1, channels]);
        beside * row(0) + in_part * row(1)
    }

    /// How much of each patch of each crop is picture.
    fn coverage(&self, grid: Grid, inside: Size) -> Vec<f32> {
        let (patch, side) = (self.rules.patch, self.rules.patches());
        let [left, above] = corner(inside, self.rules.canvas(grid));
        let covered = |start: u32, first: u32, length: u32| {
            let end = (start + patch).min(first + length);
            end.saturating_sub(start.max(first))
        };
        let mut shares = vec![];
        for tile in 0..grid.tiles() {
            let (row, column) = (
                tile / grid.columns * self.rules.step(),
                tile % grid.columns * self.rules.step(),
            );
            for place in 0..side * side {
                let down = covered(row + place / side * patch, above, inside.height);
                let across = covered(column + place % side * patch, left, inside.width);
                shares.push((down * across) as f32 / (patch * patch) as f32);
            }
        }
        shares
    }

    /// Crops `[crops, pooled, pooled, hidden]` as one picture, row by row: `[features, hidden]`.
    fn stitched(&self, crops: &Tensor, grid: Grid) -> Tensor {
        let (pooled, hidden) = (self.rules.pooled(), crops.dimension(-1));
        let rows = (0..grid.rows).map(|row| {
            let (top, bottom) = self.rules.kept(row, grid.rows);
            let crops: Vec<Tensor> = (0..grid.columns)
                .map(|column| {
                    let number = row * grid.columns + column;
                    let (left, right) = self.rules.kept(column, grid.columns);
                    let crop = crops
                        .narrow(0, number, number + 1)
                        .reshape(&[pooled, pooled, hidden]);
                    crop.narrow(0, top, bottom).narrow(1, left, right)
                })
                .collect();
            concat(&crops.iter().collect::<Vec<_>>(), 1).flatten(0, 1)
        });
        let rows: Vec<Tensor> = rows.collect();
        concat(&rows.iter().collect::<Vec<_>>(), 0)
    }
}

impl Block {
    fn load(place: &Weights, config: &VisionConfig) -> Self {
        let mlp = place.at("feed_forward");
        Self {
            norms: ["attention_norm", "ffn_norm"].map(|name| place.norm(name, config.image_norm_eps)),
            attention: Heads::load(&place.at("attention"), config.image_num_heads),
            mlp: Mlp::new(mlp.linear("w1"), Activation::QuickGelu, mlp.linear("w2")),
        }
    }

    fn forward(&self, x: Tensor) -> Tensor {
        let normed = self.norms[0].forward(&x);
        let x = x + self.attention.forward(&normed, &normed);
        &x + self.mlp.forward(&self.norms[1].forward(&x))
    }
}

impl Heads {
    fn load(place: &Weights, heads: u32) -> Self {
        Self {
            projections: ["wq", "wk", "wv"].map(|name| place.linear(name)),
            out: place.linear("wo"),
            heads,
        }
    }

    /// From rows `[n, rows, channels]` to others `[n, others, channels]`.
    fn forward(&self, from: &Tensor, to: &Tensor) -> Tensor {
        let [q, k, v] = &self.projections;
        let heads = |layer: &Linear, x: &Tensor| {
            let x = layer.forward(x);
            let [n, rows, channels] = [0, 1, 2].map(|axis: u32| x.dimension(axis));
            x.reshape(&[n, rows, self.heads, channels / self.heads])
        };
        let q = heads(q, from);
        let kind = SelfAttention::of_heads(q.dimension(-1));
        self.out
            .forward(&q.attention(&heads(k, to), &heads(v, to), &kind).flatten(2, 3))
    }
}
