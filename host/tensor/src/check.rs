//! Checks of what comes with a run, so that engines can rely on it.

use crate::backend::{BackendError, Step, Tensor};
use crate::operation::Kind;
use crate::operations::Rows;
use crate::program::{Program, ValueType};

/// Checks inputs and step against each other and against the program. `owns` tells whether a tensor lives on the engine
/// that asks.
pub fn check(
    program: &Program,
    inputs: &[Tensor],
    step: Option<&Step>,
    owns: fn(&Tensor) -> bool,
) -> Result<(), BackendError> {
    let wrong = |reason: String| Err(BackendError::Input(reason));
    if inputs.len() != program.inputs.len() {
        return wrong(format!(
            "expected {} tensors, found {}",
            program.inputs.len(),
            inputs.len()
        ));
    }
    for (index, (tensor, expected)) in inputs.iter().zip(&program.inputs).enumerate() {
        if tensor.value_type() != expected {
            return wrong(format!(
                "input {index} is {}, the program takes {expected}",
                tensor.value_type()
            ));
        }
        at_home(tensor, owns)?;
    }
    match (step, program.of_step().next()) {
        (None, Some((node, _))) => wrong(format!("`{}` needs a step, and none is given", node.op.name())),
        (None, None) => Ok(()),
        (Some(step), _) => check_step(program, step, owns),
    }
}

/// The error of a tensor that another engine made.
pub fn stranger(tensor: &Tensor) -> BackendError {
    BackendError::Input(format!("{tensor:?} lives on another engine"))
}

fn at_home(tensor: &Tensor, owns: fn(&Tensor) -> bool) -> Result<(), BackendError> {
    owns(tensor).then_some(()).ok_or_else(|| stranger(tensor))
}

fn check_step(program: &Program, step: &Step, owns: fn(&Tensor) -> bool) -> Result<(), BackendError> {
    let wrong = |reason: String| Err(BackendError::Input(reason));
    let tokens = step.tokens.len();
    let rows = step
        .sequences
        .iter()
        .try_fold(0_usize, |sum, rows| sum.checked_add(rows.rows));
    if rows != Some(tokens) || step.visible.len() != tokens {
        return wrong(format!(
            "a step of {tokens} tokens has sequences of {} rows and {} visible intervals",
            rows.unwrap_or(usize::MAX),
            step.visible.len()
        ));
    }
    if step.axes.checked_mul(tokens) != Some(step.positions.len()) {
        return wrong(format!(
            "{} positions for {} axes and {tokens} tokens",
            step.positions.len(),
            step.axes
        ));
    }
    if let Some(ids) = &step.device_tokens {
        at_home(ids, owns)?;
        if *ids.value_type() != ValueType::int([tokens]) {
            return wrong(format!(
                "{tokens} tokens are to be read from {}",
                ids.value_type()
            ));
        }
    }
    let mut row = 0;
    for rows in &step.sequences {
        let Some(total) = rows
            .past
            .checked_add(rows.rows)
            .filter(|total| *total <= u32::MAX as usize)
        else {
            return wrong(format!(
                "a sequence of {} and {} tokens is too long",
                rows.past, rows.rows
            ));
        };
        for index in 0..rows.rows {
            let (at, visible) = (rows.past + index, step.visible[row + index]);
            let (start, end) = (visible.block_start as usize, visible.end as usize);
            if start > at || end <= at || end > total {
                return wrong(format!(
                    "row {} is token {at} of {total} in its sequence: it cannot see a block from {start} to {end}",
                    row + index
                ));
            }
        }
        row += rows.rows;
    }
    if let Some(bad) = step.wanted.iter().find(|row| **row as usize >= tokens) {
        return wrong(format!("logits are wanted of row {bad} of {tokens}"));
    }
    check_splices(step, owns)?;
    if !step.visible_context.is_empty() && step.visible_context.len() != tokens {
        return wrong(format!(
            "{} context intervals for {tokens} tokens",
            step.visible_context.len()
        ));
    }
    if !step.new_context.is_empty() && step.new_context.len() != step.sequences.len() {
        return wrong(format!(
            "{} contexts for {} sequences",
            step.new_context.len(),
            step.sequences.len()
        ));
    }
    for context in step.new_context.iter().flatten() {
        at_home(context, owns)?;
    }
    for (node, rows) in program.of_step() {
        let shape = &node.output.shape;
        let fits = match rows {
            Rows::Tokens => shape[0] == tokens,
            Rows::AxesAndTokens => shape[..] == [step.axes, tokens],
            Rows::Wanted => shape[0] == step.wanted.len(),
            Rows::Context | Rows::Free => true,
        };
        if !fits {
            return wrong(format!(
                "the program was recorded for another batch: `{}` gives {}, the step has {tokens} tokens, {} axes and {} wanted rows",
                node.op.name(),
                node.output,
                step.axes,
                step.wanted.len()
            ));
        }
    }
    Ok(())
}

fn check_splices(step: &Step, owns: fn(&Tensor) -> bool) -> Result<(), BackendError> {
    let mut row = 0;
    for splice in &step.splices {
        let end = splice.row.checked_add(splice.count);
        let Some(end) = end.filter(|end| splice.row >= row && *end <= step.tokens.len()) else {
            return Err(BackendError::Input(format!(
                "image features for {} rows from {} on do not fit after row {row} of {}",
                splice.count,
                splice.row,
                step.tokens.len()
            )));
        };
        row = end;
        for features in splice.features.iter() {
            let kind = features.value_type();
            let last = splice.offset.checked_add(splice.count);
            let fits = kind.kind == Kind::Float
                && kind.shape.len() == 2
                && last.is_some_and(|last| last <= kind.shape[0]);
            if !fits {
                return Err(BackendError::Input(format!(
                    "image features {kind} do not hold {} rows from {} on",
                    splice.count, splice.offset
                )));
            }
            at_home(features, owns)?;
        }
    }
    Ok(())
}
