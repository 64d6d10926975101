//! Phi-3-vision and Phi-3.5-vision (arXiv:2404.14219; `modeling_phi3_v.py` in their repositories, and mlx-vlm's `phi3_v`): CLIP sees tiles of a picture
//! and an overview, squares of four patches become one feature, and a Phi-3 decoder reads them.

mod config;
mod long_context;
mod model;
mod processor;
mod prompts;
mod tiling;

monocle_plugin::export_model!(processor::Phi3VProcessor, model::Phi3V, model_types: ["phi3_v"]);
