//! Language decoders that several families share.

mod attention;
mod llama;
pub mod long_context;
mod temperature;

pub use attention::Positions;
pub use llama::{Layer, Llama, LlamaConfig};
pub use temperature::Temperature;
