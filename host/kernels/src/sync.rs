//! What the pool of threads is made of: the standard library's, or loom's, which tries out the schedules that threads may have.

#[cfg(not(all(test, loom)))]
pub use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize},
    sync::{Condvar, Mutex},
    thread::{Builder, JoinHandle, yield_now},
};

#[cfg(all(test, loom))]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize},
    sync::{Condvar, Mutex},
    thread::{Builder, JoinHandle, yield_now},
};

/// Whether it is loom's: time means nothing then, and to look again and again is one schedule more each time.
pub const IS_TRIED_OUT: bool = cfg!(all(test, loom));
