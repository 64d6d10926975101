//! Reading a tokenizer's files: only regular ones, only so large, and never a Git LFS pointer in place of one.

use std::path::Path;

use monocle_files::FileError;
use serde_json::Value;

use super::error::TokenizerError;

/// The largest file that is read. The largest tokenizers known have some 40 MB.
pub const MAX_BYTES: u64 = 64 << 20;
/// What the values of `tokenizer.json` may take once they are parsed. The largest known has 262,144 tokens and 514,906 merges, which
/// take 270 MB and are counted as 330.
const MOST: u64 = 512 << 20;
/// Those of a file beside it: the largest known (6,414 added tokens) take 13 MB.
const MOST_BESIDE: u64 = 24 << 20;

/// How every Git LFS pointer begins (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The bytes of a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, TokenizerError> {
    let bytes = match monocle_files::read(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(FileError::NotAFile { found }) => {
            return Err(TokenizerError::NotAFile {
                path: path.to_owned(),
                kind: found,
            });
        }
        Err(FileError::TooLarge { bytes, most }) => {
            return Err(TokenizerError::TooLarge {
                path: path.to_owned(),
                bytes,
                limit: most,
            });
        }
        Err(error) => {
            return Err(TokenizerError::Unreadable {
                path: path.to_owned(),
                source: error.into(),
            });
        }
    };
    if bytes.starts_with(LFS_POINTER) {
        return Err(TokenizerError::LfsPointer {
            path: path.to_owned(),
        });
    }
    Ok(Some(bytes))
}

/// A JSON file that may be absent. One that is not JSON is a note; one that is no file at all, or a pointer, is an
/// error: what it should say is known to be elsewhere.
pub fn read_json(path: &Path, notes: &mut Vec<String>) -> Result<Option<Value>, TokenizerError> {
    let bytes = match read(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error @ TokenizerError::Unreadable { .. }) => {
            notes.push(error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Some(reason) = takes_more(&bytes, MOST_BESIDE) {
        return Err(TokenizerError::Excessive {
            path: path.to_owned(),
            reason,
        });
    }
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            notes.push(format!(
                "`{}` is not valid JSON and is ignored: {error}",
                path.display()
            ));
            Ok(None)
        }
    }
}

/// What is wrong with a JSON text that has more values than any tokenizer, in words. It is looked at before it is parsed.
pub fn too_many_values(json: &[u8]) -> Option<String> {
    takes_more(json, MOST)
}

fn takes_more(json: &[u8], most: u64) -> Option<String> {
    let taken = monocle_files::parsed_bytes(json);
    (taken > most).then(|| format!("its values take {taken} bytes, more than {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_published_tokenizers_are_read() {
        let bytes = |entry: &str, count: u64| count * monocle_files::parsed_bytes(entry.as_bytes());
        let counted = bytes(r#""some token": 262143,"#, 262_144) + bytes(r#"["some", " token"],"#, 514_906);
        assert!(counted < MOST * 2 / 3, "{counted}");
    }
}
