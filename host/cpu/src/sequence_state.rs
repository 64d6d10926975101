//! State of sequences between steps: key-value caches, contexts of cross attention, rows that convolutions keep.

use std::collections::HashMap;
use std::rc::Rc;

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

/// Keys and values of one layer, in blocks: growing never copies. Sequences with the same beginning share blocks; the first to write
/// to a shared one gets a copy.
#[derive(Clone)]
pub struct Cache {
    memory: Memory,
    /// `[kv_heads * dim, kv_heads * value_dim]`
    widths: [usize; 2],
    blocks: Vec<Rc<[Buffer; 2]>>,
    tokens: usize,
}

/// Keys and values of a context.
#[derive(Clone)]
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
#[derive(Clone)]
pub struct Convolution {
    /// `[taps - 1, channels]`, oldest first.
    pub rows: Value,
    /// Tokens seen.
    pub tokens: usize,
    /// The rows and the tokens before the last step, which may have to be undone.
    pub before: Option<(Value, usize)>,
}

impl Convolution {
    /// Goes back to what it was after its first tokens; false where that is gone.
    fn truncate(&mut self, tokens: usize) -> bool {
        if self.tokens != tokens
            && let Some((rows, before)) = self.before.take()
        {
            (self.rows, self.tokens) = (rows, before);
        }
        self.tokens == tokens
    }
}

impl Sequence {
    /// What it kept after its first tokens, sharing blocks; none where a convolution has moved on for more than a step.
    pub fn part(&self, tokens: usize) -> Option<Self> {
        let mut part = Self {
            caches: self.caches.clone(),
            contexts: self.contexts.clone(),
            convolutions: self.convolutions.clone(),
        };
        part.truncate(tokens).then_some(part)
    }

    /// Goes back to what it was after its first tokens; false where that is gone.
    pub fn truncate(&mut self, tokens: usize) -> bool {
        let mut convolutions = self.convolutions.values_mut();
        self.caches.values_mut().all(|cache| cache.truncate(tokens))
            && convolutions.all(|state| state.truncate(tokens))
    }
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
                self.blocks.push(Rc::new(self.new_block()));
            }
            if Rc::get_mut(&mut self.blocks[block]).is_none() {
                let mut copy = self.new_block();
                for ((to, from), width) in copy.iter_mut().zip(&*self.blocks[block]).zip(self.widths) {
                    to.floats_mut()[..row * width].copy_from_slice(&from.floats()[..row * width]);
                }
                self.blocks[block] = Rc::new(copy);
            }
            let count = (BLOCK_TOKENS - row).min(rows - done);
            let buffers = Rc::get_mut(&mut self.blocks[block]).expect("a shared block was copied above");
            for ((buffer, width), from) in buffers.iter_mut().zip(self.widths).zip([keys, values]) {
                buffer.floats_mut()[row * width..(row + count) * width]
                    .copy_from_slice(&from[done * width..(done + count) * width]);
            }
            self.tokens += count;
            done += count;
        }
    }

    /// Forgets what comes after the first tokens; false when there are fewer.
    fn truncate(&mut self, tokens: usize) -> bool {
        if tokens > self.tokens {
            return false;
        }
        self.blocks.truncate(tokens.div_ceil(BLOCK_TOKENS));
        self.tokens = tokens;
        true
    }

    fn new_block(&self) -> [Buffer; 2] {
        self.widths.map(|width| self.memory.take(BLOCK_TOKENS * width))
    }

    /// All keys and values.
    pub fn key_values(&self) -> KeyValues<'_> {
        KeyValues {
            blocks: self
                .blocks
                .iter()
                .map(|block| [block[0].floats(), block[1].floats()])
                .collect(),
            block_tokens: BLOCK_TOKENS,
        }
    }
}
