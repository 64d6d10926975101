//! Operations that read the batch, states of sequences, and what is wrong with bad steps.

#[path = "one_sequence.rs"]
mod one_sequence;

use std::rc::Rc;
use std::sync::Arc;

use monocle_tensor::backend::*;
use monocle_tensor::operation::{CachedAttention, Op, Pairing, Rope, WeightId};
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::BatchShape;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};

use crate::engines;
pub use one_sequence::{batch, recorded, step};

fn no_weights() -> Arc<Vec<Weight>> {
    Arc::new(Vec::new())
}

#[test]
fn the_batch_is_what_the_step_says() {
    let mut engine = engines().remove(0);
    let sequence = engine.new_sequence();
    let shape = BatchShape {
        marks: vec!["age".to_owned(), "kind".to_owned()],
        ..batch(5)
    };
    let program = recorded(shape, Vec::new(), &no_weights(), |recorder| {
        let operations = [
            Op::Tokens,
            Op::Positions,
            Op::ImageMask,
            Op::ContextMask,
            Op::Mark(1),
            Op::Mark(0),
        ];
        assert!(
            recorder.push(Op::Mark(2), &[], None).is_err(),
            "there are two marks"
        );
        operations.map(|op| recorder.push(op, &[], None).unwrap()).into()
    });
    let features: Rc<[Tensor]> = Rc::new([engine.upload(&[4, 2], vec![0.0; 8]).unwrap()]);
    let mut step = step(sequence, 0, 5);
    step.tokens = vec![9, 8, 7, 6, 5];
    step.splices = vec![Splice {
        row: 1,
        count: 3,
        features,
        offset: 1,
    }];
    step.visible_context = [[0, 0], [0, 1], [2, 2], [1, 3], [0, 0]]
        .map(|[start, end]| VisibleContext { start, end })
        .into();
    step.marks = vec![vec![1, 2, 3, 4, 5], vec![-7, 0, 7, 1 << 20, -1]];
    let outputs = engine.run(&program, &[], Some(&step)).unwrap();
    let expected: [&[f32]; 6] = [
        &[9.0, 8.0, 7.0, 6.0, 5.0],
        &[0.0, 1.0, 2.0, 3.0, 4.0],
        &[0.0, 1.0, 1.0, 1.0, 0.0],
        &[0.0, 1.0, 0.0, 1.0, 0.0],
        &[-7.0, 0.0, 7.0, 1_048_576.0, -1.0],
        &[1.0, 2.0, 3.0, 4.0, 5.0],
    ];
    for (output, expected) in outputs.iter().zip(expected) {
        assert_eq!(engine.download(output).unwrap(), expected);
    }
    for marks in [vec![vec![0; 5]], vec![vec![0; 5], vec![0; 4]]] {
        let step = Step {
            marks,
            ..step.clone()
        };
        assert!(
            engine.run(&program, &[], Some(&step)).is_err(),
            "{:?}",
            step.marks
        );
    }
}

#[test]
fn features_take_their_rows_also_across_chunks() {
    let mut engine = engines().remove(0);
    let first: Vec<f32> = (0..8).map(|x| x as f32 * 10.0).collect();
    let second: Vec<f32> = first.iter().map(|x| x + 1.0).collect();
    let features: Rc<[Tensor]> = Rc::new([
        engine.upload(&[4, 2], first).unwrap(),
        engine.upload(&[4, 2], second).unwrap(),
    ]);
    let splice = |row, count, offset| Splice {
        row,
        count,
        features: Rc::clone(&features),
        offset,
    };
    // Rows 2..6 of seven hold the four features; the second way cuts them in the middle.
    let ways = [
        vec![(0, 7, vec![splice(2, 4, 0)])],
        vec![(0, 3, vec![splice(2, 1, 0)]), (3, 4, vec![splice(0, 3, 1)])],
    ];
    for chunks in ways {
        let sequence = engine.new_sequence();
        let (mut replaced, mut added) = (Vec::new(), Vec::new());
        for (past, rows, splices) in chunks {
            let x = vec![ValueType::float([rows, 2])];
            let program = recorded(batch(rows), x, &no_weights(), |recorder| {
                let x = recorder.input_values();
                vec![
                    recorder.push(Op::SpliceFeatures { set: 0 }, &x, None).unwrap(),
                    recorder.push(Op::AddFeatures { set: 1 }, &x, None).unwrap(),
                ]
            });
            let x = engine.upload(&[rows, 2], vec![-1.0; rows * 2]).unwrap();
            let mut step = step(sequence, past, rows);
            step.splices = splices;
            let outputs = engine.run(&program, &[x], Some(&step)).unwrap();
            replaced.extend(engine.download(&outputs[0]).unwrap());
            added.extend(engine.download(&outputs[1]).unwrap());
        }
        let rest = [-1.0; 4];
        let features: Vec<f32> = (0..8).map(|x| x as f32 * 10.0).collect();
        assert_eq!(replaced, [&rest[..], &features, &rest[..2]].concat());
        // -1 + (x + 1)
        assert_eq!(added, [&rest[..], &features, &rest[..2]].concat());
    }
}

#[test]
fn only_wanted_rows_are_selected() {
    let mut engine = engines().remove(0);
    let x: Vec<f32> = (0..8).map(|x| x as f32).collect();
    for (wanted, expected) in [
        (vec![3], vec![6.0, 7.0]),
        (vec![0, 2], vec![0.0, 1.0, 4.0, 5.0]),
        (vec![0, 1, 2, 3], x.clone()),
        (vec![], vec![]),
    ] {
        let sequence = engine.new_sequence();
        let shape = BatchShape {
            wanted: wanted.len(),
            ..batch(4)
        };
        let program = recorded(shape, vec![ValueType::float([4, 2])], &no_weights(), |recorder| {
            let x = recorder.input_values();
            vec![recorder.push(Op::SelectLogits, &x, None).unwrap()]
        });
        let input = engine.upload(&[4, 2], x.clone()).unwrap();
        let mut step = step(sequence, 0, 4);
        step.wanted = wanted;
        let outputs = engine.run(&program, &[input], Some(&step)).unwrap();
        assert_eq!(engine.download(&outputs[0]).unwrap(), expected);
    }
}

/// Attends with one head of one element, to itself.
pub fn attending(rows: usize) -> Program {
    recorded(
        batch(rows),
        vec![ValueType::float([rows, 1, 1])],
        &no_weights(),
        |recorder| {
            let x = recorder.input_values()[0];
            let attention = CachedAttention {
                layer: 0,
                scale: 1.0,
                softcap: None,
                window: None,
                value_dim: None,
            };
            vec![recorder.push(Op::Attend(attention), &[x, x, x], None).unwrap()]
        },
    )
}

pub fn attend(engine: &mut dyn Backend, step: &Step) -> Result<Vec<f32>, BackendError> {
    let rows = step.tokens.len();
    let x = engine.upload(&[rows, 1, 1], vec![1.0; rows]).unwrap();
    let outputs = engine.run(&attending(rows), &[x], Some(step))?;
    engine.download(&outputs[0])
}

#[test]
fn a_step_must_continue_its_sequence() {
    let mut engine = engines().remove(0);
    let sequence = engine.new_sequence();
    assert_eq!(attend(engine.as_mut(), &step(sequence, 0, 3)).unwrap(), [1.0; 3]);
    for past in [0, 2, 4] {
        let error = attend(engine.as_mut(), &step(sequence, past, 1)).unwrap_err();
        assert!(matches!(error, BackendError::Sequence(_)), "{error}");
    }
    // A refused step changes nothing.
    assert_eq!(attend(engine.as_mut(), &step(sequence, 3, 2)).unwrap(), [1.0; 2]);
    let mut twice = step(sequence, 5, 1);
    twice = Step {
        tokens: vec![0; 2],
        positions: vec![0; 2],
        sequences: vec![twice.sequences[0]; 2],
        visible: vec![twice.visible[0]; 2],
        ..twice
    };
    assert!(matches!(
        attend(engine.as_mut(), &twice),
        Err(BackendError::Sequence(_))
    ));
    engine.drop_sequence(sequence);
    assert!(matches!(
        attend(engine.as_mut(), &step(sequence, 5, 1)),
        Err(BackendError::Sequence(_))
    ));
}

#[test]
fn a_lying_step_is_refused() {
    let mut engine = engines().remove(0);
    let sequence = engine.new_sequence();
    let features: Rc<[Tensor]> = Rc::new([engine.upload(&[2, 2], vec![0.0; 4]).unwrap()]);
    let splice = |row, count, offset| Splice {
        row,
        count,
        features: Rc::clone(&features),
        offset,
    };
    let lies: [&dyn Fn(&mut Step); 12] = [
        &|step| step.tokens.push(0),
        &|step| step.positions.clear(),
        &|step| step.axes = usize::MAX,
        &|step| step.visible[1].end = 1,
        &|step| step.visible[1].end = 4,
        &|step| step.visible[1].block_start = 2,
        &|step| step.wanted = vec![3],
        &|step| step.splices = vec![splice(2, 2, 0)],
        &|step| step.splices = vec![splice(0, 2, 0), splice(1, 1, 0)],
        &|step| step.splices = vec![splice(0, 1, usize::MAX)],
        &|step| step.visible_context = vec![VisibleContext { start: 0, end: 1 }],
        &|step| step.new_context = vec![None; 3],
    ];
    for (index, lie) in lies.iter().enumerate() {
        let mut step = step(sequence, 0, 3);
        lie(&mut step);
        let x = engine.upload(&[3, 1, 1], vec![1.0; 3]).unwrap();
        let error = engine.run(&attending(3), &[x], Some(&step)).unwrap_err();
        assert!(matches!(error, BackendError::Input(_)), "lie {index}: {error}");
    }
    let x = engine.upload(&[3, 1, 1], vec![1.0; 3]).unwrap();
    let missing = engine.run(&attending(3), std::slice::from_ref(&x), None);
    assert!(matches!(missing, Err(BackendError::Input(_))));
    let other = engine.run(
        &attending(2),
        std::slice::from_ref(&x),
        Some(&step(sequence, 0, 2)),
    );
    assert!(matches!(other, Err(BackendError::Input(_))));
    assert!(
        engine
            .run(&attending(3), &[x], Some(&step(sequence, 0, 3)))
            .is_ok()
    );
}

fn table() -> Arc<Vec<Weight>> {
    let values: Vec<u8> = (0..6).flat_map(|x| (x as f32).to_le_bytes()).collect();
    Arc::new(vec![Weight::Embedding(Matrix::Dense(StoredTensor {
        name: "table".to_owned(),
        kind: StoredType::F32,
        shape: vec![3, 2],
        bytes: Bytes::new(values),
    }))])
}

#[test]
fn a_token_out_of_range_ends_the_step_and_marks_the_sequence() {
    let weights = table();
    let mut engine = engines().remove(0);
    engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
    let program = recorded(batch(2), Vec::new(), &weights, |recorder| {
        let tokens = recorder.push(Op::Tokens, &[], None).unwrap();
        vec![recorder.push(Op::Embed(WeightId(0)), &[tokens], None).unwrap()]
    });
    for bad in [3, -1, i32::MIN, i32::MAX] {
        let sequence = engine.new_sequence();
        let mut step = step(sequence, 0, 2);
        step.tokens = vec![0, bad];
        let error = engine.run(&program, &[], Some(&step)).unwrap_err();
        assert!(
            matches!(
                error,
                BackendError::Value {
                    index: 1,
                    operation: "embed",
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains(&bad.to_string()), "{error}");
        step.tokens = vec![0, 1];
        let error = engine.run(&program, &[], Some(&step)).unwrap_err();
        assert!(matches!(error, BackendError::Sequence(_)), "{error}");
        engine.drop_sequence(sequence);
        let outputs = {
            step.sequences[0].sequence = engine.new_sequence();
            engine.run(&program, &[], Some(&step)).unwrap()
        };
        assert_eq!(engine.download(&outputs[0]).unwrap(), [0.0, 1.0, 2.0, 3.0]);
    }
}

#[test]
fn weights_that_cannot_be_used_are_refused_by_name() {
    let good = table();
    let Weight::Embedding(Matrix::Dense(dense)) = &good[0] else {
        unreachable!()
    };
    let mut wrong_type = dense.clone();
    wrong_type.kind = StoredType::I32;
    let mut short = dense.clone();
    short.bytes = dense.bytes.slice(0..20).unwrap();
    let mut packed = dense.clone();
    packed.kind = StoredType::U32;
    let affine = Matrix::Affine {
        packed,
        scales: dense.clone(),
        biases: dense.clone(),
        bits: 7,
        group_size: 32,
    };
    let mut engine = engines().remove(0);
    for matrix in [Matrix::Dense(wrong_type), Matrix::Dense(short.clone()), affine] {
        let weights = Arc::new(vec![Weight::Linear { matrix, bias: None }]);
        let error = engine.load(weights, &mut |_, _| {}).unwrap_err();
        assert!(
            matches!(&error, BackendError::Weight { name, .. } if name == "table"),
            "{error}"
        );
    }
    let error = engine
        .load(Arc::new(vec![Weight::Tensor(short)]), &mut |_, _| {})
        .unwrap_err();
    assert!(matches!(error, BackendError::Weight { .. }));
    let mut seen = Vec::new();
    engine
        .load(good, &mut |done, all| seen.push((done, all)))
        .unwrap();
    assert_eq!(seen, [(24, 24)]);
}

#[test]
fn rotary_embeddings_of_one_program_do_not_mix() {
    let rope = |frequency: f32| {
        Op::Rope(Arc::new(Rope {
            frequencies: vec![frequency],
            axes: Vec::new(),
            pairing: Pairing::Halves,
            scale: 1.0,
        }))
    };
    let mut engine = engines().remove(0);
    let sequence = engine.new_sequence();
    let program = recorded(
        batch(1),
        vec![ValueType::float([1, 1, 2])],
        &no_weights(),
        |recorder| {
            let x = recorder.input_values()[0];
            // The batch's positions twice, and other positions.
            let first = recorder.push(Op::Positions, &[], None).unwrap();
            let second = recorder.push(Op::Positions, &[], None).unwrap();
            let other = recorder.push(Op::Ints([3].into()), &[], Some(&[1, 1])).unwrap();
            [(0.5, first), (0.5, second), (0.25, second), (0.5, other)]
                .map(|(frequency, positions)| recorder.push(rope(frequency), &[x, positions], None).unwrap())
                .into()
        },
    );
    let x = engine.upload(&[1, 1, 2], vec![1.0, 0.0]).unwrap();
    for position in [2, 4] {
        let mut step = step(sequence, (position as usize - 2) / 2, 1);
        step.positions = vec![position];
        let outputs = engine
            .run(&program, std::slice::from_ref(&x), Some(&step))
            .unwrap();
        let position = position as f32;
        for (output, angle) in outputs
            .iter()
            .zip([0.5 * position, 0.5 * position, 0.25 * position, 1.5])
        {
            let found = engine.download(output).unwrap();
            assert!((found[0] - angle.cos()).abs() < 1e-6 && (found[1] - angle.sin()).abs() < 1e-6);
        }
    }
}
