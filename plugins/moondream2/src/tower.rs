//! The vision transformer, and what joins its crops.

use monocle_plugin::prelude::*;
use monocle_plugin::towers::Block;

use crate::config::VisionConfig;

const EPSILON: f32 = 1e-5;

/// Crops to features.
pub struct Tower {
    config: VisionConfig,
    patches: Linear,
    positions: Parameter,
    blocks: Vec<Block>,
    norm: Norm,
    projection: Mlp,
}

impl Tower {
    /// What is at this place; conversions to MLX have all but the projection in `encoder`.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let encoder = place.find(&["", "encoder"], "pos_emb")?;
        let block = |number| {
            let place = encoder.at("blocks").at(number);
            Block::load(&place, config.enc_n_heads, Activation::GeluTanh, EPSILON)
        };
        Ok(Self {
            config: config.clone(),
            patches: encoder.linear("patch_emb"),
            positions: encoder.parameter("pos_emb"),
            blocks: (0..config.enc_n_layers).map(block).collect::<Result<_>>()?,
            norm: encoder.norm("post_ln", EPSILON),
            projection: Mlp::load(&place.at("proj_mlp"), Activation::GeluTanh),
        })
    }

    /// Pixels `[1 + crops, side, side, 3]`, the overview first, to features `[features, hidden]`.
    pub fn forward(&self, pixels: &Tensor, grid: Grid) -> Result<Tensor> {
        let [count, height, width, _] = pixels.dimensions("the pixels")?;
        let (patch, side) = (self.config.enc_patch_size, self.config.side());
        ensure!(
            count == 1 + grid.tiles() && [height, width] == [side * patch; 2],
            "{count} crops of {width} by {height} pixels, expected {} of {}",
            1 + grid.tiles(),
            side * patch
        );
        let patches = pixels
            .reshape(&[count, side, patch, side, patch, 3])
            .permute(&[0, 1, 3, 5, 2, 4])
            .reshape(&[count, side * side, 3 * patch * patch]);
        let x = self.patches.forward(&patches) + self.positions.value(); // [crops, features, hidden]
        let x = self
            .norm
            .forward(&self.blocks.iter().fold(x, |x, block| block.forward(x)));
        let hidden = x.dimension(-1);
        let [overview, crops] = x.split([1, count - 1], 0);
        let crops = pooled(&self.stitched(&crops, grid), side).reshape(&[side * side, hidden]);
        Ok(self
            .projection
            .forward(&concat(&[&overview.flatten(0, 1), &crops], 1)))
    }

    /// Crops `[crops, features, hidden]` as one picture `[rows, columns, hidden]`: of two neighbours each gives up its margin.
    fn stitched(&self, crops: &Tensor, grid: Grid) -> Tensor {
        let (side, margin) = (self.config.side(), self.config.overlap_margin);
        let hidden = crops.dimension(-1);
        let kept = |number: u32, count: u32| {
            let start = if number == 0 { 0 } else { margin };
            (start, if number + 1 == count { side } else { side - margin })
        };
        let rows = (0..grid.rows).map(|row| {
            let crops: Vec<Tensor> = (0..grid.columns)
                .map(|column| {
                    let number = row * grid.columns + column;
                    let crop = crops.narrow(0, number, number + 1).reshape(&[side, side, hidden]);
                    let ((top, bottom), (left, right)) = (kept(row, grid.rows), kept(column, grid.columns));
                    crop.narrow(0, top, bottom).narrow(1, left, right)
                })
                .collect();
            concat(&crops.iter().collect::<Vec<_>>(), 1)
        });
        let rows: Vec<Tensor> = rows.collect();
        concat(&rows.iter().collect::<Vec<_>>(), 0)
    }
}

/// `[rows, columns, hidden]` to `[side, side, hidden]`: each the mean of what it covers, if only in part (PyTorch's `adaptive_avg_pool2d`).
fn pooled(x: &Tensor, side: u32) -> Tensor {
    let [rows, columns, hidden] = [0, 1, 2].map(|axis: u32| x.dimension(axis));
    if [rows, columns] == [side; 2] {
        return x.clone();
    }
    let down = floats(&[side, rows], &shares(rows, side));
    let across = floats(&[side, columns], &shares(columns, side));
    let x = down.matmul(&x.reshape(&[rows, columns * hidden]), false); // [side, columns · hidden]
    across.matmul(&x.reshape(&[side, columns, hidden]), false)
}

/// What each of `parts` takes of `count`: row-major `[parts, count]`.
fn shares(count: u32, parts: u32) -> Vec<f32> {
    let row = |part: u32| {
        let (start, end) = (part * count / parts, ((part + 1) * count).div_ceil(parts));
        (0..count).map(move |at| {
            if (start..end).contains(&at) {
                1.0 / (end - start) as f32
            } else {
                0.0
            }
        })
    };
    (0..parts).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_overlap_where_they_do_not_fit() {
        // By hand after PyTorch's description: from ⌊i · 5 / 3⌋ to ⌈(i + 1) · 5 / 3⌉.
        let half = 0.5;
        let third = 1.0 / 3.0;
        let expected = [
            half, half, 0.0, 0.0, 0.0, 0.0, third, third, third, 0.0, 0.0, 0.0, 0.0, half, half,
        ];
        assert_eq!(shares(5, 3), expected);
        assert_eq!(shares(4, 2), [half, half, 0.0, 0.0, 0.0, 0.0, half, half]);
    }
}
