//! SmolVLM, SmolVLM2 and Idefics3 (arXiv:2504.05299, arXiv:2408.12637; `modeling_idefics3.py` and `processing_idefics3.py` in transformers): a picture
//! is cut into tiles and an overview, SigLIP sees each, pixel shuffle packs its patches into fewer features, and a Llama decoder reads
//! them.

mod config;
mod model;
mod processor;
mod tiling;

monocle_plugin::export_model!(processor::SmolVlmProcessor, model::SmolVlm, model_types: ["smolvlm", "idefics3"]);
