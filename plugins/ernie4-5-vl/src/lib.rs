//! ERNIE 4.5 VL (arXiv technical report of June 2025; `modeling_ernie4_5_vl_moe.py` and its processors in transformers): a picture keeps its proportions
//! and takes as many tokens as it has squares of patches; layers have experts for text and others, narrower ones, for pictures.

mod config;
mod experts;
mod model;
mod processor;
mod tiling;
mod tower;

monocle_plugin::export_model!(
    processor::ErnieProcessor,
    model::Ernie,
    model_types: ["ernie4_5_vl_moe", "ernie4_5_moe_vl"]
);
