//! The photos of a folder: found, and raw files and their JPEGs brought together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// How pictures end that are no raw photos.
const PICTURES: [&str; 18] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff", "pbm", "pgm", "ppm",
    "pnm", "heic", "heif", "avif",
];
/// How raw photos end; of some, only the picture beside them can be shown.
const RAW: [&str; 10] = [
    "dng", "nef", "cr2", "cr3", "arw", "pef", "rw2", "raf", "orf", "srw",
];
/// What a camera writes beside a raw file.
const BESIDE_RAW: [&str; 5] = ["jpg", "jpeg", "jpe", "heic", "heif"];

/// A photo: one file, or a raw file with the picture that the camera wrote beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Photo {
    /// The file that is looked at, below the folder.
    pub shown: PathBuf,
    /// All its files, that one first.
    pub files: Vec<PathBuf>,
}

/// What a folder has.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their names.
    pub photos: Vec<Photo>,
    /// What could not be looked into, and why.
    pub unread: Vec<String>,
}

/// The photos in a folder and the folders in it. Hidden files and folders are left out, and links to folders are not followed.
pub fn find(folder: &Path) -> Found {
    let mut found = Found::default();
    // Files by folder and name without ending.
    let mut groups: BTreeMap<(PathBuf, String), Vec<PathBuf>> = BTreeMap::new();
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let entries = WalkDir::new(folder)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name()));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                found.unread.push(error.to_string());
                continue;
            }
        };
        let path = entry.path();
        if !ending(path).is_some_and(|ending| is_picture(&ending) || is_raw(&ending)) || !path.is_file() {
            continue;
        }
        let Ok(below) = path.strip_prefix(folder) else {
            continue;
        };
        let stem = below
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let parent = below.parent().map(Path::to_owned).unwrap_or_default();
        groups.entry((parent, stem)).or_default().push(below.to_owned());
    }
    for files in groups.into_values() {
        found.photos.extend(of_one_name(files));
    }
    found.photos.sort();
    found
}

/// Files that differ by their ending only: one photo if they are raw and what a camera writes beside it, else a photo each.
fn of_one_name(mut files: Vec<PathBuf>) -> Vec<Photo> {
    files.sort();
    let has_raw = files
        .iter()
        .any(|file| ending(file).is_some_and(|ending| is_raw(&ending)));
    let is_beside = |file: &PathBuf| ending(file).is_some_and(|ending| BESIDE_RAW.contains(&ending.as_str()));
    let mut beside = files.iter().filter(|file| is_beside(file));
    match (has_raw, beside.next().cloned(), beside.next()) {
        (true, Some(shown), None) => {
            let is_of_it = |file: &PathBuf| ending(file).is_some_and(|ending| is_raw(&ending));
            let (raw, others): (Vec<_>, Vec<_>) = files
                .into_iter()
                .filter(|file| *file != shown)
                .partition(is_of_it);
            let whole = Photo {
                files: [shown.clone()].into_iter().chain(raw).collect(),
                shown,
            };
            [whole].into_iter().chain(others.into_iter().map(alone)).collect()
        }
        _ => files.into_iter().map(alone).collect(),
    }
}

fn alone(file: PathBuf) -> Photo {
    Photo {
        shown: file.clone(),
        files: vec![file],
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_lowercase())
}

fn is_picture(ending: &str) -> bool {
    PICTURES.contains(&ending)
}

fn is_raw(ending: &str) -> bool {
    RAW.contains(&ending)
}
