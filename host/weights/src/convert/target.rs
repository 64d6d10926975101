//! What a conversion writes of each tensor of the source: most as they are, and experts that lie in one tensor taken apart as MLX has them.

use std::collections::BTreeMap;
use std::ops::Range;

use monocle_tensor::stored::{Matrix, StoredTensor, StoredType};

use crate::dequantise::dequantise_rows;
use crate::error::WeightsError;

/// Where experts lie, as newer versions of transformers have them: gate and up in one tensor, and down.
const JOINT: &str = "mlp.experts.gate_up_proj";
const DOWN: &str = "mlp.experts.down_proj";
/// Where MLX has them.
const STACKED: &str = "mlp.switch_mlp";

/// A tensor that is written.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// What it is called.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What it is made of.
    pub source: StoredTensor,
    /// None where it is the source itself.
    cut: Option<Cut>,
}

/// A part of each matrix of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// The first of its outputs.
    first: usize,
    /// The stack is `[experts, in, out]`, and not `[experts, out, in]`.
    by_inputs: bool,
}

/// What is made of a tensor: name, shape and part of each.
type Parts = Vec<(String, Vec<usize>, Cut)>;

/// The tensors that are written of some, in their order. What is `kept` stays as it is; other experts that lie in one tensor are taken apart, or
/// refused where it is not known how: unquantised, they are most of the model.
pub(super) fn targets(
    tensors: Vec<StoredTensor>,
    kept: &dyn Fn(&str) -> bool,
) -> Result<Vec<Target>, WeightsError> {
    let mut stacks = stacks(&tensors, kept);
    let mut targets = Vec::with_capacity(tensors.len());
    for source in tensors {
        if let Some(parts) = stacks.remove(&source.name) {
            targets.extend(cuts(parts, source));
            continue;
        }
        let is_bare = !source.name.ends_with(".weight") && source.name.contains(".experts.");
        if is_bare && stack(&source).is_some() && !kept(&source.name) {
            return Err(WeightsError::UnknownExperts {
                name: source.name,
                shape: source.shape,
            });
        }
        targets.push(Target {
            name: source.name.clone(),
            shape: source.shape.clone(),
            source,
            cut: None,
        });
    }
    Ok(targets)
}

/// What is made of those tensors that are stacks of experts.
pub(crate) fn taken_apart(tensors: Vec<StoredTensor>) -> Vec<Target> {
    let mut stacks = stacks(&tensors, &|_| false);
    let made = tensors.into_iter().filter_map(|source| {
        let parts = stacks.remove(&source.name)?;
        Some(cuts(parts, source))
    });
    made.flatten().collect()
}

fn cuts(parts: Parts, source: StoredTensor) -> impl Iterator<Item = Target> {
    parts.into_iter().map(move |(name, shape, cut)| Target {
        name,
        shape,
        source: source.clone(),
        cut: Some(cut),
    })
}

/// What becomes of the stacks of experts, by their names.
fn stacks(tensors: &[StoredTensor], kept: &dyn Fn(&str) -> bool) -> BTreeMap<String, Parts> {
    let by_name: BTreeMap<&str, &StoredTensor> = tensors
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    let mut found = BTreeMap::new();
    for joint in tensors {
        let Some(place) = joint.name.strip_suffix(JOINT) else {
            continue;
        };
        let has = |end: &str| by_name.contains_key(format!("{place}{end}").as_str());
        let Some(down) = by_name.get(format!("{place}{DOWN}").as_str()) else {
            continue;
        };
        // Biases are in no known order, and what has its name already is another layer.
        let others = has(&format!("{JOINT}_bias")) || has(&format!("{STACKED}.gate_proj.weight"));
        if others || kept(&joint.name) || kept(&down.name) {
            continue;
        }
        let shapes = stack(joint).zip(stack(down));
        let Some([experts, inner, hidden, by_inputs]) = shapes.and_then(|(joint, down)| layout(joint, down))
        else {
            continue;
        };
        let by_inputs = by_inputs == 1;
        let part = |end: &str, outputs, inputs, first| {
            let name = format!("{place}{STACKED}.{end}_proj.weight");
            (name, vec![experts, outputs, inputs], Cut { first, by_inputs })
        };
        let both = vec![part("gate", inner, hidden, 0), part("up", inner, hidden, inner)];
        found.insert(joint.name.clone(), both);
        found.insert(down.name.clone(), vec![part("down", hidden, inner, 0)]);
    }
    found
}

/// The shape of a stack of matrices of floats.
fn stack(tensor: &StoredTensor) -> Option<[usize; 3]> {
    let shape = <[usize; 3]>::try_from(tensor.shape.as_slice()).ok()?;
    tensor.kind.holds_matrices().then_some(shape)
}

/// Experts, their inner and outer width, and 1 where both stacks are `[experts, in, out]`, 0 where they are `[experts, out, in]`: no shapes fit both,
/// as the first is twice as wide within as the second.
fn layout(joint: [usize; 3], down: [usize; 3]) -> Option<[usize; 4]> {
    let [experts, joint_rows, joint_columns] = joint;
    let [_, down_rows, down_columns] = down;
    let fits = |inner: usize, hidden: usize, both: usize, out: usize| {
        down[0] == experts && inner > 0 && out > 0 && Some(both) == inner.checked_mul(2) && hidden == out
    };
    if fits(down_rows, joint_rows, joint_columns, down_columns) {
        Some([experts, down_rows, joint_rows, 1])
    } else if fits(down_columns, joint_columns, joint_rows, down_rows) {
        Some([experts, down_columns, joint_columns, 0])
    } else {
        None
    }
}

impl Target {
    /// How its numbers are stored, where it is not quantised.
    pub fn kind(&self) -> StoredType {
        self.source.kind
    }

    /// Its bytes, where it is not quantised.
    pub fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.kind().size()) as u64
    }

    /// Whether it is a tensor of the source as it stands.
    pub fn is_source(&self) -> bool {
        self.cut.is_none()
    }

    /// Some of its rows, which are counted through all its matrices.
    pub fn rows(&self, rows: Range<usize>) -> Result<Vec<f32>, WeightsError> {
        let matrix = || Matrix::Dense(self.source.clone());
        let (Some(cut), [_, outputs, inputs], [_, down, across]) =
            (self.cut, &self.shape[..], &self.source.shape[..])
        else {
            return dequantise_rows(&matrix(), rows);
        };
        let mut values = vec![0.0; rows.len() * inputs];
        if !cut.by_inputs {
            let matrix = matrix();
            for (row, out) in rows.zip(values.chunks_exact_mut(*inputs)) {
                let at = row / outputs * down + cut.first + row % outputs;
                out.copy_from_slice(&dequantise_rows(&matrix, at..at + 1)?);
            }
            return Ok(values);
        }
        // Each of the source's rows holds one number of all outputs: of those of one expert after another.
        let (bytes, kind) = (self.source.bytes.as_slice(), self.kind());
        let mut done = 0;
        while done < rows.len() {
            let (expert, output) = ((rows.start + done) / outputs, (rows.start + done) % outputs);
            let count = (outputs - output).min(rows.len() - done);
            for input in 0..*inputs {
                let at = ((expert * down + input) * across + cut.first + output) * kind.size();
                let numbers = bytes[at..at + count * kind.size()].chunks_exact(kind.size());
                for (number, row) in numbers.zip(done..) {
                    values[row * inputs + input] = kind.decode(number);
                }
            }
            done += count;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use monocle_tensor::stored::Bytes;

    use super::*;

    fn tensor(name: &str, shape: &[usize], values: impl Iterator<Item = f32>) -> StoredTensor {
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        assert_eq!(bytes.len(), shape.iter().product::<usize>() * 4);
        StoredTensor {
            name: name.to_owned(),
            kind: StoredType::F32,
            shape: shape.to_vec(),
            bytes: Bytes::new(bytes),
        }
    }

    /// Number of expert, output and input in its digits: of gate and up 0 to 3, of down 0 and 1.
    fn digits(outer: usize, inner: usize, by_inputs: bool) -> impl Iterator<Item = f32> {
        (0..2).flat_map(move |expert| {
            (0..outer).flat_map(move |first| {
                (0..inner).map(move |second| {
                    let (output, input) = if by_inputs {
                        (second, first)
                    } else {
                        (first, second)
                    };
                    (100 * expert + 10 * output + input) as f32
                })
            })
        })
    }

    /// Two experts, three wide outside, two within.
    fn stacks(by_inputs: bool) -> Vec<StoredTensor> {
        let pair = |rows: usize, columns: usize| {
            if by_inputs {
                [2, columns, rows]
            } else {
                [2, rows, columns]
            }
        };
        let made =
            |name: &str, shape: [usize; 3]| tensor(name, &shape, digits(shape[1], shape[2], by_inputs));
        vec![
            made("layers.0.mlp.experts.down_proj", pair(3, 2)),
            made("layers.0.mlp.experts.gate_up_proj", pair(4, 3)),
            tensor("norm.weight", &[3], (0..3).map(|at| at as f32)),
        ]
    }

    #[test]
    fn experts_in_one_tensor_are_taken_apart_in_both_layouts() {
        for by_inputs in [true, false] {
            let made = targets(stacks(by_inputs), &|_| false).unwrap();
            let told = |target: &Target| (target.name.clone(), target.shape.clone());
            let expected = [("down", [2, 3, 2]), ("gate", [2, 2, 3]), ("up", [2, 2, 3])];
            let expected = expected.map(|(part, shape)| {
                (
                    format!("layers.0.mlp.switch_mlp.{part}_proj.weight"),
                    shape.to_vec(),
                )
            });
            assert_eq!(made[..3].iter().map(told).collect::<Vec<_>>(), expected);
            assert!(made[3].is_source());
            let expected: [&[f32]; 3] = [
                &[0., 1., 10., 11., 20., 21., 100., 101., 110., 111., 120., 121.],
                &[0., 1., 2., 10., 11., 12., 100., 101., 102., 110., 111., 112.],
                &[20., 21., 22., 30., 31., 32., 120., 121., 122., 130., 131., 132.],
            ];
            for (target, expected) in made.iter().zip(expected) {
                let (rows, columns) = (expected.len() / target.shape[2], target.shape[2]);
                for (first, last) in [(0, rows), (1, rows), (1, rows - 1), (0, 1)] {
                    let found = target.rows(first..last).unwrap();
                    assert_eq!(
                        found,
                        expected[first * columns..last * columns],
                        "{}",
                        target.name
                    );
                }
            }
        }
    }

    #[test]
    fn experts_that_would_stay_are_refused_unless_they_are_kept() {
        let alone = || stacks(true).drain(..1).collect::<Vec<_>>();
        let error = targets(alone(), &|_| false).unwrap_err().to_string();
        assert!(
            error.contains("`layers.0.mlp.experts.down_proj`") && error.contains("--keep"),
            "{error}"
        );
        let mut odd = stacks(true);
        odd[0].shape = vec![2, 3, 2];
        assert!(targets(odd, &|_| false).is_err());
        // A pair of which one part is kept is not taken apart, and the other would stay.
        let kept = |name: &str| name.ends_with("down_proj");
        assert!(targets(alone(), &kept).unwrap()[0].is_source());
        assert!(targets(stacks(true), &kept).is_err());
        let all = |name: &str| name.contains("experts");
        assert!(targets(stacks(true), &all).unwrap().iter().all(Target::is_source));
    }
}
