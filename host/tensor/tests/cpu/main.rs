//! Tests of the CPU engine.

mod batches;
mod matrices;
mod operations;
mod properties;
mod support;
