//! Runs vision-language models: images and text in, text out.
//!
//! The host knows no model. What differs between models is data in a manifest, or code in a plugin. [`model`] opens one,
//! [`request`] plans and checks what is asked of it, [`scheduler`] answers, [`plugin`] runs the plugins' code, [`engines`] are
//! what computes.

mod answer;
pub mod budget;
mod device_choice;
pub mod engines;
pub mod error;
mod loaded;
pub mod memory;
pub mod model;
pub mod plugin;
pub mod probe;
pub mod program;
pub mod programs;
pub mod recordings;
pub mod report;
pub mod request;
pub mod scheduler;
mod session;
mod slices;
mod token_choice;
pub mod trace;
