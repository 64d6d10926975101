//! Gemma 3 with pictures (arXiv:2503.19786; `modeling_gemma3.py` and `processing_gemma3.py` in transformers): SigLIP sees a picture squeezed to a
//! square, its patches are pooled to a fixed number of features that see each other both ways, and layers with a sliding window alternate
//! with full ones.

mod config;
mod model;
mod processor;

monocle_plugin::export_model!(processor::Gemma3Processor, model::Gemma3, model_types: ["gemma3"]);
