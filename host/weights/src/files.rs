//! Opening a model's files: only what is a file is opened, and a Git LFS pointer is told from what it stands for.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::Path;

use monocle_files::FileError;

use crate::error::WeightsError;

/// Git LFS keeps pointers shorter than this (github.com/git-lfs/git-lfs, docs/spec.md).
pub(crate) const POINTER_BYTES: u64 = 1024;

/// Opens a file for reading; `None` when there is none. Links are followed: the cache is made of them. A pipe or a device is
/// refused before it is opened, because opening alone may wait for ever.
pub(crate) fn open(path: &Path) -> Result<Option<(File, Metadata)>, WeightsError> {
    match monocle_files::open(path) {
        Ok(opened) => Ok(Some(opened)),
        Err(FileError::NotAFile { found }) => Err(WeightsError::NotAFile {
            path: path.to_owned(),
            found,
        }),
        Err(FileError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WeightsError::io("open", path, error.into())),
    }
}

/// A file's contents are refused if they are a Git LFS pointer.
pub(crate) fn refuse_pointer(path: &Path, contents: &[u8]) -> Result<(), WeightsError> {
    match pointer(contents) {
        Some(size) => Err(WeightsError::LfsPointer {
            file: path.to_owned(),
            size,
        }),
        None => Ok(()),
    }
}

/// The size that a Git LFS pointer promises, if it says one; `None` for anything else. Lines of a key, a space and a value; the
/// first one says the version.
fn pointer(contents: &[u8]) -> Option<Option<u64>> {
    if contents.len() as u64 >= POINTER_BYTES || !contents.starts_with(b"version https://git-lfs") {
        return None;
    }
    let text = String::from_utf8_lossy(contents);
    let size = text.lines().find_map(|line| line.strip_prefix("size "));
    Some(size.and_then(|size| size.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_from_files() {
        // The example of Git LFS's specification.
        let example = "version https://git-lfs.github.com/spec/v1\n\
            oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
        assert_eq!(pointer(example.as_bytes()), Some(Some(12345)));
        let windows = example.replace('\n', "\r\n");
        assert_eq!(pointer(windows.as_bytes()), Some(Some(12345)));
        let cut = &example[..60];
        assert_eq!(pointer(cut.as_bytes()), Some(None));
        assert_eq!(pointer(b"{\"size\": 12345}"), None);
        assert_eq!(pointer(b""), None);
        let long = example.repeat(20);
        assert_eq!(pointer(long.as_bytes()), None);
    }
}
