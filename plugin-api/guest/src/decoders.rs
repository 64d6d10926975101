//! Language decoders that several families share.

mod attention;
mod llama;
pub mod long_context;
mod temperature;

pub use llama::{Llama, LlamaConfig};
pub use temperature::Temperature;
