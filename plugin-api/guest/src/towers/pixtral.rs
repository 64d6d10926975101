//! Pixtral's vision transformer (arXiv:2410.07073).

use super::VisionConfig;
use crate::config::Section;
use crate::nn::{GatedMlp, PatchEmbedding, RmsNorm};
use crate::rope::frequencies;
use crate::weights::{self, Linear};
use crate::{Pairing, Result, RopeAngles, SelfAttention, Tensor, ints};

/// The reference has it in the code, not in the config.
const EPSILON: f32 = 1e-5;

/// Patches of a picture of any size, their rows and columns turned into the attention; a norm before the blocks, none after.
pub struct Pixtral {
    patches: PatchEmbedding,
    norm: RmsNorm,
    layers: Vec<Block>,
    angles: RopeAngles,
}

struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    mlp: GatedMlp,
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: u32,
}

impl Pixtral {
    /// `NAME.patch_conv`, `NAME.ln_pre` and the first `layers` of `NAME.transformer.layers`: see [`super::layers_before`].
    /// `vision_config` is the section that `config` was read from.
    pub fn load(name: &str, config: &VisionConfig, vision_config: &Section, layers: u32) -> Result<Self> {
        let theta = vision_config.section("rope_parameters")?.find("rope_theta")?;
        let theta = match theta {
            Some(theta) => theta,
            None => vision_config.get_or("rope_theta", 10_000.0)?,
        };
        let layer = |layer| Block::load(&format!("{name}.transformer.layers.{layer}"), config);
        Ok(Self {
            patches: PatchEmbedding::load(&format!("{name}.patch_conv"), config.patch_size)?,
            norm: RmsNorm::load(&format!("{name}.ln_pre"), EPSILON),
            layers: (0..layers).map(layer).collect(),
            angles: angles(theta, config.hidden_size / config.num_attention_heads),
        })
    }

    /// Pixels `[1, height, width, 3]` to hidden states `[rows, columns, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [_, rows, columns, hidden] = patches.dimensions("the patches")?;
        let positions = ints(&[2, rows * columns], &grid(rows, columns));
        let x = self.norm.forward(&patches.reshape(&[rows * columns, hidden]));
        let step = |x, layer: &Block| layer.forward(x, &positions, &self.angles);
        let x = self.layers.iter().fold(x, step);
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

impl Block {
    fn load(name: &str, config: &VisionConfig) -> Self {
        let linear = |part: &str| weights::linear(&format!("{name}.attention.{part}"));
        Self {
            attention_norm: RmsNorm::load(&format!("{name}.attention_norm"), EPSILON),
            attention: Attention {
                q: linear("q_proj"),
                k: linear("k_proj"),
                v: linear("v_proj"),
                out: linear("o_proj"),
                heads: config.num_attention_heads,
            },
            mlp_norm: RmsNorm::load(&format!("{name}.ffn_norm"), EPSILON),
            mlp: GatedMlp::load(&format!("{name}.feed_forward"), config.hidden_act),
        }
    }

    fn forward(&self, x: Tensor, positions: &Tensor, angles: &RopeAngles) -> Tensor {
        let normed = self.attention_norm.forward(&x);
        let x = x + self.attention.forward(&normed, positions, angles);
        let fed = self.mlp.forward(&self.mlp_norm.forward(&x));
        x + fed
    }
}

impl Attention {
    fn forward(&self, x: &Tensor, positions: &Tensor, angles: &RopeAngles) -> Tensor {
        let (patches, hidden) = (x.dimension(0), x.dimension(1));
        let head_dim = hidden / self.heads;
        let split = |layer: &Linear| layer.forward(x).reshape(&[patches, self.heads, head_dim]);
        let (q, k) = (split(&self.q), split(&self.k));
        let (q, k) = (q.rope(positions, angles), k.rope(positions, angles));
        let mixed = q.attention(&k, &split(&self.v), &SelfAttention::of_heads(head_dim));
        self.out.forward(&mixed.reshape(&[patches, hidden]))
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
