//! Layers that remember in a state of one size: the rows of each sequence of a step, from its state on.

use monocle_kernels::output::Shared;
use monocle_kernels::recurrence::{GatedDelta, Shape};
use monocle_tensor::backend::BackendError;

use super::run::ProgramRun;
use super::sequence_state::State;
use super::value::Value;

pub fn recurrent(run: &mut ProgramRun<'_>, layer: u32) -> Result<Value, BackendError> {
    let (q_shape, v_shape) = (run.input_shape(0), run.input_shape(2));
    let shape = Shape {
        heads: q_shape[1],
        dim: q_shape[2],
        value_heads: v_shape[1],
        value_dim: v_shape[2],
    };
    let inputs: Vec<Value> = (0..5)
        .map(|index| run.input(index).cloned())
        .collect::<Result<_, _>>()?;
    let len = run.node().output.len();
    let mut buffer = run.memory.take(len);
    let out = Shared::new(&mut buffer.floats_mut()[..len]);
    let mut first = 0;
    for rows in &run.step.sequences {
        let memory = run.memory;
        let sequence = run.sequences.get(rows.sequence)?;
        let state = sequence.states.entry(layer).or_insert_with(|| State {
            values: Value::zeros(memory, shape.state()),
            tokens: 0,
            before: None,
        });
        if state.tokens != rows.past || state.values.len() != shape.state() {
            return Err(BackendError::Sequence(format!(
                "the state of layer {layer} of sequence {} has seen {} tokens and has {} elements, not {} and {}",
                rows.sequence.0,
                state.tokens,
                state.values.len(),
                rows.past,
                shape.state()
            )));
        }
        // Only the last step can be undone, and that is this one: what was before the one before makes room.
        state.before = None;
        let mut next = memory.take(shape.state());
        let next_values = &mut next.floats_mut()[..shape.state()];
        next_values.copy_from_slice(state.values.floats());
        let rule = GatedDelta {
            shape,
            operands: std::array::from_fn(|index| inputs[index].floats()),
            tokens: [first, rows.rows],
        };
        rule.run(run.processor, run.threads, next_values, &out);
        let next = Value::new(next, shape.state());
        state.before = Some((std::mem::replace(&mut state.values, next), state.tokens));
        state.tokens += rows.rows;
        first += rows.rows;
    }
    Ok(Value::new(buffer, len))
}
