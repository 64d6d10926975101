//! GGUF, the files of llama.cpp: weights and everything else of a model in one file, or in one for the language model and one (`mmproj`)
//! for what sees. The format is that of ggml's `docs/gguf.md`.
//!
//! [`GgufFile`] reads one file. [`Tables`] say what an architecture's key-values and tensors are called elsewhere, and [`Made`] is a model's
//! folder as those tables make it: `config.json`, tokenizer and template, and tensors under the names that plugins ask for.

mod file;
mod header;
mod made;
mod sees;
mod source;
mod stored_as;
mod table;
mod vocabulary;

pub use file::GgufFile;
pub use header::{GgufHeader, GgufTensor, HeaderError, Storage};
pub use made::Made;
pub use source::{
    Chosen, GgufFiles, files_of, is_gguf, is_gguf_name, is_gguf_snapshot, models_of, names_below, names_in,
};
pub(crate) use source::{choose, model_of, tagged};
pub use table::Tables;
