//! Files that are written whole or not at all.

use std::io::Write;
use std::path::Path;

/// Writes a file under another name first, then puts it in its place: a crash leaves the old one or the new one.
pub fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Of one name, so that a crash leaves one at most, and the next run takes it over.
    let temporary = path.with_file_name(format!(".{name}.monocle-part"));
    let written = std::fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| std::fs::rename(&temporary, path));
    done.inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}
