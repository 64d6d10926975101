//! Folders that are one user's alone: what lies in them is run.

use std::fs::{DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Makes the folder if need be, and checks it; the error says why it is not used.
pub fn make(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("`{}` cannot be used: {error}", folder.display());
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    check(folder)
}

/// Checks that a folder is this user's, and that nobody else can use it.
pub fn check(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    let found =
        std::fs::symlink_metadata(folder).map_err(|error| format!("`{shown}` cannot be used: {error}"))?;
    if !found.is_dir() {
        return Err(format!("`{shown}` is not a folder"));
    }
    own(&found).map_err(|reason| format!("`{shown}` {reason}: delete it, or change whose it is"))
}

/// Whether something is this user's, and nobody else can change it; else what is wrong.
pub fn own(found: &Metadata) -> Result<(), &'static str> {
    // SAFETY: it takes nothing and cannot fail.
    if found.uid() != unsafe { libc::geteuid() } {
        return Err("belongs to somebody else");
    }
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => Err("can be used by others than its owner"),
    }
}
