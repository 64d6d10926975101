//! Each operation against the results that PyTorch gives (`tests/oracle/make_operation_goldens.py`).

use std::path::PathBuf;
use std::sync::Arc;

use crate::support::*;
use crate::{LARGEST, engines};
use monocle_tensor::backend::{Backend, SequenceId, SequenceRows, Step, Visible, VisibleContext};
use monocle_tensor::operation::*;
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{BatchShape, Recorder, RecordingLimits};
use monocle_tensor::stored::StoredType;
use serde_json::Value as Json;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/operations")
}

fn cases() -> Vec<Json> {
    serde_json::from_slice(&std::fs::read(folder().join("cases.json")).unwrap()).unwrap()
}

/// Those of an operation.
fn cases_of(op: &str) -> Vec<Json> {
    let mut cases = cases();
    cases.retain(|case| text(case, "op") == op);
    cases
}

fn operands_of(case: &Json, goldens: &Goldens) -> Vec<Operand> {
    let names = case["inputs"].as_array().unwrap().iter();
    names
        .map(|name| Operand::of(goldens.get(name.as_str().unwrap())))
        .collect()
}

fn text<'a>(case: &'a Json, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_else(|| panic!("`{key}` in {case}"))
}

fn float(case: &Json, key: &str) -> f32 {
    case[key].as_f64().unwrap_or_else(|| panic!("`{key}` in {case}")) as f32
}

fn size(case: &Json, key: &str) -> usize {
    case[key].as_u64().unwrap_or_else(|| panic!("`{key}` in {case}")) as usize
}

fn flag(case: &Json, key: &str) -> bool {
    case[key].as_bool().unwrap_or_else(|| panic!("`{key}` in {case}"))
}

fn pair(case: &Json, key: &str) -> [u32; 2] {
    let sizes = usizes(&case[key]);
    [sizes[0] as u32, sizes[1] as u32]
}

fn unary(name: &str) -> Unary {
    match name {
        "negate" => Unary::Negate,
        "absolute" => Unary::Absolute,
        "exponential" => Unary::Exponential,
        "logarithm" => Unary::Logarithm,
        "square-root" => Unary::SquareRoot,
        "reciprocal-square-root" => Unary::ReciprocalSquareRoot,
        "square" => Unary::Square,
        "sine" => Unary::Sine,
        "cosine" => Unary::Cosine,
        "hyperbolic-tangent" => Unary::HyperbolicTangent,
        "sigmoid" => Unary::Sigmoid,
        "relu" => Unary::Relu,
        "silu" => Unary::Silu,
        "gelu" => Unary::Gelu,
        "gelu-tanh" => Unary::GeluTanh,
        "quick-gelu" => Unary::QuickGelu,
        "softplus" => Unary::Softplus,
        other => panic!("unary {other}"),
    }
}

fn binary(name: &str) -> Binary {
    match name {
        "add" => Binary::Add,
        "subtract" => Binary::Subtract,
        "multiply" => Binary::Multiply,
        "divide" => Binary::Divide,
        "maximum" => Binary::Maximum,
        "minimum" => Binary::Minimum,
        "power" => Binary::Power,
        "equal" => Binary::Equal,
        "less" => Binary::Less,
        "greater" => Binary::Greater,
        other => panic!("binary {other}"),
    }
}

fn window(case: &Json, size: [u32; 2]) -> Window {
    Window {
        size,
        stride: pair(case, "stride"),
        padding: pair(case, "padding"),
    }
}

fn cached(case: &Json) -> CachedAttention {
    CachedAttention {
        layer: 3,
        scale: float(case, "scale"),
        softcap: case["softcap"].as_f64().map(|cap| cap as f32),
        window: case["window"].as_u64().map(|window| window as u32),
        value_dim: case["value_dim"].as_u64().map(|dim| dim as u32),
    }
}

fn operation(case: &Json) -> Op {
    let weight = WeightId(0);
    match text(case, "op") {
        "unary" => Op::Unary(unary(text(case, "kind"))),
        "binary" => Op::Binary(binary(text(case, "kind"))),
        "scale-shift" => Op::ScaleShift {
            scale: float(case, "scale"),
            shift: float(case, "shift"),
        },
        "clamp" => Op::Clamp {
            low: float(case, "low"),
            high: float(case, "high"),
        },
        "select" => Op::Select,
        "to-float" => Op::ToFloat,
        "to-int" => Op::ToInt,
        "linear" => Op::Linear(weight),
        "matmul" => Op::MatMul {
            transpose_right: flag(case, "transpose_right"),
        },
        "embed" => Op::Embed(weight),
        "expert-linear" => Op::ExpertLinear(weight),
        "rms-norm" => Op::RmsNorm {
            epsilon: float(case, "epsilon"),
            offset: float(case, "offset"),
        },
        "layer-norm" => Op::LayerNorm {
            epsilon: float(case, "epsilon"),
        },
        "softmax" => Op::Softmax,
        "reduce" => Op::Reduce {
            reduction: match text(case, "reduction") {
                "sum" => Reduction::Sum,
                "mean" => Reduction::Mean,
                _ => Reduction::Maximum,
            },
            axes: usizes(&case["axes"]),
            keep: flag(case, "keep"),
        },
        "top-k" => Op::TopK { k: size(case, "k") },
        "gather-last" => Op::GatherLast,
        "reshape" => Op::Reshape,
        "permute" => Op::Permute(usizes(&case["axes"])),
        "slice" => Op::Slice {
            axis: size(case, "axis"),
            start: size(case, "start"),
            end: size(case, "end"),
            step: size(case, "step"),
        },
        "concat" => Op::Concat {
            axis: size(case, "axis"),
        },
        "broadcast" => Op::Broadcast,
        "pad" => Op::Pad {
            axis: size(case, "axis"),
            before: size(case, "before"),
            after: size(case, "after"),
            value: float(case, "value"),
        },
        "take-rows" => Op::TakeRows,
        "put-rows" => Op::PutRows,
        "conv2d" => Op::Conv2d {
            window: window(case, [0, 0]),
            groups: size(case, "groups"),
        },
        "pool2d" => Op::Pool2d {
            pooling: match text(case, "pooling") {
                "average" => Pooling::Average,
                _ => Pooling::Maximum,
            },
            window: window(case, pair(case, "size")),
        },
        "interpolate" => Op::Interpolate {
            size: pair(case, "size").map(|size| size as usize),
            method: match text(case, "method") {
                "nearest" => Interpolation::Nearest,
                "bilinear" => Interpolation::Bilinear,
                _ => Interpolation::Bicubic,
            },
            align_corners: flag(case, "align_corners"),
            antialias: flag(case, "antialias"),
        },
        "attention" => Op::Attention(Attention {
            scale: float(case, "scale"),
            softcap: case["softcap"].as_f64().map(|cap| cap as f32),
            causal: flag(case, "causal"),
            segments: usizes(&case["segments"])
                .into_iter()
                .map(|bound| bound as u32)
                .collect(),
        }),
        "rope" => Op::Rope(Arc::new(Rope {
            frequencies: case["frequencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|frequency| frequency.as_f64().unwrap() as f32)
                .collect(),
            axes: usizes(&case["axes"]).into_iter().map(|axis| axis as u8).collect(),
            pairing: match text(case, "pairing") {
                "halves" => Pairing::Halves,
                _ => Pairing::Neighbours,
            },
            scale: float(case, "scale"),
        })),
        "linear-heads" => Op::LinearHeads {
            weight,
            heads: size(case, "heads"),
            transposed: flag(case, "transposed"),
        },
        "kv.attend" => Op::Attend(cached(case)),
        "kv.cross-attend" => Op::CrossAttend(cached(case)),
        "kv.short-conv" => Op::ShortConv { layer: 5 },
        "kv.recurrent" => Op::Recurrent { layer: 5 },
        other => panic!("operation {other}"),
    }
}

/// Values beyond what the engine promises to hold are all alike.
fn finite(values: Vec<f32>) -> Vec<f32> {
    let values = values.into_iter();
    values
        .map(|value| match value.abs() > LARGEST {
            true => f32::INFINITY.copysign(value),
            false => value,
        })
        .collect()
}

#[test]
fn operations_without_state_equal_the_reference() {
    let goldens = Goldens::read(&folder().join("goldens.safetensors"));
    let (mut tested, mut wrong) = (0, Vec::new());
    for case in cases().iter().filter(|case| !text(case, "op").starts_with("kv.")) {
        let op = operation(case);
        let operands = operands_of(case, &goldens);
        let stored = |key: &str| case[key].as_str().map(|name| goldens.get(name).clone());
        let weights = stored("weight").map(|tensor| weight_for(&op, tensor, stored("bias")));
        let weights = Arc::new(weights.into_iter().collect::<Vec<_>>());
        let shape = case["shape"].is_array().then(|| usizes(&case["shape"]));
        let expected = goldens.get(text(case, "expected"));
        let (program, inputs) = program_of(op, &operands, shape.as_deref(), &weights, None);
        let output = program.value(program.outputs[0]);
        assert_eq!(output.shape, expected.shape, "{case}");
        assert_eq!(
            output.kind == Kind::Int,
            expected.kind == StoredType::I32,
            "{case}"
        );
        for mut engine in engines() {
            engine.load(Arc::clone(&weights), &mut |_, _| {}).unwrap();
            let what = format!("{} on {case}", engine.device());
            let found = run(engine.as_mut(), &program, &inputs, None)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let [found, expected] = [found, floats(expected)].map(finite);
            if let Err(difference) = compare(&found, &expected, float(case, "tolerance")) {
                wrong.push(format!("{what}: {difference}"));
            }
        }
        tested += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tested > 200, "only {tested} cases");
}

/// A way to cut a sequence into steps, the bounds of each.
fn ways(cuts: &[usize], tokens: usize) -> Vec<Vec<[usize; 2]>> {
    let bounds: Vec<usize> = [&[0], cuts, &[tokens]].concat();
    let cut = bounds.windows(2).map(|pair| [pair[0], pair[1]]).collect();
    vec![vec![[0, tokens]], cut]
}

/// Makes a program of operands, for a batch.
type Recorded<'a> = &'a dyn Fn(&[Operand], BatchShape) -> (Program, Vec<Input>);

/// Runs a stateful operation over a sequence cut in pieces; a second sequence goes along, one step behind.
fn in_steps(
    engine: &mut dyn Backend,
    case: &Json,
    operands: &[Operand],
    pieces: &[[usize; 2]],
    prepare: &dyn Fn(&mut Step, &[[usize; 2]]),
    record: Recorded<'_>,
) -> [Vec<f32>; 2] {
    let sequences = [engine.new_sequence(), engine.new_sequence()];
    // Of a convolution only the first operand has a row for each token.
    let cut = if text(case, "op") == "kv.short-conv" {
        1
    } else {
        operands.len()
    };
    let mut results = [Vec::new(), Vec::new()];
    for turn in 0..=pieces.len() {
        // The second sequence comes first, so that rows of both move about.
        let mut parts: Vec<(usize, [usize; 2])> = Vec::new();
        if turn > 0 {
            parts.push((1, pieces[turn - 1]));
        }
        if turn < pieces.len() {
            parts.push((0, pieces[turn]));
        }
        let tokens: usize = parts.iter().map(|(_, [start, end])| end - start).sum();
        let mut inputs = operands.to_vec();
        for operand in &mut inputs[..cut] {
            let rows: Vec<Operand> = parts
                .iter()
                .map(|(_, [start, end])| operand.rows(*start..*end))
                .collect();
            *operand = joined(&rows);
        }
        let mut step = Step {
            tokens: vec![0; tokens],
            axes: 1,
            positions: vec![0; tokens],
            sequences: parts
                .iter()
                .map(|(index, [start, end])| SequenceRows {
                    sequence: sequences[*index],
                    past: *start,
                    rows: end - start,
                })
                .collect(),
            visible: parts
                .iter()
                .flat_map(|(_, [start, end])| *start..*end)
                .map(|row| Visible {
                    block_start: row as u32,
                    end: row as u32 + 1,
                })
                .collect(),
            ..Step::default()
        };
        let bounds: Vec<[usize; 2]> = parts.iter().map(|(_, bounds)| *bounds).collect();
        prepare(&mut step, &bounds);
        let batch = BatchShape {
            tokens,
            axes: 1,
            marks: Vec::new(),
            wanted: 0,
            features: None,
            has_context: false,
            new_context: None,
        };
        let (program, inputs) = record(&inputs, batch);
        let mut found =
            run(engine, &program, &inputs, Some(&step)).unwrap_or_else(|error| panic!("{case}: {error}"));
        let width = found.len() / tokens;
        for (index, [start, end]) in parts {
            results[index].extend(found.drain(..(end - start) * width));
        }
    }
    for sequence in sequences {
        engine.drop_sequence(sequence);
    }
    results
}

fn joined(parts: &[Operand]) -> Operand {
    let mut all = (Vec::new(), Vec::new());
    for part in parts {
        let Operand::Floats(shape, values) = part else {
            panic!("joined integers");
        };
        if all.0.is_empty() {
            all.0 = shape.clone();
        } else {
            all.0[0] += shape[0];
        }
        all.1.extend_from_slice(values);
    }
    Operand::Floats(all.0, all.1)
}

/// An operation alone.
fn alone(case: &Json, operands: &[Operand], batch: BatchShape) -> (Program, Vec<Input>) {
    program_of(
        operation(case),
        operands,
        None,
        &Arc::new(Vec::new()),
        Some(batch),
    )
}

/// One layer writes to the cache with queries of its own, and another reads it with those of the case.
fn through_a_shared_cache(case: &Json, operands: &[Operand], batch: BatchShape) -> (Program, Vec<Input>) {
    let inputs: Vec<Input> = operands
        .iter()
        .map(|operand| match operand {
            Operand::Floats(shape, values) => (shape.clone(), values.clone()),
            Operand::Ints(..) => panic!("attention to integers"),
        })
        .collect();
    let types = inputs.iter().map(|(shape, _)| ValueType::float(shape.clone()));
    let limits = RecordingLimits::default();
    let mut recorder = Recorder::new(Arc::new(Vec::new()), types.collect(), Some(batch), limits);
    let values = recorder.input_values();
    let (q, written) = values.split_first().unwrap();
    let attention = cached(case);
    assert!(recorder.cache(attention.layer).is_none());
    let other = recorder.push(Op::Unary(Unary::Negate), &[*q], None).unwrap();
    let writing = Op::Attend(attention.clone());
    let writer = recorder
        .push(writing, &[&[other], written].concat(), None)
        .unwrap();
    let (_, heads) = recorder.cache(attention.layer).unwrap();
    let reading = CachedAttention {
        value_dim: None,
        ..attention
    };
    let reader = recorder
        .push(Op::AttendShared(reading, heads), &[*q], None)
        .unwrap();
    (recorder.finish(vec![reader, writer]), inputs)
}

#[test]
fn attention_over_a_cache_equals_the_reference_however_it_is_cut() {
    let goldens = Goldens::read(&folder().join("goldens.safetensors"));
    let cases = cases_of("kv.attend");
    assert!(cases.len() >= 8);
    for case in &cases {
        let operands = operands_of(case, &goldens);
        let expected = goldens.get(text(case, "expected"));
        let visible: Vec<[u32; 2]> = case["visible"]
            .as_array()
            .unwrap()
            .iter()
            .map(usizes)
            .map(|pair| [pair[0] as u32, pair[1] as u32])
            .collect();
        let prepare = |step: &mut Step, parts: &[[usize; 2]]| {
            let rows = parts.iter().flat_map(|[start, end]| *start..*end);
            step.visible = rows
                .map(|row| Visible {
                    block_start: visible[row][0],
                    end: visible[row][1],
                })
                .collect();
        };
        for pieces in ways(&usizes(&case["cuts"]), expected.shape[0]) {
            for mut engine in engines() {
                let ways: [Recorded<'_>; 2] = [
                    &|operands, batch| alone(case, operands, batch),
                    &|operands, batch| through_a_shared_cache(case, operands, batch),
                ];
                let results =
                    ways.map(|record| in_steps(engine.as_mut(), case, &operands, &pieces, &prepare, record));
                for found in results.into_iter().flatten() {
                    let what = format!("{} cut at {pieces:?}, {}", engine.device(), case["cuts"]);
                    assert_close(&what, &found, &floats(expected), float(case, "tolerance"));
                }
            }
        }
    }
}

#[test]
fn recurrences_equal_the_reference_however_they_are_cut() {
    let goldens = Goldens::read(&folder().join("goldens.safetensors"));
    let cases = cases_of("kv.recurrent");
    assert!(cases.len() >= 3);
    for case in &cases {
        let operands = operands_of(case, &goldens);
        let expected = goldens.get(text(case, "expected"));
        for mut engine in engines() {
            let mut results = Vec::new();
            for pieces in ways(&usizes(&case["cuts"]), expected.shape[0]) {
                let record = |operands: &[Operand], batch| alone(case, operands, batch);
                for found in in_steps(engine.as_mut(), case, &operands, &pieces, &|_, _| {}, &record) {
                    let what = format!("{} cut at {pieces:?}: {case}", engine.device());
                    assert_close(&what, &found, &floats(expected), float(case, "tolerance"));
                    results.push(found);
                }
            }
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert!(
                results.iter().all(|found| bits(found) == bits(&results[0])),
                "the size of steps changes {case}"
            );
        }
    }
}

#[test]
fn short_convolutions_equal_the_reference_however_they_are_cut() {
    let goldens = Goldens::read(&folder().join("goldens.safetensors"));
    let cases = cases_of("kv.short-conv");
    assert!(cases.len() >= 3);
    for case in &cases {
        let operands = operands_of(case, &goldens);
        let expected = goldens.get(text(case, "expected"));
        for pieces in ways(&usizes(&case["cuts"]), expected.shape[0]) {
            for mut engine in engines() {
                let record = |operands: &[Operand], batch| alone(case, operands, batch);
                for found in in_steps(engine.as_mut(), case, &operands, &pieces, &|_, _| {}, &record) {
                    let what = format!("cut at {pieces:?}: {case}");
                    assert_close(&what, &found, &floats(expected), float(case, "tolerance"));
                }
            }
        }
    }
}

#[test]
fn cross_attention_equals_the_reference_with_its_context_kept() {
    let goldens = Goldens::read(&folder().join("goldens.safetensors"));
    let all = cases();
    let case = all
        .iter()
        .find(|case| text(case, "op") == "kv.cross-attend")
        .unwrap();
    let operands = operands_of(case, &goldens);
    let expected = floats(goldens.get(text(case, "expected")));
    let visible: Vec<VisibleContext> = case["visible"]
        .as_array()
        .unwrap()
        .iter()
        .map(usizes)
        .map(|pair| VisibleContext {
            start: pair[0] as u32,
            end: pair[1] as u32,
        })
        .collect();
    let weights = Arc::new(Vec::new());
    for mut engine in engines() {
        for pieces in ways(&usizes(&case["cuts"]), visible.len()) {
            let sequence: SequenceId = engine.new_sequence();
            let mut found = Vec::new();
            for [start, end] in pieces {
                let rows = end - start;
                let new = start == 0;
                let batch = BatchShape {
                    tokens: rows,
                    axes: 1,
                    marks: Vec::new(),
                    wanted: 0,
                    features: None,
                    has_context: true,
                    new_context: new.then_some([75, 2]),
                };
                let mut inputs = vec![operands[0].rows(start..end)];
                if new {
                    inputs.extend_from_slice(&operands[1..]);
                }
                let context = engine.upload(&[75, 2], vec![0.0; 150]).unwrap();
                let step = Step {
                    tokens: vec![0; rows],
                    axes: 1,
                    positions: vec![0; rows],
                    sequences: vec![SequenceRows {
                        sequence,
                        past: start,
                        rows,
                    }],
                    visible: (start as u32..end as u32)
                        .map(|row| Visible {
                            block_start: row,
                            end: row + 1,
                        })
                        .collect(),
                    new_context: if new { vec![Some(context)] } else { Vec::new() },
                    visible_context: visible[start..end].to_vec(),
                    ..Step::default()
                };
                let (program, inputs) = program_of(operation(case), &inputs, None, &weights, Some(batch));
                found.extend(run(engine.as_mut(), &program, &inputs, Some(&step)).unwrap());
            }
            assert_close("cross attention", &found, &expected, float(case, "tolerance"));
        }
    }
}
