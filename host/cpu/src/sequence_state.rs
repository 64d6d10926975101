//! State of sequences between steps: key-value caches, contexts of cross attention, rows that convolutions keep.

use std::collections::HashMap;
use std::rc::Rc;

use monocle_tensor::backend::KeyValueType;
use monocle_tensor::operation::CachedHeads;

use super::value::Value;
use monocle_kernels::attention::KeyValues;
use monocle_kernels::memory::{Buffer, Memory};
use monocle_kernels::stored_heads::{self, BLOCK_TOKENS};

/// How many more tokens than a sliding window sees are kept, so that a sequence can be cut back by so many.
const SLACK_TOKENS: usize = BLOCK_TOKENS;

/// What one sequence keeps.
#[derive(Default)]
pub struct Sequence {
    /// By layer.
    pub caches: HashMap<u32, Cache>,
    /// By layer.
    pub contexts: HashMap<u32, Context>,
    /// By layer.
    pub convolutions: HashMap<u32, Convolution>,
    /// By layer.
    pub states: HashMap<u32, State>,
}

/// Keys and values of one layer, in blocks: growing never copies. Sequences with the same beginning share blocks; the first to write
/// to a shared one gets a copy. Blocks that a sliding window has left behind are gone.
#[derive(Clone)]
pub struct Cache {
    memory: Memory,
    shape: CacheShape,
    /// Of keys and of values: `[kv_heads][..]`
    blocks: Vec<Rc<[Buffer; 2]>>,
    /// How many blocks before them are gone.
    gone: usize,
    tokens: usize,
    /// Of the last step.
    window: Option<usize>,
}

/// What a cache holds of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// How elements are stored.
    pub kind: KeyValueType,
    /// Keys and values.
    pub heads: CachedHeads,
}

impl CacheShape {
    /// 32-bit words of a block of keys, and of one of values.
    pub fn block_words(&self) -> [usize; 2] {
        let dims = self.heads.stored_dims();
        dims.map(|dim| {
            self.heads
                .kv_heads
                .saturating_mul(stored_heads::head_words(self.kind, dim))
        })
    }
}

/// The most tokens that a cache has room for where a sequence has so many, steps have so many rows, and a window hides the rest.
pub fn most_tokens(tokens: usize, window: Option<u32>, rows: usize) -> usize {
    let kept = window.map(|window| {
        (window as usize)
            .saturating_add(rows)
            .saturating_add(SLACK_TOKENS + BLOCK_TOKENS)
    });
    kept.map_or(tokens, |kept| tokens.min(kept))
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

/// What a recurrence has made of the tokens so far.
#[derive(Clone)]
pub struct State {
    /// `[value_heads, value_dim, dim]`
    pub values: Value,
    /// Tokens seen.
    pub tokens: usize,
    /// The values and the tokens before the last step, which may have to be undone.
    pub before: Option<(Value, usize)>,
}

impl State {
    /// Goes back to what it was after the first tokens; false where that is gone.
    fn truncate(&mut self, tokens: usize) -> bool {
        if self.tokens != tokens
            && let Some((values, before)) = self.before.take()
        {
            (self.values, self.tokens) = (values, before);
        }
        self.tokens == tokens
    }
}

impl Sequence {
    /// What it kept after its first tokens, sharing blocks; none where a convolution or a recurrence has moved on for more than a step.
    pub fn part(&self, tokens: usize) -> Option<Self> {
        let mut part = Self {
            caches: self.caches.clone(),
            contexts: self.contexts.clone(),
            convolutions: self.convolutions.clone(),
            states: self.states.clone(),
        };
        part.truncate(tokens).then_some(part)
    }

    /// Goes back to what it was after its first tokens; false where that is gone.
    pub fn truncate(&mut self, tokens: usize) -> bool {
        let mut convolutions = self.convolutions.values_mut();
        self.caches.values_mut().all(|cache| cache.truncate(tokens))
            && convolutions.all(|state| state.truncate(tokens))
            && self.states.values_mut().all(|state| state.truncate(tokens))
    }
}

impl Cache {
    /// An empty one.
    pub fn new(memory: &Memory, shape: CacheShape) -> Self {
        Self {
            memory: memory.clone(),
            shape,
            blocks: Vec::new(),
            gone: 0,
            tokens: 0,
            window: None,
        }
    }

    /// How many tokens it holds, with those that a window has left behind.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The first token that is still there.
    pub fn first_kept(&self) -> usize {
        self.gone * BLOCK_TOKENS
    }

    /// What it holds of a token.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Appends rows of keys and values, `[rows, kv_heads, dim]` (no values where keys hold them), that see through this window. What neither they nor others after the
    /// tokens before them can see is forgotten first.
    pub fn append(&mut self, keys: &[f32], values: &[f32], rows: usize, window: Option<u32>) {
        self.window = window.map(|window| window as usize);
        self.forget_hidden();
        let CacheShape { kind, heads } = self.shape;
        let (kv_heads, dims) = (heads.kv_heads, heads.stored_dims());
        let words = dims.map(|dim| stored_heads::head_words(kind, dim));
        let mut done = 0;
        while done < rows {
            let (block, row) = (self.tokens / BLOCK_TOKENS - self.gone, self.tokens % BLOCK_TOKENS);
            if block == self.blocks.len() {
                self.blocks.push(Rc::new(self.new_block()));
            }
            if Rc::get_mut(&mut self.blocks[block]).is_none() {
                let mut copy = self.new_block();
                for (to, from) in copy.iter_mut().zip(&*self.blocks[block]) {
                    to.floats_mut().copy_from_slice(from.floats());
                }
                self.blocks[block] = Rc::new(copy);
            }
            let count = (BLOCK_TOKENS - row).min(rows - done);
            let buffers = Rc::get_mut(&mut self.blocks[block]).expect("a shared block was copied above");
            for (part, from) in [keys, values].into_iter().enumerate() {
                let (dim, words) = (dims[part], words[part]);
                let width = kv_heads * dim;
                if width == 0 {
                    continue;
                }
                let from = from[done * width..(done + count) * width].chunks_exact(width);
                for (index, token) in from.enumerate() {
                    let heads = buffers[part].floats_mut().chunks_exact_mut(words);
                    for (head, x) in heads.zip(token.chunks_exact(dim)) {
                        stored_heads::store(kind, head, row + index, x);
                    }
                }
            }
            self.tokens += count;
            done += count;
        }
    }

    /// Forgets blocks that no row after the tokens can see through the window, but for the slack.
    fn forget_hidden(&mut self) {
        let Some(seen) = self.first_seen(self.tokens) else {
            return;
        };
        let gone = (seen.saturating_sub(SLACK_TOKENS) / BLOCK_TOKENS).max(self.gone);
        self.blocks.drain(..(gone - self.gone).min(self.blocks.len()));
        self.gone = gone;
    }

    /// The first token that the row after so many sees through the window.
    fn first_seen(&self, tokens: usize) -> Option<usize> {
        self.window.map(|window| (tokens + 1).saturating_sub(window))
    }

    /// Forgets what comes after the first tokens; false when there are fewer, or when the window has left behind what comes before.
    fn truncate(&mut self, tokens: usize) -> bool {
        let there = self.gone == 0
            || self
                .first_seen(tokens)
                .is_some_and(|seen| seen >= self.first_kept());
        if tokens > self.tokens || !there {
            return false;
        }
        self.blocks
            .truncate(tokens.div_ceil(BLOCK_TOKENS).saturating_sub(self.gone));
        self.tokens = tokens;
        true
    }

    fn new_block(&self) -> [Buffer; 2] {
        self.shape.block_words().map(|words| self.memory.take(words))
    }

    /// All keys and values that are still there.
    pub fn key_values(&self) -> KeyValues<'_> {
        KeyValues::Cached {
            blocks: self
                .blocks
                .iter()
                .map(|block| [block[0].floats(), block[1].floats()])
                .collect(),
            latent: self.shape.heads.latent,
            gone: self.gone,
            kind: self.shape.kind,
        }
    }
}
