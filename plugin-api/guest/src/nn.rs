//! Layers. Each is loaded by its name in the checkpoint and applied to tensors `[.., size]`.

mod activation;
mod conv;
mod mlp;
mod norm;
mod shuffle;

pub use crate::weights::{Embedding, Experts, Linear, Parameter, embedding, experts, linear, parameter};
pub use activation::Activation;
pub use conv::PatchEmbedding;
pub use mlp::{GatedMlp, Mlp};
pub use norm::{LayerNorm, RmsNorm};
pub use shuffle::{pixel_shuffle, pixel_shuffle_grid};
