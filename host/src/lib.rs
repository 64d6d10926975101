//! Runs vision-language models: images and text in, text out.
//!
//! The host knows no model. What differs between models is data in a manifest, or code in a plugin.

pub mod plugin;
