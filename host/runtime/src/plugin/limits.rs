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
