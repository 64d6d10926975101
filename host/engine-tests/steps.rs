//! Sequences made of any bytes: layers that keep something of what came before, computed in steps of any size. Every engine says the same of
//! them, the same steps give the same bits again, other steps give the same numbers, and nothing takes more memory than was estimated.

use std::sync::Arc;
use std::time::Instant;

use monocle_tensor::backend::{Backend, SequenceId, Tensor};
use monocle_tensor::operation::{CachedAttention, CachedHeads, Op};
use monocle_tensor::program::{Program, ValueId, ValueType};

use crate::batches::{batch, recorded, step};
use crate::programs::{Choices, bits, in_time};

/// Tokens of one step.
const ROWS: [usize; 8] = [1, 1, 2, 3, 5, 17, 64, 130];

/// An operation with a state.
#[derive(Debug)]
enum Layer {
    Attend {
        q_heads: usize,
        cached: CachedHeads,
        window: Option<u32>,
        softcap: Option<f32>,
        /// Whether a second attention reads the same cache.
        is_shared: bool,
    },
    Convolve {
        channels: usize,
        taps: usize,
        has_bias: bool,
    },
    Recur {
        heads: usize,
        value_heads: usize,
        dim: usize,
        value_dim: usize,
    },
}

impl Layer {
    fn new(choices: &mut Choices<'_>) -> Self {
        let sizes = [1, 2, 3, 8, 16, 33];
        match choices.below(3) {
            0 => {
                let kv_heads = 1 + choices.below(3);
                let (dim, latent) = (choices.of(&sizes), choices.is());
                let value_dim = match latent {
                    true => 1 + choices.below(dim),
                    false => choices.of(&sizes),
                };
                Self::Attend {
                    q_heads: kv_heads * (1 + choices.below(3)),
                    cached: CachedHeads {
                        kv_heads,
                        dim,
                        value_dim,
                        latent,
                    },
                    window: choices.is().then_some(1 + choices.byte() as u32),
                    softcap: choices.is().then_some(3.0),
                    is_shared: choices.is(),
                }
            }
            1 => Self::Convolve {
                channels: choices.of(&[1, 2, 7, 16, 40]),
                taps: 1 + choices.below(5),
                has_bias: choices.is(),
            },
            _ => {
                let heads = 1 + choices.below(3);
                Self::Recur {
                    heads,
                    value_heads: heads * (1 + choices.below(2)),
                    dim: choices.of(&sizes),
                    value_dim: choices.of(&sizes),
                }
            }
        }
    }

    /// Its operands: the shape of each, and whether its first dimension counts tokens.
    fn operands(&self, rows: usize) -> Vec<(Vec<usize>, bool)> {
        match *self {
            Self::Attend { q_heads, cached, .. } => {
                let q = vec![rows, q_heads, cached.dim];
                let k = vec![rows, cached.kv_heads, cached.dim];
                let v = (!cached.latent).then(|| vec![rows, cached.kv_heads, cached.value_dim]);
                [q, k].into_iter().chain(v).map(|shape| (shape, true)).collect()
            }
            Self::Convolve {
                channels,
                taps,
                has_bias,
            } => {
                let bias = has_bias.then(|| (vec![channels], false));
                let operands = [(vec![rows, channels], true), (vec![channels, taps], false)];
                operands.into_iter().chain(bias).collect()
            }
            Self::Recur {
                heads,
                value_heads,
                dim,
                value_dim,
            } => {
                let key = vec![rows, heads, dim];
                let of_values = vec![rows, value_heads];
                let value = vec![rows, value_heads, value_dim];
                let all = [key.clone(), key, value, of_values.clone(), of_values];
                all.into_iter().map(|shape| (shape, true)).collect()
            }
        }
    }

    /// A number of an operand, between the ends that it may have.
    fn number(&self, operand: usize, index: usize) -> f32 {
        let hashed = (index + 31 * operand + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        // Between 0 and 1.
        let number = hashed as f32 / (1 << 24) as f32;
        match (self, operand) {
            // Keys of length one at most, gates that forget: else states grow without end.
            (Self::Recur { dim, .. }, 0 | 1) => (2.0 * number - 1.0) / (*dim as f32).sqrt(),
            (Self::Recur { .. }, 3) => -number,
            (Self::Recur { .. }, 4) => number,
            _ => 2.0 * number - 1.0,
        }
    }
}

/// Its program for a step of so many tokens; the layers' results are its own.
fn program(layers: &[Layer], rows: usize) -> Program {
    let operands: Vec<_> = layers.iter().map(|layer| layer.operands(rows)).collect();
    let types = operands.iter().flatten();
    let types = types.map(|(shape, _)| ValueType::float(shape.clone())).collect();
    recorded(batch(rows), types, &Arc::default(), |recorder| {
        let mut inputs = recorder.input_values().into_iter();
        let mut results = Vec::new();
        for (number, (layer, operands)) in layers.iter().zip(&operands).enumerate() {
            let number = number as u32;
            let inputs: Vec<ValueId> = inputs.by_ref().take(operands.len()).collect();
            let mut push = |op, inputs: &[ValueId]| {
                let pushed = recorder.push(op, inputs, None);
                results.push(pushed.unwrap_or_else(|error| panic!("{layer:?}: {error}")));
            };
            match layer {
                Layer::Attend {
                    cached,
                    window,
                    softcap,
                    is_shared,
                    ..
                } => {
                    let attention = CachedAttention {
                        layer: number,
                        scale: 0.7,
                        softcap: *softcap,
                        window: *window,
                        value_dim: cached.latent.then_some(cached.value_dim as u32),
                    };
                    push(Op::Attend(attention.clone()), &inputs);
                    if *is_shared {
                        // What is read of latent rows is said by the attention that writes them.
                        let shared = CachedAttention {
                            value_dim: None,
                            ..attention
                        };
                        push(Op::AttendShared(shared, *cached), &inputs[..1]);
                    }
                }
                Layer::Convolve { .. } => push(Op::ShortConv { layer: number }, &inputs),
                Layer::Recur { .. } => push(Op::Recurrent { layer: number }, &inputs),
            }
        }
        results
    })
}

/// The operands of the tokens from `past` on.
fn inputs(
    engine: &mut dyn Backend,
    layers: &[Layer],
    past: usize,
    rows: usize,
) -> Result<Vec<Tensor>, String> {
    let mut uploaded = Vec::new();
    for layer in layers {
        for (operand, (shape, is_by_token)) in layer.operands(rows).into_iter().enumerate() {
            let count: usize = shape.iter().product();
            let first = if is_by_token { past * (count / rows) } else { 0 };
            let numbers = (first..first + count).map(|index| layer.number(operand, index));
            let tensor = engine.upload(&shape, numbers.collect());
            uploaded.push(tensor.map_err(|error| error.to_string())?);
        }
    }
    Ok(uploaded)
}

/// One sequence on one engine.
struct Walk<'a> {
    engine: &'a mut dyn Backend,
    layers: &'a [Layer],
    sequence: SequenceId,
    /// Bytes in use before it.
    empty: usize,
}

impl Walk<'_> {
    /// The results of one step.
    fn step(&mut self, program: &Program, past: usize, rows: usize) -> Result<Vec<Vec<f32>>, String> {
        let before = self.engine.memory().active;
        let inputs = inputs(self.engine, self.layers, past, rows)?;
        let given = self.engine.memory().active.saturating_sub(before);
        let estimate =
            self.engine.program_bytes(program, past + rows) + self.engine.cache_bytes(program, past + rows);
        self.engine.reset_peak();
        let step = step(self.sequence, past, rows);
        let results = self
            .engine
            .run(program, &inputs, Some(&step))
            .map_err(|error| format!("{rows} tokens after {past}: {error}"))?;
        let taken = self.engine.memory().peak.saturating_sub(self.empty + given);
        // What an engine that runs ahead takes shows later, and beside others' tests.
        if taken > estimate && !self.engine.is_ahead() {
            return Err(format!(
                "{rows} tokens after {past} took {taken} bytes, and {estimate} were estimated"
            ));
        }
        let numbers = results.iter().map(|result| self.engine.download(result));
        numbers
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }
}

/// What becomes of a sequence in these steps: each layer's rows, one after another. The last step is taken twice.
fn walk(
    engine: &mut dyn Backend,
    layers: &[Layer],
    steps: &[(usize, &Program)],
) -> Result<Vec<Vec<f32>>, String> {
    engine.clear_cache();
    let empty = engine.memory().active;
    let sequence = engine.new_sequence();
    let mut walk = Walk {
        engine,
        layers,
        sequence,
        empty,
    };
    let outcome = walk_all(&mut walk, steps);
    walk.engine.drop_sequence(sequence);
    outcome
}

fn walk_all(walk: &mut Walk<'_>, steps: &[(usize, &Program)]) -> Result<Vec<Vec<f32>>, String> {
    let mut all: Vec<Vec<f32>> = Vec::new();
    let mut past = 0;
    for (number, &(rows, program)) in steps.iter().enumerate() {
        let found = walk.step(program, past, rows)?;
        if number + 1 == steps.len() {
            let truncated = walk.engine.truncate(walk.sequence, past);
            if !matches!(truncated, Ok(true)) {
                return Err(format!("cut back by {rows} tokens to {past}: {truncated:?}"));
            }
            same_bits(&found, &walk.step(program, past, rows)?)
                .map_err(|reason| format!("the step of {rows} tokens after {past}, again: {reason}"))?;
        }
        all.resize(found.len(), Vec::new());
        all.iter_mut()
            .zip(found)
            .for_each(|(all, found)| all.extend(found));
        past += rows;
    }
    Ok(all)
}

fn same_bits(first: &[Vec<f32>], second: &[Vec<f32>]) -> Result<(), String> {
    match bits(first) == bits(second) {
        true => Ok(()),
        false => Err(format!("{second:?}, and before {first:?}")),
    }
}

fn close(first: &[Vec<f32>], second: &[Vec<f32>]) -> Result<(), String> {
    for (result, (first, second)) in first.iter().zip(second).enumerate() {
        for (index, (a, b)) in first.iter().zip(second).enumerate() {
            // Numbers are 1 or so, sums have a few hundred of them; a number that is none is close to nothing.
            let is_close = (a - b).abs() <= 1e-4 * (1.0 + a.abs());
            if !is_close {
                return Err(format!("result {result}, number {index}: {b}, and before {a}"));
            }
        }
    }
    Ok(())
}

/// Makes layers and steps of these bytes and runs them on each engine; what does not hold is said.
pub fn check(bytes: &[u8], engines: &mut [Box<dyn Backend>]) -> Result<(), String> {
    let mut choices = Choices::new(bytes);
    let layers: Vec<Layer> = (0..1 + choices.below(4))
        .map(|_| Layer::new(&mut choices))
        .collect();
    let sizes: Vec<usize> = (0..1 + choices.below(5)).map(|_| choices.of(&ROWS)).collect();
    let programs: Vec<Program> = sizes.iter().map(|rows| program(&layers, *rows)).collect();
    let steps: Vec<(usize, &Program)> = sizes.iter().copied().zip(&programs).collect();
    let tokens = sizes.iter().sum();
    let whole = program(&layers, tokens);
    let mut first: Option<Vec<Vec<f32>>> = None;
    for engine in engines {
        let device = engine.device();
        let said = |reason: String| format!("{device}, steps of {sizes:?}: {reason}\n{layers:?}");
        let started = Instant::now();
        let found = walk(engine.as_mut(), &layers, &steps).map_err(said)?;
        let again = walk(engine.as_mut(), &layers, &steps).map_err(said)?;
        same_bits(&found, &again).map_err(|reason| said(format!("run again: {reason}")))?;
        let at_once = walk(engine.as_mut(), &layers, &[(tokens, &whole)]).map_err(said)?;
        close(&found, &at_once).map_err(|reason| said(format!("in one step: {reason}")))?;
        in_time(engine.as_ref(), started).map_err(said)?;
        match &first {
            Some(first) => {
                close(first, &found).map_err(|reason| said(format!("after another engine: {reason}")))?;
            }
            None => first = Some(found),
        }
    }
    Ok(())
}
