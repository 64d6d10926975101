//! Pixtral's vision transformer (arXiv:2410.07073).

use monocle_plugin::Pairing;
use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use monocle_plugin::towers::{Block, VisionConfig};

/// The reference has it in the code, not in the config.
const EPSILON: f32 = 1e-5;

/// Patches of a picture of any size, their rows and columns turned into the attention; a norm before the blocks, none after.
pub struct Pixtral {
    patches: Conv2d,
    norm: Norm,
    blocks: Vec<Block>,
    angles: RopeAngles,
}

impl Pixtral {
    /// `patch_conv`, `ln_pre` and the first `layers` of `transformer.layers` at this place.
    /// `vision_config` is the section that `config` was read from.
    pub fn load(
        place: &Weights,
        config: &VisionConfig,
        vision_config: &Section,
        layers: u32,
    ) -> Result<Self> {
        let theta = vision_config.section("rope_parameters")?.find("rope_theta")?;
        let theta = match theta {
            Some(theta) => theta,
            None => vision_config.get_or("rope_theta", 10_000.0)?,
        };
        let config = VisionConfig {
            layer_norm_eps: EPSILON,
            ..config.clone()
        };
        Ok(Self {
            patches: Conv2d::patches(&place.at("patch_conv"), config.patch_size)?,
            norm: place.norm("ln_pre", EPSILON),
            blocks: config.blocks(&place.at("transformer.layers"), layers)?,
            angles: angles(theta, config.hidden_size / config.num_attention_heads),
        })
    }

    /// Pixels `[1, height, width, 3]` to hidden states `[rows, columns, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [_, rows, columns, hidden] = patches.dimensions("the patches")?;
        let positions = ints(&[2, rows * columns], &grid(rows, columns));
        let x = self.norm.forward(&patches.reshape(&[rows * columns, hidden]));
        let step = |x, block: &Block| block.forward_at(x, &positions, &self.angles, &[]);
        let x = self.blocks.iter().fold(x, step);
        Ok(x.reshape(&[rows, columns, hidden]))
    }
}

/// The row of each patch, then the column of each.
fn grid(rows: u32, columns: u32) -> Vec<i32> {
    let patches = (0..rows).flat_map(|row| (0..columns).map(move |column| (row as i32, column as i32)));
    let (mut all_rows, all_columns): (Vec<i32>, Vec<i32>) = patches.unzip();
    all_rows.extend(all_columns);
    all_rows
}

/// Every other frequency turns by the row, those between by the column.
fn angles(theta: f64, head_dim: u32) -> RopeAngles {
    let all = frequencies(theta, head_dim);
    let (rows, columns) = (all.iter().step_by(2), all.iter().skip(1).step_by(2));
    let axes = [vec![0; rows.len()], vec![1; columns.len()]].concat();
    RopeAngles {
        frequencies: rows.chain(columns).copied().collect(),
        axes,
        pairing: Pairing::Halves,
        scale: 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_counted_row_by_row() {
        assert_eq!(grid(2, 3), [0, 0, 0, 1, 1, 1, 0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn frequencies_alternate_between_rows_and_columns() {
        // 10000^(-2i / 8) for i = 0, 2, then 1, 3.
        let angles = angles(10_000.0, 8);
        let expected = [1.0, 0.01, 0.1, 0.001];
        for (found, expected) in angles.frequencies.iter().zip(expected) {
            assert!((found / expected - 1.0_f32).abs() < 1e-6);
        }
        assert_eq!(angles.axes, [0, 0, 1, 1]);
    }
}
