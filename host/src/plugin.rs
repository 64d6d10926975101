//! Plugins: what differs between models, sandboxed.
//!
//! [`component::Plugin`] is a loaded file; [`instance::Instance`] serves one request. What a plugin asks for while it is
//! recorded lands in a [`monocle_tensor::recorder::Recorder`], so nothing here knows an engine.

mod bindings;
pub mod component;
pub mod contract;
mod convert;
pub mod error;
pub mod folders;
mod imports;
pub mod instance;
pub mod limits;
pub mod services;
pub mod stamp;
pub mod state;
