//! Plugins: what differs between models.
//!
//! [`loaded::Plugin`] is a loaded file; [`instance::Instance`] serves one request. What carries a plugin is a component in a sandbox ([`wasm`]) or
//! a native library that the user trusts ([`native`]); [`carrier`] is what the two have in common. What a plugin asks for while it is recorded
//! lands in a [`monocle_tensor::recorder::Recorder`], so nothing here knows an engine.

mod bounds;
pub mod carrier;
pub mod content;
pub mod contract;
pub mod error;
pub mod file;
pub mod folders;
mod functions;
pub mod instance;
pub mod limits;
pub mod loaded;
pub mod native;
mod private;
pub mod services;
pub mod stamp;
pub mod state;
pub mod trust;
pub mod wasm;
