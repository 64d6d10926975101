//! PaliGemma and PaliGemma 2 (arXiv:2407.07726, arXiv:2412.03555): SigLIP's patches, one feature each, stand before a short task
//! prompt that a Gemma decoder reads both ways.

mod model;
mod processor;

pub use model::PaliGemma;
pub use processor::PaliGemmaProcessor;

monocle_plugin::export_model!(PaliGemmaProcessor, PaliGemma, model_types: ["paligemma"]);
