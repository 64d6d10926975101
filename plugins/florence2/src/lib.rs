//! Florence-2 (arXiv:2311.06242; `modeling_florence2.py` and `processing_florence2.py` in transformers and in microsoft/Florence-2-base): DaViT's
//! features of one picture (arXiv:2204.03645) stand before a task's words in the prompt of BART's encoder. Answers name places by tokens
//! `<loc_0>` to `<loc_999>`, thousandths of the picture's sides.

mod config;
mod model;
mod processor;
mod regions;
mod tasks;
mod tower;

monocle_plugin::export_model!(processor::Florence2Processor, model::Florence2, model_types: ["florence2"], answers_parts: true);
