//! DeepSeek-VL2 (arXiv:2412.10302; `processing_deepseek_vl_v2.py`, `modeling_deepseek_vl_v2.py`, `modeling_deepseek.py` and `siglip_vit.py` in
//! github.com/deepseek-ai/DeepSeek-VL2): a picture as an overview and tiles of one size, their features row by row with an end to each row, and a
//! decoder of experts, with latent attention in all but the tiny model.

mod config;
mod grounding;
mod model;
mod processor;
mod tiling;
mod tower;

monocle_plugin::export_model!(
    processor::DeepseekVl2Processor,
    model::DeepseekVl2,
    model_types: ["deepseek_vl_v2"],
    answers_parts: true
);
