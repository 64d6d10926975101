//! Running attention, rotary embeddings, and what else depends on where a sequence is.

use super::run::{Activations, ProgramRun};
use super::sequence_state::{Cache, CacheShape, Context, Convolution};
use super::value::Value;
use monocle_kernels::attention::{KeyValues, Means, Queries, Shape, attend as attend_to};
use monocle_kernels::output::by_rows;
use monocle_kernels::rotary;
use monocle_tensor::backend::BackendError;
use monocle_tensor::operation::{Attention, CachedAttention, CachedHeads, Rope};

type Result<T = Value> = std::result::Result<T, BackendError>;

pub fn rope(run: &mut ProgramRun<'_>, rope: &Rope) -> Result {
    let [axes, tokens] = [run.input_shape(1)[0], run.input_shape(1)[1]];
    let pairs = rope.frequencies.len();
    debug_assert!(rope.axes.iter().all(|axis| usize::from(*axis) < axes));
    let number = run.prepared.rope_tables[run.index].unwrap_or(0);
    let table = match &run.tables[number] {
        Some(table) => table.clone(),
        None => {
            let positions = run.input(1)?.ints();
            let len = tokens * 2 * pairs;
            let mut buffer = run.memory.take(len);
            by_rows(
                run.threads,
                &mut buffer.floats_mut()[..len],
                2 * pairs,
                64 * pairs,
                |first, part| {
                    rotary::table(rope, positions, [first, tokens], part);
                },
            );
            let table = Value::new(buffer, len);
            run.tables[number] = Some(table.clone());
            table
        }
    };
    let shape = run.input_shape(0);
    let (heads, dim) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let mut x = run.take_input(0)?;
    if x.unique_floats().is_none() {
        x = Value::from_floats(run.memory, x.floats());
    }
    if let (Some(values), true) = (x.unique_floats(), pairs > 0) {
        let table = table.floats();
        let width = heads * dim;
        by_rows(run.threads, values, width, width * 2, |first, part| {
            for (index, values) in part.chunks_exact_mut(width).enumerate() {
                let token = (first + index) % tokens;
                rotary::turn(
                    rope.pairing,
                    pairs,
                    &table[token * 2 * pairs..][..2 * pairs],
                    dim,
                    values,
                );
            }
        });
    }
    Ok(x)
}

pub fn attention(run: &mut ProgramRun<'_>, attention: &Attention) -> Result {
    let (q_shape, k_shape, v_shape) = (run.input_shape(0), run.input_shape(1), run.input_shape(2));
    let leading = q_shape.len() - 3;
    let batch = if leading == 1 { q_shape[0] } else { 1 };
    let (queries, keys) = (q_shape[leading], k_shape[leading]);
    let shape = Shape {
        heads: q_shape[leading + 1],
        kv_heads: k_shape[leading + 1],
        dim: q_shape[leading + 2],
        value_dim: v_shape[leading + 2],
        scale: attention.scale,
        softcap: attention.softcap,
    };
    if run.node().output.is_empty() {
        return Ok(run.floats(|_| {}));
    }
    let mut visible = run.memory.repeated([0, keys], queries);
    for bounds in attention.segments.windows(2) {
        visible[bounds[0] as usize..bounds[1] as usize].fill([bounds[0] as usize, bounds[1] as usize]);
    }
    if attention.causal {
        for (row, visible) in visible.iter_mut().enumerate() {
            visible[1] = row + 1;
        }
    }
    let visible: &[[usize; 2]] = &visible;
    let (q, k, v) = (
        run.input(0)?.floats(),
        run.input(1)?.floats(),
        run.input(2)?.floats(),
    );
    let [k_len, v_len] = [shape.dim, shape.value_dim].map(|dim| keys * shape.kv_heads * dim);
    let mut sequences = run.memory.list(batch);
    sequences.extend((0..batch).map(|index| Queries {
        first: index * queries,
        visible,
        keys: KeyValues::Rows([&k[index * k_len..][..k_len], &v[index * v_len..][..v_len]]),
    }));
    Ok(run.floats(|out| attend_to(means(run), shape, q, &sequences, out)))
}

pub fn attend(run: &mut ProgramRun<'_>, attention: &CachedAttention) -> Result {
    let shape = shape(run, attention);
    let latent = attention.value_dim.is_some();
    let k = run.input(1)?.clone();
    let v = match latent {
        true => None,
        false => Some(run.input(2)?.clone()),
    };
    let cached = CacheShape {
        kind: run.key_values,
        heads: CachedHeads {
            kv_heads: shape.kv_heads,
            dim: shape.dim,
            value_dim: shape.value_dim,
            latent,
        },
    };
    let widths = cached.heads.stored_dims().map(|dim| shape.kv_heads * dim);
    let v = v.as_ref().map_or(&[][..], Value::floats);
    let step = run.step;
    let mut row = 0;
    for rows in &step.sequences {
        let memory = run.memory;
        let sequence = run.sequences.get(rows.sequence)?;
        let cache = sequence
            .caches
            .entry(attention.layer)
            .or_insert_with(|| Cache::new(memory, cached));
        if cache.tokens() != rows.past || cache.shape() != cached {
            let there = cache.shape();
            return Err(BackendError::Sequence(format!(
                "layer {} of sequence {} holds {} tokens of {:?}, not {} of {:?}",
                attention.layer,
                rows.sequence.0,
                cache.tokens(),
                there.heads,
                rows.past,
                cached.heads
            )));
        }
        cache.append(
            &k.floats()[row * widths[0]..][..rows.rows * widths[0]],
            &v[row * widths[1]..][..rows.rows * widths[1]],
            rows.rows,
            attention.window,
        );
        row += rows.rows;
    }
    attend_cached(run, attention, shape)
}

pub fn attend_shared(run: &mut ProgramRun<'_>, attention: &CachedAttention, cached: CachedHeads) -> Result {
    let shape = Shape {
        heads: run.input_shape(0)[1],
        kv_heads: cached.kv_heads,
        dim: cached.dim,
        value_dim: cached.value_dim,
        scale: attention.scale,
        softcap: attention.softcap,
    };
    let written = CacheShape {
        kind: run.key_values,
        heads: cached,
    };
    for rows in &run.step.sequences {
        let state = run.sequences.look(rows.sequence);
        let cache = state.and_then(|sequence| sequence.caches.get(&attention.layer));
        let fits = |cache: &Cache| cache.tokens() == rows.past + rows.rows && cache.shape() == written;
        if !cache.is_some_and(fits) {
            return Err(BackendError::Sequence(format!(
                "cache {} of sequence {} is shared, and was not written in this step",
                attention.layer, rows.sequence.0
            )));
        }
    }
    attend_cached(run, attention, shape)
}

/// Attends to what the caches of the step's sequences hold, this step's tokens included.
fn attend_cached(run: &mut ProgramRun<'_>, attention: &CachedAttention, shape: Shape) -> Result {
    let (q, step) = (run.input(0)?.clone(), run.step);
    let mut visible = run.memory.list(step.sequences.iter().map(|rows| rows.rows).sum());
    for rows in &step.sequences {
        let first = visible.len();
        visible.extend((0..rows.rows).map(|index| {
            let (position, visible) = (rows.past + index, step.visible[first + index]);
            visible.keys(position, attention.window)
        }));
    }
    let mut queries = run.memory.list(step.sequences.len());
    let mut first = 0;
    for rows in &step.sequences {
        let visible: &[[usize; 2]] = &visible[first..first + rows.rows];
        let cache = run
            .sequences
            .look(rows.sequence)
            .and_then(|sequence| sequence.caches.get(&attention.layer));
        if let Some(cache) = cache {
            let kept = cache.first_kept();
            if let Some([start, _]) = visible.iter().find(|[start, end]| *start < kept && start < end) {
                return Err(BackendError::Sequence(format!(
                    "layer {} of sequence {} keeps its tokens from {kept} on, as its window hid the others; a row sees token {start}",
                    attention.layer, rows.sequence.0
                )));
            }
            queries.push(Queries {
                first,
                visible,
                keys: cache.key_values(),
            });
        }
        first += rows.rows;
    }
    Ok(run.floats(|out| attend_to(means(run), shape, q.floats(), &queries, out)))
}

fn means<'a>(run: &ProgramRun<'a>) -> Means<'a> {
    Means {
        processor: run.processor,
        threads: run.threads,
        memory: run.memory,
        rounds: run.activations == Activations::Bf16,
    }
}

fn shape(run: &ProgramRun<'_>, attention: &CachedAttention) -> Shape {
    let q = run.input_shape(0);
    let (kv_heads, value_dim) = match run.node().inputs.len() {
        1 => (1, q[2]),
        2 => (run.input_shape(1)[1], run.node().output.shape[2]),
        _ => (run.input_shape(1)[1], run.input_shape(2)[2]),
    };
    Shape {
        heads: q[1],
        kv_heads,
        dim: q[2],
        value_dim,
        scale: attention.scale,
        softcap: attention.softcap,
    }
}

pub fn cross_attend(run: &mut ProgramRun<'_>, attention: &CachedAttention) -> Result {
    let mut shape = shape(run, attention);
    let step = run.step;
    if step.visible_context.len() != step.tokens.len() {
        return Err(BackendError::Input(
            "the step does not say which context its rows see".to_owned(),
        ));
    }
    if run.node().inputs.len() > 1 {
        store_contexts(run, attention.layer, shape)?;
    }
    let q = run.input(0)?.clone();
    let mut visible = run.memory.list(step.visible_context.len());
    visible.extend(
        step.visible_context
            .iter()
            .map(|visible| [visible.start as usize, visible.end.max(visible.start) as usize]),
    );
    let visible: &[[usize; 2]] = &visible;
    let mut queries = run.memory.list(step.sequences.len());
    let mut first = 0;
    let mut known: Option<[usize; 3]> = None;
    for rows in &step.sequences {
        let range = first..first + rows.rows;
        first = range.end;
        let intervals = &step.visible_context[range.clone()];
        let context = run
            .sequences
            .look(rows.sequence)
            .and_then(|sequence| sequence.contexts.get(&attention.layer));
        let Some(context) = context else {
            if intervals.iter().any(|visible| visible.start < visible.end) {
                return Err(BackendError::Sequence(format!(
                    "layer {} of sequence {} has no context",
                    attention.layer, rows.sequence.0
                )));
            }
            continue;
        };
        if intervals
            .iter()
            .any(|visible| visible.start < visible.end && visible.end as usize > context.rows)
        {
            return Err(BackendError::Sequence(format!(
                "a row sees context beyond the {} rows of sequence {}",
                context.rows, rows.sequence.0
            )));
        }
        let [kv_heads, dim, value_dim] = context.shape;
        let same = known.is_none_or(|known| known == context.shape);
        if !same
            || dim != shape.dim
            || !shape.heads.is_multiple_of(kv_heads)
            || run.node().output.shape[2] != value_dim
        {
            return Err(BackendError::Sequence(format!(
                "the context of sequence {} has {kv_heads} heads of {dim} and {value_dim} elements, which do not fit",
                rows.sequence.0
            )));
        }
        known = Some(context.shape);
        queries.push(Queries {
            first: range.start,
            visible: &visible[range],
            keys: KeyValues::Rows([context.keys.floats(), context.values.floats()]),
        });
    }
    if let Some([kv_heads, _, value_dim]) = known {
        (shape.kv_heads, shape.value_dim) = (kv_heads, value_dim);
    }
    Ok(run.floats(|out| {
        // Rows of sequences without context get zeros.
        out.fill(0.0);
        attend_to(means(run), shape, q.floats(), &queries, out);
    }))
}

/// Keeps the keys and values of new contexts, each with its sequence.
fn store_contexts(run: &mut ProgramRun<'_>, layer: u32, shape: Shape) -> Result<()> {
    let (k, v) = (run.input(1)?.clone(), run.input(2)?.clone());
    let total = run.input_shape(1)[0];
    let [k_width, v_width] = [shape.dim, shape.value_dim].map(|dim| shape.kv_heads * dim);
    let step = run.step;
    let mut row = 0;
    for (rows, context) in step.sequences.iter().zip(&step.new_context) {
        let Some(context) = context else { continue };
        let count = context.value_type().shape.first().copied().unwrap_or(0);
        if row + count > total {
            break;
        }
        let keys = Value::from_floats(run.memory, &k.floats()[row * k_width..][..count * k_width]);
        let values = Value::from_floats(run.memory, &v.floats()[row * v_width..][..count * v_width]);
        run.sequences.get(rows.sequence)?.contexts.insert(
            layer,
            Context {
                keys,
                values,
                rows: count,
                shape: [shape.kv_heads, shape.dim, shape.value_dim],
            },
        );
        row += count;
    }
    if row != total {
        return Err(BackendError::Input(format!(
            "keys and values of {total} rows of context do not match the contexts that the step brings"
        )));
    }
    Ok(())
}

pub fn short_conv(run: &mut ProgramRun<'_>, layer: u32) -> Result {
    let (channels, taps) = (run.input_shape(1)[0], run.input_shape(1)[1]);
    let kept = taps.saturating_sub(1);
    let (x, kernel) = (run.input(0)?.clone(), run.input(1)?.clone());
    let bias = match run.node().inputs.len() {
        2 => None,
        _ => Some(run.input(2)?.clone()),
    };
    let len = x.len();
    let mut buffer = run.memory.take(len);
    let out = &mut buffer.floats_mut()[..len];
    // Channels side by side, as the rows have them.
    let mut weights = run.memory.repeated(0.0, kernel.len());
    for (channel, values) in kernel.floats().chunks_exact(taps).enumerate() {
        for (tap, value) in values.iter().enumerate() {
            weights[tap * channels + channel] = *value;
        }
    }
    let weights: &[f32] = &weights;
    let step = run.step;
    let mut first = 0;
    for rows in &step.sequences {
        let memory = run.memory;
        let sequence = run.sequences.get(rows.sequence)?;
        let state = sequence.convolutions.entry(layer).or_insert_with(|| Convolution {
            rows: Value::zeros(memory, kept * channels),
            tokens: 0,
            before: None,
        });
        if state.tokens != rows.past || state.rows.len() != kept * channels {
            return Err(BackendError::Sequence(format!(
                "the convolution of layer {layer} of sequence {} has seen {} tokens, not {}",
                rows.sequence.0, state.tokens, rows.past
            )));
        }
        // Only the last step can be undone, and that is this one: what was before the one before makes room.
        state.before = None;
        // Earlier rows, then this step's.
        let mut all = memory.take((kept + rows.rows) * channels);
        let all_rows = &mut all.floats_mut()[..(kept + rows.rows) * channels];
        all_rows[..kept * channels].copy_from_slice(state.rows.floats());
        all_rows[kept * channels..].copy_from_slice(&x.floats()[first * channels..][..rows.rows * channels]);
        let rows_now = Value::from_floats(memory, &all_rows[rows.rows * channels..]);
        state.before = Some((std::mem::replace(&mut state.rows, rows_now), state.tokens));
        state.tokens += rows.rows;
        let all_rows = &*all_rows;
        let bias = bias.as_ref().map(Value::floats);
        let part = &mut out[first * channels..][..rows.rows * channels];
        by_rows(run.threads, part, channels, channels * taps, |row, part| {
            for (index, out) in part.chunks_exact_mut(channels).enumerate() {
                match bias {
                    Some(bias) => out.copy_from_slice(bias),
                    None => out.fill(0.0),
                }
                for (tap, weights) in weights.chunks_exact(channels).enumerate() {
                    let values = &all_rows[(row + index + tap) * channels..][..channels];
                    for ((out, value), weight) in out.iter_mut().zip(values).zip(weights) {
                        *out += value * weight;
                    }
                }
            }
        });
        first += rows.rows;
    }
    Ok(Value::new(buffer, len))
}
