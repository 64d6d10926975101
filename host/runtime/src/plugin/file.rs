//! A plugin's file: read within bounds, named by its hash.

use std::path::Path;

use monocle_files::FileError;
use sha2::{Digest, Sha256};

use super::error::PluginError;

/// Larger files are no plugins.
pub const LARGEST: u64 = 64 << 20;

/// Reads a file that may be a plugin.
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    monocle_files::read(path, LARGEST).map_err(|error| match error {
        FileError::TooLarge { bytes, most } => PluginError::NotAPlugin {
            path: path.to_owned(),
            reason: format!(
                "it has {} MiB, more than the {} that a plugin may have",
                bytes >> 20,
                most >> 20
            ),
        },
        other => PluginError::Unreadable {
            path: path.to_owned(),
            source: other.into(),
        },
    })
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
