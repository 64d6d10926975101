//! Llama 3.2 Vision (arXiv:2407.21783, section 7). A picture becomes up to four tiles; some layers of the decoder read their features
//! by cross attention, so that no token of the prompt is a feature.

mod decoder;
mod model;
mod processor;
mod tower;

pub use model::Mllama;
pub use processor::MllamaProcessor;

monocle_plugin::export_model!(MllamaProcessor, Mllama, model_types: ["mllama"]);
