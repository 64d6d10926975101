//! One GGUF file, mapped into memory.

use std::path::{Path, PathBuf};

use memmap2::Mmap;
use monocle_tensor::stored::{Bytes, StoredTensor, StoredType};

use super::header::{GgufHeader, GgufTensor, HeaderError, Storage};
use crate::error::{WeightsError, cut};
use crate::files::{self, POINTER_BYTES};
use crate::hub::distrust;
use crate::mapped::Mapped;
use crate::safetensors::ask_for_huge_pages;

/// A GGUF file: its header checked, its tensors mapped and untouched until somebody reads them.
#[derive(Debug, Clone)]
pub struct GgufFile {
    path: PathBuf,
    header: GgufHeader,
    bytes: Bytes,
}

impl GgufFile {
    /// Opens and checks a file.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let broken = |problem| {
            distrust(path);
            WeightsError::BrokenGguf {
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
        // SAFETY: as for safetensors files: the mapping is only read, lives as long as the `Bytes` that own it, and every offset used
        // below comes from a copy of the header that was made and checked once, so no access can leave the mapping. A file that becomes
        // shorter is seen: see `mapped`.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| WeightsError::io("map", path, source))?;
        ask_for_huge_pages(&map);
        if metadata.len() < POINTER_BYTES {
            files::refuse_pointer(path, &map)?;
        }
        let map = Mapped::new(map, path);
        let header = GgufHeader::parse(map.as_ref()).map_err(|error| match error {
            HeaderError::Broken(problem) => broken(problem),
            HeaderError::Unread(problem) => WeightsError::GgufContents {
                file: path.to_owned(),
                problem: cut(&problem).into_owned(),
            },
        })?;
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

    /// What the file holds.
    pub fn header(&self) -> &GgufHeader {
        &self.header
    }

    /// The stored bytes of one of this file's tensors. Of blocks, an element is a byte, and the last dimension a row's bytes.
    pub(crate) fn tensor(&self, tensor: &GgufTensor) -> Result<StoredTensor, WeightsError> {
        let bytes = self
            .bytes
            .slice(tensor.range.clone())
            .ok_or_else(|| WeightsError::BrokenGguf {
                file: self.path.clone(),
                problem: format!("tensor `{}` lies outside the file", tensor.name),
            })?;
        let mut shape = tensor.shape.clone();
        let kind = match tensor.storage {
            Storage::Plain(kind) => kind,
            Storage::Blocks(scheme) => {
                if let Some(last) = shape.last_mut() {
                    *last = *last / scheme.elements() * scheme.bytes();
                }
                StoredType::U8
            }
        };
        Ok(StoredTensor {
            name: tensor.name.clone(),
            kind,
            shape,
            bytes,
        })
    }
}
