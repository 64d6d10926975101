//! Programs that ask for too much, in memory or in time: they are refused, and the next one runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_cpu::CpuBackend;
use monocle_tensor::backend::{Backend, BackendError, VisibleContext};
use monocle_tensor::operation::{Attention, CachedAttention, Interpolation, Op, Unary, Window};
use monocle_tensor::program::{Program, ValueId, ValueType};
use monocle_tensor::recorder::{BatchShape, Recorder, RecordingLimits};

use crate::batches::step;
use crate::support::{Operand, program_of, run};

/// What an engine may use here.
const LIMIT: usize = 8 << 20;

fn engine() -> CpuBackend {
    let mut engine = CpuBackend::new(Some(2));
    engine.keep_within(LIMIT);
    engine
}

fn recorder(inputs: &[&[usize]]) -> Recorder {
    let inputs = inputs
        .iter()
        .map(|shape| ValueType::float(shape.to_vec()))
        .collect();
    Recorder::new(Arc::default(), inputs, None, RecordingLimits::default())
}

/// The exponentials of these numbers, to see that an engine works.
fn works(engine: &mut CpuBackend, after: &str) {
    let x = Operand::Floats(vec![3], vec![0.0, 1.0, -1.0]);
    let (program, inputs) = program_of(Op::Unary(Unary::Exponential), &[x], None, &Arc::default(), None);
    let found = run(engine, &program, &inputs, None).unwrap_or_else(|error| panic!("after {after}: {error}"));
    let expected = [1.0, std::f32::consts::E, 1.0 / std::f32::consts::E];
    crate::support::assert_close(after, &found, &expected, 1e-5);
}

fn attention() -> Op {
    Op::Attention(Attention {
        scale: 1.0,
        softcap: None,
        causal: false,
        segments: Arc::default(),
    })
}

/// Runs a program whose operands are results of `Full`, which take no inputs.
fn of_full(op: Op, shapes: &[&[usize]]) -> Program {
    let mut recorder = recorder(&[]);
    let operands: Vec<ValueId> = shapes
        .iter()
        .map(|shape| {
            recorder
                .push(Op::Full(1.0), &[], Some(shape))
                .expect("it is small enough")
        })
        .collect();
    let out = recorder
        .push(op, &operands, None)
        .unwrap_or_else(|error| panic!("{error}"));
    recorder.finish(vec![out])
}

#[test]
fn results_of_nothing_take_nothing() {
    let window = Window {
        size: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
    };
    let many = u32::MAX as usize;
    let cases = [
        // Values of nothing, four billion rows: a list for each row would have 64 GB.
        (
            attention(),
            vec![vec![many, 1, 0], vec![many, 1, 0], vec![many, 1, 0]],
        ),
        // No pictures; a row of patches would have 2^62 numbers.
        (
            Op::Conv2d { window, groups: 1 },
            vec![
                vec![0, 1 << 20, 1 << 20, 1 << 22],
                vec![0, 1 << 22, 1 << 20, 1 << 20],
            ],
        ),
    ];
    for (op, shapes) in cases {
        let name = op.name();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let program = of_full(op, &shapes);
        let mut engine = engine();
        let results = engine
            .run(&program, &[], None)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            engine.download(&results[0]).expect("it is there").len(),
            0,
            "{name}"
        );
        works(&mut engine, name);
    }
}

#[test]
fn what_lists_take_is_estimated_and_refused() {
    let op = Op::Interpolate {
        size: [1 << 18, 1],
        method: Interpolation::Bicubic,
        align_corners: false,
        antialias: false,
    };
    // The result has 1 MiB, the list of samples 64 bytes and more for each of its rows.
    let program = of_full(op, &[&[1, 1, 1, 1]]);
    let mut engine = engine();
    assert!(
        engine.program_bytes(&program, 0) > 64 << 18,
        "{}",
        engine.program_bytes(&program, 0)
    );
    let error = engine
        .run(&program, &[], None)
        .expect_err("it is beyond the limit");
    assert!(
        matches!(error, BackendError::Memory { limit: Some(LIMIT), wanted, .. } if wanted >= 64 << 18),
        "{error}"
    );
    assert_eq!(engine.memory().active, 0);
    works(&mut engine, "lists");
    engine.keep_within(usize::MAX);
    engine.reset_peak();
    let estimate = engine.program_bytes(&program, 0);
    engine.run(&program, &[], None).expect("now it fits");
    let peak = engine.memory().peak;
    assert!(peak <= estimate && estimate < 2 * peak, "{peak} {estimate}");
}

/// Each allocation fails in turn: an error and nothing lost, or the right result.
#[test]
fn any_allocation_may_fail() {
    let mut recorder = recorder(&[&[40, 3, 16]]);
    let x = ValueId(0);
    let y = recorder.push(attention(), &[x, x, x], None).expect("shapes fit");
    let z = recorder
        .push(Op::Reshape, &[y], Some(&[40, 48]))
        .expect("shapes fit");
    let products = Op::MatMul {
        transpose_right: true,
    };
    let out = recorder.push(products, &[z, z], None).expect("shapes fit");
    let program = recorder.finish(vec![out]);
    let values: Vec<f32> = (0..40 * 3 * 16).map(|index| (index % 13) as f32 / 13.0).collect();
    let mut engine = engine();
    let input = engine.upload(&[40, 3, 16], values).expect("there is room");
    let input = std::slice::from_ref(&input);
    let before = engine.memory().active;
    let right = {
        let results = engine.run(&program, input, None).expect("there is room");
        engine.download(&results[0]).expect("it is there")
    };
    let (mut failed, mut limit) = (0, before);
    loop {
        engine.clear_cache();
        engine.keep_within(limit);
        match engine.run(&program, input, None) {
            Ok(results) => {
                assert_eq!(engine.download(&results[0]).expect("it is there"), right);
                break;
            }
            Err(BackendError::Memory { wanted, in_use, .. }) => {
                assert_eq!(engine.memory().active, before, "at {limit}");
                failed += 1;
                // The next time this one is granted.
                limit = in_use + wanted;
            }
            Err(other) => panic!("at {limit}: {other}"),
        }
    }
    assert!(failed >= 4, "{failed} allocations");
}

#[test]
fn rows_may_be_what_they_are_put_into() {
    let mut recorder = recorder(&[&[3, 2]]);
    let indices: Arc<[i32]> = [2, 0, 1].into();
    let indices = recorder
        .push(Op::Ints(indices), &[], Some(&[3]))
        .expect("a constant");
    let x = recorder
        .push(
            Op::ScaleShift {
                scale: 2.0,
                shift: 0.0,
            },
            &[ValueId(0)],
            None,
        )
        .expect("shapes fit");
    let out = recorder
        .push(Op::PutRows, &[x, indices, x], None)
        .expect("shapes fit");
    let program = recorder.finish(vec![out]);
    let inputs = [(vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])];
    let found = run(&mut engine(), &program, &inputs, None).expect("it runs");
    // Row 0 goes to place 2, row 1 to place 0, row 2 to place 1.
    assert_eq!(found, [6.0, 8.0, 10.0, 12.0, 2.0, 4.0]);
}

/// A row that sees nothing of the context gets zeros, wherever its empty range lies.
#[test]
fn empty_ranges_of_context_lie_anywhere() {
    let (tokens, rows) = (2, 300);
    let batch = BatchShape {
        tokens,
        axes: 1,
        marks: Vec::new(),
        wanted: 1,
        features: None,
        has_context: true,
        new_context: Some([rows, 4]),
    };
    let types = vec![ValueType::float([tokens, 1, 4])];
    let mut recorder = Recorder::new(Arc::default(), types, Some(batch), RecordingLimits::default());
    let context = recorder
        .push(Op::Context, &[], None)
        .expect("the batch brings it");
    let keys = recorder
        .push(Op::Reshape, &[context], Some(&[rows, 1, 4]))
        .expect("shapes fit");
    let attention = CachedAttention {
        scale: 1.0,
        softcap: None,
        window: None,
        layer: 0,
        value_dim: None,
    };
    let out = recorder
        .push(Op::CrossAttend(attention), &[ValueId(0), keys, keys], None)
        .expect("shapes fit");
    let program = recorder.finish(vec![out]);
    let mut engine = engine();
    let context = engine
        .upload(&[rows, 4], vec![1.0; rows * 4])
        .expect("there is room");
    for at in [1, 70, 255, 257, 299] {
        let sequence = engine.new_sequence();
        let mut step = step(sequence, 0, tokens);
        step.new_context = vec![Some(context.clone())];
        step.visible_context = [[at, at], [0, 3]]
            .map(|[start, end]| VisibleContext { start, end })
            .into();
        let x = engine
            .upload(&[tokens, 1, 4], vec![1.0; tokens * 4])
            .expect("there is room");
        let results = engine.run(&program, &[x], Some(&step));
        let results = results.unwrap_or_else(|error| panic!("at {at}: {error}"));
        let found = engine.download(&results[0]).expect("it is there");
        assert_eq!(found, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], "at {at}");
    }
}

#[test]
fn work_ends_when_its_time_is_over() {
    // Some seconds of work, were it not stopped: products of 1024x1024, 2 GFLOP each.
    let mut recorder = recorder(&[]);
    let x = recorder
        .push(Op::Full(0.001), &[], Some(&[1024, 1024]))
        .expect("it is small enough");
    let products = Op::MatMul {
        transpose_right: false,
    };
    let out = (0..2000).fold(x, |y, _| {
        recorder
            .push(products.clone(), &[y, x], None)
            .expect("shapes fit")
    });
    let program = recorder.finish(vec![out]);
    let mut engine = CpuBackend::new(Some(2));
    let begun = Instant::now();
    engine.stop_at(Some(begun + Duration::from_millis(200)));
    let error = engine.run(&program, &[], None).expect_err("its time is over");
    assert!(matches!(error, BackendError::Stopped), "{error}");
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_secs(5),
        "{took:?}"
    );
    // The time stays over until another is named.
    let again = engine.run(&program, &[], None).expect_err("its time is over");
    assert!(matches!(again, BackendError::Stopped), "{again}");
    engine.stop_at(None);
    assert_eq!(engine.memory().active, 0);
    works(&mut engine, "a stop");
}
