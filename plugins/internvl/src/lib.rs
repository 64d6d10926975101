//! InternVL 2.5, 3 and 3.5 (arXiv:2412.05271, arXiv:2504.10479), in the original layout of checkpoints (`internvl_chat`) and that of
//! transformers (`internvl`): a picture is cut into square tiles and an overview; InternViT sees each, pixel shuffle packs its
//! patches into fewer features, and a Qwen decoder reads them.

mod config;
mod model;
mod processor;
mod tiling;
mod vision;

pub use model::InternVl;
pub use processor::InternVlProcessor;

monocle_plugin::export_model!(InternVlProcessor, InternVl, model_types: ["internvl", "internvl_chat"]);
