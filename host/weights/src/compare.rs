//! What two checkpoints differ in, number by number.

use monocle_tensor::stored::{Matrix, StoredType, Weight};

use crate::checkpoint::Checkpoint;
use crate::dequantise::{dequantise_rows, to_f32};
use crate::error::WeightsError;

/// Numbers that are compared at a time.
const PIECE: usize = 1 << 22;

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

/// Compares all tensors, one at a time; quantised ones by the numbers that they mean.
pub fn compare(first: &Checkpoint, second: &Checkpoint, each: &mut dyn FnMut(&Difference)) {
    for name in names(first) {
        let found = match second.has(name) {
            true => relative(first, second, name),
            false => Err("only the first has it".to_owned()),
        };
        each(&Difference {
            name: name.to_owned(),
            relative: found.as_ref().ok().copied(),
            problem: found.err(),
        });
    }
    for name in names(second).filter(|name| !first.has(name)) {
        each(&Difference {
            name: name.to_owned(),
            relative: None,
            problem: Some("only the second has it".to_owned()),
        });
    }
}

/// How far a tensor of both differs, or what cannot be compared.
fn relative(first: &Checkpoint, second: &Checkpoint, name: &str) -> Result<f64, String> {
    let numbers = |checkpoint| Numbers::of(checkpoint, name).map_err(|error| error.to_string());
    if same_integers(first, second, name) {
        return Ok(0.0);
    }
    let (one, other) = (numbers(first)?, numbers(second)?);
    if one.shape() != other.shape() {
        return Err(format!(
            "shape {:?} in the first, {:?} in the second",
            one.shape(),
            other.shape()
        ));
    }
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
fn same_integers(first: &Checkpoint, second: &Checkpoint, name: &str) -> bool {
    use StoredType::{Bool, I8, I16, I32, I64, U16, U64};
    let (Ok(one), Ok(other)) = (first.tensor(name), second.tensor(name)) else {
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

/// A tensor's numbers.
struct Numbers(Matrix);

impl Numbers {
    fn of(checkpoint: &Checkpoint, name: &str) -> Result<Self, WeightsError> {
        let tensor = checkpoint.tensor(name)?;
        if tensor.kind.is_float() {
            return Ok(Self(Matrix::Dense(tensor)));
        }
        // The same bytes mean other numbers with other scales or in other blocks, so the checkpoint says what they mean.
        let layer = name.strip_suffix(".weight").unwrap_or(name);
        let weight = match tensor.shape.len() {
            3 => checkpoint.experts(layer)?,
            _ => checkpoint.embedding(layer)?,
        };
        match weight {
            Weight::Embedding(matrix) | Weight::Experts { matrix, .. } => Ok(Self(matrix)),
            _ => Ok(Self(Matrix::Dense(tensor))),
        }
    }

    fn shape(&self) -> Vec<usize> {
        self.0.shape()
    }

    /// Rows, a few at a time.
    fn pieces(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let shape = self.shape();
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let rows: usize = shape.iter().rev().skip(1).product();
        let step = (PIECE / columns).max(1);
        (0..rows)
            .step_by(step)
            .map(move |row| row..(row + step).min(rows))
    }

    fn rows(&self, rows: std::ops::Range<usize>) -> Result<Vec<f32>, WeightsError> {
        match &self.0 {
            Matrix::Dense(scalar) if scalar.shape.is_empty() => to_f32(scalar),
            matrix => dequantise_rows(matrix, rows),
        }
    }
}
