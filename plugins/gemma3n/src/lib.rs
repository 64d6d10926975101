//! Gemma 3n (`modeling_gemma3n.py` and `processing_gemma3n.py` in transformers; the tower is `mobilenetv5.py` in timm): MobileNetV5 sees a picture
//! squeezed to a square. The decoder keeps several rows for each token and updates one of them (AltUp, arXiv:2301.13310), adds a low-rank
//! residual (Laurel, arXiv:2411.07501) and an embedding of its own in each layer, and its last layers share the caches of earlier ones.

mod config;
mod decoder;
mod embedder;
mod model;
mod processor;
mod tower;
mod updates;

monocle_plugin::export_model!(processor::Gemma3nProcessor, model::Gemma3n, model_types: ["gemma3n"]);
