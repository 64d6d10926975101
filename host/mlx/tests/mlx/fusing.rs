//! Operations that run as one give what they give one by one.

use std::sync::Arc;

use monocle_cpu::CpuBackend;
use monocle_mlx::{MlxBackend, Precision};
use monocle_tensor::backend::{Backend, Tensor};
use monocle_tensor::operation::{Binary, Op, Reduction, Unary};
use monocle_tensor::program::{Program, ValueId, ValueType};
use monocle_tensor::recorder::{Recorder, RecordingLimits};

use crate::support::{Input, Random, assert_close};

fn fusing(precision: Precision) -> MlxBackend {
    let engine = MlxBackend::new(precision).fusing(true);
    assert!(engine.fuses(), "MLX cannot compile on this machine");
    engine
}

fn program(inputs: &[Input], build: impl FnOnce(&mut Recorder, &[ValueId]) -> Vec<ValueId>) -> Program {
    let types = inputs
        .iter()
        .map(|(shape, _)| ValueType::float(shape.clone()))
        .collect();
    let mut recorder = Recorder::new(Arc::default(), types, None, RecordingLimits::default());
    let values = recorder.input_values();
    let outputs = build(&mut recorder, &values);
    recorder.finish(outputs)
}

fn push(recorder: &mut Recorder, op: Op, operands: &[ValueId]) -> ValueId {
    recorder.push(op, operands, None).unwrap()
}

/// All results of a program.
fn results(engine: &mut dyn Backend, program: &Program, inputs: &[Input]) -> Vec<Vec<f32>> {
    let inputs: Vec<Tensor> = inputs
        .iter()
        .map(|(shape, values)| engine.upload(shape, values.clone()).unwrap())
        .collect();
    let outputs = engine.run(program, &inputs, None).unwrap();
    outputs
        .iter()
        .map(|output| engine.download(output).unwrap())
        .collect()
}

fn random(seed: u64, shape: &[usize]) -> Input {
    (shape.to_vec(), Random::new(seed).floats(shape.iter().product()))
}

/// `|x · scale|`: exact, and two kernels.
fn scaled(input: &Input, scale: f32) -> Program {
    program(std::slice::from_ref(input), |recorder, values| {
        let scaled = push(recorder, Op::ScaleShift { scale, shift: 0.0 }, values);
        vec![push(recorder, Op::Unary(Unary::Absolute), &[scaled])]
    })
}

/// MLX writes constants into kernels, and names kernels after them, with seven digits.
#[test]
fn groups_alike_but_for_a_constant_are_not_mistaken_for_each_other() {
    let mut engine = fusing(Precision::F32);
    let input = random(1, &[5, 7]);
    let next = f32::from_bits(0.1_f32.to_bits() + 1);
    for scale in [0.1, next, -3.0, 1.0 / 3.0] {
        let expected: Vec<f32> = input.1.iter().map(|x| (x * scale).abs()).collect();
        let program = scaled(&input, scale);
        let found = results(&mut engine, &program, std::slice::from_ref(&input));
        assert_eq!(found, [expected], "by {scale}");
    }
}

#[test]
fn bounds_may_be_infinite() {
    let input = (vec![4], vec![-5.0, -0.5, 0.5, 5.0]);
    let program = program(std::slice::from_ref(&input), |recorder, values| {
        let (low, high) = (-1.0, f32::INFINITY);
        let bounded = push(recorder, Op::Clamp { low, high }, values);
        vec![push(recorder, Op::Unary(Unary::Negate), &[bounded])]
    });
    let found = results(&mut fusing(Precision::F32), &program, &[input]);
    assert_eq!(found, [[1.0, 0.5, -0.5, -5.0]]);
}

/// What a group computes on the way may be asked for: by the caller, or by an operation that is no part of it.
#[test]
fn what_others_read_is_there_for_them() {
    let input = (vec![2, 2], vec![1.0, -2.0, 3.0, -4.0]);
    let program = program(std::slice::from_ref(&input), |recorder, values| {
        let negated = push(recorder, Op::Unary(Unary::Negate), values);
        let squared = push(recorder, Op::Unary(Unary::Square), &[negated]);
        let summed = Op::Reduce {
            reduction: Reduction::Sum,
            axes: vec![1],
            keep: true,
        };
        let sums = push(recorder, summed, &[squared]);
        let product = push(recorder, Op::Binary(Binary::Multiply), &[squared, negated]);
        // A result, and an operand of the next group.
        let shifted = Op::ScaleShift {
            scale: 2.0,
            shift: 1.0,
        };
        let shifted = push(recorder, shifted, &[product]);
        let both = push(recorder, Op::Binary(Binary::Add), &[shifted, sums]);
        let last = push(recorder, Op::Unary(Unary::Absolute), &[both]);
        vec![shifted, last, negated, shifted]
    });
    let found = results(&mut fusing(Precision::F32), &program, &[input]);
    let shifted = [-1.0, 17.0, -53.0, 129.0];
    let negated = [-1.0, 2.0, -3.0, 4.0];
    assert_eq!(found, [shifted, [4.0, 22.0, 28.0, 154.0], negated, shifted]);
}

/// Conditions are integers, and integers become floats on the way.
#[test]
fn integers_and_floats_mix() {
    let input = (vec![6], vec![-2.5, -1.0, -0.5, 0.5, 1.0, 2.5]);
    let program = program(std::slice::from_ref(&input), |recorder, values| {
        let x = values[0];
        let whole = push(recorder, Op::ToInt, &[x]);
        let floats = push(recorder, Op::ToFloat, &[whole]);
        let less = push(recorder, Op::Binary(Binary::Less), &[x, floats]);
        let even = push(recorder, Op::Binary(Binary::Multiply), &[less, whole]);
        let chosen = push(recorder, Op::Select, &[even, floats, x]);
        vec![push(recorder, Op::Unary(Unary::Negate), &[chosen])]
    });
    let found = results(&mut fusing(Precision::F32), &program, &[input]);
    // Only -2.5 is less than what is left of it, and that is not 0.
    assert_eq!(found, [[2.0, 1.0, 0.5, -0.5, -1.0, -2.5]]);
}

#[test]
fn operands_are_broadcast_within_a_group() {
    let inputs = [
        (vec![2, 1], vec![1.0, 2.0]),
        (vec![3], vec![10.0, 20.0, 30.0]),
        (vec![1, 3], vec![0.5, 0.25, 0.125]),
    ];
    let program = program(&inputs, |recorder, values| {
        let column = push(recorder, Op::Unary(Unary::Square), &values[..1]);
        let column = push(recorder, Op::Unary(Unary::Negate), &[column]);
        let sum = push(recorder, Op::Binary(Binary::Add), &[column, values[1]]);
        let product = push(recorder, Op::Binary(Binary::Multiply), &[sum, values[2]]);
        vec![push(recorder, Op::Binary(Binary::Subtract), &[product, column])]
    });
    let found = results(&mut fusing(Precision::F32), &program, &inputs);
    assert_eq!(found, [[5.5, 5.75, 4.625, 7.0, 8.0, 7.25]]);
}

/// Rows that are cut out of others, or turned, are not contiguous.
#[test]
fn operands_need_not_be_contiguous() {
    let input = (vec![2, 4], (0..8).map(|x| x as f32).collect());
    let program = program(std::slice::from_ref(&input), |recorder, values| {
        let half = |start| Op::Slice {
            axis: 1,
            start,
            end: start + 2,
            step: 1,
        };
        let (left, right) = (push(recorder, half(0), values), push(recorder, half(2), values));
        let turned = push(recorder, Op::Permute(vec![1, 0]), &[right]);
        let product = push(recorder, Op::Binary(Binary::Multiply), &[left, turned]);
        vec![push(recorder, Op::Unary(Unary::Negate), &[product])]
    });
    let found = results(&mut fusing(Precision::F32), &program, &[input]);
    assert_eq!(found, [[0.0, -6.0, -12.0, -35.0]]);
}

/// More operands and longer chains than MLX puts into one kernel: it makes several.
#[test]
fn groups_may_be_large() {
    let inputs: Vec<Input> = (0..40_u8).map(|x| (vec![2], vec![f32::from(x), 1.0])).collect();
    let program = program(&inputs, |recorder, values| {
        let mut sum = values[0];
        for value in &values[1..] {
            sum = push(recorder, Op::Binary(Binary::Add), &[sum, *value]);
        }
        for _ in 0..31 {
            sum = push(recorder, Op::Unary(Unary::Negate), &[sum]);
        }
        vec![sum]
    });
    let found = results(&mut fusing(Precision::F32), &program, &inputs);
    assert_eq!(found, [[-780.0, -40.0]]);
}

/// The sum of gate and `silu(gate) · up`, and the tanh approximation of GELU.
fn activations(inputs: &[Input]) -> Program {
    program(inputs, |recorder, values| {
        let (gate, up) = (values[0], values[1]);
        let silu = push(recorder, Op::Unary(Unary::Silu), &[gate]);
        let product = push(recorder, Op::Binary(Binary::Multiply), &[silu, up]);
        let sum = push(recorder, Op::Binary(Binary::Add), &[product, gate]);
        vec![sum, push(recorder, Op::Unary(Unary::GeluTanh), &[up])]
    })
}

#[test]
fn bf16_stays_bf16() {
    let inputs = [random(2, &[3, 50]), random(3, &[3, 50])];
    let program = activations(&inputs);
    let found = results(&mut fusing(Precision::Bf16), &program, &inputs);
    let exact = results(&mut CpuBackend::new(Some(1)), &program, &inputs);
    for (found, exact) in found.iter().zip(&exact) {
        // The operands are rounded too: a few times 2⁻⁸ in all.
        assert_close("bf16", found, exact, 0.02);
        assert!(found.iter().all(|value| value.to_bits() & 0xffff == 0));
    }
}

#[test]
fn nothing_is_computed_of_nothing() {
    let inputs = [(vec![0, 4], vec![]), (vec![1, 4], vec![1.0; 4])];
    let program = activations(&inputs);
    let found = results(&mut fusing(Precision::F32), &program, &inputs);
    assert_eq!(found[0], [0.0_f32; 0]);
    assert_eq!(found[1].len(), 4);
}

/// One by one, what is between lies in memory beside operand and result.
#[test]
fn what_is_between_takes_no_memory() {
    let input = random(7, &[512, 1024]);
    let bytes = 512 * 1024 * 4;
    let program = program(std::slice::from_ref(&input), |recorder, values| {
        vec![push(recorder, Op::Unary(Unary::GeluTanh), values)]
    });
    let peak = |mut engine: MlxBackend| {
        let x = engine.upload(&input.0, input.1.clone()).unwrap();
        engine.reset_peak();
        let before = engine.memory().active;
        let _results = engine.run(&program, std::slice::from_ref(&x), None).unwrap();
        engine.wait().unwrap();
        engine.memory().peak - before
    };
    let found = peak(fusing(Precision::F32));
    assert!((bytes..bytes * 9 / 8).contains(&found), "{found} bytes");
    let found = peak(MlxBackend::new(Precision::F32).fusing(false));
    assert!(found >= 2 * bytes, "{found} bytes");
}

/// Programs at random, as another engine computes them.
#[test]
fn any_programs_results_are_those_of_the_other_engine() {
    const UNARY: [Unary; 8] = [
        Unary::Negate,
        Unary::Absolute,
        Unary::Square,
        Unary::Sine,
        Unary::HyperbolicTangent,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Gelu,
    ];
    const BINARY: [Binary; 5] = [
        Binary::Add,
        Binary::Subtract,
        Binary::Multiply,
        Binary::Maximum,
        Binary::Minimum,
    ];
    let inputs = [random(4, &[3, 4]), random(5, &[3, 1]), random(6, &[4])];
    for seed in 1..9 {
        let mut random = Random::new(seed);
        let program = program(&inputs, |recorder, values| {
            let mut values = values.to_vec();
            for _ in 0..12 {
                let mut operand = || values[random.below(values.len())];
                let (a, b) = (operand(), operand());
                let next = match random.below(8) {
                    0..3 => push(recorder, Op::Unary(UNARY[random.below(UNARY.len())]), &[a]),
                    3..6 => push(recorder, Op::Binary(BINARY[random.below(BINARY.len())]), &[a, b]),
                    6 => {
                        let [scale, shift] = [random.below(3), random.below(3)].map(|x| x as f32);
                        push(recorder, Op::ScaleShift { scale, shift }, &[a])
                    }
                    // Nothing that runs with others.
                    _ => push(recorder, Op::Softmax, &[a]),
                };
                // Squares of squares of sums leave what floats can hold.
                let (low, high) = (-2.0, 2.0);
                let next = match random.below(2) {
                    0 => push(recorder, Op::Clamp { low, high }, &[next]),
                    _ => push(recorder, Op::Unary(Unary::HyperbolicTangent), &[next]),
                };
                values.push(next);
            }
            let middle = values[inputs.len() + random.below(12)];
            vec![values[values.len() - 1], middle]
        });
        let found = results(&mut fusing(Precision::F32), &program, &inputs);
        let expected = results(&mut CpuBackend::new(Some(1)), &program, &inputs);
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(&format!("program {seed}"), found, expected, 1e-5);
        }
    }
}

/// Where the compiler that MLX calls does not work, operations run one by one.
#[cfg(not(target_os = "macos"))]
#[test]
fn a_machine_without_a_compiler_computes_one_by_one() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    const CHILD: &str = "MONOCLE_TEST_WITHOUT_COMPILER";
    if std::env::var_os(CHILD).is_some() {
        let mut engine = MlxBackend::new(Precision::F32).fusing(true);
        assert!(!engine.fuses());
        let input = random(1, &[5, 7]);
        let expected: Vec<f32> = input.1.iter().map(|x| (x * 0.3).abs()).collect();
        let found = results(&mut engine, &scaled(&input, 0.3), &[input]);
        assert_eq!(found, [expected]);
        return;
    }
    // MLX looks there, and there is nothing compiled yet.
    let folder = std::env::temp_dir().join(format!("monocle-no-compiler-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let compiler = folder.join("g++");
    std::fs::write(&compiler, "#!/bin/sh\n[ \"$1\" = --version ]\n").unwrap();
    std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "fusing::a_machine_without_a_compiler_computes_one_by_one",
        ])
        .envs([
            (CHILD, "1".as_ref()),
            ("PATH", folder.as_os_str()),
            ("TMPDIR", folder.as_os_str()),
        ])
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}
