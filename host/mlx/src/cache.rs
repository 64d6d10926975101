//! Keys and values of one layer of one sequence.

use mlx_rs::ops::indexing::TryIndexMutOp;
use mlx_rs::ops::zeros_dtype;
use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::CachedHeads;

use super::array::{dimension, dimensions, joined, slice};
use super::error::Result;

/// Tokens by which a cache grows: in between, new rows are written where there is room.
pub const GROWTH: usize = 256;

/// Growing arrays of keys and of values, each `[1, kv_heads, capacity, dim]`; the keys alone where they hold the values. Clones share them until one is written to: MLX writes in place only
/// where nobody else holds an array.
#[derive(Clone)]
pub struct Cache {
    heads: CachedHeads,
    parts: Option<Vec<Array>>,
    capacity: usize,
    tokens: usize,
}

impl Cache {
    /// An empty one for these keys and values.
    pub fn new(heads: CachedHeads) -> Self {
        Self {
            heads,
            parts: None,
            capacity: 0,
            tokens: 0,
        }
    }

    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// What it holds of a token.
    pub fn heads(&self) -> CachedHeads {
        self.heads
    }

    /// Appends keys, and values unless keys hold them: `[1, kv_heads, rows, dim]`.
    pub fn append(&mut self, new: &[Array], rows: usize) -> Result<()> {
        let end = self.tokens + rows;
        let mut parts = match self.parts.take() {
            Some(parts) if end <= self.capacity => parts,
            old => self.grown(old, end, new[0].dtype())?,
        };
        for (part, new) in parts.iter_mut().zip(new) {
            part.try_index_mut((.., .., dimension(self.tokens)?..dimension(end)?, ..), new)
                .map_err(|error| super::error::device(error.to_string()))?;
        }
        self.parts = Some(parts);
        self.tokens = end;
        Ok(())
    }

    /// Forgets what comes after the first tokens; false when there are fewer. The room stays.
    pub fn truncate(&mut self, tokens: usize) -> bool {
        let there = tokens <= self.tokens;
        self.tokens = self.tokens.min(tokens);
        there
    }

    /// All keys and values, `[1, kv_heads, tokens, dim]`.
    pub fn key_values(&self) -> Result<Option<[Array; 2]>> {
        let all = [0, self.tokens];
        Ok(match self.parts.as_deref() {
            Some([keys]) => {
                let keys = slice(keys, 2, all)?;
                let values = slice(&keys, 3, [0, self.heads.value_dim])?;
                Some([keys, values])
            }
            Some([keys, values]) => Some([slice(keys, 2, all)?, slice(values, 2, all)?]),
            _ => None,
        })
    }

    /// What is stored, room for more included.
    pub fn stored(&self) -> impl Iterator<Item = &Array> {
        self.parts.iter().flatten()
    }

    fn grown(&mut self, old: Option<Vec<Array>>, end: usize, dtype: Dtype) -> Result<Vec<Array>> {
        self.capacity = end.next_multiple_of(GROWTH);
        let part = |which: usize| -> Result {
            let dim = self.heads.stored_dims()[which];
            let room = dimensions(&[1, self.heads.kv_heads, self.capacity - self.tokens, dim])?;
            let room = zeros_dtype(&room, dtype)?;
            match &old {
                Some(old) if self.tokens > 0 => joined(&[slice(&old[which], 2, [0, self.tokens])?, room], 2),
                _ => Ok(room),
            }
        };
        let parts = if self.heads.latent { 1 } else { 2 };
        (0..parts).map(part).collect()
    }
}
