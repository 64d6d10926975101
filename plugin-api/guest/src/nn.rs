//! Layers. Each is loaded from its place in the checkpoint and applied to tensors `[.., size]`. What differs between checkpoints (names, biases,
//! fused projections, the order of a kernel's dimensions) is found there, so that a model's code is the same for all of them.

mod activation;
mod attention;
mod conv;
mod latent;
mod mixture;
mod mlp;
mod norm;
mod shuffle;

pub use crate::weights::{Embedding, Experts, Linear, Parameter};
pub use activation::Activation;
pub use attention::Attention;
pub use conv::{Conv1d, Conv2d};
pub use latent::{LatentAttention, LatentConfig};
pub use mixture::{Mixture, MixtureConfig};
pub use mlp::Mlp;
pub use norm::Norm;
pub use shuffle::{join_tiles, pixel_shuffle};
