//! The header of a GGUF file: key-values, and where each tensor lies. Every size is checked before it is used.

use std::collections::BTreeMap;
use std::ops::Range;

use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::StoredType;
use serde_json::Value;
use thiserror::Error;

/// Why a header is not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// It is not what a GGUF file has.
    #[error("{0}")]
    Broken(String),
    /// It is sound, as far as that can be told, and of a kind that is not read.
    #[error("{0}")]
    Unread(String),
}

impl HeaderError {
    /// The same, of a tensor.
    fn about(self, tensor: &str) -> Self {
        match self {
            Self::Broken(problem) => Self::Broken(format!("tensor `{tensor}` {problem}")),
            Self::Unread(problem) => Self::Unread(format!("tensor `{tensor}` {problem}")),
        }
    }
}

impl From<String> for HeaderError {
    fn from(problem: String) -> Self {
        Self::Broken(problem)
    }
}

/// Where tensors begin if the file does not say.
const ALIGNMENT: u64 = 32;
/// The most values that all arrays together may have; the largest vocabularies need two million.
const MOST_VALUES: u64 = 16 << 20;
/// How deep arrays may lie in arrays. No known file nests them at all.
const DEEPEST: usize = 4;
/// Versions below this one may come to be; other numbers are damage.
const NEWEST: u32 = 16;
/// ggml's `GGML_MAX_DIMS`.
const MOST_DIMENSIONS: u32 = 4;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// One number an element.
    Plain(StoredType),
    /// Blocks.
    Blocks(Scheme),
}

impl Storage {
    /// The numbers of `ggml_type` in `ggml.h`.
    fn of(number: u32) -> Result<Self, HeaderError> {
        use StoredType::*;
        let plain = match number {
            0 => Some(F32),
            1 => Some(F16),
            24 => Some(I8),
            25 => Some(I16),
            26 => Some(I32),
            27 => Some(I64),
            28 => Some(F64),
            30 => Some(BF16),
            _ => None,
        };
        let blocks = match number {
            2 => Some(Scheme::Q4_0),
            3 => Some(Scheme::Q4_1),
            6 => Some(Scheme::Q5_0),
            7 => Some(Scheme::Q5_1),
            8 => Some(Scheme::Q8_0),
            10 => Some(Scheme::Q2_K),
            11 => Some(Scheme::Q3_K),
            12 => Some(Scheme::Q4_K),
            13 => Some(Scheme::Q5_K),
            14 => Some(Scheme::Q6_K),
            20 => Some(Scheme::Iq4Nl),
            23 => Some(Scheme::Iq4Xs),
            39 => Some(Scheme::Mxfp4),
            _ => None,
        };
        let known = plain.map(Self::Plain).or(blocks.map(Self::Blocks));
        known.ok_or_else(|| {
            // Damage gives any number; a type that is newer than this program gives a small one.
            const NEWER: u32 = 128;
            let name = match number {
                4 => "Q4_2",
                5 => "Q4_3",
                9 => "Q8_1",
                15 => "Q8_K",
                16 => "IQ2_XXS",
                17 => "IQ2_XS",
                18 => "IQ3_XXS",
                19 => "IQ1_S",
                21 => "IQ3_S",
                22 => "IQ2_S",
                29 => "IQ1_M",
                31 => "Q4_0_4_4",
                32 => "Q4_0_4_8",
                33 => "Q4_0_8_8",
                34 => "TQ1_0",
                35 => "TQ2_0",
                36 => "IQ4_NL_4_4",
                37 => "IQ4_NL_4_8",
                38 => "IQ4_NL_8_8",
                40 => "NVFP4",
                41 => "Q1_0",
                42..NEWER => "a type that this version does not know",
                _ => return HeaderError::Broken(format!("has the type {number}, which is not known")),
            };
            HeaderError::Unread(format!(
                "is stored as {name} ({number}), which is not read; take a conversion of the model to one of Q4_0 to Q8_0, Q2_K to Q6_K, \
                 IQ4_NL, IQ4_XS, MXFP4, BF16 or F16"
            ))
        })
    }

    /// Elements and bytes of what is stored together.
    fn unit(self) -> (u64, u64) {
        match self {
            Self::Plain(kind) => (1, kind.size() as u64),
            Self::Blocks(scheme) => (scheme.elements() as u64, scheme.bytes() as u64),
        }
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name in the file.
    pub name: String,
    /// How it is stored.
    pub storage: Storage,
    /// Row-major: the file's dimensions from the last to the first.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// What a file says before its tensors' bytes.
#[derive(Debug, Clone, Default)]
pub struct GgufHeader {
    /// The key-values. A binary32 is the shortest decimal number that means it.
    pub values: BTreeMap<String, Value>,
    /// In the order of the file.
    pub tensors: Vec<GgufTensor>,
}

impl GgufHeader {
    /// Reads the header of a whole file; the error says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader {
            bytes,
            at: 0,
            values: 0,
        };
        if reader.take(4)? != b"GGUF" {
            return Err("it does not begin with `GGUF`".to_owned().into());
        }
        match reader.u32()? {
            2 | 3 => {}
            version if version < NEWEST => {
                return Err(HeaderError::Unread(format!(
                    "it has version {version}; versions 2 and 3 are read: take another conversion of the model"
                )));
            }
            version if version.swap_bytes() < NEWEST => {
                return Err(HeaderError::Unread(
                    "its numbers are big-endian, which is not read; take a little-endian conversion of the model"
                        .to_owned(),
                ));
            }
            version => return Err(format!("it has version {version}; versions 2 and 3 are read").into()),
        }
        let (tensors, values) = (reader.u64()?, reader.u64()?);
        let mut header = Self::default();
        for _ in 0..values {
            let key = reader.text()?;
            let kind = reader.u32()?;
            let value = reader
                .value(kind, 0)
                .map_err(|problem| format!("key `{key}`: {problem}"))?;
            if header.values.insert(key.clone(), value).is_some() {
                return Err(format!("key `{key}` occurs twice").into());
            }
        }
        let alignment = match header.values.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => value
                .as_u64()
                .filter(|alignment| alignment.is_power_of_two() && (8..=1 << 20).contains(alignment))
                .ok_or_else(|| format!("`general.alignment` is {value}, and should be a power of two"))?,
        };
        let mut offsets = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..tensors {
            let (tensor, offset) = reader.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(format!("tensor `{}` occurs twice", tensor.name).into());
            }
            if !offset.is_multiple_of(alignment) {
                return Err(format!(
                    "tensor `{}` begins at {offset}, which is no multiple of {alignment}",
                    tensor.name
                )
                .into());
            }
            header.tensors.push(tensor);
            offsets.push(offset);
        }
        let start = (reader.at as u64).next_multiple_of(alignment);
        for (tensor, offset) in header.tensors.iter_mut().zip(offsets) {
            let begin = start.checked_add(offset);
            let end = begin.and_then(|begin| begin.checked_add(tensor.range.end as u64));
            match (begin, end) {
                (Some(begin), Some(end)) if end <= bytes.len() as u64 => {
                    tensor.range = begin as usize..end as usize;
                }
                _ => {
                    return Err(format!(
                        "tensor `{}` lies beyond the file's end at {} bytes: the file is cut off",
                        tensor.name,
                        bytes.len()
                    )
                    .into());
                }
            }
        }
        Ok(header)
    }
}

/// Reads little-endian numbers one after another.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values of arrays that were read.
    values: u64,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let part = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let part = part.ok_or_else(|| {
            format!(
                "its header ends at byte {} in the middle of a value",
                self.bytes.len()
            )
        })?;
        self.at += part.len();
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let part = self.take(N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(part);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        let bytes = self.take(length)?;
        // Pieces of some vocabularies are no text by themselves.
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A value of one of the types of `gguf_type` in `gguf.h`.
    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            0 => self.array::<1>()?[0].into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            6 => shortest(f32::from_le_bytes(self.array()?)),
            7 => (self.array::<1>()?[0] != 0).into(),
            8 => self.text()?.into(),
            9 if depth < DEEPEST => {
                let (kind, count) = (self.u32()?, self.u64()?);
                self.values = self.values.saturating_add(count);
                if self.values > MOST_VALUES {
                    return Err(format!("arrays have more than {MOST_VALUES} values in all"));
                }
                let list: Result<Vec<Value>, String> =
                    (0..count).map(|_| self.value(kind, depth + 1)).collect();
                list?.into()
            }
            9 => return Err(format!("arrays lie in each other more than {DEEPEST} deep")),
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.array()?).into(),
            12 => f64::from_le_bytes(self.array()?).into(),
            other => return Err(format!("it has type {other}, which is not known")),
        })
    }

    /// A tensor and its offset; its range is as long as it should be, and begins at zero.
    fn tensor(&mut self) -> Result<(GgufTensor, u64), HeaderError> {
        let name = self.text()?;
        let count = self.u32()?;
        if count > MOST_DIMENSIONS {
            return Err(format!(
                "tensor `{name}` has {count} dimensions; at most {MOST_DIMENSIONS} are read"
            )
            .into());
        }
        let sizes: Vec<u64> = (0..count).map(|_| self.u64()).collect::<Result<_, _>>()?;
        let kind = self.u32()?;
        let storage = Storage::of(kind).map_err(|error| error.about(&name))?;
        let offset = self.u64()?;
        let (unit, unit_bytes) = storage.unit();
        let columns = sizes.first().copied().unwrap_or(1);
        if !columns.is_multiple_of(unit) {
            return Err(format!(
                "tensor `{name}` has rows of {columns}, which is no multiple of its blocks of {unit}"
            )
            .into());
        }
        // Zeros count as one, so that no product of some of the dimensions can overflow later.
        let elements = sizes
            .iter()
            .try_fold(1_u64, |product, size| product.checked_mul((*size).max(1)));
        let bytes = elements
            .and_then(|elements| (elements.div_ceil(unit)).checked_mul(unit_bytes))
            .filter(|bytes| *bytes <= isize::MAX as u64)
            .ok_or_else(|| format!("tensor `{name}` of shape {sizes:?} is too large"))?;
        let bytes = if sizes.contains(&0) { 0 } else { bytes };
        let tensor = GgufTensor {
            name,
            storage,
            shape: sizes.iter().rev().map(|&size| size as usize).collect(),
            range: 0..bytes as usize,
        };
        Ok((tensor, offset))
    }
}

/// The shortest decimal number that is this binary32; nothing that JSON has where it is none.
fn shortest(value: f32) -> Value {
    let decimal: Option<f64> = value.to_string().parse().ok();
    decimal.filter(|value| value.is_finite()).into()
}
