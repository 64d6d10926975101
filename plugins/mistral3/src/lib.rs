//! Pixtral (arXiv:2410.07073) and what followed: Mistral Small 3, Devstral 2, Ministral 3, and Apriel 1.5 (arXiv:2510.01141). A
//! picture keeps its shape; its features stand in the prompt row by row, each row closed by a token, and a Mistral decoder reads
//! them.

mod model;
mod processor;

pub use model::Mistral3;
pub use processor::Mistral3Processor;

monocle_plugin::export_model!(Mistral3Processor, Mistral3, model_types: ["mistral3", "pixtral", "llava/pixtral"]);
