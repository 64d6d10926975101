//! The header of a safetensors file, checked strictly: after this, no tensor can lie about its bytes.
//!
//! The format (github.com/huggingface/safetensors): 8 bytes with the header's length, little-endian; the header, in JSON:
//! `{"name": {"dtype": …, "shape": […], "data_offsets": [begin, end]}, …}`, `__metadata__` aside; then the data, which
//! the tensors cover without holes or overlaps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use monocle_tensor::stored::StoredType;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

/// The reference implementation takes no longer headers.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// What a safetensors file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors, in the order of their bytes.
    pub tensors: Vec<TensorHeader>,
    /// What the writer noted.
    pub metadata: BTreeMap<String, String>,
}

/// One tensor of a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorHeader {
    /// Its name.
    pub name: String,
    /// How its elements are stored.
    pub kind: StoredType,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Where its bytes are in the file.
    pub range: Range<usize>,
}

impl Header {
    /// Reads the header of `file`, all its bytes; the error says what is wrong in the words of a sentence's second half.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let Some((length, rest)) = file.split_first_chunk::<8>() else {
            return Err(format!(
                "it has {} bytes, fewer than the 8 that give the header's length",
                file.len()
            ));
        };
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER_BYTES {
            return Err(format!(
                "its header claims {length} bytes, more than the {MAX_HEADER_BYTES} that are allowed"
            ));
        }
        let Some((text, data)) = rest.split_at_checked(length as usize) else {
            return Err(format!(
                "its header claims {length} bytes, but only {} follow",
                rest.len()
            ));
        };
        let entries: Entries =
            serde_json::from_slice(text).map_err(|error| format!("bad header: {error}"))?;
        let start = file.len() - data.len();
        let mut tensors = Vec::with_capacity(entries.tensors.len());
        for (name, entry) in entries.tensors {
            tensors.push(entry.check(name, start, data.len())?);
        }
        tensors.sort_by(|a, b| {
            (a.range.start, a.range.end, &a.name).cmp(&(b.range.start, b.range.end, &b.name))
        });
        check_cover(&tensors, start, file.len())?;
        Ok(Self {
            tensors,
            metadata: entries.metadata,
        })
    }
}

/// Every byte of data belongs to exactly one tensor.
fn check_cover(tensors: &[TensorHeader], start: usize, end: usize) -> Result<(), String> {
    let mut at = start;
    let mut before: Option<&TensorHeader> = None;
    for tensor in tensors {
        let previous = before.map_or("the header".to_owned(), |tensor| {
            format!("tensor `{}`", tensor.name)
        });
        if tensor.range.start < at {
            return Err(format!("tensor `{}` begins inside {previous}", tensor.name));
        }
        if tensor.range.start > at {
            let gap = tensor.range.start - at;
            return Err(format!(
                "{gap} bytes between {previous} and tensor `{}` belong to none",
                tensor.name
            ));
        }
        at = tensor.range.end;
        before = Some(tensor);
    }
    if at < end {
        return Err(format!("{} bytes after the last tensor belong to none", end - at));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    /// `start` is where the data begin in the file, `length` how many bytes they are.
    fn check(self, name: String, start: usize, length: usize) -> Result<TensorHeader, String> {
        let Some(kind) = kind(&self.dtype) else {
            return Err(format!("tensor `{name}` has the unknown dtype `{}`", self.dtype));
        };
        let [begin, end] = self.data_offsets;
        if begin > end || end > length as u64 {
            return Err(format!(
                "tensor `{name}` claims bytes {begin} to {end} of {length}: the file is cut short or its header is wrong"
            ));
        }
        // Zero counts as one, so that no product of some of the dimensions can overflow later.
        let factors = || self.shape.iter().copied().chain([kind.size() as u64]);
        let product = factors().try_fold(1u64, |product, size| product.checked_mul(size.max(1)));
        let size = if self.shape.contains(&0) {
            product.map(|_| 0)
        } else {
            product
        };
        if size != Some(end - begin) {
            let expected = size.map_or("too many".to_owned(), |size| size.to_string());
            return Err(format!(
                "tensor `{name}` of shape {:?} and dtype {} takes {expected} bytes, but has {}",
                self.shape,
                self.dtype,
                end - begin
            ));
        }
        let shape: Result<Vec<usize>, _> = self.shape.iter().map(|&size| usize::try_from(size)).collect();
        Ok(TensorHeader {
            kind,
            shape: shape
                .map_err(|_| format!("tensor `{name}` has a dimension too large for this machine"))?,
            range: start + begin as usize..start + end as usize,
            name,
        })
    }
}

fn kind(dtype: &str) -> Option<StoredType> {
    use StoredType::*;
    [
        F64, F32, F16, BF16, F8E4M3, F8E5M2, F8E8M0, I64, I32, I16, I8, U64, U32, U16, U8, Bool,
    ]
    .into_iter()
    .find(|kind| kind.name() == dtype)
}

/// The header's JSON; a map type would silently keep one of two tensors of the same name.
struct Entries {
    tensors: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object with one entry a tensor")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries, M::Error> {
        let mut seen = BTreeSet::new();
        let mut entries = Entries {
            tensors: Vec::new(),
            metadata: BTreeMap::new(),
        };
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(M::Error::custom(format!("`{name}` occurs twice")));
            }
            let in_entry = |error| M::Error::custom(format!("tensor `{name}`: {error}"));
            if name == "__metadata__" {
                // MLX writes null when it has nothing to note.
                let metadata: Option<BTreeMap<String, String>> = map.next_value().map_err(in_entry)?;
                entries.metadata = metadata.unwrap_or_default();
            } else {
                let entry = map.next_value().map_err(in_entry)?;
                entries.tensors.push((name, entry));
            }
        }
        Ok(entries)
    }
}
