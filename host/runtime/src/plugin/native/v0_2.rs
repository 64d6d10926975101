//! Version 0.2 of the contract, for libraries.

#[rustfmt::skip]
pub mod bindings;
#[allow(clippy::duplicate_mod, reason = "one source for both carriers")]
#[path = "../v0_2/convert.rs"]
pub mod convert;
#[allow(clippy::duplicate_mod, reason = "one source for both carriers")]
#[path = "../v0_2/imports.rs"]
mod imports;

use super::host_side;
