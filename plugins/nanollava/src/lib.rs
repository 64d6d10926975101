//! nanoLLaVA and nanoLLaVA-1.5, which call themselves `llava-qwen2` (`modeling_llava_qwen2.py` in their repositories, after arXiv:2310.03744):
//! SigLIP sees a picture squeezed to a square, two layers bring its patches into the decoder's space, and Qwen reads them. `<image>` in a
//! prompt is no token, but a mark between two texts.

mod model;
mod processor;

monocle_plugin::export_model!(processor::NanoLlavaProcessor, model::NanoLlava, model_types: ["llava-qwen2", "llava_qwen2"]);
