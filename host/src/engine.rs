//! Answering requests: plan, check, encode, prefill, decode. Nothing here knows a model.

mod ahead;
mod answer;
pub mod error;
pub mod generate;
pub mod memory;
pub mod pictures;
pub mod prepare;
mod process_memory;
pub mod programs;
pub mod prompt;
pub mod report;
pub mod trace;
