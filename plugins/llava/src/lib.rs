//! LLaVA-1.5, LLaVA-1.6, called LLaVA-NeXT in configs, and LLaVA-OneVision (arXiv:2310.03744, arXiv:2408.03326; `modeling_llava.py`,
//! `modeling_llava_next.py`, `modeling_llava_onevision.py` and their processors in transformers): CLIP or SigLIP sees a picture, two layers bring its
//! patches into the decoder's space, and Llama, Mistral or Qwen reads them. From LLaVA-1.6 on, a picture is seen whole and in tiles of the aspect ratio
//! that fits best.

mod config;
mod model;
mod processor;
mod tiling;

monocle_plugin::export_model!(
    processor::LlavaProcessor,
    model::Llava,
    model_types: ["llava", "llava_next", "llava_onevision"]
);
