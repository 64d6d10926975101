//! Large programs are computed in pieces, so that what is dead is freed while the rest is still being asked for.
//!
//! Left to itself MLX allocates results as soon as they are asked for, far ahead of what is computed, and frees operands once they have
//! been used: a long chain of large results would lie in memory side by side.

use mlx_rs::{Array, transforms};

use super::error::Result;

/// Counts what is asked for, and now and then has it computed.
pub struct Pieces {
    /// Bytes of results that make a piece; `None`: everything is one.
    limit: Option<usize>,
    bytes: usize,
    /// The last result of the piece that is being computed.
    running: Option<Array>,
}

impl Pieces {
    /// For pieces of so many bytes.
    pub fn of(limit: Option<usize>) -> Self {
        Self {
            limit,
            bytes: 0,
            running: None,
        }
    }

    /// Counts a result. When a piece is full, asks for all that is alive to be computed, and waits for the piece before: so
    /// the device has always something to do, and never more than two pieces of what nobody needs any longer.
    pub fn add(&mut self, bytes: usize, result: &Array, alive: impl FnOnce() -> Vec<Array>) -> Result<()> {
        self.bytes += bytes;
        if self.limit.is_none_or(|limit| self.bytes < limit) {
            return Ok(());
        }
        self.bytes = 0;
        transforms::async_eval(&alive())?;
        if let Some(before) = self.running.replace(result.clone()) {
            transforms::eval([&before])?;
        }
        Ok(())
    }
}
