//! Runs vision-language models: images and text in, text out.
//!
//! The host knows no model. What differs between models is data in a manifest, or code in a plugin. [`model`] opens one,
//! [`request`] plans and checks what is asked of it, [`generate`] answers, [`plugin`] runs the plugins' code, [`engines`] are
//! what computes.

mod answer;
mod device_choice;
pub mod engines;
pub mod error;
pub mod generate;
pub mod memory;
pub mod model;
pub mod plugin;
pub mod programs;
pub mod report;
pub mod request;
pub mod trace;
