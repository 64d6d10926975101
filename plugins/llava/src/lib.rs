//! LLaVA-1.5 and LLaVA-1.6, called LLaVA-NeXT in configs (arXiv:2310.03744): CLIP sees a picture, two layers bring its patches into
//! the decoder's space, and Llama or Mistral reads them. LLaVA-1.6 sees the picture whole and in tiles of the aspect ratio that
//! fits best.

mod anyres;
mod model;
mod processor;

pub use model::Llava;
pub use processor::LlavaProcessor;

monocle_plugin::export_model!(LlavaProcessor, Llava, model_types: ["llava", "llava_next"]);
