//! What a plugin can rely on, and what it cannot break.

mod adapter;
mod adapter_in_c;
mod adapter_in_c_native;
mod carriers;
mod encoder_decoder;
mod files;
mod hostile;
mod latent_experts;
mod made;
mod names;
mod prompt_format;
mod replay;
mod tools;
