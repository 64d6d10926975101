//! LFM2-VL and LFM2.5-VL (arXiv:2511.23404): SigLIP 2 sees a picture at its own aspect ratio, a large one in tiles and as an overview;
//! pixel shuffle packs its patches into fewer features, and LFM2, most of whose layers are short convolutions, reads them.

mod decoder;
mod model;
mod processor;
mod tiling;

pub use model::Lfm2Vl;
pub use processor::Lfm2VlProcessor;

monocle_plugin::export_model!(Lfm2VlProcessor, Lfm2Vl, model_types: ["lfm2_vl", "lfm2-vl"]);
