//! What differs between MLX's devices.

use std::sync::OnceLock;

use mlx_rs::{Device, DeviceType, memory};

/// How MLX works on a device.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Whether it is a graphics processor.
    pub is_graphics_processor: bool,
    /// Whether norms, rotary embeddings and convolutions are written out as several operations, for want of kernels.
    pub writes_out: bool,
    /// Bytes of results that are asked for before they are waited for.
    pub piece: usize,
    /// Bytes of scores that one block of attention may make.
    pub block: usize,
}

/// Of a graphics processor, which must never wait for the host: each piece and block is some milliseconds of work.
const GRAPHICS: Habits = Habits {
    is_graphics_processor: true,
    writes_out: false,
    piece: 128 << 20,
    block: 32 << 20,
};

/// Of a processor, which gains nothing by knowing more than the next operation.
const PROCESSOR: Habits = Habits {
    is_graphics_processor: false,
    writes_out: true,
    piece: 64 << 10,
    block: 4 << 20,
};

/// The working set that Metal recommends; none elsewhere. MLX's own limit is one and a half times that before anybody sets another
/// (its `metal/allocator.cpp`), and it is one for the whole process: the first to ask sees it.
pub fn recommended_limit() -> Option<usize> {
    static RECOMMENDED: OnceLock<Option<usize>> = OnceLock::new();
    *RECOMMENDED.get_or_init(|| {
        let limit = cfg!(target_os = "macos").then(memory::memory_limit)?.ok()?;
        Some(limit / 3 * 2)
    })
}

/// Has MLX stay within so many bytes: beyond them it waits for what is running and gives back what it keeps. Metal holds on to as much,
/// as far as it recommends, so that the weights of a large model are not paged out between steps.
pub fn keep_within(bytes: usize) {
    let wired = recommended_limit().map(|recommended| recommended.min(bytes));
    // Numbers are set, for the process; where MLX refuses one, its own stays.
    let _ = memory::set_memory_limit(bytes);
    let _ = wired.map(memory::set_wired_limit);
}

impl Habits {
    /// Those of MLX's default device.
    pub fn here() -> Self {
        let kind = Device::try_default().and_then(|device| device.get_type());
        match kind {
            Ok(DeviceType::Gpu) => GRAPHICS,
            _ => PROCESSOR,
        }
    }

    /// Bytes that may be dead and not freed yet.
    pub fn dead_bytes(&self) -> usize {
        2 * self.piece
    }

    /// Whether there is a kernel for attention with heads of this size, which makes no scores in memory. (MLX's
    /// `metal/scaled_dot_product_attention.cpp`, for more than a few queries.)
    pub fn has_attention(&self, dim: usize) -> bool {
        self.is_graphics_processor && matches!(dim, 64 | 80 | 128)
    }
}
