//! The vision tower. Patches are kept in the order of the squares that will be merged, so that merging is a reshape. What
//! differs between the families is found in the checkpoint: norms with or without bias, gated blocks, learned positions.

mod block;
mod merger;

use monocle_plugin::config::Section;
use monocle_plugin::nn::{Activation, Parameter};
use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use monocle_plugin::{Interpolation, Pairing, RopeAngles, Window, ints};

use block::{Block, Norm};
use merger::Merger;

pub struct Vision {
    kernel: Parameter,
    bias: Option<Parameter>,
    patch: u32,
    merge: u32,
    positions: Option<(Parameter, Interpolation)>,
    norm: Option<Norm>,
    blocks: Vec<Block>,
    /// Windows of so many merged squares a side, and the blocks that see the whole picture all the same (Qwen2.5-VL).
    windows: Option<(u32, Vec<u32>)>,
    last_norm: Option<Norm>,
    merger: Merger,
    /// After which blocks further features are taken (DeepStack, arXiv:2406.04334), and what merges them.
    deep: Vec<(u32, Merger)>,
}

impl Vision {
    pub fn load(name: &str, config: &Section) -> Result<Self> {
        let model_type = config.get_or("model_type", String::new())?;
        let vision = config.section("vision_config")?;
        // As in transformers' vision config classes.
        let (depth, heads, patch, activation, epsilon) = match model_type.as_str() {
            "qwen3_vl" => (27, 16, 16, Activation::GeluTanh, 1e-6),
            "glm4v" => (24, 12, 14, Activation::Silu, 1e-5),
            "qwen2_5_vl" => (32, 16, 14, Activation::Silu, 1e-6),
            _ => (32, 16, 14, Activation::QuickGelu, 1e-6),
        };
        let heads = vision.get_or("num_heads", heads)?;
        let activation = vision.get_or("hidden_act", activation)?;
        let epsilon = vision.get_or("rms_norm_eps", epsilon)?;
        let (patch, merge) = (
            vision.get_or("patch_size", patch)?,
            vision.get_or("spatial_merge_size", 2)?,
        );
        let depth = vision.get_or("depth", depth)?;
        let has = |part: &str| weights::has(&format!("{name}.{part}"));
        let parameter = |part: &str| nn::parameter(&format!("{name}.{part}"));
        let norm = |part: &str| Norm::load(&format!("{name}.{part}"), epsilon);
        let positions = [
            ("pos_embed.weight", Interpolation::Bilinear),
            ("embeddings.position_embedding.weight", Interpolation::Bicubic),
        ];
        let deep: Vec<u32> = match has("deepstack_merger_list.0.norm.weight") {
            true => vision.get_or("deepstack_visual_indexes", vec![8, 16, 24])?,
            false => vec![],
        };
        let deep_name = |number| format!("{name}.deepstack_merger_list.{number}");
        let window = vision.get_or("window_size", 112_u32)?;
        let full = || vision.get_or("fullatt_block_indexes", vec![7, 15, 23, 31]);
        ensure!(
            heads > 0 && patch > 0 && merge > 0,
            "`num_heads`, `patch_size` and `spatial_merge_size` of `vision_config` must not be 0"
        );
        Ok(Self {
            kernel: parameter("patch_embed.proj.weight"),
            bias: has("patch_embed.proj.bias").then(|| parameter("patch_embed.proj.bias")),
            patch,
            merge,
            positions: positions
                .into_iter()
                .find(|(part, _)| has(part))
                .map(|(part, way)| (parameter(part), way)),
            norm: has("post_conv_layernorm.weight").then(|| norm("post_conv_layernorm")),
            blocks: (0..depth)
                .map(|block| Block::load(&format!("{name}.blocks.{block}"), heads, activation, epsilon))
                .collect(),
            windows: match model_type == "qwen2_5_vl" {
                true => Some(((window / merge / patch).max(1), full()?)),
                false => None,
            },
            last_norm: has("post_layernorm.weight").then(|| norm("post_layernorm")),
            merger: Merger::load(name, activation, epsilon),
            deep: deep
                .into_iter()
                .enumerate()
                .map(|(number, block)| (block, Merger::deep(&deep_name(number))))
                .collect(),
        })
    }

    /// How many decoder layers take further features.
    pub fn deep_layers(&self) -> usize {
        self.deep.len()
    }

    /// Pixels `[1, height, width, 3]` to features `[squares, hidden]`, and DeepStack's further ones.
    pub fn forward(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let [_, height, width, _] = pixels.dimensions("the pixels")?;
        let (rows, columns) = (height / self.patch, width / self.patch);
        let patches = rows * columns;
        let mut x = self.by_square(&self.embed(pixels)); // [patches, hidden]
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        if let Some((table, way)) = &self.positions {
            x = x + self.by_square(&positions(&table.value(), *way, rows, columns));
        }
        let (order, bounds) = match &self.windows {
            Some((side, _)) => windows(rows / self.merge, columns / self.merge, *side),
            None => ((0..patches / self.merge.pow(2)).collect(), vec![]),
        };
        let square = self.merge.pow(2);
        if self.windows.is_some() {
            x = reorder(&x, &order, square);
        }
        let bounds: Vec<u32> = bounds.iter().map(|bound| bound * square).collect();
        let places = ints(&[2, patches], &self.places(rows, columns, &order));
        let head = x.dimension(1) / self.blocks.first().map_or(1, |block| block.heads);
        let angles = angles(head);
        let mut deep = vec![];
        for (number, block) in (0..).zip(&self.blocks) {
            let whole = self
                .windows
                .as_ref()
                .is_none_or(|(_, full)| full.contains(&number));
            x = block.forward(x, &places, &angles, if whole { &[] } else { &bounds });
            if let Some((_, merger)) = self.deep.iter().find(|(after, _)| *after == number) {
                deep.push(merger.forward(&x, self.merge));
            }
        }
        if let Some(norm) = &self.last_norm {
            x = norm.forward(&x);
        }
        let mut features = self.merger.forward(&x, self.merge);
        if self.windows.is_some() {
            let mut back = vec![0; order.len()];
            (0..)
                .zip(&order)
                .for_each(|(place, square)| back[*square as usize] = place);
            features = reorder(&features, &back, 1);
        }
        Ok(std::iter::once(features).chain(deep).collect())
    }

    /// Patches as rows and columns: `[rows, columns, hidden]`. The kernel spans two frames, and a picture is shown twice: its two
    /// parts can be added before. It is `[hidden, 3, 2, patch, patch]` as PyTorch stores it, or `[hidden, 2, patch, patch, 3]` as MLX does.
    fn embed(&self, pixels: &Tensor) -> Tensor {
        let kernel = self.kernel.value();
        let kernel = match kernel.dimension(4) == 3 && kernel.dimension(1) != 3 {
            true => kernel.sum(&[1]).permute(&[0, 3, 1, 2]),
            false => kernel.sum(&[2]),
        };
        let side = (self.patch, self.patch);
        let window = Window {
            size: side,
            stride: side,
            padding: (0, 0),
        };
        let bias = self.bias.as_ref().map(Parameter::value);
        let x = pixels.conv2d(&kernel, bias.as_ref(), window, 1);
        x.reshape(&x.shape()[1..])
    }

    /// `[rows, columns, hidden]` to `[patches, hidden]`, the patches of a square one after another.
    fn by_square(&self, x: &Tensor) -> Tensor {
        let (rows, columns, hidden, by) = (x.dimension(0), x.dimension(1), x.dimension(2), self.merge);
        x.reshape(&[rows / by, by, columns / by, by, hidden])
            .permute(&[0, 2, 1, 3, 4])
            .reshape(&[rows * columns, hidden])
    }

    /// The row of each patch, then the column of each, squares in this order.
    fn places(&self, rows: u32, columns: u32, order: &[u32]) -> Vec<i32> {
        let (by, across) = (self.merge, columns / self.merge);
        debug_assert_eq!(order.len() as u32, rows / by * across);
        let mut places = [vec![], vec![]];
        for square in order {
            for inner in 0..by * by {
                places[0].push((square / across * by + inner / by) as i32);
                places[1].push((square % across * by + inner % by) as i32);
            }
        }
        places.concat()
    }
}

/// Learned positions `[side · side, hidden]`, stretched to the picture: `[rows, columns, hidden]`.
fn positions(table: &Tensor, way: Interpolation, rows: u32, columns: u32) -> Tensor {
    let side = table.dimension(0).isqrt();
    let table = table.reshape(&[1, side, side, table.dimension(1)]);
    let stretched = table.interpolate(rows, columns, way, way == Interpolation::Bilinear, false);
    stretched.reshape(&stretched.shape()[1..])
}

/// Rows of `[n · each, hidden]` in groups of `each`, the groups in this order.
fn reorder(x: &Tensor, order: &[u32], each: u32) -> Tensor {
    let (rows, hidden) = (x.dimension(0), x.dimension(1));
    let indices: Vec<i32> = order.iter().map(|index| *index as i32).collect();
    x.reshape(&[rows / each, each * hidden])
        .take_rows(&ints(&[order.len() as u32], &indices))
        .reshape(&[rows, hidden])
}

/// The squares of a grid window by window, and where windows begin and end (`get_window_index` in transformers'
/// `modeling_qwen2_5_vl.py`).
fn windows(rows: u32, columns: u32, side: u32) -> (Vec<u32>, Vec<u32>) {
    let (mut order, mut bounds) = (vec![], vec![0]);
    for top in (0..rows).step_by(side as usize) {
        for left in (0..columns).step_by(side as usize) {
            for row in top..rows.min(top + side) {
                order.extend((left..columns.min(left + side)).map(|column| row * columns + column));
            }
            bounds.push(order.len() as u32);
        }
    }
    (order, bounds)
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
