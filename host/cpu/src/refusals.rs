//! Each request for memory is refused in turn, in programs of several kinds: an error and nothing lost, and what comes next is right.

#[path = "../../engine-tests/one_sequence.rs"]
mod one_sequence;

use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, KeyValueType, Step};
use monocle_tensor::operation::{
    Attention, CachedAttention, CachedHeads, Interpolation, Op, Pooling, Reduction, WeightId, Window,
};
use monocle_tensor::program::{Program, ValueId, ValueType};
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};

use super::CpuBackend;
use one_sequence::{batch, recorded, step};

type Results = Result<Vec<f32>, BackendError>;

/// Does the work again and again, each time with another request refused, until none is. Gives how many there were.
fn refuse_each(
    what: &str,
    engine: &mut CpuBackend,
    mut work: impl FnMut(&mut CpuBackend) -> Results,
) -> usize {
    let mut work = |engine: &mut CpuBackend, granted| {
        // Prepared programs hold constants, which are to be asked for again.
        engine.clear_cache();
        engine.memory.refuse_after(granted);
        let outcome = work(engine);
        let left = engine.memory.refuse_after(None);
        engine.clear_cache();
        (outcome, left.is_some())
    };
    let right = work(engine, None)
        .0
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let before = engine.memory().active;
    for granted in 0.. {
        match work(engine, Some(granted)) {
            (Ok(found), true) => {
                assert_eq!(found, right, "{what}");
                return granted;
            }
            (Err(BackendError::Memory { .. }), false) => {}
            (other, _) => panic!("{what}, request {granted}: {other:?}"),
        }
        assert_eq!(engine.memory().active, before, "{what}, request {granted}");
        let next = work(engine, None).0;
        let next = next.unwrap_or_else(|error| panic!("{what}, after request {granted}: {error}"));
        assert_eq!(next, right, "{what}, after request {granted}");
    }
    unreachable!("some work ends")
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| (index * 7 % 13) as f32 / 13.0 - 0.4)
        .collect()
}

/// All results of a program, one after another.
fn results(
    engine: &mut CpuBackend,
    program: &Program,
    shapes: &[Vec<usize>],
    step: Option<&Step>,
) -> Results {
    let inputs = shapes.iter().map(|shape| {
        let count = shape.iter().product();
        engine.upload(shape, numbers(count))
    });
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let results = engine.run(program, &inputs, step)?;
    let all = results.iter().map(|result| engine.download(result));
    all.collect::<Result<Vec<_>, _>>().map(|all| all.concat())
}

/// A program without a batch, of these inputs; `build` gives its results.
fn program(shapes: &[Vec<usize>], build: impl Fn(&mut Recorder) -> Vec<ValueId>) -> Program {
    let types = shapes.iter().map(|shape| ValueType::float(shape.clone()));
    let mut recorder = Recorder::new(Arc::default(), types.collect(), None, RecordingLimits::default());
    let outputs = build(&mut recorder);
    recorder.finish(outputs)
}

fn push(recorder: &mut Recorder, op: Op, inputs: &[ValueId], shape: Option<&[usize]>) -> ValueId {
    let pushed = recorder.push(op, inputs, shape);
    pushed.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn attention_and_products() {
    let shapes = [vec![40, 3, 16]];
    let program = program(&shapes, |recorder| {
        let x = ValueId(0);
        let attention = Op::Attention(Attention {
            scale: 1.0,
            softcap: None,
            causal: false,
            segments: [0, 10, 40].into(),
        });
        let y = push(recorder, attention, &[x, x, x], None);
        let rows = push(recorder, Op::Reshape, &[y], Some(&[40, 48]));
        let product = |transpose_right| Op::MatMul { transpose_right };
        let square = push(recorder, product(true), &[rows, rows], None);
        let back = push(recorder, product(false), &[square, rows], None);
        vec![push(recorder, Op::Softmax, &[back], None)]
    });
    for threads in [1, 3] {
        let mut engine = CpuBackend::new(Some(threads));
        let requests = refuse_each("attention", &mut engine, |engine| {
            results(engine, &program, &shapes, None)
        });
        // The input, five results, and lists of attention.
        assert!(requests >= 7, "{requests}");
    }
}

#[test]
fn pictures() {
    let shapes = [vec![1, 9, 7, 6], vec![4, 3, 3, 3]];
    let window = |size| Window {
        size: [size; 2],
        stride: [1, 1],
        padding: [1, 1],
    };
    let program = program(&shapes, |recorder| {
        let convolution = Op::Conv2d {
            window: window(3),
            groups: 2,
        };
        let [x, kernel] = [ValueId(0), ValueId(1)];
        let x = push(recorder, convolution, &[x, kernel], None);
        let resized = Op::Interpolate {
            size: [12, 20],
            method: Interpolation::Bicubic,
            align_corners: false,
            antialias: true,
        };
        let x = push(recorder, resized, &[x], None);
        let pooled = Op::Pool2d {
            pooling: Pooling::Average,
            window: window(2),
        };
        let x = push(recorder, pooled, &[x], None);
        let constant = push(recorder, Op::Floats(numbers(4).into()), &[], Some(&[4]));
        let x = push(recorder, Op::LayerNorm { epsilon: 1e-5 }, &[x, constant], None);
        let sum = Op::Reduce {
            reduction: Reduction::Sum,
            axes: vec![0, 1],
            keep: false,
        };
        vec![push(recorder, sum, &[x], None), x]
    });
    let mut engine = CpuBackend::new(Some(2));
    let requests = refuse_each("pictures", &mut engine, |engine| {
        results(engine, &program, &shapes, None)
    });
    assert!(requests >= 12, "{requests}");
}

fn stored(name: &str, shape: Vec<usize>) -> StoredTensor {
    let count: usize = shape.iter().product();
    let upper = numbers(count)
        .into_iter()
        .flat_map(|number| ((number.to_bits() >> 16) as u16).to_le_bytes());
    StoredTensor {
        name: name.to_owned(),
        kind: StoredType::BF16,
        shape,
        bytes: Bytes::new(upper.collect::<Vec<u8>>()),
    }
}

#[test]
fn experts() {
    let weights = Arc::new(vec![Weight::Experts {
        matrix: Matrix::Dense(stored("experts", vec![3, 24, 40])),
        bias: None,
    }]);
    let types = vec![ValueType::float([10, 40])];
    let mut recorder = Recorder::new(Arc::clone(&weights), types, None, RecordingLimits::default());
    let chosen = (0..20).map(|index| index * 5 % 3).collect::<Vec<i32>>();
    let chosen = push(&mut recorder, Op::Ints(chosen.into()), &[], Some(&[10, 2]));
    let linear = Op::ExpertLinear(WeightId(0));
    let x = push(&mut recorder, linear, &[ValueId(0), chosen], None);
    let program = recorder.finish(vec![x]);
    let mut engine = CpuBackend::new(Some(1));
    engine
        .load(Arc::clone(&weights), &mut |_, _| {})
        .expect("nothing is refused");
    let requests = refuse_each("experts", &mut engine, |engine| {
        results(engine, &program, &[vec![10, 40]], None)
    });
    // The inputs, rows by their experts, what is gathered and its products, the result.
    assert!(requests >= 6, "{requests}");
}

#[test]
fn weights() {
    let weights = Arc::new(vec![
        Weight::Linear {
            matrix: Matrix::Dense(stored("matrix", vec![24, 40])),
            bias: Some(stored("bias", vec![24])),
        },
        Weight::Tensor(stored("norm", vec![24])),
    ]);
    let types = vec![ValueType::float([70, 40])];
    let mut recorder = Recorder::new(Arc::clone(&weights), types, None, RecordingLimits::default());
    let x = push(&mut recorder, Op::Linear(WeightId(0)), &[ValueId(0)], None);
    let norm = push(&mut recorder, Op::Weight(WeightId(1)), &[], None);
    let normed = Op::RmsNorm {
        epsilon: 1e-5,
        offset: 0.0,
    };
    let x = push(&mut recorder, normed, &[x, norm], None);
    let program = recorder.finish(vec![x]);
    let mut engine = CpuBackend::new(Some(1));
    let requests = refuse_each("weights", &mut engine, |engine| {
        let loaded = engine.load(Arc::clone(&weights), &mut |_, _| {});
        let found = loaded.and_then(|()| results(engine, &program, &[vec![70, 40]], None));
        engine.load(Arc::default(), &mut |_, _| {})?;
        found
    });
    assert!(requests >= 5, "{requests}");
}

/// Layers that keep something of what came before.
fn layers(rows: usize) -> (Program, Vec<Vec<usize>>) {
    let keys = vec![rows, 2, 8];
    let shapes = vec![
        keys.clone(),
        vec![rows, 2, 5],
        vec![rows, 4, 8],
        vec![rows, 6],
        vec![6, 4],
        vec![rows, 2],
        vec![rows, 2],
    ];
    let shape = batch(rows);
    let types = shapes.iter().map(|shape| ValueType::float(shape.clone()));
    let [keys, values, queries, rows, kernel, gate, beta] =
        std::array::from_fn(|index| ValueId(index as u32));
    let attention = CachedAttention {
        layer: 0,
        scale: 0.5,
        softcap: None,
        window: None,
        value_dim: None,
    };
    let cached = CachedHeads {
        kv_heads: 2,
        dim: 8,
        value_dim: 5,
        latent: false,
    };
    let latent = CachedAttention {
        layer: 1,
        value_dim: Some(3),
        window: Some(20),
        ..attention.clone()
    };
    let outputs = [
        (Op::Attend(attention.clone()), vec![queries, keys, values]),
        (Op::AttendShared(attention, cached), vec![queries]),
        (Op::Attend(latent), vec![queries, keys]),
        (Op::ShortConv { layer: 2 }, vec![rows, kernel]),
        (Op::Recurrent { layer: 3 }, vec![keys, keys, values, gate, beta]),
    ];
    let program = recorded(shape, types.collect(), &Arc::default(), |recorder| {
        outputs
            .map(|(op, inputs)| push(recorder, op, &inputs, None))
            .into()
    });
    (program, shapes)
}

/// A refused step can be taken back, and taken again.
#[test]
fn sequences() {
    // A block of a cache has 64 tokens: the second step needs another one.
    let steps = [60, 9, 1];
    let programs = steps.map(layers);
    for kind in [KeyValueType::F32, KeyValueType::Q8] {
        let mut engine = CpuBackend::new(Some(2)).storing(kind);
        let mut right = None;
        let requests = refuse_each("sequences", &mut engine, |engine| {
            let sequence = engine.new_sequence();
            let (mut past, mut all, mut refused) = (0, Vec::new(), None);
            for (rows, (program, shapes)) in steps.into_iter().zip(&programs) {
                let step = step(sequence, past, rows);
                let found = match results(engine, program, shapes, Some(&step)) {
                    Err(error @ BackendError::Memory { .. }) => {
                        assert!(engine.truncate(sequence, past)?, "{past} are gone after: {error}");
                        refused = Some(error);
                        results(engine, program, shapes, Some(&step))?
                    }
                    found => found?,
                };
                all.extend(found);
                past += rows;
            }
            engine.drop_sequence(sequence);
            // What was refused once comes out as if it had not been.
            assert_eq!(&all, right.get_or_insert_with(|| all.clone()), "{refused:?}");
            refused.map_or(Ok(all), Err)
        });
        assert!(requests >= 40, "{requests}");
    }
}
