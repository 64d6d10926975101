//! What the survey of models rests on, tested without a model.

mod failure;
mod findings;
mod grade;
mod pages;
#[cfg(unix)]
mod process;
mod structure;
