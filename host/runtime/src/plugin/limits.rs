//! Bounds on a plugin instance.

use std::time::Duration;

use monocle_tensor::recorder::RecordingLimits;

/// What an instance may use. A manifest can lower these, or raise them as far as [`Limits::MAXIMUM`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Linear memory of the instance.
    pub memory_bytes: usize,
    /// Time of one call.
    pub call: Duration,
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
        pixel_bytes: 4 << 30,
        recording: RecordingLimits {
            operations: 1_000_000,
            constant_bytes: 1 << 30,
            elements: 1 << 36,
        },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            call: Duration::from_secs(10),
            pixel_bytes: 1 << 30,
            recording: RecordingLimits::default(),
        }
    }
}

/// Refuses to grow an instance beyond its limit, and remembers that it did.
#[derive(Debug)]
pub struct MemoryLimiter {
    limit: usize,
    refused: Option<usize>,
}

impl MemoryLimiter {
    /// Nothing used so far.
    pub fn new(limit: usize) -> Self {
        Self { limit, refused: None }
    }

    /// The limit in bytes, and what was wanted when it was refused.
    pub fn take_refused(&mut self) -> Option<(usize, usize)> {
        self.refused.take().map(|wanted| (self.limit, wanted))
    }
}

impl wasmtime::ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if wanted > self.limit {
            self.refused = Some(wanted);
            return Ok(false);
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(wanted <= 100_000)
    }
}
