//! Parity, conformance and end-to-end tests: what they share.

pub mod oracle;
pub mod parity;
pub mod project;
