//! The files of a conversion. Tensors are quantised some rows at a time and go to their places in the file, so that no tensor is ever in memory
//! as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use half::{bf16, f16};
use monocle_tensor::stored::{Matrix, StoredTensor, StoredType};
use serde_json::json;

use crate::dequantise::dequantise_rows;
use crate::error::WeightsError;
use crate::quantise::quantise;

/// Numbers that are quantised at a time: 16 MiB as floats.
const PIECE: usize = 1 << 22;

/// One tensor of the source.
pub(super) struct Part {
    pub source: StoredTensor,
    /// Bits and the layer's name, where it is quantised.
    pub quantised: Option<(u32, String)>,
}

impl Part {
    /// Name, type and shape of what is written, in the order of the bytes.
    pub fn entries(&self, group_size: usize) -> Vec<(String, StoredType, Vec<usize>)> {
        let source = &self.source;
        let Some((bits, layer)) = &self.quantised else {
            return vec![(source.name.clone(), source.kind, source.shape.clone())];
        };
        let (rows, columns) = source.shape.split_at(source.shape.len() - 1);
        let shape = |last: usize| [rows, &[last]].concat();
        let packed = shape(columns[0] * *bits as usize / 32);
        let scales = shape(columns[0] / group_size);
        vec![
            (source.name.clone(), StoredType::U32, packed),
            (format!("{layer}.scales"), source.kind, scales.clone()),
            (format!("{layer}.biases"), source.kind, scales),
        ]
    }

    /// Bytes that it takes when it is written.
    pub fn bytes(&self, group_size: usize) -> u64 {
        let entries = self.entries(group_size);
        let bytes = |(_, kind, shape): &(String, StoredType, Vec<usize>)| {
            (shape.iter().product::<usize>() * kind.size()) as u64
        };
        entries.iter().map(bytes).sum()
    }
}

/// Writes one safetensors file. `next` is told of each tensor before it is written.
pub(super) fn write(
    path: &Path,
    parts: &[Part],
    group_size: usize,
    next: &mut dyn FnMut(&StoredTensor),
) -> Result<(), WeightsError> {
    let mut header = BTreeMap::from([("__metadata__".to_owned(), json!({ "format": "mlx" }))]);
    let mut at = 0;
    for (name, kind, shape) in parts.iter().flat_map(|part| part.entries(group_size)) {
        let end = at + shape.iter().product::<usize>() * kind.size();
        header.insert(
            name,
            json!({ "dtype": kind.name(), "shape": shape, "data_offsets": [at, end] }),
        );
        at = end;
    }
    let mut text = json!(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));

    let io = |error| WeightsError::io("write", path, error);
    let mut file = File::create(path).map_err(io)?;
    file.write_all(&(text.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    let mut at = 8 + text.len() as u64;
    for part in parts {
        next(&part.source);
        match &part.quantised {
            None => {
                file.seek(SeekFrom::Start(at)).map_err(io)?;
                file.write_all(part.source.bytes.as_slice()).map_err(io)?;
            }
            Some((bits, _)) => write_quantised(&mut file, at, &part.source, *bits, group_size, path)?,
        }
        at += part.bytes(group_size);
    }
    file.sync_all().map_err(io)
}

/// Writes packed values, scales and biases, which begin at `at` and lie one after another.
fn write_quantised(
    file: &mut File,
    at: u64,
    source: &StoredTensor,
    bits: u32,
    group_size: usize,
    path: &Path,
) -> Result<(), WeightsError> {
    let columns = source.shape.last().copied().unwrap_or(1).max(1);
    let rows = source.len() / columns;
    let row_words = columns * bits as usize / 8;
    let row_scales = columns / group_size * source.kind.size();
    let (packed, scales) = (at, at + (rows * row_words) as u64);
    let biases = scales + (rows * row_scales) as u64;
    let matrix = Matrix::Dense(source.clone());
    let step = (PIECE / columns).max(1);
    for first in (0..rows).step_by(step) {
        let values = dequantise_rows(&matrix, first..(first + step).min(rows))?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(WeightsError::NotFinite {
                name: source.name.clone(),
                value: values[at],
                row: first + at / columns,
                column: at % columns,
            });
        }
        let quantised = quantise(&values, columns, bits, group_size, source.kind).map_err(|error| {
            WeightsError::Quantisation {
                name: source.name.clone(),
                problem: error.to_string(),
            }
        })?;
        let words: Vec<u8> = quantised
            .packed
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        for (begin, row, bytes) in [
            (packed, row_words, words),
            (scales, row_scales, encode(&quantised.scales, source.kind)),
            (biases, row_scales, encode(&quantised.biases, source.kind)),
        ] {
            let io = |error| WeightsError::io("write", path, error);
            file.seek(SeekFrom::Start(begin + (first * row) as u64))
                .map_err(io)?;
            file.write_all(&bytes).map_err(io)?;
        }
    }
    Ok(())
}

fn encode(values: &[f32], kind: StoredType) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * kind.size());
    for value in values {
        match kind {
            StoredType::F16 => bytes.extend(f16::from_f32(*value).to_le_bytes()),
            StoredType::BF16 => bytes.extend(bf16::from_f32(*value).to_le_bytes()),
            _ => bytes.extend(value.to_le_bytes()),
        }
    }
    bytes
}
