//! Molmo (arXiv:2409.17146; `modeling_molmo.py` and its processors in allenai/Molmo-7B-D-0924): CLIP sees an overview and overlapping crops; two of
//! its layers are pooled by attention, and what comes of it is added to the embeddings of the picture's tokens. Answers may point.

mod config;
mod crops;
mod decoder;
mod model;
mod points;
mod processor;
mod tower;

monocle_plugin::export_model!(processor::MolmoProcessor, model::Molmo, model_types: ["molmo"], answers_parts: true);
