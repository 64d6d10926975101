//! PaliGemma and PaliGemma 2 (arXiv:2407.07726, arXiv:2412.03555; `modeling_paligemma.py` and `processing_paligemma.py` in transformers): SigLIP's
//! patches, one feature each, stand before a short task prompt that a Gemma decoder reads both ways.

mod config;
mod model;
mod processor;

monocle_plugin::export_model!(processor::PaliGemmaProcessor, model::PaliGemma, model_types: ["paligemma"]);
