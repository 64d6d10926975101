//! Operations that read the batch.

use mlx_rs::Array;
use monocle_tensor::backend::{BackendError, Step};

use super::array::{ints, joined, slice};
use super::engine::array_of;
use super::error::Result;
use super::run::GraphBuilder;

pub fn tokens(step: &Step) -> Result {
    match &step.device_tokens {
        Some(ids) => Ok(array_of(ids)?.clone()),
        None => ints(&step.tokens, &[step.tokens.len()]),
    }
}

pub fn image_mask(step: &Step) -> Result {
    let mut mask = vec![0; step.tokens.len()];
    for splice in &step.splices {
        mask[splice.row..splice.row + splice.count].fill(1);
    }
    ints(&mask, &[mask.len()])
}

pub fn context_mask(step: &Step) -> Result {
    let mut mask = vec![0; step.tokens.len()];
    for (mask, visible) in mask.iter_mut().zip(&step.visible_context) {
        *mask = i32::from(visible.start < visible.end);
    }
    ints(&mask, &[mask.len()])
}

pub fn context(run: &GraphBuilder<'_>) -> Result {
    let shape = &run.node().output.shape;
    let (mut parts, mut rows) = (Vec::new(), 0);
    for context in run.step.new_context.iter().flatten() {
        let kind = context.value_type();
        if kind.shape.len() != 2 || kind.shape[1] != shape[1] {
            let reason = format!("a context is {kind}, the program reads {shape:?}");
            return Err(BackendError::Input(reason).into());
        }
        rows += kind.shape[0];
        parts.push(array_of(context)?.clone());
    }
    if rows != shape[0] || parts.is_empty() {
        let reason = format!(
            "the step brings {rows} rows of context, the program was recorded for {}",
            shape[0]
        );
        return Err(BackendError::Input(reason).into());
    }
    joined(&parts, 0)
}

pub fn features(run: &GraphBuilder<'_>, set: usize, add: bool) -> Result {
    let (x, width) = (run.input(0)?, run.input_shape(0)[1]);
    let step = run.step;
    let (mut parts, mut done): (Vec<Array>, usize) = (Vec::new(), 0);
    for splice in step.splices.iter().filter(|splice| splice.count > 0) {
        let Some(features) = splice
            .features
            .get(set)
            .filter(|features| features.value_type().shape[1] == width)
        else {
            let reason = format!(
                "the features of row {} have no set {set} of width {width}",
                splice.row
            );
            return Err(BackendError::Input(reason).into());
        };
        let rows = [splice.offset, splice.offset + splice.count];
        let features = slice(array_of(features)?, 0, rows)?.as_dtype(x.dtype())?;
        let end = splice.row + splice.count;
        if done < splice.row {
            parts.push(slice(x, 0, [done, splice.row])?);
        }
        parts.push(match add {
            true => slice(x, 0, [splice.row, end])?.add(&features)?,
            false => features,
        });
        done = end;
    }
    if done < step.tokens.len() || parts.is_empty() {
        parts.push(slice(x, 0, [done, step.tokens.len()])?);
    }
    joined(&parts, 0)
}

pub fn select_logits(run: &GraphBuilder<'_>) -> Result {
    let x = run.input(0)?;
    let wanted = &run.step.wanted;
    if let Some((&first, &last)) = wanted.first().zip(wanted.last())
        && (first..=last).eq(wanted.iter().copied())
    {
        return slice(x, 0, [first as usize, last as usize + 1]);
    }
    if wanted.is_empty() {
        return run.zeros();
    }
    let rows: Vec<i32> = wanted.iter().map(|row| *row as i32).collect();
    Ok(x.take_axis(&ints(&rows, &[rows.len()])?, 0)?)
}
