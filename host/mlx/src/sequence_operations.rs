//! Attention, and what else depends on where a sequence is.

use std::collections::HashMap;

use mlx_rs::Array;
use mlx_rs::ops::{multiply, zeros_dtype};
use monocle_tensor::backend::{BackendError, SequenceRows};
use monocle_tensor::operation::{Attention, CachedAttention, CachedHeads};

use super::array::{dimensions, joined, shape_of, slice};
use super::attention::{Scoring, attend as attend_to};
use super::cache::Cache;
use super::error::Result;
use super::run::GraphBuilder;

/// What one sequence keeps between steps.
#[derive(Clone, Default)]
pub struct SequenceState {
    caches: HashMap<u32, Cache>,
    contexts: HashMap<u32, [Array; 2]>,
    convolutions: HashMap<u32, Convolution>,
    pub states: HashMap<u32, State>,
}

impl SequenceState {
    /// What it kept after its first tokens; none where a convolution has moved on for more than a step.
    pub fn part(&self, tokens: usize) -> Option<Self> {
        let mut part = self.clone();
        part.truncate(tokens).then_some(part)
    }

    /// Goes back to what it was after its first tokens; false where that is gone.
    pub fn truncate(&mut self, tokens: usize) -> bool {
        let mut convolutions = self.convolutions.values_mut();
        self.caches.values_mut().all(|cache| cache.truncate(tokens))
            && convolutions.all(|state| state.truncate(tokens))
            && self.states.values_mut().all(|state| state.truncate(tokens))
    }
}

/// The last rows that a short convolution saw.
#[derive(Clone)]
struct Convolution {
    /// `[taps - 1, channels]`, oldest first.
    rows: Array,
    /// Tokens seen.
    tokens: usize,
    /// The rows and the tokens before the last step, which may have to be undone.
    before: Option<(Array, usize)>,
}

impl Convolution {
    /// Goes back to what it was after its first tokens; false where that is gone.
    fn truncate(&mut self, tokens: usize) -> bool {
        if self.tokens != tokens
            && let Some((rows, before)) = self.before.take()
        {
            (self.rows, self.tokens) = (rows, before);
        }
        self.tokens == tokens
    }
}

/// What a recurrence has made of the tokens so far.
#[derive(Clone)]
pub struct State {
    /// `[value_heads, value_dim, dim]`, 32 bits.
    pub values: Array,
    /// Tokens seen.
    pub tokens: usize,
    /// The values and the tokens before the last step, which may have to be undone.
    pub before: Option<(Array, usize)>,
}

impl State {
    /// Goes back to what it was after the first tokens; false where that is gone.
    fn truncate(&mut self, tokens: usize) -> bool {
        if self.tokens != tokens
            && let Some((values, before)) = self.before.take()
        {
            (self.values, self.tokens) = (values, before);
        }
        self.tokens == tokens
    }
}

/// Rows `[rows, heads, dim]` of a flat batch as `[1, heads, rows, dim]`.
fn heads_first(x: &Array, rows: [usize; 2]) -> Result {
    Ok(slice(x, 0, rows)?.transpose_axes(&[1, 0, 2])?.expand_dims(0)?)
}

/// `[1, heads, rows, dim]` back to `[rows, heads, dim]`.
fn rows_first(x: &Array) -> Result {
    Ok(x.squeeze_axes(&[0])?.transpose_axes(&[1, 0, 2])?)
}

pub fn attention(run: &GraphBuilder<'_>, attention: &Attention) -> Result {
    let (q, k, v) = (run.input(0)?, run.input(1)?, run.input(2)?);
    let shape = run.input_shape(0);
    let scoring = Scoring {
        scale: attention.scale,
        softcap: attention.softcap,
        block: run.habits.block,
    };
    // [batch, heads, rows, dim]
    let batched = |x: &Array| -> Result {
        let x = match shape.len() {
            3 => x.expand_dims(0)?,
            _ => x.clone(),
        };
        Ok(x.transpose_axes(&[0, 2, 1, 3])?)
    };
    let (queries, keys) = (shape[shape.len() - 3], run.input_shape(1)[shape.len() - 3]);
    let whole = [0, queries as u32];
    let bounds = match attention.segments.is_empty() {
        true => whole.as_slice(),
        false => &attention.segments,
    };
    let visible = |rows: usize, keys: usize| -> Vec<[usize; 2]> {
        let end = |row: usize| if attention.causal { row + 1 } else { keys };
        (0..rows).map(|row| [0, end(row)]).collect()
    };
    let (q, k, v) = (batched(q)?, batched(k)?, batched(v)?);
    if bounds.len() == 2 {
        let out = attend_to(&q, &k, &v, scoring, &visible(queries, keys))?;
        return Ok(out
            .transpose_axes(&[0, 2, 1, 3])?
            .reshape(&dimensions(&run.node().output.shape)?)?);
    }
    let mut parts = Vec::new();
    for (start, count, length) in runs(bounds) {
        let rows = [start, start + count * length];
        let split = |x: &Array| split(x, rows, count);
        let out = attend_to(
            &split(&q)?,
            &split(&k)?,
            &split(&v)?,
            scoring,
            &visible(length, length),
        )?;
        parts.push(unsplit(&out, shape_of(&q)[0], count)?);
    }
    if parts.is_empty() {
        return run.zeros();
    }
    Ok(joined(&parts, 1)?.reshape(&dimensions(&run.node().output.shape)?)?)
}

/// Neighbouring segments of one length: `(first row, how many, length)`. Windows of a picture mostly have one length, and
/// make a batch.
fn runs(bounds: &[u32]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for pair in bounds.windows(2) {
        let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
        match runs.last_mut() {
            _ if length == 0 => {}
            Some((_, count, same)) if *same == length => *count += 1,
            _ => runs.push((start, 1, length)),
        }
    }
    runs
}

/// Rows of `[batch, heads, rows, dim]` as `[batch * count, heads, length, dim]`.
fn split(x: &Array, rows: [usize; 2], count: usize) -> Result {
    let x = slice(x, 2, rows)?;
    let [batch, heads, rows, dim] = four(&x);
    let x = x.reshape(&dimensions(&[batch, heads, count, rows / count, dim])?)?;
    let x = x.transpose_axes(&[0, 2, 1, 3, 4])?;
    Ok(x.reshape(&dimensions(&[batch * count, heads, rows / count, dim])?)?)
}

/// `[batch * count, heads, length, dim]` as `[batch, count * length, heads, dim]`.
fn unsplit(x: &Array, batch: usize, count: usize) -> Result {
    let [_, heads, length, dim] = four(x);
    let x = x.transpose_axes(&[0, 2, 1, 3])?;
    Ok(x.reshape(&dimensions(&[batch, count * length, heads, dim])?)?)
}

fn four(x: &Array) -> [usize; 4] {
    let shape = shape_of(x);
    [shape[0], shape[1], shape[2], shape[3]]
}

pub fn attend(run: &mut GraphBuilder<'_>, attention: &CachedAttention) -> Result {
    let mut parts = vec![run.input(1)?.clone()];
    parts.extend(run.optional(2)?.cloned());
    let k_shape = run.input_shape(1);
    let heads = CachedHeads {
        kv_heads: k_shape[1],
        dim: k_shape[2],
        value_dim: run.node().output.shape[2],
        latent: attention.value_dim.is_some(),
    };
    attend_each(run, attention, |run, rows, range| {
        appended(run, attention.layer, rows, heads, &parts, range)
    })
}

pub fn attend_shared(run: &mut GraphBuilder<'_>, attention: &CachedAttention, cached: CachedHeads) -> Result {
    attend_each(run, attention, |run, rows, _| {
        let state = run.sequences.look(rows.sequence);
        let cache = state.and_then(|state| state.caches.get(&attention.layer));
        let fits = |cache: &&Cache| cache.tokens() == rows.past + rows.rows && cache.heads() == cached;
        match cache.filter(fits) {
            Some(cache) => cache.key_values(),
            None => {
                let reason = format!(
                    "cache {} of sequence {} is shared, and was not written in this step",
                    attention.layer, rows.sequence.0
                );
                Err(BackendError::Sequence(reason).into())
            }
        }
    })
}

/// Attends sequence by sequence to the keys and values that `cached` gives for its rows.
fn attend_each(
    run: &mut GraphBuilder<'_>,
    attention: &CachedAttention,
    cached: impl Fn(&mut GraphBuilder<'_>, &SequenceRows, [usize; 2]) -> Result<Option<[Array; 2]>>,
) -> Result {
    let q = run.input(0)?.clone();
    let scoring = Scoring {
        scale: attention.scale,
        softcap: attention.softcap,
        block: run.habits.block,
    };
    let step = run.step;
    let (mut parts, mut first) = (Vec::with_capacity(step.sequences.len()), 0);
    for rows in step.sequences.iter().filter(|rows| rows.rows > 0) {
        let range = [first, first + rows.rows];
        first = range[1];
        let Some([keys, values]) = cached(run, rows, range)? else {
            continue;
        };
        let visible: Vec<[usize; 2]> = (0..rows.rows)
            .map(|index| {
                let (position, visible) = (rows.past + index, step.visible[range[0] + index]);
                visible.keys(position, attention.window)
            })
            .collect();
        let out = attend_to(&heads_first(&q, range)?, &keys, &values, scoring, &visible)?;
        parts.push(rows_first(&out)?);
    }
    match parts.is_empty() {
        true => run.zeros(),
        false => joined(&parts, 0),
    }
}

/// Appends rows of a sequence to its cache, and gives all that is in it.
fn appended(
    run: &mut GraphBuilder<'_>,
    layer: u32,
    rows: &SequenceRows,
    heads: CachedHeads,
    new: &[Array],
    range: [usize; 2],
) -> Result<Option<[Array; 2]>> {
    let state = run.sequences.get(rows.sequence)?;
    let cache = state.caches.entry(layer).or_insert_with(|| Cache::new(heads));
    if cache.tokens() != rows.past || cache.heads() != heads {
        let reason = format!(
            "layer {layer} of sequence {} holds {} tokens of {:?}, not {} of {heads:?}",
            rows.sequence.0,
            cache.tokens(),
            cache.heads(),
            rows.past
        );
        return Err(BackendError::Sequence(reason).into());
    }
    let new: Vec<Array> = new.iter().map(|x| heads_first(x, range)).collect::<Result<_>>()?;
    cache.append(&new, rows.rows)?;
    run.touched.extend(cache.stored().cloned());
    cache.key_values()
}

pub fn cross_attend(run: &mut GraphBuilder<'_>, attention: &CachedAttention) -> Result {
    let step = run.step;
    if step.visible_context.len() != step.tokens.len() {
        let reason = "the step does not say which context its rows see".to_owned();
        return Err(BackendError::Input(reason).into());
    }
    if run.node().inputs.len() > 1 {
        store_contexts(run, attention.layer)?;
    }
    let q = run.input(0)?.clone();
    let [_, heads, value_dim] = three(&run.node().output.shape);
    let dim = run.input_shape(0)[2];
    let scoring = Scoring {
        scale: attention.scale,
        softcap: attention.softcap,
        block: run.habits.block,
    };
    let (mut parts, mut first) = (Vec::with_capacity(step.sequences.len()), 0);
    for rows in step.sequences.iter().filter(|rows| rows.rows > 0) {
        let range = [first, first + rows.rows];
        first = range[1];
        let visible: Vec<[usize; 2]> = step.visible_context[range[0]..range[1]]
            .iter()
            .map(|visible| [visible.start as usize, visible.end as usize])
            .collect();
        let most = visible
            .iter()
            .filter(|[start, end]| start < end)
            .map(|[_, end]| *end)
            .max();
        let context = run.sequences.look(rows.sequence);
        let context = context.and_then(|state| state.contexts.get(&attention.layer));
        let Some([keys, values]) = context else {
            if most.is_some() {
                let reason = format!(
                    "layer {} of sequence {} has no context",
                    attention.layer, rows.sequence.0
                );
                return Err(BackendError::Sequence(reason).into());
            }
            let zeros = dimensions(&[rows.rows, heads, value_dim])?;
            parts.push(zeros_dtype(&zeros, run.float)?);
            continue;
        };
        let [_, kv_heads, count, key_dim] = four(keys);
        if most.is_some_and(|most| most > count) {
            let reason = format!(
                "a row sees context beyond the {count} rows of sequence {}",
                rows.sequence.0
            );
            return Err(BackendError::Sequence(reason).into());
        }
        if key_dim != dim || !heads.is_multiple_of(kv_heads) || four(values)[3] != value_dim {
            let reason = format!(
                "the context of sequence {} has {kv_heads} heads of {key_dim} and {} elements, which do not fit",
                rows.sequence.0,
                four(values)[3]
            );
            return Err(BackendError::Sequence(reason).into());
        }
        let out = attend_to(&heads_first(&q, range)?, keys, values, scoring, &visible)?;
        parts.push(rows_first(&out)?);
    }
    match parts.is_empty() {
        true => run.zeros(),
        false => joined(&parts, 0),
    }
}

fn three(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2]]
}

/// Keeps the keys and values of new contexts, each with its sequence.
fn store_contexts(run: &mut GraphBuilder<'_>, layer: u32) -> Result<()> {
    let (k, v) = (run.input(1)?.clone(), run.input(2)?.clone());
    let total = run.input_shape(1)[0];
    let step = run.step;
    let mut row = 0;
    for (rows, context) in step.sequences.iter().zip(&step.new_context) {
        let Some(context) = context else { continue };
        let count = context.value_type().shape.first().copied().unwrap_or(0);
        if row + count > total {
            break;
        }
        let range = [row, row + count];
        let context = [heads_first(&k, range)?, heads_first(&v, range)?];
        run.touched.extend(context.iter().cloned());
        run.sequences.get(rows.sequence)?.contexts.insert(layer, context);
        row += count;
    }
    if row != total {
        let reason = format!(
            "keys and values of {total} rows of context do not match the contexts that the step brings"
        );
        return Err(BackendError::Input(reason).into());
    }
    Ok(())
}

pub fn short_conv(run: &mut GraphBuilder<'_>, layer: u32) -> Result {
    let (channels, taps) = (run.input_shape(1)[0], run.input_shape(1)[1]);
    let kept = taps - 1;
    let (x, kernel) = (run.input(0)?.clone(), run.input(1)?.clone());
    let bias = run.optional(2)?.cloned();
    let step = run.step;
    let (mut parts, mut first) = (Vec::with_capacity(step.sequences.len()), 0);
    for rows in step.sequences.iter().filter(|rows| rows.rows > 0) {
        let range = [first, first + rows.rows];
        first = range[1];
        let empty = zeros_dtype(&dimensions(&[kept, channels])?, x.dtype())?;
        let state = run.sequences.get(rows.sequence)?;
        let state = state.convolutions.entry(layer).or_insert(Convolution {
            rows: empty,
            tokens: 0,
            before: None,
        });
        if state.tokens != rows.past || shape_of(&state.rows) != [kept, channels] {
            let reason = format!(
                "the convolution of layer {layer} of sequence {} has seen {} tokens, not {}",
                rows.sequence.0, state.tokens, rows.past
            );
            return Err(BackendError::Sequence(reason).into());
        }
        // Earlier rows, then this step's.
        let all = joined(&[state.rows.clone(), slice(&x, 0, range)?], 0)?;
        let rows_now = slice(&all, 0, [rows.rows, rows.rows + kept])?;
        state.before = Some((std::mem::replace(&mut state.rows, rows_now), state.tokens));
        state.tokens += rows.rows;
        let kept_rows = state.rows.clone();
        run.touched.push(kept_rows);
        let mut sum = bias.clone();
        for tap in 0..taps {
            let weights = slice(&kernel, 1, [tap, tap + 1])?.reshape(&dimensions(&[1, channels])?)?;
            let term = multiply(slice(&all, 0, [tap, tap + rows.rows])?, &weights)?;
            sum = Some(match sum {
                Some(sum) => term.add(&sum)?,
                None => term,
            });
        }
        parts.extend(sum);
    }
    match parts.is_empty() {
        true => run.zeros(),
        false => joined(&parts, 0),
    }
}
