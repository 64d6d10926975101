//! Plugins as WebAssembly components, run by wasmtime.

mod compiled;
pub mod component;
mod host_side;
mod memory;
mod v0_1;
mod v0_2;
mod version;

pub use version::{is_served, served};
