//! The vision tower: a transformer over the patches of all tiles, and a second, gated one behind it. What it gives for a patch is the
//! second's output with hidden states of the first.

use monocle_plugin::config::Section;
use monocle_plugin::nn::{Activation, LayerNorm, Mlp, PatchEmbedding};
use monocle_plugin::prelude::*;
use monocle_plugin::weights::{Embedding, Linear, Parameter};
use monocle_plugin::{UnaryOperation, concat, full, ints};
use serde::Deserialize;

/// Patches of a tile are filled up to a multiple of this, as in training: the empty rows take part in attention.
const ROUND: u32 = 8;
/// Of the two norms around the first transformer, whatever the config says: PyTorch's default.
const OUTER_EPSILON: f32 = 1e-5;

/// Sizes of the tower.
#[derive(Debug, Clone, Deserialize)]
pub struct VisionConfig {
    pub hidden_act: Activation,
    pub num_hidden_layers: u32,
    pub num_global_layers: u32,
    pub attention_heads: u32,
    pub image_size: u32,
    pub patch_size: u32,
    pub norm_eps: f32,
    pub max_num_tiles: u32,
    pub intermediate_layers_indices: Vec<usize>,
}

impl VisionConfig {
    /// From `config.json`; what it leaves out is as in transformers' `MllamaVisionConfig`.
    pub fn read(config: &Section) -> Result<Self> {
        let section = config.section("vision_config")?.with_defaults([
            ("hidden_act", "gelu".into()),
            ("num_hidden_layers", 32.into()),
            ("num_global_layers", 8.into()),
            ("attention_heads", 16.into()),
            ("image_size", 448.into()),
            ("patch_size", 14.into()),
            ("norm_eps", 1e-5.into()),
            ("max_num_tiles", 4.into()),
            ("intermediate_layers_indices", vec![3, 7, 15, 23, 30].into()),
        ]);
        let config: Self = section.read()?;
        let positive = [config.patch_size, config.attention_heads, config.max_num_tiles];
        (!positive.contains(&0))
            .then_some(config)
            .context("`patch_size`, `attention_heads` and `max_num_tiles` of the vision config must not be 0")
    }

    /// Rows of a tile: its patches and a class token.
    pub fn rows_per_tile(&self) -> u32 {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

/// Pixels to features.
pub struct Tower {
    patches: PatchEmbedding,
    class: Parameter,
    before: TileEmbedding,
    after: TileEmbedding,
    positions: Positions,
    norm_before: LayerNorm,
    norm_after: LayerNorm,
    local: Vec<Block>,
    global: Vec<Block>,
    kept: Vec<usize>,
    tiles: u32,
    rows: u32,
}

/// One row a tile, by the aspect ratio of the picture.
struct TileEmbedding {
    embedding: Embedding,
    gate: Parameter,
}

/// A position table for every tile alike, and one for each tile of each aspect ratio; a gate weighs them.
struct Positions {
    patches: Parameter,
    tiles: Embedding,
    gate: Parameter,
}

struct Block {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: u32,
    norm2: LayerNorm,
    mlp: Mlp,
    /// Of what attention and the feed-forward block add.
    gates: Option<[Parameter; 2]>,
}

impl Tower {
    /// Everything under `NAME.`.
    pub fn load(name: &str, config: &VisionConfig) -> Result<Self> {
        let parameter = |part: &str| weights::parameter(&format!("{name}.{part}"));
        let embedding = |part: &str| weights::embedding(&format!("{name}.{part}"));
        let norm = |part: &str| LayerNorm::load(&format!("{name}.{part}"), OUTER_EPSILON);
        let tile_embedding = |part: &str| TileEmbedding {
            embedding: embedding(&format!("{part}.embedding")),
            gate: parameter(&format!("{part}.gate")),
        };
        let blocks = |part: &str, count: u32| {
            let blocks = (0..count).map(|block| format!("{name}.{part}.layers.{block}"));
            blocks.map(|block| Block::load(&block, config)).collect()
        };
        let last = config.intermediate_layers_indices.iter().max();
        let there = last.is_none_or(|last| *last < config.num_hidden_layers as usize);
        ensure!(
            there,
            "`intermediate_layers_indices` is {:?} for {} layers",
            config.intermediate_layers_indices,
            config.num_hidden_layers
        );
        Ok(Self {
            patches: PatchEmbedding::load(&format!("{name}.patch_embedding"), config.patch_size)?,
            class: parameter("class_embedding"),
            before: tile_embedding("pre_tile_positional_embedding"),
            after: tile_embedding("post_tile_positional_embedding"),
            positions: Positions {
                patches: parameter("gated_positional_embedding.embedding"),
                tiles: embedding("gated_positional_embedding.tile_embedding"),
                gate: parameter("gated_positional_embedding.gate"),
            },
            norm_before: norm("layernorm_pre"),
            norm_after: norm("layernorm_post"),
            local: blocks("transformer", config.num_hidden_layers),
            global: blocks("global_transformer", config.num_global_layers),
            kept: config.intermediate_layers_indices.clone(),
            tiles: config.max_num_tiles,
            rows: config.rows_per_tile(),
        })
    }

    /// How many rows so many tiles have.
    pub fn rows_of_tiles(&self, tiles: u32) -> u32 {
        tiles * self.rows
    }

    /// Pixels `[tiles, height, width, 3]` to `[all tiles · rows, (1 + kept) · hidden]`, tiles that the picture does not fill last.
    pub fn forward(&self, pixels: &Tensor, aspect: u32) -> Result<Tensor> {
        let patches = self.patches.forward(pixels)?;
        let [filled, height, width, hidden] = patches.dimensions("the patches")?;
        ensure!(
            filled <= self.tiles && height * width + 1 == self.rows,
            "{filled} tiles of {height} by {width} patches for a model of {} tiles of {} rows",
            self.tiles,
            self.rows
        );
        let patches = patches
            .reshape(&[filled, height * width, hidden])
            .pad(0, 0, self.tiles - filled, 0.0);
        let patches = patches + self.before.forward(aspect, self.tiles);
        let class = self.class.value().reshape(&[1, 1, hidden]);
        let class = class.broadcast(&[self.tiles, 1, hidden]);
        let x = concat(&[&class, &patches], 1);
        let x = x + self.positions.forward(aspect, self.tiles, self.rows);
        let x = self.norm_before.forward(&x); // [tiles, rows, hidden]

        // Rows that hold something of the picture first; then empty tiles; then what fills tiles up.
        let all = self.tiles * self.rows;
        let filling = self.rows.next_multiple_of(ROUND) - self.rows;
        let x = x.reshape(&[all, hidden]).pad(0, 0, self.tiles * filling, 0.0);
        let seen = self.rows_of_tiles(filled);
        let mut x = x;
        let mut states = vec![];
        for block in &self.local {
            x = block.forward(x, seen);
            states.push(x.narrow(0, 0, all).reshape(&[all, hidden, 1]));
        }
        let tile = self.after.forward(aspect, self.tiles); // [tiles, 1, hidden]
        let spread = |rows: u32| {
            let rows_of_all = tile.broadcast(&[self.tiles, rows, hidden]);
            rows_of_all.reshape(&[self.tiles * rows, hidden])
        };
        let tile = match filling {
            0 => spread(self.rows),
            _ => concat(&[&spread(self.rows), &spread(filling)], 0),
        };
        let x = self.norm_after.forward(&x) + tile;
        let x = self.global.iter().fold(x, |x, block| block.forward(x, seen));
        let x = x.narrow(0, 0, all);
        if self.kept.is_empty() {
            return Ok(x);
        }
        // Channels of the kept states alternate.
        let kept: Vec<&Tensor> = self.kept.iter().map(|&layer| &states[layer]).collect();
        let kept = concat(&kept, 2).reshape(&[all, hidden * self.kept.len() as u32]);
        Ok(concat(&[&x, &kept], 1))
    }
}

impl TileEmbedding {
    /// `[tiles, 1, hidden]`
    fn forward(&self, aspect: u32, tiles: u32) -> Tensor {
        let rows = self.embedding.forward(&ints(&[1], &[aspect as i32]));
        let hidden = rows.dimension(1) / tiles;
        rows.reshape(&[tiles, 1, hidden]) * gate(&self.gate)
    }
}

impl Positions {
    /// `[tiles, rows, hidden]`
    fn forward(&self, aspect: u32, tiles: u32, rows: u32) -> Tensor {
        let tables = self.tiles.forward(&ints(&[1], &[aspect as i32]));
        let hidden = tables.dimension(1) / (tiles * rows);
        let gate = gate(&self.gate);
        let tables = tables.reshape(&[tiles, rows, hidden]) * &gate;
        tables + self.patches.value() * (full(&[1], 1.0) - gate)
    }
}

impl Block {
    fn load(name: &str, config: &VisionConfig) -> Self {
        let norm = |part: &str| LayerNorm::load(&format!("{name}.{part}"), config.norm_eps);
        let linear = |part: &str| weights::linear(&format!("{name}.self_attn.{part}"));
        let gate = |part: &str| format!("{name}.{part}");
        let gated = weights::has(&gate("gate_attn"));
        Self {
            norm1: norm("input_layernorm"),
            q: linear("q_proj"),
            k: linear("k_proj"),
            v: linear("v_proj"),
            out: linear("o_proj"),
            heads: config.attention_heads,
            norm2: norm("post_attention_layernorm"),
            mlp: Mlp::load(
                &format!("{name}.mlp.fc1"),
                config.hidden_act,
                &format!("{name}.mlp.fc2"),
            ),
            gates: gated.then(|| ["gate_attn", "gate_ffn"].map(|part| weights::parameter(&gate(part)))),
        }
    }

    /// `[rows, hidden]` to the same; the first `seen` rows hold something of the picture.
    fn forward(&self, x: Tensor, seen: u32) -> Tensor {
        let add = |x: Tensor, more: Tensor, number: usize| match &self.gates {
            Some(gates) => x + more * gate(&gates[number]),
            None => x + more,
        };
        let mixed = self.attend(&self.norm1.forward(&x), seen);
        let x = add(x, mixed, 0);
        let fed = self.mlp.forward(&self.norm2.forward(&x));
        add(x, fed, 1)
    }

    /// The reference's mask hides empty rows from each other only: rows of the picture see them, and they see the picture.
    fn attend(&self, x: &Tensor, seen: u32) -> Tensor {
        let (rows, hidden) = (x.dimension(0), x.dimension(1));
        let head_dim = hidden / self.heads;
        let split = |layer: &Linear| layer.forward(x).reshape(&[rows, self.heads, head_dim]);
        let (q, k, v) = (split(&self.q), split(&self.k), split(&self.v));
        let kind = SelfAttention::of_heads(head_dim);
        let picture = q.narrow(0, 0, seen).attention(&k, &v, &kind);
        let mixed = if seen < rows {
            let (k, v) = (k.narrow(0, 0, seen), v.narrow(0, 0, seen));
            let empty = q.narrow(0, seen, rows).attention(&k, &v, &kind);
            concat(&[&picture, &empty], 0)
        } else {
            picture
        };
        self.out.forward(&mixed.reshape(&[rows, hidden]))
    }
}

/// What a gate lets through: `[1]`.
pub fn gate(parameter: &Parameter) -> Tensor {
    parameter.value().unary(UnaryOperation::HyperbolicTangent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: MllamaVisionConfig()
        let config = VisionConfig::read(&Section::parse("config.json", "{}").unwrap()).unwrap();
        assert_eq!((config.hidden_act, config.norm_eps), (Activation::Gelu, 1e-5));
        assert_eq!((config.num_hidden_layers, config.num_global_layers), (32, 8));
        assert_eq!((config.attention_heads, config.max_num_tiles), (16, 4));
        assert_eq!(config.intermediate_layers_indices, [3, 7, 15, 23, 30]);
        assert_eq!(config.rows_per_tile(), 1025); // 448 / 14, squared, and a class token
        let zero = Section::parse("config.json", r#"{"vision_config": {"patch_size": 0}}"#).unwrap();
        assert!(VisionConfig::read(&zero).is_err());
    }
}
