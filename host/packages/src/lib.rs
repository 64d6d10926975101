//! Plugins as people share them.
//!
//! A [`Package`] is one file with a plugin and what belongs to it: manifests, templates, a licence, what its test said. [`source`] gets one from a
//! file, an address or a registry of OCI artifacts, and puts one there; [`signature`] says who made it; [`installed`] keeps what was installed,
//! each file by its hash.
//!
//! Nothing here runs a plugin. What is installed may be hostile: it is a WebAssembly component, and the host's sandbox holds it.

mod error;
pub mod installed;
mod package;
pub mod signature;
pub mod source;

pub use error::PackageError;
pub use monocle_fetch::registry::sha256;
pub use package::{About, Package};
