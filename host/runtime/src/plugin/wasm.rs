//! Plugins as WebAssembly components, run by wasmtime.

mod compiled;
pub mod component;
pub mod instance;
pub mod recording;
mod shared;
mod v0_1;
mod v0_2;
mod version;

pub use version::{is_served, served};
