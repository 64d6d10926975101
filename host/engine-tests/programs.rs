//! Programs made of any bytes, and what must hold of each: it is refused in words or runs, on every engine alike, in no more memory than was
//! estimated. Property tests and a fuzz target share it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_tensor::backend::{Backend, BackendError};
use monocle_tensor::operation::{
    Attention, Binary, Interpolation, Op, Pairing, Pooling, Reduction, Rope, Unary, Window,
};
use monocle_tensor::program::{Program, ValueId};
use monocle_tensor::recorder::{Recorder, RecordingLimits};

/// Operations that are tried for one program.
const MOST: usize = 24;
/// Elements of one tensor.
const ELEMENTS: usize = 1 << 14;
/// A program of so little takes some milliseconds, with all that is asked of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Choices by bytes; when there are no more, the first of all.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All of them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte.
    pub fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        self.byte() % end.max(1)
    }

    /// Yes or no.
    pub fn is(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn shape(&mut self, most: usize) -> Vec<usize> {
        (0..self.below(most + 1)).map(|_| self.below(7)).collect()
    }

    /// A whole number, most often a small one.
    fn number(&mut self) -> f32 {
        match self.byte() {
            255 => f32::NAN,
            254 => f32::INFINITY,
            253 => f32::MAX,
            252 => 0.5,
            byte => (byte % 7) as f32 - 3.0,
        }
    }
}

/// What can be compared of two engines' results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kin {
    /// Whole numbers and what is exact on them.
    Same,
    /// Rounding differs.
    Close,
    /// What was close before it was compared or cut off, or is no number, may be anything.
    Apart,
}

/// A program, and how alike results must be.
struct Made {
    program: Program,
    kin: Kin,
}

/// Of what it computes, the program gives what the bytes choose, or all.
fn make(bytes: &[u8], gives_all: bool) -> Made {
    let mut choices = Choices::new(bytes);
    let limits = RecordingLimits {
        operations: 4 * MOST,
        constant_bytes: 1 << 20,
        elements: ELEMENTS,
    };
    let mut recorder = Recorder::new(Arc::default(), Vec::new(), None, limits);
    let mut values = Vec::new();
    let mut kin = Kin::Same;
    while values.len() < MOST && !choices.0.is_empty() {
        let (op, inputs, shape, of_op) = next(&mut choices, &recorder, &values);
        // What does not fit is refused, and nothing is lost by it.
        if let Ok(value) = recorder.push(op, &inputs, shape.as_deref()) {
            values.push(value);
            kin = match (kin, of_op) {
                (Kin::Close, Kin::Apart) => Kin::Apart,
                (known, Kin::Apart) => known,
                (known, of_op) => known.max(of_op),
            };
        }
    }
    let outputs: Vec<ValueId> = values
        .iter()
        .rev()
        .copied()
        .filter(|_| gives_all || choices.byte() < 128)
        .collect();
    Made {
        program: recorder.finish(outputs),
        kin,
    }
}

/// An operation, its operands, its shape, and what it makes of results that are the same: those that are `Apart` keep what is the same.
fn next(
    choices: &mut Choices<'_>,
    recorder: &Recorder,
    values: &[ValueId],
) -> (Op, Vec<ValueId>, Option<Vec<usize>>, Kin) {
    let x = values.last().copied().unwrap_or(ValueId(0));
    let any = |choices: &mut Choices<'_>| match values.len() {
        0 => ValueId(0),
        // Mostly the newest: programs that are a list of constants are dull.
        count => values[count - 1 - choices.below(count).min(choices.below(count))],
    };
    let shape_of = |value: ValueId| {
        let known = recorder.value(value);
        known.map(|known| known.shape.clone()).unwrap_or_default()
    };
    let axis = |choices: &mut Choices<'_>, value: ValueId| choices.below(shape_of(value).len() + 1);
    let window = |choices: &mut Choices<'_>| Window {
        size: [choices.below(4) as u32, choices.below(4) as u32],
        stride: [choices.below(3) as u32, choices.below(3) as u32],
        padding: [choices.below(3) as u32, choices.below(3) as u32],
    };
    use Kin::{Apart, Close, Same};
    match choices.below(34) {
        0 => {
            let shape = choices.shape(4);
            let count: usize = shape.iter().product();
            let numbers: Arc<[f32]> = (0..count).map(|_| choices.number()).collect();
            let kin = match numbers
                .iter()
                .all(|number| number.fract() == 0.0 && number.abs() < 9.0)
            {
                true => Same,
                false => Close,
            };
            (Op::Floats(numbers), vec![], Some(shape), kin)
        }
        1 | 2 => {
            let shape = choices.shape(2);
            let count: usize = shape.iter().product();
            let numbers: Arc<[i32]> = (0..count).map(|_| choices.below(9) as i32 - 1).collect();
            (Op::Ints(numbers), vec![], Some(shape), Same)
        }
        3 | 4 => (
            Op::Full(choices.below(5) as f32 - 2.0),
            vec![],
            Some(choices.shape(4)),
            Same,
        ),
        5 => {
            let exact = [Unary::Negate, Unary::Absolute, Unary::Relu];
            (Op::Unary(choices.of(&exact)), vec![any(choices)], None, Same)
        }
        6 => {
            let rounded = [
                Unary::Exponential,
                Unary::Sigmoid,
                Unary::HyperbolicTangent,
                Unary::Silu,
                Unary::Gelu,
                Unary::GeluTanh,
                Unary::Softplus,
                Unary::Cosine,
                Unary::Logarithm,
                Unary::ReciprocalSquareRoot,
            ];
            (Op::Unary(choices.of(&rounded)), vec![any(choices)], None, Close)
        }
        7 | 8 => {
            let exact = [Binary::Add, Binary::Subtract, Binary::Maximum, Binary::Minimum];
            (
                Op::Binary(choices.of(&exact)),
                vec![any(choices), any(choices)],
                None,
                Same,
            )
        }
        9 => {
            let rounded = [Binary::Multiply, Binary::Divide, Binary::Power];
            (
                Op::Binary(choices.of(&rounded)),
                vec![any(choices), any(choices)],
                None,
                Close,
            )
        }
        10 => {
            let compared = [Binary::Equal, Binary::Less, Binary::Greater];
            (
                Op::Binary(choices.of(&compared)),
                vec![any(choices), any(choices)],
                None,
                Apart,
            )
        }
        11 => (
            Op::Select,
            vec![any(choices), any(choices), any(choices)],
            None,
            Apart,
        ),
        12 => (Op::ToFloat, vec![any(choices)], None, Same),
        13 => (Op::ToInt, vec![any(choices)], None, Apart),
        14 => {
            let transpose_right = choices.is();
            (
                Op::MatMul { transpose_right },
                vec![any(choices), any(choices)],
                None,
                Close,
            )
        }
        15 => {
            let (epsilon, offset) = (1e-5, choices.below(2) as f32);
            let inputs = (0..=choices.below(2)).map(|_| any(choices)).collect();
            (Op::RmsNorm { epsilon, offset }, inputs, None, Close)
        }
        16 => {
            let inputs = (0..=choices.below(3)).map(|_| any(choices)).collect();
            (Op::LayerNorm { epsilon: 1e-5 }, inputs, None, Close)
        }
        17 => (Op::Softmax, vec![any(choices)], None, Close),
        18 => {
            let x = any(choices);
            let axes = (0..shape_of(x).len()).filter(|_| choices.is()).collect();
            let reduction = choices.of(&[Reduction::Sum, Reduction::Mean, Reduction::Maximum]);
            let keep = choices.is();
            (
                Op::Reduce {
                    reduction,
                    axes,
                    keep,
                },
                vec![x],
                None,
                Close,
            )
        }
        19 => (Op::TopK { k: choices.below(5) }, vec![any(choices)], None, Apart),
        20 => (Op::GatherLast, vec![any(choices), any(choices)], None, Apart),
        21 => {
            let x = any(choices);
            let mut shape = shape_of(x);
            match (choices.is(), shape.pop()) {
                (true, Some(last)) => match shape.last_mut() {
                    Some(before) => *before *= last,
                    None => shape.extend([1, last]),
                },
                (false, Some(last)) => shape.extend([last, 1]),
                (_, None) => shape.push(1),
            }
            (Op::Reshape, vec![x], Some(shape), Same)
        }
        22 => {
            let x = any(choices);
            let mut axes: Vec<usize> = (0..shape_of(x).len()).collect();
            for at in (1..axes.len()).rev() {
                axes.swap(at, choices.below(at + 1));
            }
            (Op::Permute(axes), vec![x], None, Same)
        }
        23 => {
            let x = any(choices);
            let axis = axis(choices, x);
            let (start, length) = (choices.below(4), choices.below(5));
            let (end, step) = (start + length, choices.below(4));
            (
                Op::Slice {
                    axis,
                    start,
                    end,
                    step,
                },
                vec![x],
                None,
                Same,
            )
        }
        24 => {
            let x = any(choices);
            let axis = axis(choices, x);
            let inputs = (0..choices.below(4)).map(|_| any(choices)).chain([x]).collect();
            (Op::Concat { axis }, inputs, None, Same)
        }
        25 => {
            let x = any(choices);
            let shape = [vec![choices.below(4)], shape_of(x)].concat();
            (Op::Broadcast, vec![x], Some(shape), Same)
        }
        26 => {
            let x = any(choices);
            let axis = axis(choices, x);
            let (before, after) = (choices.below(3), choices.below(3));
            let value = choices.below(3) as f32;
            (
                Op::Pad {
                    axis,
                    before,
                    after,
                    value,
                },
                vec![x],
                None,
                Same,
            )
        }
        27 => (Op::TakeRows, vec![any(choices), any(choices)], None, Apart),
        28 => {
            let (x, indices) = (any(choices), any(choices));
            let rows = if choices.is() { x } else { any(choices) };
            (Op::PutRows, vec![x, indices, rows], None, Apart)
        }
        29 => {
            let window = window(choices);
            let groups = choices.below(4);
            let inputs = (0..2 + choices.below(2)).map(|_| any(choices)).collect();
            (Op::Conv2d { window, groups }, inputs, None, Close)
        }
        30 => {
            let pooling = choices.of(&[Pooling::Average, Pooling::Maximum]);
            let window = window(choices);
            (Op::Pool2d { pooling, window }, vec![any(choices)], None, Close)
        }
        31 => {
            let op = Op::Interpolate {
                size: [choices.below(9), choices.below(9)],
                method: choices.of(&[
                    Interpolation::Nearest,
                    Interpolation::Bilinear,
                    Interpolation::Bicubic,
                ]),
                align_corners: choices.is(),
                antialias: choices.is(),
            };
            (op, vec![any(choices)], None, Close)
        }
        32 => {
            let inputs = match choices.is() {
                true => vec![x, x, x],
                false => vec![any(choices), any(choices), any(choices)],
            };
            let rows = shape_of(inputs[0]);
            let rows = *rows.get(rows.len().saturating_sub(3)).unwrap_or(&0) as u32;
            let segments: Arc<[u32]> = match choices.below(3) {
                0 => [0, rows / 2, rows].into(),
                _ => Arc::default(),
            };
            let op = Op::Attention(Attention {
                scale: 0.5,
                softcap: choices.is().then_some(2.0),
                causal: choices.is(),
                segments,
            });
            (op, inputs, None, Close)
        }
        _ => {
            let rope = Rope {
                frequencies: (0..choices.below(4)).map(|at| 1.0 / (1.0 + at as f32)).collect(),
                axes: Vec::new(),
                pairing: choices.of(&[Pairing::Halves, Pairing::Neighbours]),
                scale: 1.0,
            };
            (
                Op::Rope(Arc::new(rope)),
                vec![any(choices), any(choices)],
                None,
                Close,
            )
        }
    }
}

/// What an engine makes of a program: numbers, or the kind of its refusal.
type Outcome = Result<Vec<Vec<f32>>, &'static str>;

fn outcome(engine: &mut dyn Backend, program: &Program) -> Result<Outcome, String> {
    engine.clear_cache();
    engine.reset_peak();
    let before = engine.memory().active;
    let estimate = engine.program_bytes(program, 0);
    let results = results(engine, program)?;
    let peak = engine.memory().peak.saturating_sub(before);
    // What an engine that runs ahead takes shows later, and beside others' tests.
    if peak > estimate && !engine.is_ahead() {
        return Err(format!("it took {peak} bytes, and {estimate} were estimated"));
    }
    Ok(results)
}

/// The same, of a program that may be prepared already.
fn results(engine: &mut dyn Backend, program: &Program) -> Result<Outcome, String> {
    let results = match engine.run(program, &[], None) {
        Ok(results) => results,
        Err(BackendError::Value { .. }) => return Ok(Err("a value is out of range")),
        Err(error) => return Err(format!("it failed: {error}")),
    };
    let numbers = results
        .iter()
        .map(|result| engine.download(result).map_err(|error| error.to_string()));
    numbers.collect::<Result<_, _>>().map(Ok)
}

/// Whether two results are as alike as they must be, where no number of the program is larger than `largest`.
fn alike(a: f32, b: f32, kin: Kin, largest: f32) -> bool {
    let same = a == b || (a.is_nan() && b.is_nan());
    // A sum of 16 products of such numbers is that far from the exact one at most, however small it is: 16 roundings of half a unit.
    let rounding = 16.0 * largest * largest * f32::EPSILON / 2.0;
    match kin {
        Kin::Same => same,
        // Beyond such numbers, rounding decides what is infinite, and what is left where large numbers cancel.
        Kin::Close => {
            same || largest.is_nan() || largest >= 1e4 || (a - b).abs() <= 0.02 * (1.0 + a.abs()) + rounding
        }
        Kin::Apart => true,
    }
}

/// The largest number that a program of these bytes computes on the way.
fn largest(bytes: &[u8], engine: &mut dyn Backend) -> Result<f32, String> {
    let Ok(numbers) = outcome(engine, &make(bytes, true).program)? else {
        return Ok(f32::INFINITY);
    };
    let sizes = numbers.iter().flatten().map(|number| number.abs());
    Ok(sizes.fold(
        0.0,
        |most, size| if size > most || size.is_nan() { size } else { most },
    ))
}

/// Whether a program gives the same bits on an engine that may have it prepared already.
fn replays(program: &Program, found: &Outcome, engine: &mut dyn Backend) -> Result<(), String> {
    let replayed = results(engine, program)?;
    match replayed.as_deref().map(bits) == found.as_deref().map(bits) {
        true => Ok(()),
        false => Err(format!("it gives {replayed:?}, and before {found:?}")),
    }
}

/// The bits of results' numbers.
pub fn bits(results: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let results = results.iter();
    let bits = results.map(|numbers| numbers.iter().map(|number| number.to_bits()).collect());
    bits.collect()
}

/// Whether what was begun then did not take long. An engine that runs ahead may compile kernels meanwhile.
pub fn in_time(engine: &dyn Backend, started: Instant) -> Result<(), String> {
    match started.elapsed() {
        long if long > PATIENCE && !engine.is_ahead() => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}

/// Makes the engine of a number anew.
pub type Fresh<'a> = &'a mut dyn FnMut(usize) -> Box<dyn Backend>;

/// Makes a program of these bytes and runs it on each engine; what does not hold is said. With `fresh`, what runs again must give the same
/// bits.
pub fn check(
    bytes: &[u8],
    engines: &mut [Box<dyn Backend>],
    mut fresh: Option<Fresh<'_>>,
) -> Result<(), String> {
    let Made { program, kin } = make(bytes, false);
    let mut first = None;
    // One engine in turn is made anew: all would take long.
    let in_turn = bytes.len() % engines.len().max(1);
    for (number, engine) in engines.iter_mut().enumerate() {
        let device = engine.device();
        let said = |reason: String| format!("{device}: {reason}\n{:?}", program.nodes);
        let started = Instant::now();
        let found = outcome(engine.as_mut(), &program).map_err(said)?;
        if let Some(fresh) = &mut fresh
            && number == in_turn
        {
            replays(&program, &found, engine.as_mut()).map_err(|reason| said(format!("again: {reason}")))?;
            replays(&program, &found, fresh(number).as_mut())
                .map_err(|reason| said(format!("on a new engine: {reason}")))?;
        }
        in_time(engine.as_ref(), started).map_err(said)?;
        let Some(expected) = &first else {
            first = Some(found);
            continue;
        };
        let agrees = match (expected, &found) {
            (Ok(expected), Ok(found)) => {
                let pairs = || expected.iter().flatten().zip(found.iter().flatten());
                let all_alike = |largest| pairs().all(|(a, b)| alike(*a, *b, kin, largest));
                // Few programs need to be asked for all that they compute.
                all_alike(1.0) || all_alike(largest(bytes, engine.as_mut())?)
            }
            (Err(expected), Err(found)) => expected == found,
            // Whether an index is in range may hang on rounding; an engine that runs ahead holds it within bounds and goes on.
            _ => kin == Kin::Apart || engine.is_ahead(),
        };
        if !agrees {
            return Err(said(format!("{found:?}, and before {expected:?} ({kin:?})")));
        }
    }
    Ok(())
}
