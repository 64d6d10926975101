//! The files of a model: found, fetched, checked, mapped.
//!
//! [`hub::Hub`] finds a Hugging Face repository in the cache, or fetches it; [`ModelFolder`] reads the small files of
//! a model's folder; [`Checkpoint`] maps its weights and hands them out by name, in the role that a plugin asks for.
//! Weights stay as stored: what is dense stays in its own type, and what MLX quantised stays packed.

mod checkpoint;
mod compare;
mod container;
mod convert;
mod damaged;
mod dequantise;
mod error;
mod files;
mod folder;
mod foreign;
pub mod gguf;
mod header;
pub mod hub;
mod json;
mod lengths;
pub mod mapped;
mod names;
mod packed;
mod quantisation;
mod quantise;
mod safetensors;
mod shards;
mod summary;
mod turned;

pub use checkpoint::Checkpoint;
pub use compare::{Difference, Otherwise, compare};
pub use container::{NewTensor, to_safetensors};
pub use convert::{
    Converted, Converting, EMBEDDINGS_FLAG, HEAD_FLAG, Part, QuantiseOptions, SEEING, finish_conversion,
    quantise_folder, quantise_folder_with,
};
pub use dequantise::{dequantise_rows, to_f32};
pub use error::WeightsError;
pub use folder::ModelFolder;
pub use foreign::refuse_foreign;
pub use header::{Header, TensorHeader};
pub use names::NameRules;
pub use quantisation::{BITS, GROUP_SIZES};
pub use quantise::{Quantised, quantise};
pub use safetensors::SafetensorsFile;
pub use shards::files_to_fetch;
pub use summary::{KindSummary, Summary};
