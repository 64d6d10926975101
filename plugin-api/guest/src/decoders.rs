//! Language decoders that several families share.

mod attention;
mod llama;

pub use llama::{Llama, LlamaConfig};
