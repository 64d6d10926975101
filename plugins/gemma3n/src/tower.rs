//! MobileNetV5 as timm has it: a stem, stages of inverted residuals and of attention with one head of keys, and what joins the last two stages.
//! Which blocks a stage has, and their sizes, the checkpoint says.

use monocle_plugin::prelude::*;
use monocle_plugin::{Interpolation, Pooling, Window, weights};

/// timm's default for its norms.
const EPSILON: f32 = 1e-6;
const ACTIVATION: Activation = Activation::GeluTanh;

/// Pixels to features.
pub struct MobileNet {
    stem: Unit,
    stages: Vec<Vec<Block>>,
    join: Inverted,
    norm: Norm,
}

/// A convolution that keeps the size but for its stride, as TensorFlow's `SAME` pads.
struct Same {
    conv: Conv2d,
    side: u32,
    stride: u32,
}

/// A convolution and a norm, and an activation where there is one.
struct Unit {
    conv: Same,
    norm: Norm,
    acts: bool,
}

enum Block {
    /// Convolutions one after another: those of edge residuals.
    Edge([Unit; 2]),
    Inverted(Inverted),
    Attention(Attention),
}

/// Convolutions channel by channel, where they are there, around one that widens, and one that narrows.
struct Inverted {
    units: Vec<Unit>,
    scale: Option<Parameter>,
}

/// Attention of all places to all, with one head of keys and values.
struct Attention {
    norm: Norm,
    query: Same,
    key: Vec<Projected>,
    value: Vec<Projected>,
    out: Same,
    scale: Parameter,
}

/// On the way to keys and values.
enum Projected {
    Conv(Same),
    Norm(Norm),
}

/// Where the tower's parts are, and whether kernels have channels last (MLX).
struct Parts {
    place: Weights,
    channels_last: bool,
}

impl MobileNet {
    /// What is at this place.
    pub fn load(place: &Weights) -> Result<Self> {
        // The stem's kernel would fit either order: it has as many channels as rows.
        let first = place.parameter("blocks.0.0.conv_exp.weight").shape();
        let parts = Parts {
            place: place.clone(),
            channels_last: first.len() == 4 && first[1] == first[2],
        };
        let stages = (0..).take_while(|stage| parts.has(&format!("blocks.{stage}.0")));
        let stages = stages.map(|stage| {
            let blocks = (0..).take_while(|block| parts.has(&format!("blocks.{stage}.{block}")));
            blocks
                .map(|block| parts.block(&format!("blocks.{stage}.{block}"), if block == 0 { 2 } else { 1 }))
                .collect()
        });
        Ok(Self {
            stem: parts.unit("conv_stem.conv", "conv_stem.bn", 2, true)?,
            stages: stages.collect::<Result<_>>()?,
            join: parts.inverted("msfa.ffn", 1)?,
            norm: Norm::rms(&place.at("msfa.norm"), EPSILON),
        })
    }

    /// Pixels `[1, height, width, 3]` to features `[1, side, side, channels]`.
    pub fn forward(&self, pixels: &Tensor, side: u32) -> Result<Tensor> {
        let mut outputs = vec![self.stem.forward(pixels)?];
        for stage in &self.stages {
            let x = outputs.last().context("the stem comes first")?.clone();
            outputs.push(stage.iter().try_fold(x, |x, block| block.forward(x))?);
        }
        let [.., fine, coarse] = &outputs[..] else {
            return Err(Error::new("the vision tower has no stages"));
        };
        let [_, rows, columns, _] = fine.dimensions("the last stage but one")?;
        let coarse = coarse.interpolate(rows, columns, Interpolation::Nearest, false, false);
        let x = self.join.run(concat(&[fine, &coarse], 3))?;
        let whole = side > 0 && rows.is_multiple_of(side) && columns.is_multiple_of(side);
        let x = if whole {
            let window = (rows / side, columns / side);
            x.pool2d(
                Pooling::Average,
                Window {
                    size: window,
                    stride: window,
                    padding: (0, 0),
                },
            )
        } else {
            x.interpolate(side, side, Interpolation::Bilinear, false, false)
        };
        Ok(self.norm.forward(&x))
    }
}

impl Parts {
    fn has(&self, name: &str) -> bool {
        !weights::names(&format!("{}.", self.place.name(name))).is_empty()
    }

    fn norm(&self, name: &str) -> Norm {
        Norm::rms(&self.place.at(name), EPSILON)
    }

    fn conv(&self, name: &str, stride: u32) -> Result<Same> {
        let place = self.place.at(name);
        let shape = place.parameter("weight").shape();
        // In either order the third is a side.
        let [out, first, side, last] = shape[..] else {
            return Err(Error::new(format_args!(
                "`{}` has shape {shape:?}, expected a kernel",
                place.name("weight")
            )));
        };
        let inner = if self.channels_last { last } else { first };
        let mut conv = Conv2d::load(&place, side)?
            .channels_last(self.channels_last)
            .stride(stride);
        if inner == 1 && side > 1 {
            conv = conv.groups(out);
        }
        if stride == 1 {
            conv = conv.padding(side / 2);
        }
        Ok(Same { conv, side, stride })
    }

    fn unit(&self, conv: &str, norm: &str, stride: u32, acts: bool) -> Result<Unit> {
        Ok(Unit {
            conv: self.conv(conv, stride)?,
            norm: self.norm(norm),
            acts,
        })
    }

    fn block(&self, name: &str, stride: u32) -> Result<Block> {
        let at = |part: &str| format!("{name}.{part}");
        Ok(if self.has(&at("conv_exp")) {
            Block::Edge([
                self.unit(&at("conv_exp"), &at("bn1"), stride, true)?,
                self.unit(&at("conv_pwl"), &at("bn2"), 1, false)?,
            ])
        } else if self.has(&at("attn")) {
            Block::Attention(self.attention(name)?)
        } else {
            Block::Inverted(self.inverted(name, stride)?)
        })
    }

    fn inverted(&self, name: &str, stride: u32) -> Result<Inverted> {
        let at = |part: &str| format!("{name}.{part}");
        // The stride is the middle's where there is one, else the first's.
        let middle = self.has(&at("dw_mid"));
        let steps = [
            ("dw_start", if middle { 1 } else { stride }, false),
            ("pw_exp", 1, true),
            ("dw_mid", stride, true),
            ("pw_proj", 1, false),
        ];
        let units = steps
            .iter()
            .filter(|(part, ..)| self.has(&at(part)))
            .map(|&(part, stride, acts)| {
                self.unit(
                    &at(&format!("{part}.conv")),
                    &at(&format!("{part}.bn")),
                    stride,
                    acts,
                )
            });
        let scale = at("layer_scale.gamma");
        Ok(Inverted {
            units: units.collect::<Result<_>>()?,
            scale: self.place.has(&scale).then(|| self.place.parameter(&scale)),
        })
    }

    fn attention(&self, name: &str) -> Result<Attention> {
        let at = |part: &str| format!("{name}.{part}");
        let projected = |part: &str| {
            let mut steps = vec![];
            let down = at(&format!("attn.{part}.down_conv"));
            if self.has(&down) {
                steps.push(Projected::Conv(self.conv(&down, 2)?));
                steps.push(Projected::Norm(self.norm(&at(&format!("attn.{part}.norm")))));
            }
            steps.push(Projected::Conv(self.conv(&at(&format!("attn.{part}.proj")), 1)?));
            Ok::<_, Error>(steps)
        };
        Ok(Attention {
            norm: self.norm(&at("norm")),
            query: self.conv(&at("attn.query.proj"), 1)?,
            key: projected("key")?,
            value: projected("value")?,
            out: self.conv(&at("attn.output.proj"), 1)?,
            scale: self.place.parameter(&at("layer_scale.gamma")),
        })
    }
}

impl Same {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.stride == 1 {
            return self.conv.forward(x);
        }
        let [_, height, width, _] = x.dimensions("what a convolution gets")?;
        let missing = |size: u32| {
            let reach = (size.div_ceil(self.stride) - 1) * self.stride + self.side;
            let all = reach.saturating_sub(size);
            (all / 2, all - all / 2)
        };
        let ((above, below), (left, right)) = (missing(height), missing(width));
        self.conv
            .forward(&x.pad(1, above, below, 0.0).pad(2, left, right, 0.0))
    }
}

impl Unit {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.norm.forward(&self.conv.forward(x)?);
        Ok(if self.acts { ACTIVATION.forward(&x) } else { x })
    }
}

impl Block {
    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let added = match self {
            Self::Edge([first, second]) => second.forward(&first.forward(&x)?)?,
            Self::Inverted(block) => block.run(x.clone())?,
            Self::Attention(block) => block.forward(&x)?,
        };
        Ok(if added.shape() == x.shape() {
            added + x
        } else {
            added
        })
    }
}

impl Inverted {
    fn run(&self, x: Tensor) -> Result<Tensor> {
        let x = self.units.iter().try_fold(x, |x, unit| unit.forward(&x))?;
        Ok(match &self.scale {
            Some(scale) => x * scale.value(),
            None => x,
        })
    }
}

impl Attention {
    /// `[1, rows, columns, channels]` to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.norm.forward(x);
        let one_head = |steps: &[Projected]| {
            let x = steps.iter().try_fold(x.clone(), |x, step| match step {
                Projected::Conv(conv) => conv.forward(&x),
                Projected::Norm(norm) => Ok(norm.forward(&x)),
            })?;
            Ok::<_, Error>(x.flatten(1, 2).unsqueeze(2)) // [1, places, 1, dim]
        };
        let (k, v) = (one_head(&self.key)?, one_head(&self.value)?);
        let q = self.query.forward(&x)?;
        let [_, rows, columns, channels] = q.dimensions("queries of the vision tower")?;
        let dim = k.dimension(-1);
        let q = q.reshape(&[1, rows * columns, channels / dim, dim]);
        let mixed = q.attention(&k, &v, &SelfAttention::of_heads(dim)); // [1, places, heads, dim]
        let mixed = mixed.flatten(2, 3);
        let channels = mixed.dimension(-1);
        Ok(self.out.forward(&mixed.reshape(&[1, rows, columns, channels]))? * self.scale.value())
    }
}
