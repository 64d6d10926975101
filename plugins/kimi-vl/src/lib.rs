//! Kimi-VL (arXiv:2504.07491; `modeling_kimi_vl.py`, `image_processing_kimi_vl.py` in moonshotai/Kimi-VL-A3B-Instruct, and vLLM's and transformers'
//! versions of its parts): MoonViT, squares of 2 by 2 patches joined to one feature, DeepSeek-V3's decoder.

mod config;
mod model;
mod processor;
mod sizes;
mod tower;

monocle_plugin::export_model!(
    processor::KimiVlProcessor,
    model::KimiVl,
    model_types: ["kimi_vl"]
);
