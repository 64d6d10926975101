//! Values of a running program: contiguous, row-major, shared.

use std::rc::Rc;

use monocle_kernels::memory::{Buffer, Memory};

/// A part of a shared buffer.
#[derive(Clone)]
pub struct Value {
    buffer: Rc<Buffer>,
    start: usize,
    len: usize,
}

impl Value {
    /// The first `len` elements of a buffer.
    pub fn new(buffer: Buffer, len: usize) -> Self {
        Self {
            buffer: Rc::new(buffer),
            start: 0,
            len,
        }
    }

    /// So many zeros.
    pub fn zeros(memory: &Memory, len: usize) -> Self {
        let mut buffer = memory.take(len);
        buffer.floats_mut()[..len].fill(0.0);
        Self::new(buffer, len)
    }

    /// A copy of these floats.
    pub fn from_floats(memory: &Memory, values: &[f32]) -> Self {
        let mut buffer = memory.take(values.len());
        buffer.floats_mut()[..values.len()].copy_from_slice(values);
        Self::new(buffer, values.len())
    }

    /// A copy of these integers.
    pub fn from_ints(memory: &Memory, values: &[i32]) -> Self {
        let mut buffer = memory.take(values.len());
        buffer.ints_mut()[..values.len()].copy_from_slice(values);
        Self::new(buffer, values.len())
    }

    /// A part of it, sharing the buffer.
    pub fn part(&self, start: usize, len: usize) -> Self {
        debug_assert!(start + len <= self.len);
        Self {
            buffer: Rc::clone(&self.buffer),
            start: self.start + start,
            len,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its elements as floats.
    pub fn floats(&self) -> &[f32] {
        &self.buffer.floats()[self.start..self.start + self.len]
    }

    /// Its elements as integers.
    pub fn ints(&self) -> &[i32] {
        &self.buffer.ints()[self.start..self.start + self.len]
    }

    /// Its elements to write to, when nobody else has them.
    pub fn unique_floats(&mut self) -> Option<&mut [f32]> {
        let range = self.start..self.start + self.len;
        Rc::get_mut(&mut self.buffer).map(|buffer| &mut buffer.floats_mut()[range])
    }
}
