//! Plugins: what differs between models, sandboxed.
//!
//! [`wasm::component::Plugin`] is a loaded file; [`wasm::instance::Instance`] serves one request. What a plugin asks for while it
//! is recorded lands in a [`monocle_tensor::recorder::Recorder`], so nothing here knows an engine.

mod bounds;
pub mod content;
pub mod contract;
pub mod error;
pub mod folders;
pub mod limits;
pub mod services;
pub mod stamp;
pub mod wasm;
