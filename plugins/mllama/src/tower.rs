//! The vision tower: a transformer over the patches of all tiles, and a second, gated one behind it. What it gives for a patch is the
//! second's output with hidden states of the first.

use monocle_plugin::UnaryOperation;
use monocle_plugin::prelude::*;
use monocle_plugin::towers::Block;

use crate::config::VisionConfig;

/// Patches of a tile are filled up to a multiple of this, as in training: the empty rows take part in attention.
const ROUND: u32 = 8;
/// Of the two norms around the first transformer, whatever the config says: PyTorch's default.
const OUTER_EPSILON: f32 = 1e-5;

/// Pixels to features.
pub struct Tower {
    patches: Conv2d,
    class: Parameter,
    before: TileEmbedding,
    after: TileEmbedding,
    positions: Positions,
    norm_before: Norm,
    norm_after: Norm,
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

impl Tower {
    /// Everything at this place.
    pub fn load(place: &Weights, config: &VisionConfig) -> Result<Self> {
        let tile_embedding = |name: &str| TileEmbedding {
            embedding: place.at(name).embedding("embedding"),
            gate: place.at(name).parameter("gate"),
        };
        let blocks = |name: &str, count: u32| {
            let block = |block| {
                let place = place.at(name).at("layers").at(block);
                Block::load(&place, config.attention_heads, config.hidden_act, config.norm_eps)
            };
            (0..count).map(block).collect::<Result<_>>()
        };
        let positions = place.at("gated_positional_embedding");
        Ok(Self {
            patches: Conv2d::patches(&place.at("patch_embedding"), config.patch_size)?,
            class: place.parameter("class_embedding"),
            before: tile_embedding("pre_tile_positional_embedding"),
            after: tile_embedding("post_tile_positional_embedding"),
            positions: Positions {
                patches: positions.parameter("embedding"),
                tiles: positions.embedding("tile_embedding"),
                gate: positions.parameter("gate"),
            },
            norm_before: place.norm("layernorm_pre", OUTER_EPSILON),
            norm_after: place.norm("layernorm_post", OUTER_EPSILON),
            local: blocks("transformer", config.num_hidden_layers)?,
            global: blocks("global_transformer", config.num_global_layers)?,
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
        let patches = patches.flatten(1, 2).pad(0, 0, self.tiles - filled, 0.0);
        let patches = patches + self.before.forward(aspect, self.tiles);
        let class = self.class.value().broadcast(&[self.tiles, 1, hidden]);
        let x = concat(&[&class, &patches], 1);
        let x = x + self.positions.forward(aspect, self.tiles, self.rows);
        let x = self.norm_before.forward(&x); // [tiles, rows, hidden]

        // Rows that hold something of the picture first; then empty tiles; then what fills tiles up.
        let all = self.tiles * self.rows;
        let filling = self.rows.next_multiple_of(ROUND) - self.rows;
        let mut x = x.flatten(0, 1).pad(0, 0, self.tiles * filling, 0.0);
        let seen = self.rows_of_tiles(filled);
        let mut states = vec![];
        for block in &self.local {
            x = forward(block, x, seen);
            states.push(x.narrow(0, 0, all).unsqueeze(-1));
        }
        let tile = self.after.forward(aspect, self.tiles); // [tiles, 1, hidden]
        let spread = |rows: u32| tile.broadcast(&[self.tiles, rows, hidden]).flatten(0, 1);
        let tile = match filling {
            0 => spread(self.rows),
            _ => concat(&[&spread(self.rows), &spread(filling)], 0),
        };
        let x = self.norm_after.forward(&x) + tile;
        let x = self.global.iter().fold(x, |x, block| forward(block, x, seen));
        let x = x.narrow(0, 0, all);
        if self.kept.is_empty() {
            return Ok(x);
        }
        // Channels of the kept states alternate.
        let kept: Vec<&Tensor> = self.kept.iter().map(|&layer| &states[layer]).collect();
        let kept = concat(&kept, 2).flatten(1, 2);
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
        tables + self.patches.value() * (1.0 - gate)
    }
}

/// `[rows, hidden]` to the same; the first `seen` rows hold something of the picture. The reference's mask hides empty rows from each other
/// only: rows of the picture see them, and they see the picture.
fn forward(block: &Block, x: Tensor, seen: u32) -> Tensor {
    let rows = x.dimension(0);
    block.forward_with(x, |x| {
        let [q, k, v] = block.attention.project(x);
        let kind = SelfAttention::of_heads(block.attention.head_dim);
        let picture = q.narrow(0, 0, seen).attention(&k, &v, &kind);
        if seen == rows {
            return block.attention.merge(&picture);
        }
        let (k, v) = (k.narrow(0, 0, seen), v.narrow(0, 0, seen));
        let empty = q.narrow(0, seen, rows).attention(&k, &v, &kind);
        block.attention.merge(&concat(&[&picture, &empty], 0))
    })
}

/// What a gate lets through: `[1]`.
pub fn gate(parameter: &Parameter) -> Tensor {
    parameter.value().unary(UnaryOperation::HyperbolicTangent)
}
