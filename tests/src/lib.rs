//! Parity, conformance and end-to-end tests: what they share.

pub mod contract_page;
pub mod full_checkpoint;
pub mod gguf;
pub mod hashing;
pub mod hub;
pub mod json;
pub mod made;
pub mod models_page;
pub mod native_abi;
pub mod observed;
pub mod oracle;
pub mod parity;
pub mod pictures;
pub mod program;
pub mod project;
pub mod record;
pub mod registry;
pub mod scratch;
pub mod server;
pub mod signing;
pub mod variant;
