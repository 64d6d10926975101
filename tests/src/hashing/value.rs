//! Hashes in place of numbers, and who holds them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use monocle_tensor::backend::MemoryUse;

/// One number from two, in which every bit of both counts (the finaliser of SplitMix64, Steele, Lea and Flood, OOPSLA 2014).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut hash = (a.rotate_left(17) ^ b).wrapping_add(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// A hash of a text.
pub fn text(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash, u64::from(byte)))
}

/// The logit of a token, from a row's hash: between 0 and 8.
pub fn logit(row: u64, token: u64) -> f32 {
    (mix(row, token) >> 40) as f32 / (1_u64 << 21) as f32
}

/// What stands for a tensor.
#[derive(Debug, Clone)]
pub enum Value {
    /// One hash for each row.
    Rows(Vec<u64>),
    /// One for all of it.
    Whole(u64),
    /// Floats: pixels, logits.
    Numbers(Vec<f32>),
    /// Tokens that were chosen.
    Ids(Vec<i32>),
}

impl Value {
    /// A hash for each of so many rows.
    pub fn rows(&self, count: usize) -> Vec<u64> {
        match self {
            Self::Rows(rows) => rows.clone(),
            other => {
                let whole = other.whole();
                (0..count as u64).map(|row| mix(whole, row)).collect()
            }
        }
    }

    /// A hash of all of it.
    pub fn whole(&self) -> u64 {
        match self {
            Self::Whole(hash) => *hash,
            Self::Rows(rows) => rows.iter().fold(1, |hash, row| mix(hash, *row)),
            Self::Numbers(values) => {
                let bits = values.iter().map(|value| u64::from(value.to_bits()));
                bits.fold(values.len() as u64, mix)
            }
            Self::Ids(ids) => ids.iter().fold(2, |hash, id| mix(hash, *id as u64)),
        }
    }
}

/// The result of an operation that treats each row by itself; the row counts where they differ.
pub fn combine(salt: u64, operands: &[&Value]) -> Result<Value, Vec<usize>> {
    let counts: Vec<usize> = operands
        .iter()
        .filter_map(|value| match value {
            Value::Rows(rows) => Some(rows.len()),
            _ => None,
        })
        .collect();
    let Some(&count) = counts.first() else {
        return Ok(Value::Whole(
            operands.iter().fold(salt, |hash, value| mix(hash, value.whole())),
        ));
    };
    if counts.iter().any(|other| *other != count) {
        return Err(counts);
    }
    let mut result = vec![salt; count];
    for value in operands {
        match value {
            Value::Rows(rows) => {
                for (hash, row) in result.iter_mut().zip(rows) {
                    *hash = mix(*hash, *row);
                }
            }
            other => {
                let whole = other.whole();
                result.iter_mut().for_each(|hash| *hash = mix(*hash, whole));
            }
        }
    }
    Ok(Value::Rows(result))
}

/// What an engine's tensor holds.
#[derive(Clone)]
pub struct Held {
    /// Its contents.
    pub value: Value,
    /// Whether the tokens were read that the step was computed from, where the device chose them.
    pub after: Option<Rc<Cell<bool>>>,
    /// Whether this was read.
    pub read: Rc<Cell<bool>>,
    _taken: Rc<Taken>,
}

impl Held {
    /// A value and the memory that it takes.
    pub fn new(value: Value, after: Option<Rc<Cell<bool>>>, taken: Taken) -> Self {
        Self {
            value,
            after,
            read: Rc::default(),
            _taken: Rc::new(taken),
        }
    }
}

/// Counts bytes.
#[derive(Clone, Default)]
pub struct Memory(Rc<RefCell<MemoryUse>>);

/// Bytes that are in use for as long as this lives.
#[derive(Default)]
pub struct Taken {
    bytes: usize,
    memory: Memory,
}

impl Memory {
    /// Takes bytes.
    pub fn take(&self, bytes: usize) -> Taken {
        let mut usage = self.0.borrow_mut();
        usage.active += bytes;
        usage.peak = usage.peak.max(usage.active);
        drop(usage);
        Taken {
            bytes,
            memory: self.clone(),
        }
    }

    /// What is in use.
    pub fn usage(&self) -> MemoryUse {
        *self.0.borrow()
    }

    /// Starts a new measurement of the peak.
    pub fn reset_peak(&self) {
        let mut usage = self.0.borrow_mut();
        usage.peak = usage.active;
    }
}

impl Taken {
    /// So many bytes in place of those.
    pub fn resize(&mut self, bytes: usize) {
        let memory = self.memory.clone();
        // Not both at once.
        *self = Self::default();
        *self = memory.take(bytes);
    }

    /// Nothing, of the same memory.
    pub fn nothing(&self) -> Self {
        self.memory.take(0)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.memory.0.borrow_mut().active -= self.bytes;
    }
}
