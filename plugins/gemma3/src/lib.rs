//! Gemma 3 with pictures (arXiv:2503.19786): SigLIP sees a picture squeezed to a square, its patches are pooled to a fixed number
//! of features that see each other both ways, and layers with a sliding window alternate with full ones.

mod model;
mod processor;

pub use model::Gemma3;
pub use processor::Gemma3Processor;

monocle_plugin::export_model!(Gemma3Processor, Gemma3, model_types: ["gemma3"]);
