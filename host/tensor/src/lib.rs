//! Programs of tensor operations, and the engines that run them.
//!
//! A plugin's forward pass is *recorded*: [`recorder::Recorder`] checks each operation's shapes and writes it down, and
//! the [`program::Program`] that comes out is run, as often as wanted, by an engine behind [`backend::Backend`].

pub mod backend;
pub mod check;
pub mod interpolation;
pub mod operation;
pub mod operations;
pub mod program;
pub mod recorder;
pub mod scaled;
pub mod scheme;
pub mod sequences;
pub mod stored;
