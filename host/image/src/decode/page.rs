//! `photo.tif#2`: a page of a file, named on the command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A file, and which of its pages or frames is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePage {
    /// The file.
    pub path: PathBuf,
    /// The page or frame, counted from 1, where one was named.
    pub page: Option<u32>,
}

impl FilePage {
    /// What a path means: a file of that very name where there is one, else the file before a final `#` and number.
    pub fn of(path: &Path) -> FilePage {
        let whole = || FilePage {
            path: path.to_owned(),
            page: None,
        };
        let Some((stem, page)) = path.file_name().and_then(split) else {
            return whole();
        };
        let file = path.with_file_name(stem);
        if path.exists() || !file.exists() {
            return whole();
        }
        FilePage {
            path: file,
            page: Some(page),
        }
    }
}

/// `photo.tif` and 2 of `photo.tif#2`.
fn split(name: &OsStr) -> Option<(&str, u32)> {
    let (stem, number) = name.to_str()?.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    // A number that no file can have pages for is one all the same, and is refused as such.
    (is_number && !stem.is_empty()).then(|| (stem, number.parse().unwrap_or(u32::MAX)))
}

/// The page asked for, counted from 0, of a file that has so many.
pub(super) fn chosen(
    page: Option<u32>,
    pages: u32,
    format: crate::source::Format,
) -> Result<u32, crate::error::ImageError> {
    let page = page.unwrap_or(1);
    if page == 0 || page > pages.max(1) {
        return Err(crate::error::ImageError::NoSuchPage {
            format: format.name(),
            page,
            pages: pages.max(1),
        });
    }
    Ok(page - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_after_a_hash_is_a_page() {
        let split = |name: &'static str| split(OsStr::new(name));
        assert_eq!(split("photo.tif#2"), Some(("photo.tif", 2)));
        assert_eq!(split("a#1#12"), Some(("a#1", 12)));
        assert_eq!(split("photo.tif#0"), Some(("photo.tif", 0)));
        assert_eq!(split("photo.tif#99999999999"), Some(("photo.tif", u32::MAX)));
        for name in ["photo.tif", "photo.tif#", "photo.tif#+2", "photo.tif#2a", "#2"] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
