//! Files that are written whole or not at all, and photos that are read piece by piece.

use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Writes a file under another name first, then puts it in its place: a crash leaves the old one or the new one.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Of one name, so that a crash leaves one at most, and the next run takes it over.
    let temporary = path.with_file_name(format!(".{name}.monocle-part"));
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| {
        // What others may do with it stays as it was.
        if let Ok(before) = std::fs::metadata(path) {
            std::fs::set_permissions(&temporary, before.permissions())?;
        }
        std::fs::rename(&temporary, path)
    });
    done.inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// SHA-256 of a photo's file, in hexadecimal. It is never in memory as a whole; what is no file, or larger than any photo, is refused.
pub fn hash_of_photo(path: &Path) -> std::io::Result<String> {
    let (mut file, _) = monocle_files::open_within(path, monocle_files::PICTURE)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            bytes => hash.update(&piece[..bytes]),
        }
    }
    Ok(crate::hex(&hash.finalize()))
}
