//! Plugins as WebAssembly components, run by wasmtime.

mod bindings;
pub mod component;
mod convert;
mod imports;
pub mod instance;
pub mod recording;
