//! LLaVA-1.5 and LLaVA-1.6, called LLaVA-NeXT in configs (arXiv:2310.03744; `modeling_llava.py`, `modeling_llava_next.py` and their processors in
//! transformers): CLIP sees a picture, two layers bring its patches into the decoder's space, and Llama or Mistral reads them. LLaVA-1.6
//! sees the picture whole and in tiles of the aspect ratio that fits best.

mod config;
mod model;
mod processor;
mod tiling;

monocle_plugin::export_model!(processor::LlavaProcessor, model::Llava, model_types: ["llava", "llava_next"]);
