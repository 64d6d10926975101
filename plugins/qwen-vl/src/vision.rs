//! The vision tower. Patches are kept in the order of the squares that will be merged, so that merging is a reshape. What
//! differs between the families is found in the checkpoint: norms with or without bias, gated blocks, learned positions.

use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use monocle_plugin::towers::Block;
use monocle_plugin::{Interpolation, Pairing, Window};

use crate::config::VisionConfig;
use crate::merger::Merger;

pub struct Vision {
    kernel: Parameter,
    bias: Option<Parameter>,
    patch: u32,
    merge: u32,
    positions: Option<(Parameter, Interpolation)>,
    norm: Option<Norm>,
    blocks: Vec<Block>,
    windows: Option<(u32, Vec<u32>)>,
    last_norm: Option<Norm>,
    merger: Merger,
    /// After which blocks further features are taken, and what merges them.
    deep: Vec<(u32, Merger)>,
}

/// Names of position tables, and how they are stretched.
const POSITIONS: [(&str, Interpolation); 2] = [
    ("pos_embed.weight", Interpolation::Bilinear),
    ("embeddings.position_embedding.weight", Interpolation::Bicubic),
];

impl Vision {
    /// The tower at this place.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let (activation, epsilon) = (config.activation, config.epsilon);
        let optional = |name: &str| place.has(name).then(|| place.parameter(name));
        let norm = |name: &str| {
            place
                .has(&format!("{name}.weight"))
                .then(|| place.norm(name, epsilon))
        };
        let block = |block| Block::load(&place.at("blocks").at(block), config.heads, activation, epsilon);
        let mergers = place.at("deepstack_merger_list");
        let deep = (0..).zip(&config.deep);
        let deep = deep.filter(|(number, _)| mergers.has(&format!("{number}.norm.weight")));
        let positions = POSITIONS.into_iter().find(|(name, _)| place.has(name));
        Ok(Self {
            kernel: place.parameter("patch_embed.proj.weight"),
            bias: optional("patch_embed.proj.bias"),
            patch: config.patch,
            merge: config.merge,
            positions: positions.map(|(name, way)| (place.parameter(name), way)),
            norm: norm("post_conv_layernorm"),
            blocks: (0..config.depth).map(block).collect::<Result<_>>()?,
            windows: config.windows.clone(),
            last_norm: norm("post_layernorm"),
            merger: Merger::load(place, config.merge, activation, epsilon)?,
            deep: deep
                .map(|(number, block): (u32, _)| (*block, Merger::deep(&mergers.at(number))))
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
        let (patches, square) = (rows * columns, self.merge.pow(2));
        let mut x = self.by_square(&self.embed(pixels))?; // [patches, hidden]
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        if let Some((table, way)) = &self.positions {
            x = x + self.by_square(&positions(&table.value(), *way, rows, columns))?;
        }
        let (order, bounds) = match &self.windows {
            Some((side, _)) => windows(rows / self.merge, columns / self.merge, *side),
            None => ((0..patches / square).collect(), vec![]),
        };
        if self.windows.is_some() {
            x = reorder(&x, &order, square);
        }
        let bounds: Vec<u32> = bounds.iter().map(|bound| bound * square).collect();
        let places = ints(&[2, patches], &self.places(columns, &order));
        let angles = angles(self.blocks.first().map_or(0, |block| block.attention.head_dim));
        let mut deep = vec![];
        for (number, block) in (0..).zip(&self.blocks) {
            let windows = self.windows.as_ref();
            let whole = windows.is_none_or(|(_, whole)| whole.contains(&number));
            x = block.forward_at(x, &places, &angles, if whole { &[] } else { &bounds });
            if let Some((_, merger)) = self.deep.iter().find(|(after, _)| *after == number) {
                deep.push(merger.forward(&x, self.merge)?);
            }
        }
        if let Some(norm) = &self.last_norm {
            x = norm.forward(&x);
        }
        let mut features = self.merger.forward(&x, self.merge)?;
        if self.windows.is_some() {
            let mut back: Vec<u32> = (0..order.len() as u32).collect();
            back.sort_by_key(|place| order[*place as usize]);
            features = reorder(&features, &back, 1);
        }
        Ok(std::iter::once(features).chain(deep).collect())
    }

    /// Patches as rows and columns: `[1, rows, columns, hidden]`. The kernel spans two frames, and a picture is shown twice: its two
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
        pixels.conv2d(&kernel, bias.as_ref(), window, 1)
    }

    /// `[1, rows, columns, hidden]` to `[patches, hidden]`, the patches of a square one after another.
    fn by_square(&self, x: &Tensor) -> Result<Tensor> {
        let [_, rows, columns, hidden] = x.dimensions("the patches")?;
        Ok(nn::pixel_shuffle(x, self.merge)?.reshape(&[rows * columns, hidden]))
    }

    /// The row of each patch, then the column of each, squares in this order.
    fn places(&self, columns: u32, order: &[u32]) -> Vec<i32> {
        let (by, across) = (self.merge, columns / self.merge);
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

/// Learned positions `[side · side, hidden]`, stretched to the picture: `[1, rows, columns, hidden]`.
fn positions(table: &Tensor, way: Interpolation, rows: u32, columns: u32) -> Tensor {
    let side = table.dimension(0).isqrt();
    let table = table.reshape(&[1, side, side, table.dimension(1)]);
    table.interpolate(rows, columns, way, way == Interpolation::Bilinear, false)
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
