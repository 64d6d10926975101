//! What the survey of models rests on, tested without a model.

mod failure;
mod findings;
mod grade;
mod journal;
mod metadata;
mod pages;
mod photos;
#[cfg(unix)]
mod process;
mod scores;
mod sidecar;
mod structure;
