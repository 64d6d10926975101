//! What two checkpoints differ in, number by number.

use monocle_tensor::stored::{Matrix, Weight};

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
pub fn compare(
    first: &Checkpoint,
    second: &Checkpoint,
    each: &mut dyn FnMut(&Difference),
) -> Result<(), WeightsError> {
    for name in names(first) {
        let different = |problem: String| Difference {
            name: name.to_owned(),
            relative: None,
            problem: Some(problem),
        };
        if !second.has(name) {
            each(&different("only the first has it".to_owned()));
            continue;
        }
        let (one, other) = (Numbers::of(first, name)?, Numbers::of(second, name)?);
        if one.shape() != other.shape() {
            let shapes = format!(
                "shape {:?} in the first, {:?} in the second",
                one.shape(),
                other.shape()
            );
            each(&different(shapes));
            continue;
        }
        let (mut of_differences, mut of_numbers) = (0.0_f64, 0.0_f64);
        for rows in one.pieces() {
            let (a, b) = (one.rows(rows.clone())?, other.rows(rows)?);
            for (a, b) in a.iter().zip(&b) {
                of_differences += (f64::from(*a) - f64::from(*b)).powi(2);
                of_numbers += f64::from(*a).powi(2);
            }
        }
        let relative = match of_differences == 0.0 {
            true => 0.0,
            false => (of_differences / of_numbers).sqrt(),
        };
        each(&Difference {
            name: name.to_owned(),
            relative: Some(relative),
            problem: None,
        });
    }
    for name in names(second).filter(|name| !first.has(name)) {
        each(&Difference {
            name: name.to_owned(),
            relative: None,
            problem: Some("only the second has it".to_owned()),
        });
    }
    Ok(())
}

/// The tensors, but for scales and biases of quantised layers.
fn names(checkpoint: &Checkpoint) -> impl Iterator<Item = &str> {
    checkpoint.names().filter(|name| {
        let layer = name.strip_suffix(".scales").or(name.strip_suffix(".biases"));
        layer.is_none_or(|layer| !is_quantised(checkpoint, layer))
    })
}

fn is_quantised(checkpoint: &Checkpoint, layer: &str) -> bool {
    checkpoint.has(&format!("{layer}.scales")) && checkpoint.has(&format!("{layer}.weight"))
}

/// A tensor's numbers.
struct Numbers(Matrix);

impl Numbers {
    fn of(checkpoint: &Checkpoint, name: &str) -> Result<Self, WeightsError> {
        let tensor = checkpoint.tensor(name)?;
        let layer = name
            .strip_suffix(".weight")
            .filter(|layer| is_quantised(checkpoint, layer));
        let weight = match (layer, tensor.shape.len()) {
            (Some(layer), 2) => checkpoint.embedding(layer)?,
            (Some(layer), 3) => checkpoint.experts(layer)?,
            _ => return Ok(Self(Matrix::Dense(tensor))),
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
