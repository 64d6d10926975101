//! Llama 3.2 Vision (arXiv:2407.21783, section 7; `modeling_mllama.py`, `processing_mllama.py` and `image_processing_pil_mllama.py` in transformers). A
//! picture becomes up to four tiles; some layers of the decoder read their features by cross attention, so that no token of the prompt is a
//! feature.

mod config;
mod decoder;
mod model;
mod processor;
mod tiling;
mod tower;

monocle_plugin::export_model!(processor::MllamaProcessor, model::Mllama, model_types: ["mllama"]);
