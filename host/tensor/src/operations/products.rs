//! Products of matrices.

use super::operands::{broadcast, by_rows, dimensions, float, int, last};
use super::{Facts, Parts};
use crate::operation::WeightId;
use crate::program::ValueType;
use crate::stored::{Matrix, Weight};

/// How long a packed row is was told by its scales: what that was, and what may be wrong with it. Nothing for other forms, whose shape is what it is.
fn as_stored(matrix: &Matrix) -> String {
    match matrix {
        Matrix::Affine { .. } => format!(
            "; it was read as {}: if its rows have another length, its scales, or `quantization` in `config.json`, are those of another \
             conversion: download the model again",
            matrix.form()
        ),
        _ => String::new(),
    }
}

/// Multiplications for an element: as many as a row of the first operand has elements.
fn inner(inputs: &[&ValueType]) -> usize {
    inputs[0].shape.last().copied().unwrap_or(1)
}

pub fn linear(id: WeightId) -> Facts<'static> {
    let facts = Facts::new("linear", move |operands| {
        let (x, weight) = (operands.one()?, operands.weight(id)?);
        let Weight::Linear { matrix, .. } = weight else {
            return Err(format!(
                "weight `{}` was not asked for as a linear layer",
                weight.name()
            ));
        };
        let [out, inner] = dimensions::<2>(&matrix.shape(), "the matrix")?;
        let size = last(float(x)?)?;
        if size != inner {
            return Err(format!(
                "weight `{}` is [{out}, {inner}]: expected [.., {inner}]{}",
                weight.name(),
                as_stored(matrix)
            ));
        }
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("checked by `last`") = out;
        Ok(ValueType::float(shape))
    });
    Facts {
        weight: Some(id),
        ..facts.parted_by(|_, output| by_rows(output)).works(inner)
    }
}

pub fn linear_heads(id: WeightId, heads: usize, transposed: bool) -> Facts<'static> {
    let facts = Facts::new("linear.forward-heads", move |operands| {
        let (x, weight) = (operands.one()?, operands.weight(id)?);
        let name = weight.name();
        let Weight::Linear { matrix, bias } = weight else {
            return Err(format!("weight `{name}` was not asked for as a linear layer"));
        };
        if bias.is_some() {
            return Err(format!(
                "weight `{name}` has a bias, which heads have no place for"
            ));
        }
        let [out, inner] = dimensions::<2>(&matrix.shape(), "the matrix")?;
        let of_one = out.checked_div(heads).filter(|_| out.is_multiple_of(heads));
        let Some(of_one) = of_one else {
            return Err(format!(
                "weight `{name}` is [{out}, {inner}]: {out} rows are not {heads} heads"
            ));
        };
        let [from, to] = if transposed {
            [of_one, inner]
        } else {
            [inner, of_one]
        };
        let [tokens, found, size] = dimensions::<3>(&float(x)?.shape, "the operand")?;
        if found != heads || size != from {
            return Err(format!(
                "weight `{name}` is [{out}, {inner}]: expected [tokens, {heads}, {from}]{}",
                as_stored(matrix)
            ));
        }
        Ok(ValueType::float([tokens, heads, to]))
    });
    Facts {
        weight: Some(id),
        ..facts
    }
}

pub fn matmul(transpose_right: bool) -> Facts<'static> {
    let facts = Facts::new("matmul", move |operands| {
        let [a, b] = operands.take::<2>()?;
        let ([leading_a @ .., rows, inner], [leading_b @ .., first, second]) =
            (&float(a)?.shape[..], &float(b)?.shape[..])
        else {
            return Err("both operands must have two dimensions at least".to_owned());
        };
        let (other, columns) = if transpose_right {
            (second, first)
        } else {
            (first, second)
        };
        if inner != other {
            return Err(format!("inner dimensions {inner} and {other} differ"));
        }
        let mut shape = broadcast(leading_a, leading_b)?;
        shape.extend([rows, columns]);
        Ok(ValueType::float(shape))
    });
    // Without a leading dimension, the first counts rows, of which the right operand has none.
    let parts = |_: &[&ValueType], output: &ValueType| match output.shape.len() {
        0..=2 => Parts::Together,
        _ => Parts::Broadcast,
    };
    facts.parted_by(parts).works(inner)
}

pub fn expert_linear(id: WeightId) -> Facts<'static> {
    let facts = Facts::new("expert-linear", move |operands| {
        let ([x, indices], weight) = (operands.take::<2>()?, operands.weight(id)?);
        let matrix = match weight {
            Weight::Experts { matrix, .. } => Some(matrix),
            Weight::Stack(layers) => layers.first().map(|(matrix, _)| matrix),
            _ => return Err(format!("weight `{}` was not asked for as experts", weight.name())),
        };
        let [_, out, inner] = dimensions::<3>(&weight.shape(), "the experts' matrices")?;
        let [tokens, k] = dimensions::<2>(&int(indices)?.shape, "the indices")?;
        let fits = match float(x)?.shape[..] {
            [rows, size] => rows == tokens && size == inner,
            [rows, chosen, size] => rows == tokens && chosen == k && size == inner,
            _ => false,
        };
        if !fits {
            return Err(format!(
                "expected [{tokens}, {inner}] or [{tokens}, {k}, {inner}] for the experts of `{}`{}",
                weight.name(),
                matrix.map_or(String::new(), as_stored)
            ));
        }
        Ok(ValueType::float([tokens, k, out]))
    });
    Facts {
        weight: Some(id),
        ..facts.works(inner)
    }
}
