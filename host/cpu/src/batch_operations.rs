//! Running operations that read the batch.

use super::own_values::value_of;
use super::run::ProgramRun;
use super::value::Value;
use monocle_tensor::backend::BackendError;

type Result<T = Value> = std::result::Result<T, BackendError>;

pub fn tokens(run: &ProgramRun<'_>) -> Result {
    match &run.step.device_tokens {
        Some(ids) => Ok(value_of(ids)?.clone()),
        None => Ok(Value::from_ints(run.memory, &run.step.tokens)),
    }
}

pub fn image_mask(run: &ProgramRun<'_>) -> Value {
    run.ints(|out| {
        out.fill(0);
        for splice in &run.step.splices {
            out[splice.row..splice.row + splice.count].fill(1);
        }
    })
}

pub fn context_mask(run: &ProgramRun<'_>) -> Value {
    run.ints(|out| {
        out.fill(0);
        for (out, visible) in out.iter_mut().zip(&run.step.visible_context) {
            *out = i32::from(visible.start < visible.end);
        }
    })
}

pub fn context(run: &ProgramRun<'_>) -> Result {
    let shape = &run.node().output.shape;
    let contexts: Vec<_> = run.step.new_context.iter().flatten().collect();
    let mut rows = 0;
    for context in &contexts {
        let kind = context.value_type();
        if kind.shape.len() != 2 || kind.shape[1] != shape[1] {
            return Err(BackendError::Input(format!(
                "a context is {kind}, the program reads {shape:?}"
            )));
        }
        rows += kind.shape[0];
    }
    if rows != shape[0] {
        return Err(BackendError::Input(format!(
            "the step brings {rows} rows of context, the program was recorded for {}",
            shape[0]
        )));
    }
    let contexts = contexts.into_iter().map(value_of).collect::<Result<Vec<_>>>()?;
    Ok(run.floats(|out| {
        let mut start = 0;
        for context in contexts {
            out[start..start + context.len()].copy_from_slice(context.floats());
            start += context.len();
        }
    }))
}

pub fn features(run: &mut ProgramRun<'_>, set: usize, add: bool) -> Result {
    let width = run.input_shape(0)[1];
    let step = run.step;
    let mut x = run.take_input(0)?;
    if x.unique_floats().is_none() {
        x = Value::from_floats(run.memory, x.floats());
    }
    let Some(out) = x.unique_floats() else {
        return Ok(x);
    };
    for splice in &step.splices {
        let Some(features) = splice
            .features
            .get(set)
            .filter(|features| features.value_type().shape[1] == width)
        else {
            return Err(BackendError::Input(format!(
                "the features of row {} have no set {set} of width {width}",
                splice.row
            )));
        };
        let from = &value_of(features)?.floats()[splice.offset * width..][..splice.count * width];
        let to = &mut out[splice.row * width..][..splice.count * width];
        if add {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        } else {
            to.copy_from_slice(from);
        }
    }
    Ok(x)
}

pub fn select_logits(run: &mut ProgramRun<'_>) -> Result {
    let shape = run.input_shape(0);
    let wanted = &run.step.wanted;
    let width: usize = shape[1..].iter().product();
    if wanted.iter().map(|row| *row as usize).eq(0..shape[0]) {
        return run.take_input(0);
    }
    let x = run.input(0)?;
    if let [row] = wanted[..] {
        return Ok(x.part(row as usize * width, width));
    }
    let x = x.floats();
    Ok(run.floats(|out| {
        for (out, row) in out.chunks_exact_mut(width.max(1)).zip(wanted) {
            out.copy_from_slice(&x[*row as usize * width..][..width]);
        }
    }))
}
