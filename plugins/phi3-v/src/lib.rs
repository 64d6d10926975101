//! Phi-3-vision and Phi-3.5-vision (arXiv:2404.14219): CLIP sees tiles of a picture and an overview, squares of four patches become
//! one feature, and a Phi-3 decoder reads them.

mod model;
mod processor;
mod prompts;
mod tiling;

pub use model::Phi3V;
pub use processor::Phi3VProcessor;

monocle_plugin::export_model!(Phi3VProcessor, Phi3V, model_types: ["phi3_v"]);
