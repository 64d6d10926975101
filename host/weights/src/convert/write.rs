//! The files of a conversion. Tensors are quantised some rows at a time and go to their places in the file, so that no tensor is ever in memory
//! as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use half::{bf16, f16};
use monocle_tensor::stored::StoredType;
use serde_json::json;

use super::target::Target;
use crate::error::WeightsError;
use crate::quantise::quantise;

/// Numbers that are quantised at a time: 16 MiB as floats.
const PIECE: usize = 1 << 22;

/// One tensor that is written.
pub(super) struct Part {
    pub target: Target,
    /// Bits and the layer's name, where it is quantised.
    pub quantised: Option<(u32, String)>,
}

impl Part {
    /// Name, type and shape of what is written, in the order of the bytes.
    pub fn entries(&self, group_size: usize) -> Vec<(String, StoredType, Vec<usize>)> {
        let Target { name, shape, .. } = &self.target;
        let kind = self.target.kind();
        let Some((bits, layer)) = &self.quantised else {
            return vec![(name.clone(), kind, shape.clone())];
        };
        let (rows, columns) = shape.split_at(shape.len() - 1);
        let shape = |last: usize| [rows, &[last]].concat();
        let packed = shape(columns[0] * *bits as usize / 32);
        let scales = shape(columns[0] / group_size);
        vec![
            (name.clone(), StoredType::U32, packed),
            (format!("{layer}.scales"), kind, scales.clone()),
            (format!("{layer}.biases"), kind, scales),
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
    next: &mut dyn FnMut(&Target),
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
        let target = &part.target;
        next(target);
        match &part.quantised {
            None => {
                file.seek(SeekFrom::Start(at)).map_err(io)?;
                match target.is_source() {
                    true => file.write_all(target.source.bytes.as_slice()).map_err(io)?,
                    false => write_rows(&mut file, target, path)?,
                }
            }
            Some((bits, _)) => write_quantised(&mut file, at, target, *bits, group_size, path)?,
        }
        at += part.bytes(group_size);
    }
    file.sync_all().map_err(io)
}

/// Writes numbers in the order of the target, from where the file is.
fn write_rows(file: &mut File, target: &Target, path: &Path) -> Result<(), WeightsError> {
    let [rows, step] = rows_and_step(target);
    for first in (0..rows).step_by(step) {
        let values = target.rows(first..(first + step).min(rows))?;
        file.write_all(&encode(&values, target.kind()))
            .map_err(|error| WeightsError::io("write", path, error))?;
    }
    Ok(())
}

/// How many rows a target has, and how many are in memory at a time.
fn rows_and_step(target: &Target) -> [usize; 2] {
    let columns = target.shape.last().copied().unwrap_or(1).max(1);
    let elements: usize = target.shape.iter().product();
    [elements / columns, (PIECE / columns).max(1)]
}

/// Writes packed values, scales and biases, which begin at `at` and lie one after another.
fn write_quantised(
    file: &mut File,
    at: u64,
    target: &Target,
    bits: u32,
    group_size: usize,
    path: &Path,
) -> Result<(), WeightsError> {
    let (columns, kind) = (target.shape.last().copied().unwrap_or(1).max(1), target.kind());
    let [rows, step] = rows_and_step(target);
    let row_words = columns * bits as usize / 8;
    let row_scales = columns / group_size * kind.size();
    let (packed, scales) = (at, at + (rows * row_words) as u64);
    let biases = scales + (rows * row_scales) as u64;
    for first in (0..rows).step_by(step) {
        let values = target.rows(first..(first + step).min(rows))?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(WeightsError::NotFinite {
                name: target.name.clone(),
                value: values[at],
                row: first + at / columns,
                column: at % columns,
            });
        }
        let quantised = quantise(&values, columns, bits, group_size, kind).map_err(|error| {
            WeightsError::Quantisation {
                name: target.name.clone(),
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
            (scales, row_scales, encode(&quantised.scales, kind)),
            (biases, row_scales, encode(&quantised.biases, kind)),
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
