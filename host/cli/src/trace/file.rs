//! A traced request as a safetensors file, ours or a reference implementation's: `trace_transformers.py` writes the same names.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use monocle_runtime::trace::{Trace, argmax};
use monocle_tensor::stored::StoredType;
use monocle_weights::{Header, NewTensor, to_safetensors};

/// Larger ones are no traces.
const LARGEST: u64 = 8 << 30;

/// Numbers by name, and texts.
#[derive(Debug, Default)]
pub struct TraceFile {
    /// `prompt`, `model`, `reference`.
    pub texts: BTreeMap<String, String>,
    /// The arrays.
    pub arrays: BTreeMap<String, Array>,
}

/// Numbers of one shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// The numbers.
    pub numbers: Numbers,
}

/// Of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Computed.
    Floats(Vec<f32>),
    /// Token ids.
    Ids(Vec<i64>),
}

impl TraceFile {
    /// What a trace has; the logits of every token of the prompt only where they were traced.
    pub fn of(trace: &Trace, model: &str) -> Self {
        let mut file = Self::default();
        file.texts
            .insert("format".to_owned(), "monocle trace 1".to_owned());
        file.texts.insert("model".to_owned(), model.to_owned());
        file.texts.insert("prompt".to_owned(), trace.prompt.clone());
        let ids = |ids: &[u32]| Array {
            shape: vec![ids.len()],
            numbers: Numbers::Ids(ids.iter().map(|&id| i64::from(id)).collect()),
        };
        file.add("input_ids", ids(&trace.prompt_ids));
        file.add("greedy_tokens", ids(&trace.tokens));
        for (picture, tensors) in trace.pixels.iter().enumerate() {
            for (number, tensor) in tensors.iter().enumerate() {
                let array = Array::floats(tensor.shape.clone(), tensor.values.clone());
                file.add(&format!("pixels.{picture}.{number}"), array);
            }
        }
        let features = trace.features.iter().zip(&trace.feature_shapes).enumerate();
        for (picture, (sets, shapes)) in features {
            for (set, (values, shape)) in sets.iter().zip(shapes).enumerate() {
                let array = Array::floats(shape.clone(), values.clone());
                file.add(&format!("features.{picture}.{set}"), array);
            }
        }
        if !trace.encoder_ids.is_empty() {
            file.add("encoder_ids", ids(&trace.encoder_ids));
            let rows = trace.encoder_ids.len();
            let width = trace.context.len() / rows;
            file.add("context", Array::floats(vec![rows, width], trace.context.clone()));
        }
        if !trace.prompt_logits.is_empty() {
            let best: Vec<u32> = trace.prompt_logits.iter().map(|row| argmax(row)).collect();
            file.add("prompt_argmax", ids(&best));
            file.add("prompt_logits", Array::rows(&trace.prompt_logits));
        }
        file.add("step_logits", Array::rows(&trace.step_logits));
        file
    }

    fn add(&mut self, name: &str, array: Array) {
        self.arrays.insert(name.to_owned(), array);
    }

    /// Reads a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let read = || -> anyhow::Result<Vec<u8>> { Ok(monocle_files::read(path, LARGEST)?) };
        let bytes = read().with_context(|| format!("cannot read `{shown}`"))?;
        let header = Header::parse(&bytes)
            .map_err(|error| anyhow::anyhow!("`{shown}` is no safetensors file: {error}"))?;
        let mut file = Self {
            texts: header.metadata,
            ..Self::default()
        };
        for tensor in header.tensors {
            let numbers = Numbers::read(tensor.kind, &bytes[tensor.range.clone()]).with_context(|| {
                format!(
                    "`{shown}`: `{}` is stored as {}, expected F32, I64 or I32",
                    tensor.name,
                    tensor.kind.name()
                )
            })?;
            let array = Array {
                shape: tensor.shape,
                numbers,
            };
            file.arrays.insert(tensor.name, array);
        }
        Ok(file)
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let tensors: Vec<NewTensor> = self
            .arrays
            .iter()
            .map(|(name, array)| NewTensor {
                name: name.clone(),
                kind: match array.numbers {
                    Numbers::Floats(_) => StoredType::F32,
                    Numbers::Ids(_) => StoredType::I64,
                },
                shape: array.shape.clone(),
                bytes: array.numbers.bytes(),
            })
            .collect();
        std::fs::write(path, to_safetensors(&self.texts, &tensors))
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// The floats of an array.
    pub fn floats(&self, name: &str) -> Option<(&[usize], &[f32])> {
        match self.arrays.get(name)? {
            Array {
                shape,
                numbers: Numbers::Floats(values),
            } => Some((shape, values)),
            _ => None,
        }
    }

    /// The ids of an array.
    pub fn ids(&self, name: &str) -> Option<&[i64]> {
        match &self.arrays.get(name)?.numbers {
            Numbers::Ids(values) => Some(values),
            Numbers::Floats(_) => None,
        }
    }

    /// Arrays whose names begin so, by name.
    pub fn starting<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Array)> {
        self.arrays
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, array)| (name.as_str(), array))
    }
}

impl Array {
    fn floats(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self {
            shape,
            numbers: Numbers::Floats(values),
        }
    }

    fn rows(rows: &[Vec<f32>]) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        Self::floats(vec![rows.len(), width], rows.concat())
    }
}

impl Numbers {
    fn read(kind: StoredType, bytes: &[u8]) -> Option<Self> {
        let words = || bytes.as_chunks::<4>().0.iter();
        Some(match kind {
            StoredType::F32 => Self::Floats(words().map(|word| f32::from_le_bytes(*word)).collect()),
            StoredType::I32 => Self::Ids(words().map(|word| i64::from(i32::from_le_bytes(*word))).collect()),
            StoredType::I64 => {
                let words = bytes.as_chunks::<8>().0.iter();
                Self::Ids(words.map(|word| i64::from_le_bytes(*word)).collect())
            }
            _ => return None,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Ids(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_as_they_were() {
        let mut file = TraceFile::default();
        file.texts.insert("prompt".to_owned(), "a\nb".to_owned());
        file.add(
            "input_ids",
            Array {
                shape: vec![2],
                numbers: Numbers::Ids(vec![3, -100]),
            },
        );
        file.add("step_logits", Array::rows(&[vec![1.5, -2.0], vec![0.0, 4.0]]));
        let place = std::env::temp_dir().join(format!("monocle-trace-{}.safetensors", std::process::id()));
        file.write(&place).unwrap();
        let read = TraceFile::read(&place);
        std::fs::remove_file(&place).unwrap();
        let read = read.unwrap();
        assert_eq!((read.texts, read.arrays), (file.texts, file.arrays));
    }
}
