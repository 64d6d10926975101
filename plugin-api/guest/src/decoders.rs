//! Language decoders that several families share.

mod attention;
mod llama;
mod temperature;

pub use llama::{Llama, LlamaConfig};
pub use temperature::Temperature;
