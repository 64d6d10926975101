//! State of sequences between steps: key-value caches, contexts of cross attention, rows that convolutions keep.

use std::collections::HashMap;

use super::attention::{KeyValues, TILE_KEYS};
use super::memory::{Buffer, Memory};
use super::value::Value;

/// Tokens of one block of a cache.
pub const BLOCK_TOKENS: usize = TILE_KEYS;

/// What one sequence keeps.
#[derive(Default)]
pub struct Sequence {
    /// By layer.
    pub caches: HashMap<u32, Cache>,
    /// By layer.
    pub contexts: HashMap<u32, Context>,
    /// By layer.
    pub convolutions: HashMap<u32, Convolution>,
}

/// Keys and values of one layer, in blocks: growing never copies.
pub struct Cache {
    memory: Memory,
    /// `[kv_heads * dim, kv_heads * value_dim]`
    widths: [usize; 2],
    blocks: Vec<[Buffer; 2]>,
    tokens: usize,
}

/// Keys and values of a context.
pub struct Context {
    /// `[rows, kv_heads, dim]`
    pub keys: Value,
    /// `[rows, kv_heads, value_dim]`
    pub values: Value,
    /// How many rows.
    pub rows: usize,
    /// `[kv_heads, dim, value_dim]`
    pub shape: [usize; 3],
}

/// The last rows that a short convolution saw.
pub struct Convolution {
    /// `[taps - 1, channels]`, oldest first.
    pub rows: Value,
    /// Tokens seen.
    pub tokens: usize,
}

impl Cache {
    /// An empty one for rows of these widths.
    pub fn new(memory: &Memory, widths: [usize; 2]) -> Self {
        Self {
            memory: memory.clone(),
            widths,
            blocks: Vec::new(),
            tokens: 0,
        }
    }

    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Widths of its rows of keys and values.
    pub fn widths(&self) -> [usize; 2] {
        self.widths
    }

    /// Appends rows of keys and values.
    pub fn append(&mut self, keys: &[f32], values: &[f32], rows: usize) {
        let mut done = 0;
        while done < rows {
            let (block, row) = (self.tokens / BLOCK_TOKENS, self.tokens % BLOCK_TOKENS);
            if block == self.blocks.len() {
                let buffers = self.widths.map(|width| self.memory.take(BLOCK_TOKENS * width));
                self.blocks.push(buffers);
            }
            let count = (BLOCK_TOKENS - row).min(rows - done);
            for ((buffer, width), from) in self.blocks[block].iter_mut().zip(self.widths).zip([keys, values])
            {
                buffer.floats_mut()[row * width..(row + count) * width]
                    .copy_from_slice(&from[done * width..(done + count) * width]);
            }
            self.tokens += count;
            done += count;
        }
    }

    /// All keys and values.
    pub fn key_values(&self) -> KeyValues<'_> {
        KeyValues {
            blocks: self
                .blocks
                .iter()
                .map(|[keys, values]| [keys.floats(), values.floats()])
                .collect(),
            block_tokens: BLOCK_TOKENS,
        }
    }
}
