//! The engine for Apple Silicon: programs are replayed into MLX's lazy graph, through mlx-rs.
//!
//! On macOS it runs on Metal. Elsewhere the same code runs on an installed MLX library when the feature `installed` is on,
//! which is how it is tested; without the feature there is nothing in this crate.

#![cfg(any(target_os = "macos", feature = "installed"))]

mod array;
mod attention;
mod batch;
mod cache;
mod compile;
mod dense;
mod device;
mod elementwise;
mod engine;
mod error;
mod estimate;
mod fuse;
mod indexing;
#[cfg(not(target_os = "macos"))]
mod link;
mod load;
mod movement;
mod picture;
mod pieces;
mod precision;
mod prepared_program;
mod recurrence;
mod rotary;
mod run;
mod sequence_operations;

pub use engine::MlxBackend;
pub use monocle_tensor::backend::Precision;
