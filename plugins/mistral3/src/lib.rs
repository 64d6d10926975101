//! Pixtral (arXiv:2410.07073) and what followed: Mistral Small 3, Devstral 2, Ministral 3, and Apriel 1.5 (arXiv:2510.01141);
//! `modeling_mistral3.py`, `modeling_pixtral.py` and `processing_pixtral.py` in transformers. A picture keeps its shape; its features stand in the
//! prompt row by row, each row closed by a token, and a Mistral decoder reads them.

mod config;
mod model;
mod processor;
mod temperature;
mod tower;

monocle_plugin::export_model!(
    processor::Mistral3Processor,
    model::Mistral3,
    model_types: ["mistral3", "pixtral", "llava/pixtral"]
);
