//! SmolVLM, SmolVLM2 (pictures) and Idefics3 (arXiv:2408.12637, arXiv:2504.05299): a picture is cut into square tiles and an
//! overview; SigLIP sees each, pixel shuffle packs its patches into fewer features, and a Llama decoder reads them.

mod model;
mod processor;
mod tiling;

pub use model::SmolVlm;
pub use processor::SmolVlmProcessor;

monocle_plugin::export_model!(SmolVlmProcessor, SmolVlm, model_types: ["smolvlm", "idefics3"]);
