//! Chains of operations that move elements, made at random, against a reference that looks up one index at a time.

use std::sync::Arc;

use monocle_tensor::operation::Op;
use monocle_tensor::program::ValueType;
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use proptest::prelude::*;

use crate::engines;
use crate::support::Random;

/// A tensor of the reference.
#[derive(Clone, Debug)]
struct Plain {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Plain {
    /// The tensor of this shape whose element at each index is `f(index)`.
    fn build(shape: Vec<usize>, f: impl Fn(&[usize]) -> f32) -> Self {
        let len = shape.iter().product();
        let mut values = Vec::with_capacity(len);
        for mut rest in 0..len {
            let mut index = vec![0; shape.len()];
            for axis in (0..shape.len()).rev() {
                index[axis] = rest % shape[axis];
                rest /= shape[axis];
            }
            values.push(f(&index));
        }
        Self { shape, values }
    }

    fn at(&self, index: &[usize]) -> f32 {
        let flat = index
            .iter()
            .zip(&self.shape)
            .fold(0, |flat, (index, size)| flat * size + index);
        self.values[flat]
    }
}

/// One random operation on `x`: as recorded, and as the reference does it.
fn next(random: &mut Random, x: &Plain) -> (Op, Option<Vec<usize>>, Plain) {
    let rank = x.shape.len();
    let axis = random.below(rank);
    match random.below(6) {
        0 => {
            let mut axes: Vec<usize> = (0..rank).collect();
            for index in (1..rank).rev() {
                axes.swap(index, random.below(index + 1));
            }
            let shape = axes.iter().map(|&axis| x.shape[axis]).collect();
            let result = Plain::build(shape, |index| {
                let mut from = vec![0; rank];
                axes.iter()
                    .zip(index)
                    .for_each(|(&axis, &index)| from[axis] = index);
                x.at(&from)
            });
            (Op::Permute(axes), None, result)
        }
        1 => {
            let start = random.below(x.shape[axis]);
            let end = start + 1 + random.below(x.shape[axis] - start);
            let step = 1 + random.below(3);
            let mut shape = x.shape.clone();
            shape[axis] = (start..end).step_by(step).count();
            let result = Plain::build(shape, |index| {
                let mut from = index.to_vec();
                from[axis] = start + index[axis] * step;
                x.at(&from)
            });
            (
                Op::Slice {
                    axis,
                    start,
                    end,
                    step,
                },
                None,
                result,
            )
        }
        2 => {
            let (before, after) = (random.below(3), random.below(3));
            let mut shape = x.shape.clone();
            shape[axis] += before + after;
            let result = Plain::build(shape, |index| {
                let mut from = index.to_vec();
                match index[axis].checked_sub(before) {
                    Some(at) if at < x.shape[axis] => {
                        from[axis] = at;
                        x.at(&from)
                    }
                    _ => -5.0,
                }
            });
            let value = -5.0;
            (
                Op::Pad {
                    axis,
                    before,
                    after,
                    value,
                },
                None,
                result,
            )
        }
        3 => {
            let shape = [&[1 + random.below(3)], x.shape.as_slice()].concat();
            let result = Plain::build(shape.clone(), |index| x.at(&index[1..]));
            (Op::Broadcast, Some(shape), result)
        }
        4 => {
            // Two neighbouring dimensions become one, or the last is cut in ones.
            let mut shape = x.shape.clone();
            if rank > 1 {
                let size = shape.remove(axis.min(rank - 2) + 1);
                shape[axis.min(rank - 2)] *= size;
            } else {
                shape.push(1);
            }
            let values = x.values.clone();
            (Op::Reshape, Some(shape.clone()), Plain { shape, values })
        }
        _ => {
            let mut shape = x.shape.clone();
            shape[axis] *= 2;
            let result = Plain::build(shape, |index| {
                let mut from = index.to_vec();
                from[axis] %= x.shape[axis];
                x.at(&from)
            });
            (Op::Concat { axis }, None, result)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn chains_of_moves_equal_the_reference(seed in any::<u64>(), shape in prop::collection::vec(1_usize..6, 1..4), steps in 1_usize..7) {
        let mut random = Random::new(seed);
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|x| x as f32).collect();
        let mut plain = Plain { shape: shape.clone(), values: values.clone() };
        let mut recorder = Recorder::new(Arc::new(Vec::new()), vec![ValueType::float(shape.clone())], None, RecordingLimits::default());
        let mut value = recorder.input_values()[0];
        let mut outputs = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..steps {
            if plain.values.len() > 20_000 || plain.shape.len() > 5 {
                break;
            }
            let (op, shape, result) = next(&mut random, &plain);
            let inputs = if matches!(op, Op::Concat { .. }) { vec![value, value] } else { vec![value] };
            value = recorder.push(op, &inputs, shape.as_deref()).unwrap();
            plain = result;
            // Some values live on as results, others die on the way.
            if random.below(2) == 0 {
                outputs.push(value);
                expected.push(plain.clone());
            }
        }
        outputs.push(value);
        expected.push(plain);
        let program = recorder.finish(outputs);
        let mut engine = engines().remove(0);
        let input = engine.upload(&shape, values).unwrap();
        let results = engine.run(&program, &[input], None).unwrap();
        for (result, expected) in results.iter().zip(&expected) {
            prop_assert_eq!(&result.value_type().shape, &expected.shape);
            prop_assert_eq!(&engine.download(result).unwrap(), &expected.values);
        }
    }
}
