//! A whole model: one square a picture, SigLIP, pixel shuffle, a Llama decoder.

mod network;
mod processor;

monocle_plugin::export_model!(processor::OneSquare, network::Model, model_types: []);
