//! Plugins as native libraries: what `plugin-api/include/monocle_plugin.h` says, from the host's side.
//!
//! A library runs in this process, and nothing holds it: it is loaded only where the user trusts exactly this file ([`super::trust`]). Limits on
//! handles, recordings, logs and pictures are the host's own, and hold as for components. Of a call's time, what is asked of the host is
//! refused when it is over, and an answer that comes too late is none; but nobody can stop a library that computes for ever, and nobody counts its
//! memory.

mod edge;
mod host_side;
pub mod library;
mod v0_2;

/// What a library's stamp begins with.
pub const STAMP: &str = "monocle:plugin:stamp:";
/// How the files of libraries end on this system.
pub const ENDING: &str = std::env::consts::DLL_SUFFIX;
/// The contract of libraries.
pub const CONTRACT: &str = "0.2.0";

/// Whether a library that was built for this version of the contract can be served.
pub fn serves(contract: &str) -> bool {
    contract.starts_with("0.2.") && !contract.contains('-')
}

/// Whether a file is a native library: ELF, or Mach-O for one processor or several.
pub fn is_library(bytes: &[u8]) -> bool {
    const STARTS: [[u8; 4]; 3] = [*b"\x7fELF", [0xcf, 0xfa, 0xed, 0xfe], [0xca, 0xfe, 0xba, 0xbe]];
    STARTS.iter().any(|start| bytes.starts_with(start))
}
