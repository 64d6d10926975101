//! Language decoders, put together of layers: Llama and its kin are there whole, others bring their own attention or feed-forward block.

mod attention;
mod bart;
mod decoder;
mod deepseek;
mod layer;
mod llama;

pub use attention::{Attention, CrossAttention};
pub use bart::{Bart, BartConfig};
pub use decoder::Decoder;
pub use layer::{Layer, Part, Residual, Step};
pub use llama::LlamaConfig;
