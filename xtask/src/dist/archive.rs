//! Archives: the same files give the same bytes, whoever packs them, where and when.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::sorted_entries;

/// The time of every file in an archive: 2026-01-01. (Tools warn of files from 1970.)
const TIME: u64 = 1_767_225_600;

/// One file.
pub struct File {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether it can be started.
    pub is_program: bool,
}

/// The files of an archive, by their paths below its one folder.
#[derive(Default)]
pub struct Tree(BTreeMap<String, File>);

impl Tree {
    /// Puts a file there.
    pub fn add(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        let file = File {
            bytes: bytes.into(),
            is_program: false,
        };
        self.0.insert(path.into(), file);
    }

    /// Puts a program there.
    pub fn add_program(&mut self, path: &str, bytes: Vec<u8>) {
        let file = File {
            bytes,
            is_program: true,
        };
        self.0.insert(path.to_owned(), file);
    }

    /// Puts a folder's files there, and those of the folders in it, without the names that are not wanted.
    pub fn add_folder(&mut self, path: &str, from: &Path, except: &[&str]) -> Result<()> {
        for entry in sorted_entries(from)? {
            let name = entry
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if except.contains(&name.as_str()) || name.starts_with('.') {
                continue;
            }
            let place = format!("{path}/{name}");
            match entry.is_dir() {
                true => self.add_folder(&place, &entry, except)?,
                false => {
                    let bytes = fs::read(&entry).with_context(|| format!("reading `{}`", entry.display()))?;
                    self.add(place, bytes);
                }
            }
        }
        Ok(())
    }

    /// All of them.
    pub fn files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.0.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// As a tar archive: in the order of their names, of one time and nobody's.
    pub fn tar(&self, folder: &str) -> Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, file) in self.files() {
            let mut header = Header::new_ustar();
            header.set_size(file.bytes.len() as u64);
            header.set_mode(if file.is_program { 0o755 } else { 0o644 });
            header.set_mtime(TIME);
            header.set_uid(0);
            header.set_gid(0);
            header.set_entry_type(EntryType::Regular);
            builder
                .append_data(&mut header, format!("{folder}/{path}"), file.bytes.as_slice())
                .with_context(|| format!("packing `{path}`"))?;
        }
        builder.into_inner().context("packing")
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes `NAME.tar.xz` and `NAME.tar.xz.sha256` (as `sha256sum -c` reads it) into a folder; gives the archive's path and hash.
pub fn write(tree: &Tree, name: &str, folder: &Path) -> Result<(PathBuf, String)> {
    let packed = xz(&tree.tar(name)?)?;
    let hash = sha256(&packed);
    fs::create_dir_all(folder).with_context(|| format!("creating `{}`", folder.display()))?;
    let file = format!("{name}.tar.xz");
    let path = folder.join(&file);
    fs::write(&path, packed).with_context(|| format!("writing `{}`", path.display()))?;
    let sum = folder.join(format!("{file}.sha256"));
    fs::write(&sum, format!("{hash}  {file}\n")).with_context(|| format!("writing `{}`", sum.display()))?;
    Ok((path, hash))
}

/// One thread: with several, the bytes depend on their number.
fn xz(bytes: &[u8]) -> Result<Vec<u8>> {
    let started = Command::new("xz")
        .args(["-9", "--threads=1", "--check=crc64", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = started.context("running `xz`; on Debian: apt-get install xz-utils")?;
    let mut input = child.stdin.take().context("xz has an input")?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(bytes));
        let output = child.wait_with_output();
        writer.join().expect("writing does not panic").and(output)
    })
    .context("packing with `xz`")?;
    if !output.status.success() {
        bail!("xz failed ({})", output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(order: [usize; 2]) -> Tree {
        let mut tree = Tree::default();
        for index in order {
            match index {
                0 => tree.add_program("bin/a", b"program".to_vec()),
                _ => tree.add("share/b", *b"text"),
            }
        }
        tree
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let packed = tree([0, 1]).tar("x-1").unwrap();
        assert_eq!(packed, tree([1, 0]).tar("x-1").unwrap());
        // The numbers are those of the ustar format: name at 0, mode at 100, owner at 108, time at 136, each in octal digits.
        assert_eq!(&packed[..7], b"x-1/bin");
        assert_eq!(&packed[100..108], b"0000755\0");
        assert_eq!(&packed[108..116], b"0000000\0");
        assert_eq!(&packed[136..148], b"15125334400\0");
        // A header and its content, each in blocks of 512 bytes; then the second.
        assert_eq!(&packed[1024..1031], b"x-1/sha");
        assert_eq!(&packed[1124..1132], b"0000644\0");
    }

    #[test]
    fn sums_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
    }
}
