//! Qwen2-VL (arXiv:2409.12191), Qwen2.5-VL (arXiv:2502.13923), Qwen3-VL with and without experts, GLM-4.1V, 4.5V and 4.6V (arXiv:2507.01006) and
//! GLM-OCR, which share their shape; `modeling_qwen2_vl.py`, `modeling_qwen2_5_vl.py`, `modeling_qwen3_vl.py`, `modeling_qwen3_vl_moe.py`,
//! `modeling_glm4v.py`, `modeling_glm4v_moe.py`, `modeling_glm_ocr.py` and their processors in transformers. A picture keeps its proportions and takes
//! as many tokens as it has squares of patches; positions run along time, rows and columns.

mod config;
mod merger;
mod model;
mod processor;
mod tiling;
mod vision;

monocle_plugin::export_model!(
    processor::QwenVlProcessor,
    model::QwenVl,
    model_types: ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "glm4v", "glm4v_moe", "glm_ocr"]
);
