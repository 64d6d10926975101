//! Buffers for values and caches: counted, and kept for reuse, so that a steady run asks the system for nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use monocle_tensor::backend::MemoryUse;

/// Free buffers are handed back to the system beyond this many bytes.
pub const MOST_CACHED: usize = 1 << 30;

/// Where buffers come from and go back to.
#[derive(Clone, Default)]
pub struct Memory(Rc<RefCell<State>>);

struct State {
    /// Free buffers by their length.
    free: HashMap<usize, Vec<Vec<f32>>>,
    usage: MemoryUse,
    /// Bytes beyond which free buffers are handed back first.
    most: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            free: HashMap::new(),
            usage: MemoryUse::default(),
            most: usize::MAX,
        }
    }
}

/// Floats or 32-bit integers, back in the pool when dropped.
pub struct Buffer {
    data: Vec<f32>,
    memory: Memory,
}

/// The size of a buffer for so many elements: in steps of an eighth at most, so that neighbouring sizes share buffers.
pub fn rounded(elements: usize) -> usize {
    let step = (elements.next_power_of_two() / 8).max(16);
    elements.next_multiple_of(step)
}

impl Memory {
    /// A buffer of at least `elements` elements, whose contents are whatever was there.
    pub fn take(&self, elements: usize) -> Buffer {
        let elements = rounded(elements);
        let bytes = elements * size_of::<f32>();
        let mut state = self.0.borrow_mut();
        let found = state.free.get_mut(&elements).and_then(Vec::pop);
        if found.is_some() {
            state.usage.cached -= bytes;
        } else if state.usage.active + state.usage.cached + bytes > state.most {
            state.clear();
        }
        state.usage.active += bytes;
        state.usage.peak = state.usage.peak.max(state.usage.active);
        drop(state);
        Buffer {
            data: found.unwrap_or_else(|| vec![0.0; elements]),
            memory: self.clone(),
        }
    }

    /// Hands free buffers back to the system.
    pub fn clear_cache(&self) {
        self.0.borrow_mut().clear();
    }

    /// Free buffers are handed back rather than that more is allocated than this.
    pub fn keep_within(&self, bytes: usize) {
        self.0.borrow_mut().most = bytes;
    }

    /// What is allocated.
    pub fn usage(&self) -> MemoryUse {
        self.0.borrow().usage
    }

    /// Starts a new measurement of the peak.
    pub fn reset_peak(&self) {
        let usage = &mut self.0.borrow_mut().usage;
        usage.peak = usage.active;
    }
}

impl State {
    fn clear(&mut self) {
        self.free.clear();
        self.usage.cached = 0;
    }
}

impl Buffer {
    /// Its elements as floats.
    pub fn floats(&self) -> &[f32] {
        &self.data
    }

    /// Its elements as floats.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Its elements as integers.
    pub fn ints(&self) -> &[i32] {
        bytemuck::cast_slice(&self.data)
    }

    /// Its elements as integers.
    pub fn ints_mut(&mut self) -> &mut [i32] {
        bytemuck::cast_slice_mut(&mut self.data)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        let bytes = data.len() * size_of::<f32>();
        let mut state = self.memory.0.borrow_mut();
        state.usage.active -= bytes;
        if state.usage.cached + bytes <= MOST_CACHED
            && state.usage.active + state.usage.cached + bytes <= state.most
        {
            state.usage.cached += bytes;
            state.free.entry(data.len()).or_default().push(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a buffer of 1,024 elements.
    const SMALL: usize = 4096;

    #[test]
    fn free_buffers_go_before_the_limit_is_passed() {
        let memory = Memory::default();
        memory.keep_within(3 * SMALL);
        let two = [1024; 2].map(|elements| memory.take(elements));
        drop(two);
        assert_eq!(memory.usage().cached, 2 * SMALL);
        // One of another size does not fit beside those.
        let large = memory.take(2048);
        assert_eq!((memory.usage().active, memory.usage().cached), (2 * SMALL, 0));
        drop(large);
        // But a small one fits beside that.
        let small = memory.take(1024);
        assert_eq!((memory.usage().active, memory.usage().cached), (SMALL, 2 * SMALL));
        // What would be too much is not kept.
        let another = memory.take(1024);
        memory.keep_within(SMALL);
        drop(another);
        drop(small);
        assert_eq!(memory.usage().active, 0);
        assert!(memory.usage().cached <= SMALL, "{:?}", memory.usage());
    }
}
