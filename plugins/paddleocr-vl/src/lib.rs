//! PaddleOCR-VL (arXiv:2510.14528; `modeling_paddleocr_vl.py` and its processors in transformers): SigLIP on pictures of any size, squares of 2 by 2
//! patches joined to one feature, ERNIE 4.5's small decoder with positions along time, rows and columns.

mod model;
mod processor;
mod sizes;
mod tower;

monocle_plugin::export_model!(
    processor::PaddleOcrVlProcessor,
    model::PaddleOcrVl,
    model_types: ["paddleocr_vl"]
);
