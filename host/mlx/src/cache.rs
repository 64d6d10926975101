//! Keys and values of one layer of one sequence.

use mlx_rs::ops::indexing::TryIndexMutOp;
use mlx_rs::ops::zeros_dtype;
use mlx_rs::{Array, Dtype};

use super::array::{dimension, dimensions, joined, slice};
use super::error::Result;

/// Tokens by which a cache grows: in between, new rows are written where there is room.
pub const GROWTH: usize = 256;

/// A growing pair of arrays, each `[1, kv_heads, capacity, dim]`. Clones share them until one is written to: MLX writes in place only
/// where nobody else holds an array.
#[derive(Clone)]
pub struct Cache {
    /// `[kv_heads, dim]` of keys and of values.
    shapes: [[usize; 2]; 2],
    parts: Option<[Array; 2]>,
    capacity: usize,
    tokens: usize,
}

impl Cache {
    /// An empty one for rows of these shapes.
    pub fn new(shapes: [[usize; 2]; 2]) -> Self {
        Self {
            shapes,
            parts: None,
            capacity: 0,
            tokens: 0,
        }
    }

    /// How many tokens it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// `[kv_heads, dim]` of keys and of values.
    pub fn shapes(&self) -> [[usize; 2]; 2] {
        self.shapes
    }

    /// Appends keys and values `[1, kv_heads, rows, dim]`.
    pub fn append(&mut self, new: &[Array; 2], rows: usize) -> Result<()> {
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
        let Some([keys, values]) = &self.parts else {
            return Ok(None);
        };
        let all = [0, self.tokens];
        Ok(Some([slice(keys, 2, all)?, slice(values, 2, all)?]))
    }

    /// What is stored, room for more included.
    pub fn stored(&self) -> impl Iterator<Item = &Array> {
        self.parts.iter().flatten()
    }

    fn grown(&mut self, old: Option<[Array; 2]>, end: usize, dtype: Dtype) -> Result<[Array; 2]> {
        self.capacity = end.next_multiple_of(GROWTH);
        let part = |which: usize| -> Result {
            let [kv_heads, dim] = self.shapes[which];
            let room = dimensions(&[1, kv_heads, self.capacity - self.tokens, dim])?;
            let room = zeros_dtype(&room, dtype)?;
            match &old {
                Some(old) if self.tokens > 0 => joined(&[slice(&old[which], 2, [0, self.tokens])?, room], 2),
                _ => Ok(room),
            }
        };
        Ok([part(0)?, part(1)?])
    }
}
