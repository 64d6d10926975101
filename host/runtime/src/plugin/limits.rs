//! Bounds on a plugin instance.

use std::time::{Duration, Instant};

use monocle_tensor::recorder::RecordingLimits;

/// What an instance may use. A manifest can lower these, or raise them as far as [`Limits::MAXIMUM`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Linear memory of the instance.
    pub memory_bytes: usize,
    /// Time of one call.
    pub call: Duration,
    /// When the request that it works for must end: no call goes on beyond it.
    pub until: Option<Instant>,
    /// Bytes of pictures and pixels that the host holds for it.
    pub pixel_bytes: usize,
    /// Bounds on each recording.
    pub recording: RecordingLimits,
}

impl Limits {
    /// The most that a manifest can ask for.
    pub const MAXIMUM: Self = Self {
        memory_bytes: 1 << 30,
        call: Duration::from_secs(60),
        until: None,
        pixel_bytes: 4 << 30,
        recording: RecordingLimits {
            operations: 1_000_000,
            constant_bytes: 16 << 20,
            elements: 1 << 36,
        },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            call: Duration::from_secs(10),
            until: None,
            pixel_bytes: 1 << 30,
            recording: RecordingLimits::default(),
        }
    }
}

/// Linear memories of an instance: interpreters that were made components share one among their modules.
const MEMORIES: usize = 16;
/// Tables of an instance.
const TABLES: usize = 64;
/// Elements of all tables.
const TABLE_ELEMENTS: usize = 200_000;
/// Core instances of an instance; a component of dynamically linked libraries has some tens.
const INSTANCES: usize = 512;

/// Refuses to grow an instance beyond its limit, and remembers that it did. Memories and tables are summed: a component may have several.
#[derive(Debug)]
pub struct MemoryLimiter {
    limit: usize,
    used: usize,
    elements: usize,
    refused: Option<usize>,
}

impl MemoryLimiter {
    /// Nothing used so far.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            elements: 0,
            refused: None,
        }
    }

    /// The limit in bytes, and what was wanted when it was refused.
    pub fn take_refused(&mut self) -> Option<(usize, usize)> {
        self.refused.take().map(|wanted| (self.limit, wanted))
    }
}

impl wasmtime::ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // What the system then refuses stays counted: the instance ends with it.
        let all = self.used.saturating_add(wanted.saturating_sub(current));
        if all > self.limit {
            self.refused = Some(all);
            return Ok(false);
        }
        self.used = all;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let all = self.elements.saturating_add(wanted.saturating_sub(current));
        if all > TABLE_ELEMENTS {
            return Ok(false);
        }
        self.elements = all;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter;

    use super::*;

    #[test]
    fn memories_and_tables_are_summed() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap_or(false));
        assert!(!limiter.memory_growing(0, 60, None).unwrap_or(true));
        assert_eq!(limiter.take_refused(), Some((100, 120)));
        // The first grows, by what is left.
        assert!(limiter.memory_growing(60, 100, None).unwrap_or(false));
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).unwrap_or(false));
        assert!(!limiter.table_growing(0, 1, None).unwrap_or(true));
    }
}
