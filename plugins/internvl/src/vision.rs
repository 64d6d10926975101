//! InternViT (arXiv:2312.14238): a class token, learned positions, pre-norm blocks whose outputs are scaled channel by channel.

use monocle_plugin::concat;
use monocle_plugin::nn::{LayerNorm, Linear, Mlp, Parameter, PatchEmbedding, RmsNorm, linear, parameter};
use monocle_plugin::prelude::*;
use monocle_plugin::towers::Positions;

use crate::config::Config;

/// The tower.
pub struct InternVit {
    class: Parameter,
    position: Parameter,
    patches: PatchEmbedding,
    side: u32,
    blocks: Vec<Block>,
}

struct Block {
    norms: [Norm; 2],
    attention: Attention,
    mlp: Mlp,
    /// What the outputs of attention and of the feed-forward block are multiplied by.
    scales: [Parameter; 2],
}

struct Attention {
    projections: Projections,
    /// Norms of all heads' q and k together (InternViT-6B).
    norms: Option<(RmsNorm, RmsNorm)>,
    out: Linear,
    heads: u32,
}

enum Projections {
    Separate([Linear; 3]),
    /// One layer whose outputs are q, k and v one after another.
    Fused(Linear),
}

enum Norm {
    Layer(LayerNorm),
    RootMeanSquare(RmsNorm),
}

impl InternVit {
    /// `NAME.embeddings` and `NAME.encoder`, in the names of the original checkpoints or of transformers.
    pub fn load(name: &str, config: &Config) -> Result<Self> {
        let (class, position, patches, blocks) = match config.original {
            true => (
                "class_embedding",
                "position_embedding",
                "patch_embedding",
                "layers",
            ),
            false => (
                "cls_token",
                "position_embeddings",
                "patch_embeddings.projection",
                "layer",
            ),
        };
        let block = |number| Block::load(&format!("{name}.encoder.{blocks}.{number}"), config);
        Ok(Self {
            class: parameter(&format!("{name}.embeddings.{class}")),
            position: parameter(&format!("{name}.embeddings.{position}")),
            patches: PatchEmbedding::load(&format!("{name}.embeddings.{patches}"), config.vision.patch_size)?,
            side: config.vision.patches_per_side(),
            blocks: (0..config.layers).map(block).collect(),
        })
    }

    /// Pixels `[n, height, width, 3]` to features of the patches `[n, patches, hidden]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [n, height, width, hidden] = patches.dimensions("the patches")?;
        let count = Positions::Fixed.rows(height, width, self.side)?.len() as u32;
        let patches = patches.reshape(&[n, count, hidden]);
        let class = self
            .class
            .value()
            .reshape(&[1, 1, hidden])
            .broadcast(&[n, 1, hidden]);
        let position = self.position.value().reshape(&[1 + count, hidden]);
        let x = concat(&[&class, &patches], 1) + position;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(x))?;
        Ok(x.narrow(1, 1, 1 + count))
    }
}

impl Block {
    fn load(name: &str, config: &Config) -> Self {
        let (norms, attention, scales) = match config.original {
            true => (["norm1", "norm2"], "attn", ["ls1", "ls2"]),
            false => (
                ["layernorm_before", "layernorm_after"],
                "attention",
                ["lambda_1", "lambda_2"],
            ),
        };
        Self {
            norms: norms.map(|norm| Norm::load(&format!("{name}.{norm}"), config)),
            attention: Attention::load(&format!("{name}.{attention}"), config),
            mlp: Mlp::load(
                &format!("{name}.mlp.fc1"),
                config.vision.hidden_act,
                &format!("{name}.mlp.fc2"),
            ),
            scales: scales.map(|scale| parameter(&format!("{name}.{scale}"))),
        }
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let x = &x + self.attention.forward(&self.norms[0].forward(&x))? * self.scales[0].value();
        Ok(&x + self.mlp.forward(&self.norms[1].forward(&x)) * self.scales[1].value())
    }
}

impl Attention {
    fn load(name: &str, config: &Config) -> Self {
        let layer = |part: &str| linear(&format!("{name}.{part}"));
        let norm = |part: &str| RmsNorm::load(&format!("{name}.{part}"), config.vision.layer_norm_eps);
        Self {
            projections: match config.original {
                true => Projections::Fused(layer("qkv")),
                false => Projections::Separate(["q_proj", "k_proj", "v_proj"].map(layer)),
            },
            norms: weights::has(&format!("{name}.q_norm.weight")).then(|| (norm("q_norm"), norm("k_norm"))),
            out: layer(if config.original {
                "proj"
            } else {
                "projection_layer"
            }),
            heads: config.vision.num_attention_heads,
        }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [n, tokens, hidden] = x.dimensions("the rows of InternViT")?;
        let [mut q, mut k, v] = match &self.projections {
            Projections::Separate(layers) => layers.each_ref().map(|layer| layer.forward(x)),
            Projections::Fused(layer) => {
                let all = layer.forward(x);
                [0, 1, 2].map(|part| all.narrow(2, part * hidden, (part + 1) * hidden))
            }
        };
        if let Some((q_norm, k_norm)) = &self.norms {
            (q, k) = (q_norm.forward(&q), k_norm.forward(&k));
        }
        let head_dim = hidden / self.heads;
        let [q, k, v] = [q, k, v].map(|x| x.reshape(&[n, tokens, self.heads, head_dim]));
        let mixed = q.attention(&k, &v, &SelfAttention::of_heads(head_dim));
        Ok(self.out.forward(&mixed.reshape(&[n, tokens, hidden])))
    }
}

impl Norm {
    fn load(name: &str, config: &Config) -> Self {
        let epsilon = config.vision.layer_norm_eps;
        match config.rms_norm {
            true => Self::RootMeanSquare(RmsNorm::load(name, epsilon)),
            false => Self::Layer(LayerNorm::load(name, epsilon)),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::RootMeanSquare(norm) => norm.forward(x),
        }
    }
}
