//! What two checkpoints differ in, number by number.

mod pairs;

use std::ops::Range;

use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};

use crate::checkpoint::Checkpoint;
use crate::convert::Target;
use crate::dequantise::{dequantise_rows, to_f32};
use crate::error::WeightsError;
pub use pairs::Otherwise;
use pairs::{Pairs, Side};

/// Numbers that are compared at a time.
const PIECE: usize = 1 << 22;
/// Numbers of a kernel whose dimensions change places: no model has one that is a tenth as large.
const LARGEST_KERNEL: usize = 1 << 26;

/// How a tensor differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// The root of the mean square of the differences, as a part of that of the first's numbers; nothing where only one has the tensor,
    /// or shapes differ.
    pub relative: Option<f64>,
    /// What cannot be compared, in words.
    pub problem: Option<String>,
}

/// Compares all tensors, one at a time; quantised ones by the numbers that they mean, and what lies otherwise in a copy that has MLX's layout by what
/// it is made of. Gives what did so, or had another name.
pub fn compare(first: &Checkpoint, second: &Checkpoint, each: &mut dyn FnMut(&Difference)) -> Vec<Otherwise> {
    let pairs = Pairs::of(first, second);
    for pair in &pairs.both {
        let found = relative(first, second, &pair.first, &pair.second);
        each(&Difference {
            name: pair.name.clone(),
            relative: found.as_ref().ok().copied(),
            problem: found.err(),
        });
    }
    for (names, which) in [(&pairs.only_first, "first"), (&pairs.only_second, "second")] {
        for name in names {
            each(&Difference {
                name: name.clone(),
                relative: None,
                problem: Some(format!("only the {which} has it")),
            });
        }
    }
    pairs.otherwise
}

/// How far a tensor of both differs, or what cannot be compared.
fn relative(first: &Checkpoint, second: &Checkpoint, one: &Side, other: &Side) -> Result<f64, String> {
    if let (Side::Tensor(one), Side::Tensor(other)) = (one, other)
        && same_integers(first, second, one, other)
    {
        return Ok(0.0);
    }
    let numbers = |checkpoint, side| Numbers::of(checkpoint, side).map_err(|error| error.to_string());
    let (one, other) = (numbers(first, one)?, numbers(second, other)?);
    let found = match one.shape() == other.shape() {
        true => Some(distance(&one, &other)?),
        false => None,
    };
    // A kernel that is as wide and as high as it has channels has one shape in both layouts.
    if found == Some(0.0) || (found.is_some() && one.shape().len() < 4) {
        return Ok(found.unwrap_or_default());
    }
    let turned = [
        one.with_channels_last(&other.shape())
            .map(|turned| distance(&turned, &other)),
        other
            .with_channels_last(&one.shape())
            .map(|turned| distance(&one, &turned)),
    ];
    let mut nearest = found;
    for distance in turned.into_iter().flatten() {
        let distance = distance?;
        nearest = Some(nearest.map_or(distance, |found| found.min(distance)));
    }
    nearest.ok_or_else(|| {
        format!(
            "shape {:?} in the first, {:?} in the second",
            one.shape(),
            other.shape()
        )
    })
}

/// How far numbers of one shape differ.
fn distance(one: &Numbers, other: &Numbers) -> Result<f64, String> {
    let (mut of_differences, mut of_numbers) = (0.0_f64, 0.0_f64);
    for rows in one.pieces() {
        let pair = one.rows(rows.clone()).and_then(|a| Ok((a, other.rows(rows)?)));
        let (a, b) = pair.map_err(|error| error.to_string())?;
        for (a, b) in a.iter().zip(&b) {
            of_differences += (f64::from(*a) - f64::from(*b)).powi(2);
            of_numbers += f64::from(*a).powi(2);
        }
    }
    Ok(match of_differences == 0.0 {
        true => 0.0,
        false => (of_differences / of_numbers).sqrt(),
    })
}

/// Whether both have the same integers there, such as the numbers of positions: they are no weights, and have no other form.
fn same_integers(first: &Checkpoint, second: &Checkpoint, one: &str, other: &str) -> bool {
    use StoredType::{Bool, I8, I16, I32, I64, U16, U64};
    let (Ok(one), Ok(other)) = (first.tensor(one), second.tensor(other)) else {
        return false;
    };
    matches!(one.kind, Bool | I8 | I16 | I32 | I64 | U16 | U64)
        && (one.kind, &one.shape) == (other.kind, &other.shape)
        && one.bytes.as_slice() == other.bytes.as_slice()
}

/// The tensors, but for scales and biases of quantised layers.
fn names(checkpoint: &Checkpoint) -> impl Iterator<Item = &str> {
    checkpoint.names().filter(|name| {
        let layer = name.strip_suffix(".scales").or(name.strip_suffix(".biases"));
        layer.is_none_or(|layer| !is_quantised(checkpoint, layer))
    })
}

fn is_quantised(checkpoint: &Checkpoint, layer: &str) -> bool {
    let has_weight = checkpoint.has(&format!("{layer}.weight")) || checkpoint.has(layer);
    has_weight && checkpoint.has(&format!("{layer}.scales"))
}

/// The numbers of a tensor, or of what corresponds to one.
enum Numbers {
    Matrix(Box<Matrix>),
    /// A part of a tensor.
    Part(Box<Target>),
    /// Matrices of one shape, one behind the other.
    Stack(Vec<Matrix>),
}

impl Numbers {
    fn of(checkpoint: &Checkpoint, side: &Side) -> Result<Self, WeightsError> {
        Ok(match side {
            Side::Tensor(name) => Self::Matrix(Box::new(matrix(checkpoint, name)?)),
            Side::Part(target) => Self::Part(target.clone()),
            Side::Each(names) => {
                let all = names.iter().map(|name| matrix(checkpoint, name));
                Self::Stack(all.collect::<Result<_, _>>()?)
            }
        })
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Matrix(matrix) => matrix.shape(),
            Self::Part(target) => target.shape.clone(),
            Self::Stack(all) => {
                let one = all.first().map_or(Vec::new(), Matrix::shape);
                // Those of several shapes are no stack, and equal to none.
                match all.iter().all(|matrix| matrix.shape() == one) {
                    true => [&[all.len()], &one[..]].concat(),
                    false => Vec::new(),
                }
            }
        }
    }

    /// A kernel `[out, channels, ..]` as `[out, .., channels]`, where it has this shape then: so MLX has them.
    fn with_channels_last(&self, shape: &[usize]) -> Option<Self> {
        let Self::Matrix(matrix) = self else {
            return None;
        };
        let Matrix::Dense(tensor) = &**matrix else {
            return None;
        };
        let [out, channels, places @ ..] = &tensor.shape[..] else {
            return None;
        };
        let turned = [&[*out], places, &[*channels]].concat();
        if turned != shape || tensor.len() > LARGEST_KERNEL {
            return None;
        }
        let (values, places) = (to_f32(tensor).ok()?, places.iter().product::<usize>().max(1));
        let turn = |kernel: &[f32]| {
            let channels = |place| kernel.iter().skip(place).step_by(places).copied();
            (0..places).flat_map(channels).collect::<Vec<_>>()
        };
        let kernels = values.chunks((channels * places).max(1));
        let bytes: Vec<u8> = kernels.flat_map(turn).flat_map(f32::to_le_bytes).collect();
        Some(Self::Matrix(Box::new(Matrix::Dense(StoredTensor {
            name: tensor.name.clone(),
            kind: StoredType::F32,
            shape: turned,
            bytes: Bytes::new(bytes),
        }))))
    }

    /// Rows, a few at a time.
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let shape = self.shape();
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let rows: usize = shape.iter().rev().skip(1).product();
        let step = (PIECE / columns).max(1);
        (0..rows)
            .step_by(step)
            .map(move |row| row..(row + step).min(rows))
    }

    fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, WeightsError> {
        match self {
            Self::Matrix(matrix) => match &**matrix {
                Matrix::Dense(scalar) if scalar.shape.is_empty() => to_f32(scalar),
                matrix => dequantise_rows(matrix, rows),
            },
            Self::Part(target) => target.rows(rows),
            Self::Stack(all) => {
                let each = all.first().map_or(1, |matrix| matrix.shape()[0]).max(1);
                let mut values = Vec::new();
                let mut at = rows.start;
                while at < rows.end {
                    let end = ((at / each + 1) * each).min(rows.end);
                    let first = at / each * each;
                    values.extend(dequantise_rows(&all[at / each], at - first..end - first)?);
                    at = end;
                }
                Ok(values)
            }
        }
    }
}

/// A tensor's numbers, in whatever form it has them.
fn matrix(checkpoint: &Checkpoint, name: &str) -> Result<Matrix, WeightsError> {
    let tensor = checkpoint.tensor(name)?;
    if tensor.kind.is_float() {
        return Ok(Matrix::Dense(tensor));
    }
    // The same bytes mean other numbers with other scales or in other blocks, so the checkpoint says what they mean.
    let layer = name.strip_suffix(".weight").unwrap_or(name);
    let weight = match tensor.shape.len() {
        3 => checkpoint.experts(layer)?,
        _ => checkpoint.embedding(layer)?,
    };
    Ok(match weight {
        Weight::Embedding(matrix) | Weight::Experts { matrix, .. } => matrix,
        _ => Matrix::Dense(tensor),
    })
}
