//! LFM2 (arXiv:2511.23404): pre-norm layers of gated short convolutions, and some of attention.

use monocle_plugin::config::Section;
use monocle_plugin::nn::{Embedding, Linear, Parameter, RmsNorm, embedding, linear, parameter};
use monocle_plugin::prelude::*;
use monocle_plugin::rope::RopeConfig;
use monocle_plugin::{CachedAttention, RopeAngles};

/// Sizes.
pub struct Lfm2Config {
    layers: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    epsilon: f32,
    angles: RopeAngles,
}

impl Lfm2Config {
    /// From a text config; what it leaves out is as in transformers' `Lfm2Config`.
    pub fn read(text_config: &Section) -> Result<Self> {
        let text_config = text_config
            .clone()
            .with_defaults([("rope_theta", 1_000_000.0.into())]);
        let hidden: u32 = text_config.get_or("hidden_size", 2560)?;
        let heads: u32 = text_config.get_or("num_attention_heads", 32)?;
        ensure!(
            heads > 0,
            "`num_attention_heads` of the text config must not be 0"
        );
        let head_dim = text_config.get_or("head_dim", hidden / heads)?;
        Ok(Self {
            layers: text_config.get_or("num_hidden_layers", 32)?,
            heads,
            kv_heads: text_config.get_or("num_key_value_heads", 8)?,
            head_dim,
            epsilon: text_config.get_or("norm_eps", 1e-5)?,
            angles: RopeConfig::read(&text_config, false)?.angles(head_dim)?,
        })
    }
}

/// The decoder.
pub struct Lfm2 {
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
}

struct Layer {
    mixer_norm: RmsNorm,
    mixer: Mixer,
    mlp_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// How rows of a sequence come to know of each other.
enum Mixer {
    Convolution(Convolution),
    Attention(Box<Attention>),
}

/// `out(c · convolution(b · x))` for `[b, c, x]` of one layer.
struct Convolution {
    input: Linear,
    kernel: Parameter,
    bias: Option<Parameter>,
    out: Linear,
    number: u32,
}

struct Attention {
    projections: [Linear; 3],
    norms: [RmsNorm; 2],
    out: Linear,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    kind: CachedAttention,
    angles: RopeAngles,
}

impl Lfm2 {
    /// `NAME.embed_tokens`, `NAME.layers` and `NAME.embedding_norm`, which norms the outcome; the output layer `head`, or else the
    /// embedding.
    pub fn load(name: &str, head: &str, config: &Lfm2Config) -> Result<Self> {
        let table = format!("{name}.embed_tokens");
        let tied = !weights::has(&format!("{head}.weight"));
        let layer = |number| Layer::load(&format!("{name}.layers.{number}"), config, number);
        Ok(Self {
            embedding: embedding(&table),
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            norm: RmsNorm::load(&format!("{name}.embedding_norm"), config.epsilon),
            head: linear(if tied { &table } else { head }),
        })
    }

    /// Embeddings of the batch's token ids: `[tokens, hidden]`.
    pub fn embed(&self, batch: &Batch) -> Tensor {
        self.embedding.forward(&batch.ids())
    }

    /// All layers: `[tokens, hidden]` to the same.
    pub fn forward(&self, x: Tensor, batch: &Batch) -> Tensor {
        let positions = batch.positions();
        let layers = self.layers.iter();
        layers.fold(x, |x, layer| layer.forward(x, batch, &positions))
    }

    /// Logits of the rows that the host wants: `[tokens, hidden]` to `[wanted, vocabulary]`.
    pub fn logits(&self, x: &Tensor, batch: &Batch) -> Tensor {
        self.head.forward(&self.norm.forward(&batch.select_logits(x)))
    }
}

impl Layer {
    fn load(name: &str, config: &Lfm2Config, number: u32) -> Result<Self> {
        let norm = |part: &str| RmsNorm::load(&format!("{name}.{part}"), config.epsilon);
        let mlp = |part: &str| linear(&format!("{name}.feed_forward.{part}"));
        let mixer = match weights::has(&format!("{name}.conv.conv.weight")) {
            true => Mixer::Convolution(Convolution::load(&format!("{name}.conv"), number)),
            false => Mixer::Attention(Box::new(Attention::load(
                &format!("{name}.self_attn"),
                config,
                number,
            )?)),
        };
        Ok(Self {
            mixer_norm: norm("operator_norm"),
            mixer,
            mlp_norm: norm("ffn_norm"),
            gate: mlp("w1"),
            up: mlp("w3"),
            down: mlp("w2"),
        })
    }

    fn forward(&self, x: Tensor, batch: &Batch, positions: &Tensor) -> Tensor {
        let normed = self.mixer_norm.forward(&x);
        let x = x + match &self.mixer {
            Mixer::Convolution(convolution) => convolution.forward(&normed, batch),
            Mixer::Attention(attention) => attention.forward(&normed, batch, positions),
        };
        let normed = self.mlp_norm.forward(&x);
        let gated = self.gate.forward(&normed).silu() * self.up.forward(&normed);
        x + self.down.forward(&gated)
    }
}

impl Convolution {
    /// The kernel is `[channels, 1, taps]` as PyTorch stores it, or `[channels, taps, 1]` as MLX does.
    fn load(name: &str, number: u32) -> Self {
        let bias = format!("{name}.conv.bias");
        Self {
            input: linear(&format!("{name}.in_proj")),
            kernel: parameter(&format!("{name}.conv.weight")),
            bias: weights::has(&bias).then(|| parameter(&bias)),
            out: linear(&format!("{name}.out_proj")),
            number,
        }
    }

    fn forward(&self, x: &Tensor, batch: &Batch) -> Tensor {
        let all = self.input.forward(x);
        let size = all.dimension(1) / 3;
        let [before, after, x] = [0, 1, 2].map(|part| all.narrow(1, part * size, (part + 1) * size));
        let shape = self.kernel.shape();
        let taps = shape.iter().skip(1).product();
        let kernel = self.kernel.value().reshape(&[shape[0], taps]);
        let bias = self.bias.as_ref().map(Parameter::value);
        let mixed = batch.short_conv(&(before * x), &kernel, bias.as_ref(), self.number);
        self.out.forward(&(after * mixed))
    }
}

impl Attention {
    fn load(name: &str, config: &Lfm2Config, number: u32) -> Result<Self> {
        let layer = |part: &str| linear(&format!("{name}.{part}"));
        let norm = |part: &str| RmsNorm::load(&format!("{name}.{part}"), config.epsilon);
        let projections = ["q_proj", "k_proj", "v_proj"].map(layer);
        let kv = projections[1].shape()[0];
        if kv != config.kv_heads * config.head_dim {
            return Err(Error::new(format_args!(
                "`{name}.k_proj` has {kv} outputs, expected {} heads of {}",
                config.kv_heads, config.head_dim
            )));
        }
        Ok(Self {
            projections,
            norms: ["q_layernorm", "k_layernorm"].map(norm),
            out: layer("out_proj"),
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            kind: CachedAttention {
                layer: number,
                scale: 1.0 / (config.head_dim as f32).sqrt(),
                softcap: None,
                window: None,
                value_dim: None,
            },
            angles: config.angles.clone(),
        })
    }

    fn forward(&self, x: &Tensor, batch: &Batch, positions: &Tensor) -> Tensor {
        let tokens = x.dimension(0);
        let [q, k, v] = self.projections.each_ref().map(|layer| layer.forward(x));
        let heads = |x: Tensor, heads| x.reshape(&[tokens, heads, self.head_dim]);
        let turn = |x: Tensor, norm: &RmsNorm| norm.forward(&x).rope(positions, &self.angles);
        let q = turn(heads(q, self.heads), &self.norms[0]);
        let k = turn(heads(k, self.kv_heads), &self.norms[1]);
        let mixed = batch.attend(&q, &k, Some(&heads(v, self.kv_heads)), self.kind);
        self.out
            .forward(&mixed.reshape(&[tokens, self.heads * self.head_dim]))
    }
}
