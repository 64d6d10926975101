//! A plugin's file: read within bounds, named by its hash.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::PluginError;

/// Larger files are no plugins.
const LARGEST: u64 = 64 << 20;

/// Reads a file that may be a plugin.
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let unusable = |reason: String| PluginError::NotAPlugin {
        path: path.to_owned(),
        reason,
    };
    // Looked at before it is opened: a named pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a file")));
    }
    let too_large = || {
        unusable(format!(
            "it has {} MiB, more than the {} that a plugin may have",
            found.len() >> 20,
            LARGEST >> 20
        ))
    };
    if found.len() > LARGEST {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    if read.map_err(unreadable)? as u64 > LARGEST {
        return Err(too_large());
    }
    Ok(bytes)
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
