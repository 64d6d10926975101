//! Buffers for values and caches: counted, and kept for reuse, so that a steady run asks the system for nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use monocle_tensor::backend::{Interruption, MemoryUse};

/// Free buffers are handed back to the system beyond this many bytes.
pub const MOST_CACHED: usize = 1 << 30;

/// Where buffers come from and go back to.
#[derive(Clone, Default)]
pub struct Memory(Rc<RefCell<State>>);

struct State {
    /// Free buffers by their length.
    free: HashMap<usize, Vec<Vec<f32>>>,
    usage: MemoryUse,
    /// Bytes that may be in use.
    most: usize,
    /// How many requests from here on are granted before one is refused.
    #[cfg(feature = "refusals")]
    granted: Option<usize>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            free: HashMap::new(),
            usage: MemoryUse::default(),
            most: usize::MAX,
            #[cfg(feature = "refusals")]
            granted: None,
        }
    }
}

/// Floats or 32-bit integers, back in the pool when dropped.
pub struct Buffer {
    data: Vec<f32>,
    memory: Memory,
}

/// Bytes beside buffers that are counted as in use until this is dropped: lists, and what threads have of their own.
pub struct Held {
    bytes: usize,
    memory: Memory,
}

/// A list that is counted as in use until it is dropped. It has room for as many elements as it was asked for.
pub struct List<T> {
    items: Vec<T>,
    _held: Held,
}

impl<T> List<T> {
    /// Adds one behind the others.
    pub fn push(&mut self, item: T) {
        debug_assert!(self.items.len() < self.items.capacity());
        self.items.push(item);
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> Extend<T> for List<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

/// The size of a buffer for so many elements: in steps of an eighth at most, so that neighbouring sizes share buffers. A size that no memory has
/// stays beyond all memory.
pub fn rounded(elements: usize) -> usize {
    let step = elements.checked_next_power_of_two().unwrap_or(usize::MAX) / 8;
    elements
        .checked_next_multiple_of(step.max(16))
        .unwrap_or(usize::MAX)
}

impl Memory {
    /// A buffer of at least `elements` elements, whose contents are whatever was there. Where the limit or the system does not allow it, the
    /// engine's work ends with [`Interruption::Memory`].
    pub fn take(&self, elements: usize) -> Buffer {
        let elements = rounded(elements);
        let bytes = elements.saturating_mul(size_of::<f32>());
        let mut state = self.0.borrow_mut();
        #[cfg(feature = "refusals")]
        state.count(bytes);
        let found = state.free.get_mut(&elements).and_then(Vec::pop);
        if found.is_some() {
            state.usage.cached -= bytes;
        } else {
            state.make_room(bytes);
        }
        let data = found.or_else(|| allocate(elements));
        let data = data.or_else(|| {
            // What is free here the system may have for other things.
            state.clear();
            allocate(elements)
        });
        let Some(data) = data else {
            state.refuse(bytes, None);
        };
        state.begin(bytes);
        drop(state);
        Buffer {
            data,
            memory: self.clone(),
        }
    }

    /// Counts bytes that are allocated elsewhere, before they are: within the limit, as those of buffers.
    pub fn hold(&self, bytes: usize) -> Held {
        let mut state = self.0.borrow_mut();
        #[cfg(feature = "refusals")]
        state.count(bytes);
        // No system has so much, whatever the limit.
        if isize::try_from(bytes).is_err() {
            state.refuse(bytes, None);
        }
        state.make_room(bytes);
        state.begin(bytes);
        drop(state);
        Held {
            bytes,
            memory: self.clone(),
        }
    }

    /// An empty list for so many elements. Where the limit or the system does not allow it, it is as with [`Self::take`].
    pub fn list<T>(&self, most: usize) -> List<T> {
        let bytes = most.saturating_mul(size_of::<T>());
        let held = self.hold(bytes);
        let mut items = Vec::new();
        if items.try_reserve_exact(most).is_err() {
            // What is free here the system may have for other things.
            self.clear_cache();
            if items.try_reserve_exact(most).is_err() {
                drop(held);
                self.0.borrow().refuse(bytes, None);
            }
        }
        List { items, _held: held }
    }

    /// A list of so many times the same.
    pub fn repeated<T: Clone>(&self, item: T, count: usize) -> List<T> {
        let mut list = self.list(count);
        list.items.resize(count, item);
        list
    }

    /// Hands free buffers back to the system.
    pub fn clear_cache(&self) {
        self.0.borrow_mut().clear();
    }

    /// No more than this is allocated: free buffers are handed back first, then the work that asks for more ends.
    pub fn keep_within(&self, bytes: usize) {
        self.0.borrow_mut().most = bytes;
    }

    /// What is allocated.
    pub fn usage(&self) -> MemoryUse {
        self.0.borrow().usage
    }

    /// After so many requests for memory the next one is refused, whatever there is, and then none; `None` takes it back. What was named
    /// before and has not come yet.
    #[cfg(feature = "refusals")]
    pub fn refuse_after(&self, granted: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut self.0.borrow_mut().granted, granted)
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

    /// Frees buffers, or refuses, where so much more would be beyond the limit.
    fn make_room(&mut self, bytes: usize) {
        let all = self.usage.active.saturating_add(bytes);
        if all.saturating_add(self.usage.cached) > self.most {
            self.clear();
        }
        if all > self.most {
            self.refuse(bytes, Some(self.most));
        }
    }

    #[cfg(feature = "refusals")]
    fn count(&mut self, bytes: usize) {
        match &mut self.granted {
            Some(0) => {
                self.granted = None;
                self.refuse(bytes, Some(self.most));
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }

    fn begin(&mut self, bytes: usize) {
        self.usage.active += bytes;
        self.usage.peak = self.usage.peak.max(self.usage.active);
    }

    fn refuse(&self, wanted: usize, limit: Option<usize>) -> ! {
        let in_use = self.usage.active;
        Interruption::Memory {
            wanted,
            in_use,
            limit,
        }
        .raise()
    }
}

/// Zeros, if the system has room for them. Nothing is written to: memory that is asked for and not used costs nothing.
fn allocate(elements: usize) -> Option<Vec<f32>> {
    bytemuck::allocation::try_zeroed_vec(elements).ok()
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

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.0.borrow_mut().usage.active -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use monocle_tensor::backend::{BackendError, guarded};

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
        // What would be too much is refused, and nothing is lost by it.
        for wanted in [SMALL, usize::MAX] {
            memory.keep_within(2 * SMALL);
            let before = memory.usage().active;
            let attempt = || {
                let _all = [memory.take(wanted / 4), memory.take(1024)];
                Ok(())
            };
            let refused = guarded("cpu", attempt);
            assert!(matches!(refused, Err(BackendError::Memory { .. })), "{refused:?}");
            assert_eq!(memory.usage().active, before);
        }
        let held = guarded("cpu", || Ok(memory.hold(SMALL)));
        assert_eq!(memory.usage().active, 2 * SMALL);
        let refused = guarded("cpu", || Ok(memory.hold(1)));
        let limit = Some(2 * SMALL);
        let expected = |error: &BackendError| matches!(error, BackendError::Memory { wanted: 1, in_use, limit: found } if *in_use == 2 * SMALL && *found == limit);
        assert!(refused.is_err_and(|error| expected(&error)));
        drop(held);
        // What would be too much is not kept.
        let another = memory.take(1024);
        memory.keep_within(SMALL);
        drop(another);
        drop(small);
        assert_eq!(memory.usage().active, 0);
        assert!(memory.usage().cached <= SMALL, "{:?}", memory.usage());
    }

    #[test]
    fn sizes_that_no_memory_has_stay_beyond_it() {
        assert_eq!(
            (rounded(0), rounded(1), rounded(17), rounded(1024)),
            (0, 16, 32, 1024)
        );
        assert_eq!(rounded(1025), 1280);
        for elements in [usize::MAX, usize::MAX - 7, (1 << 63) + 1] {
            assert!(rounded(elements) >= elements);
        }
        // No limit was set: the system refuses, without an abort.
        let refused = guarded("cpu", || Ok(Memory::default().take(1 << 60)));
        assert!(matches!(refused, Err(BackendError::Memory { limit: None, .. })));
    }

    #[test]
    fn lists_are_counted_and_refused_as_buffers_are() {
        let memory = Memory::default();
        memory.keep_within(SMALL);
        let mut list = memory.list::<u64>(SMALL / 8);
        assert_eq!(memory.usage().active, SMALL);
        list.extend(0..3);
        list.push(3);
        assert_eq!(*list, [0, 1, 2, 3]);
        let refused = guarded("cpu", || Ok(memory.list::<u8>(1).len()));
        assert!(matches!(
            refused,
            Err(BackendError::Memory {
                wanted: 1,
                in_use: SMALL,
                limit: Some(SMALL)
            })
        ));
        drop(list);
        assert_eq!(*memory.repeated(7, 3), [7; 3]);
        assert_eq!(memory.usage().active, 0);
        // What no system has, without a limit: an error, no abort, and nothing stays counted.
        memory.keep_within(usize::MAX);
        for most in [usize::MAX, usize::MAX / 8, 1 << 56] {
            let refused = guarded("cpu", || Ok(memory.list::<u64>(most).len()));
            assert!(
                matches!(refused, Err(BackendError::Memory { limit: None, .. })),
                "{refused:?}"
            );
            assert_eq!(memory.usage().active, 0);
        }
        let refused = guarded("cpu", || Ok(memory.hold(usize::MAX).bytes));
        assert!(
            matches!(refused, Err(BackendError::Memory { limit: None, .. })),
            "{refused:?}"
        );
    }
}
