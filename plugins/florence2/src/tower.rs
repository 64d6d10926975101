//! DaViT (arXiv:2204.03645): four stages, each a convolution that halves the sides and blocks whose patches see each other within windows, then
//! channels each other within groups. Names are transformers', then those of the first repositories.

use monocle_plugin::prelude::*;

use crate::config::VisionConfig;

const EPSILON: f32 = 1e-5;

/// Pixels to patches.
pub struct DaVit {
    stages: Vec<Stage>,
}

struct Stage {
    conv: Conv2d,
    norm: Norm,
    norm_first: bool,
    blocks: Vec<[Half; 2]>,
}

/// Half a block: positions from a convolution, attention, positions again, a feed-forward block, each added to what came in.
struct Half {
    convs: [Conv2d; 2],
    norms: [Norm; 2],
    attention: Attention,
    mlp: Mlp,
    kind: Mixing,
}

/// What sees what.
enum Mixing {
    /// Patches those of their window, so many a side.
    Windows(u32),
    /// Channels those of their group.
    Channels,
}

impl DaVit {
    /// `convs` and `blocks` at this place.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let stage = |stage: usize| {
            let conv = place.at("convs").at(stage);
            let block = |block| {
                let place = place.at("blocks").at(stage).at(block);
                let half = |name: &str, heads: &[u32], kind| {
                    Half::load(&place.at(name), heads[stage], config.activation_function, kind)
                };
                let windows = Mixing::Windows(config.window_size);
                Ok([
                    half("spatial_block", &config.num_heads, windows)?,
                    half("channel_block", &config.num_groups, Mixing::Channels)?,
                ])
            };
            Ok(Stage {
                conv: Conv2d::load(&conv.pick(&["conv", "proj"]), config.patch_size[stage])?
                    .stride(config.patch_stride[stage])
                    .padding(config.patch_padding[stage]),
                norm: conv.norm("norm", EPSILON),
                norm_first: config.patch_prenorm[stage],
                blocks: (0..config.depths[stage]).map(block).collect::<Result<_>>()?,
            })
        };
        Ok(Self {
            stages: (0..config.depths.len()).map(stage).collect::<Result<_>>()?,
        })
    }

    /// Pixels `[1, height, width, 3]` to `[1, rows, columns, channels]`.
    pub fn forward(&self, pixels: Tensor) -> Result<Tensor> {
        self.stages.iter().try_fold(pixels, |x, stage| {
            let x = match stage.norm_first {
                true => stage.conv.forward(&stage.norm.forward(&x))?,
                false => stage.norm.forward(&stage.conv.forward(&x)?),
            };
            stage
                .blocks
                .iter()
                .flatten()
                .try_fold(x, |x, half| half.forward(x))
        })
    }
}

impl Half {
    fn load(place: &Weights, heads: u32, activation: Activation, kind: Mixing) -> Result<Self> {
        let conv = |name: &str| {
            let conv = Conv2d::load(&place.at(name).pick(&["fn.dw", ""]), 3)?.padding(1);
            let channels = conv.channels();
            Ok::<_, Error>(conv.groups(channels))
        };
        let attention = place.pick(&["window_attn", "channel_attn"]);
        let norm = |places| place.pick(places).norm("", EPSILON);
        Ok(Self {
            convs: [conv("conv1")?, conv("conv2")?],
            norms: [
                norm(&["norm1", "window_attn.norm", "channel_attn.norm"]),
                norm(&["norm2", "ffn.norm"]),
            ],
            attention: Attention::load(&attention.pick(&["fn", ""]), heads, EPSILON)?,
            mlp: Mlp::load(&place.at("ffn").pick(&["fn.net", ""]), activation),
            kind,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let x = self.convs[0].forward(&x)? + x;
        let x = &x + self.mix(&self.norms[0].forward(&x))?;
        let x = self.convs[1].forward(&x)? + x;
        Ok(&x + self.mlp.forward(&self.norms[1].forward(&x)))
    }

    /// `[1, rows, columns, channels]` to the same.
    fn mix(&self, x: &Tensor) -> Result<Tensor> {
        let [_, rows, columns, channels] = x.dimensions("a stage's patches")?;
        match self.kind {
            Mixing::Windows(side) => {
                // Patches that are not there take part, as zeros.
                let (down, across) = (rows.div_ceil(side), columns.div_ceil(side));
                let windows = x
                    .pad(1, 0, down * side - rows, 0.0)
                    .pad(2, 0, across * side - columns, 0.0)
                    .reshape(&[down, side, across, side, channels])
                    .permute(&[0, 2, 1, 3, 4])
                    .reshape(&[down * across, side * side, channels]);
                let mixed = self
                    .attention
                    .forward(&windows)
                    .reshape(&[down, across, side, side, channels]);
                let mixed =
                    mixed
                        .permute(&[0, 2, 1, 3, 4])
                        .reshape(&[1, down * side, across * side, channels]);
                Ok(mixed.narrow(1, 0, rows).narrow(2, 0, columns))
            }
            Mixing::Channels => {
                let patches = rows * columns;
                let [q, k, v] = self.attention.project(&x.reshape(&[patches, channels])); // [patches, groups, size]
                let [q, k, v] = [q, k, v].map(|x| x.permute(&[1, 2, 0])); // [groups, size, patches]
                let weights = (q.matmul(&k, true) / (patches as f32).sqrt()).softmax(); // [groups, size, size]
                let mixed = weights.matmul(&v, false).permute(&[2, 0, 1]);
                Ok(self
                    .attention
                    .merge(&mixed)
                    .reshape(&[1, rows, columns, channels]))
            }
        }
    }
}
