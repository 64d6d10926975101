//! LFM2-VL and LFM2.5-VL (arXiv:2511.23404; `modeling_lfm2_vl.py`, `modeling_lfm2.py` and `image_processing_lfm2_vl.py` in transformers): SigLIP 2 sees
//! a picture at its own aspect ratio, a large one in tiles and as an overview; pixel shuffle packs its patches into fewer features, and LFM2,
//! most of whose layers are short convolutions, reads them.

mod config;
mod model;
mod processor;
mod tiling;
mod tower;

monocle_plugin::export_model!(processor::Lfm2VlProcessor, model::Lfm2Vl, model_types: ["lfm2_vl", "lfm2-vl"]);
