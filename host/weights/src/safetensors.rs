//! One safetensors file, mapped into memory.

use std::path::{Path, PathBuf};

use memmap2::Mmap;
use monocle_tensor::stored::{Bytes, StoredTensor};

use crate::error::WeightsError;
use crate::files::{self, POINTER_BYTES};
use crate::header::{Header, TensorHeader};
use crate::hub::distrust;
use crate::mapped::Mapped;

/// A safetensors file: its header checked, its data mapped and untouched until somebody reads them.
#[derive(Debug, Clone)]
pub struct SafetensorsFile {
    path: PathBuf,
    header: Header,
    bytes: Bytes,
}

impl SafetensorsFile {
    /// Opens and checks a file.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let broken = |problem| {
            distrust(path);
            WeightsError::BrokenFile {
                file: path.to_owned(),
                problem,
            }
        };
        let Some((file, metadata)) = files::open(path)? else {
            let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(WeightsError::io("open", path, absent));
        };
        if metadata.len() == 0 {
            return Err(broken("it is empty".to_owned()));
        }
        // SAFETY: the mapping is only read, and lives as long as the `Bytes` that own it. Another program that changes
        // the file meanwhile could change values under us; model files are not written to in place, and every offset
        // used below comes from a copy made once, so no access can leave the mapping. One that makes it shorter is seen: see `mapped`.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| WeightsError::io("map", path, source))?;
        ask_for_huge_pages(&map);
        if metadata.len() < POINTER_BYTES {
            files::refuse_pointer(path, &map)?;
        }
        let map = Mapped::new(map, path);
        let header = Header::parse(map.as_ref()).map_err(broken)?;
        Ok(Self {
            path: path.to_owned(),
            header,
            bytes: Bytes::new(map),
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name, for messages.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or(String::new(), |name| name.to_string_lossy().into_owned())
    }

    /// What the file holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The tensor that `header`, an entry of this file's header, describes.
    pub(crate) fn tensor(&self, header: &TensorHeader) -> Result<StoredTensor, WeightsError> {
        let bytes = self
            .bytes
            .slice(header.range.clone())
            .ok_or_else(|| WeightsError::BrokenFile {
                file: self.path.clone(),
                problem: format!("tensor `{}` lies outside the file", header.name),
            })?;
        Ok(StoredTensor {
            name: header.name.clone(),
            kind: header.kind,
            shape: header.shape.clone(),
            bytes,
        })
    }
}

/// Asks the system for pages of 2 MiB, before the first is read: an answer reads all weights again for every token, and with small pages a
/// good part of that time goes into looking up addresses. Where the system has none for files, or the file lies in small pages in its
/// cache, nothing changes.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_huge_pages(map: &Mmap) {
    let _ = map.advise(memmap2::Advice::HugePage);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_huge_pages(_: &Mmap) {}
