//! Sequences that begin as another did, and sequences that are cut back.
//!
//! Queries and keys are zero, so that a row's result is the mean of the values that it sees.

use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, SequenceId};
use monocle_tensor::operation::{CachedAttention, Op};
use monocle_tensor::program::ValueType;

use crate::batches::{batch, recorded, step};
use crate::engines;
use crate::support::assert_close;

/// Appends these values to a sequence that holds so many; gives each row's mean of what it sees.
fn append(
    engine: &mut dyn Backend,
    sequence: SequenceId,
    past: usize,
    values: &[f32],
) -> Result<Vec<f32>, BackendError> {
    let rows = values.len();
    let program = recorded(
        batch(rows),
        vec![ValueType::float([rows, 1, 1]); 2],
        &Arc::default(),
        |recorder| {
            let [zeros, values] = recorder.input_values()[..] else {
                unreachable!("two inputs were declared")
            };
            let attention = CachedAttention {
                layer: 3,
                scale: 1.0,
                softcap: None,
                window: None,
                value_dim: None,
            };
            let attend = recorder.push(Op::Attend(attention), &[zeros, zeros, values], None);
            vec![attend.unwrap()]
        },
    );
    let zeros = engine.upload(&[rows, 1, 1], vec![0.0; rows])?;
    let values = engine.upload(&[rows, 1, 1], values.to_vec())?;
    let outputs = engine.run(&program, &[zeros, values], Some(&step(sequence, past, rows)))?;
    engine.download(&outputs[0])
}

/// The means of growing prefixes, from the row `from` on.
fn means(values: &[f32], from: usize) -> Vec<f32> {
    let mean = |end: usize| (values[..end].iter().map(|x| f64::from(*x)).sum::<f64>() / end as f64) as f32;
    (from + 1..=values.len()).map(mean).collect()
}

fn numbers(from: usize, count: usize) -> Vec<f32> {
    (from..from + count).map(|number| number as f32).collect()
}

#[test]
fn a_fork_goes_its_own_way() {
    // Within the first block of a cache, at its edge, and beyond.
    for at in [1, 40, 64, 66, 70] {
        for mut engine in engines() {
            let engine = engine.as_mut();
            let parent = engine.new_sequence();
            let mut parents = numbers(0, 70);
            append(engine, parent, 0, &parents).unwrap();
            let child = engine.fork(parent, at).unwrap().expect("attention can be forked");
            let mut children = parents[..at].to_vec();
            children.extend(numbers(1000, 30));
            parents.extend(numbers(500, 10));
            // In turns, so that either could write over the other.
            let found = append(engine, child, at, &children[at..at + 20]).unwrap();
            assert_close("child", &found, &means(&children[..at + 20], at), 1e-4);
            let found = append(engine, parent, 70, &parents[70..]).unwrap();
            assert_close("parent", &found, &means(&parents, 70), 1e-4);
            engine.drop_sequence(parent);
            let found = append(engine, child, at + 20, &children[at + 20..]).unwrap();
            assert_close("orphan", &found, &means(&children, at + 20), 1e-4);
        }
    }
}

#[test]
fn what_is_shared_is_stored_once() {
    let mut engine = engines().remove(0);
    let parent = engine.new_sequence();
    append(engine.as_mut(), parent, 0, &numbers(0, 640)).unwrap();
    engine.wait().unwrap();
    let before = engine.memory().active;
    let child = engine.fork(parent, 640).unwrap().unwrap();
    assert_eq!(engine.memory().active, before);
    engine.drop_sequence(parent);
    assert_eq!(engine.memory().active, before);
    engine.drop_sequence(child);
    assert!(engine.memory().active < before);
}

#[test]
fn a_sequence_is_cut_back() {
    for mut engine in engines() {
        let engine = engine.as_mut();
        let sequence = engine.new_sequence();
        let mut values = numbers(0, 100);
        append(engine, sequence, 0, &values).unwrap();
        for at in [70, 64, 3] {
            assert!(engine.truncate(sequence, at).unwrap());
            values.truncate(at);
            values.extend(numbers(2000 + at, 9));
            let found = append(engine, sequence, at, &values[at..]).unwrap();
            assert_close("cut", &found, &means(&values, at), 1e-3);
        }
        assert!(engine.truncate(sequence, 0).unwrap());
        assert_close("anew", &append(engine, sequence, 0, &[7.0]).unwrap(), &[7.0], 0.0);
    }
}

#[test]
fn more_than_is_there_cannot_be_had() {
    let mut engine = engines().remove(0);
    let sequence = engine.new_sequence();
    append(engine.as_mut(), sequence, 0, &[1.0, 2.0]).unwrap();
    for result in [
        engine.fork(sequence, 3).map(|_| ()),
        engine.truncate(sequence, 3).map(|_| ()),
        engine.fork(SequenceId(99), 0).map(|_| ()),
        engine.truncate(SequenceId(99), 0).map(|_| ()),
    ] {
        assert!(matches!(result, Err(BackendError::Sequence(_))), "{result:?}");
    }
}

/// A convolution keeps its last rows only, and those before the last step: what came before is gone.
#[test]
fn a_convolution_goes_back_one_step() {
    for mut engine in engines() {
        let engine = engine.as_mut();
        let convolve = |engine: &mut dyn Backend, sequence, past, values: &[f32]| {
            let rows = values.len();
            let inputs = vec![ValueType::float([rows, 1]), ValueType::float([1, 3])];
            let program = recorded(batch(rows), inputs, &Arc::default(), |recorder| {
                let inputs = recorder.input_values();
                vec![recorder.push(Op::ShortConv { layer: 0 }, &inputs, None).unwrap()]
            });
            let x = engine.upload(&[rows, 1], values.to_vec()).unwrap();
            let kernel = engine.upload(&[1, 3], vec![100.0, 10.0, 1.0]).unwrap();
            let outputs = engine.run(&program, &[x, kernel], Some(&step(sequence, past, rows)));
            engine.download(&outputs.unwrap()[0]).unwrap()
        };
        let parent = engine.new_sequence();
        convolve(engine, parent, 0, &[1.0, 2.0, 3.0]);
        let child = engine.fork(parent, 3).unwrap().expect("nothing has moved on");
        assert_eq!(convolve(engine, parent, 3, &[4.0]), [234.0]);
        assert_eq!(convolve(engine, child, 3, &[9.0]), [239.0]);
        assert!(engine.truncate(parent, 3).unwrap());
        assert_eq!(convolve(engine, parent, 3, &[5.0]), [235.0]);
        assert_eq!(convolve(engine, parent, 4, &[6.0]), [356.0]);
        assert_eq!(engine.fork(parent, 3).unwrap(), None);
        assert!(!engine.truncate(parent, 3).unwrap());
        // It is good for nothing now but to be dropped.
        assert!(matches!(
            append(engine, parent, 5, &[1.0]),
            Err(BackendError::Sequence(_))
        ));
    }
}
