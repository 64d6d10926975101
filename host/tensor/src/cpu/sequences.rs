//! State of sequences between steps: key-value caches, contexts of cross attention, rows that convolutions keep.

use std::collections::HashMap;

use super::attention::{KeyValues, TILE_KEYS};
use super::memory::{Buffer, Memory};
use super::value::Value;
use crate::backend::{BackendError, SequenceId, Step};

/// Tokens of one block of a cache.
pub const BLOCK_TOKENS: usize = TILE_KEYS;

/// All sequences.
#[derive(Default)]
pub struct Sequences {
    next: u64,
    all: HashMap<SequenceId, Sequence>,
}

/// What one sequence keeps.
#[derive(Default)]
pub struct Sequence {
    /// Tokens of finished steps.
    tokens: usize,
    /// A step failed midway: layers disagree.
    broken: bool,
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

impl Sequences {
    /// A new one.
    pub fn create(&mut self) -> SequenceId {
        let id = SequenceId(self.next);
        self.next += 1;
        self.all.insert(id, Sequence::default());
        id
    }

    /// Forgets one.
    pub fn drop(&mut self, id: SequenceId) {
        self.all.remove(&id);
    }

    /// One that a checked step names.
    pub fn get(&mut self, id: SequenceId) -> Result<&mut Sequence, BackendError> {
        self.all.get_mut(&id).ok_or_else(|| unknown(id))
    }

    /// One, to look at.
    pub fn look(&self, id: SequenceId) -> Option<&Sequence> {
        self.all.get(&id)
    }

    /// Checks that a step continues its sequences where they are, and marks them as being worked on.
    pub fn begin(&mut self, step: &Step) -> Result<(), BackendError> {
        for (index, rows) in step.sequences.iter().enumerate() {
            let sequence = self
                .all
                .get(&rows.sequence)
                .ok_or_else(|| unknown(rows.sequence))?;
            if sequence.broken {
                return Err(BackendError::Sequence(format!(
                    "an earlier step of sequence {} failed; drop it and start a new one",
                    rows.sequence.0
                )));
            }
            if sequence.tokens != rows.past {
                return Err(BackendError::Sequence(format!(
                    "sequence {} holds {} tokens, the step says {}",
                    rows.sequence.0, sequence.tokens, rows.past
                )));
            }
            if step.sequences[..index]
                .iter()
                .any(|other| other.sequence == rows.sequence)
            {
                return Err(BackendError::Sequence(format!(
                    "sequence {} is in the step twice",
                    rows.sequence.0
                )));
            }
        }
        for rows in &step.sequences {
            if let Some(sequence) = self.all.get_mut(&rows.sequence) {
                sequence.broken = true;
            }
        }
        Ok(())
    }

    /// Counts a finished step.
    pub fn finish(&mut self, step: &Step) {
        for rows in &step.sequences {
            if let Some(sequence) = self.all.get_mut(&rows.sequence) {
                sequence.tokens += rows.rows;
                sequence.broken = false;
            }
        }
    }
}

fn unknown(id: SequenceId) -> BackendError {
    BackendError::Sequence(format!("there is no sequence {}", id.0))
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
