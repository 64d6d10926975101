//! What mlx-rs takes from macOS, where there is none.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seeds mlx-rs's random numbers, which this engine does not use; any clock does.
// SAFETY: nothing else defines this name where this module is built.
#[unsafe(no_mangle)]
pub extern "C" fn mach_approximate_time() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(1, |time| time.as_nanos() as u64)
}
