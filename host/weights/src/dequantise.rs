//! Stored numbers as f32: simple and slow, the reference that engines are tested against.

use std::ops::Range;

use half::{bf16, f16};
use monocle_tensor::stored::{Matrix, StoredTensor, StoredType};

use crate::error::WeightsError;

/// A float tensor's elements, in order.
pub fn to_f32(tensor: &StoredTensor) -> Result<Vec<f32>, WeightsError> {
    elements(tensor, 0..tensor.len())
}

/// Rows of a matrix, in order; rows of a stack are counted through all its matrices.
pub fn dequantise_rows(matrix: &Matrix, rows: Range<usize>) -> Result<Vec<f32>, WeightsError> {
    let shape = matrix.shape();
    let columns = shape.last().copied().unwrap_or(0);
    let count: usize = shape.iter().rev().skip(1).product();
    if rows.start > rows.end || rows.end > count {
        return Err(WeightsError::Unfit {
            name: matrix.name().to_owned(),
            role: "rows of numbers",
            expected: format!("rows within 0..{count}"),
            found: format!("{rows:?}"),
        });
    }
    match matrix {
        Matrix::Dense(tensor) => elements(tensor, rows.start * columns..rows.end * columns),
        Matrix::Affine {
            packed,
            scales,
            biases,
            bits,
            group_size,
        } => {
            let groups = columns / group_size;
            let scales = elements(scales, rows.start * groups..rows.end * groups)?;
            let biases = elements(biases, rows.start * groups..rows.end * groups)?;
            let row_bytes = columns * *bits as usize / 8;
            let bytes = &packed.bytes.as_slice()[rows.start * row_bytes..rows.end * row_bytes];
            let value = |(at, (scale, bias)): (usize, (&f32, &f32))| {
                let first = at * group_size;
                let values = first..first + group_size;
                let values: Vec<f32> = values
                    .map(|index| scale * unpack(bytes, index, *bits) as f32 + bias)
                    .collect();
                values
            };
            Ok(scales.iter().zip(&biases).enumerate().flat_map(value).collect())
        }
        Matrix::Scaled { .. } => {
            let mut values = vec![0.0; (rows.end - rows.start) * columns];
            if let Some(stored) = matrix.scaled_rows() {
                for (row, out) in rows.zip(values.chunks_exact_mut(columns.max(1))) {
                    stored.decode(row, 0, out);
                }
            }
            Ok(values)
        }
        Matrix::Blocks { blocks, scheme } => {
            let row = columns / scheme.elements() * scheme.bytes();
            let mut values = vec![0.0; (rows.end - rows.start) * columns];
            scheme.decode(
                &blocks.bytes.as_slice()[rows.start * row..rows.end * row],
                &mut values,
            );
            Ok(values)
        }
    }
}

/// Value `index` of a row: `bits` bits, packed without gaps from the lowest bit of the first byte on.
fn unpack(bytes: &[u8], index: usize, bits: u32) -> u32 {
    let first = index * bits as usize;
    let low = u32::from(bytes[first / 8]);
    let high = bytes.get(first / 8 + 1).copied().map_or(0, u32::from);
    ((high << 8 | low) >> (first % 8)) & ((1 << bits) - 1)
}

fn elements(tensor: &StoredTensor, range: Range<usize>) -> Result<Vec<f32>, WeightsError> {
    let size = tensor.kind.size();
    let bytes = &tensor.bytes.as_slice()[range.start * size..range.end * size];
    let values = match tensor.kind {
        StoredType::F64 => bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&bytes| f64::from_le_bytes(bytes) as f32)
            .collect(),
        StoredType::F32 => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&bytes| f32::from_le_bytes(bytes))
            .collect(),
        StoredType::F16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
            .collect(),
        StoredType::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| bf16::from_le_bytes(bytes).to_f32())
            .collect(),
        _ => {
            return Err(WeightsError::Unfit {
                name: tensor.name.clone(),
                role: "numbers",
                expected: "F64, F32, F16 or BF16".to_owned(),
                found: tensor.kind.name().to_owned(),
            });
        }
    };
    Ok(values)
}
