//! Runs vision-language models: images and text in, text out.
//!
//! The host knows no model. What differs between models is data in a manifest, or code in a plugin. [`model`] opens one,
//! [`engine`] answers requests with it, [`plugin`] runs the plugins' code.

pub mod engine;
pub mod engines;
pub mod model;
pub mod plugin;
