//! Batches of one sequence: their shape, programs on them, their steps.

use std::sync::Arc;

use monocle_tensor::backend::{SequenceId, SequenceRows, Step, Visible};
use monocle_tensor::program::{Program, ValueId, ValueType};
use monocle_tensor::recorder::{BatchShape, Recorder, RecordingLimits};
use monocle_tensor::stored::Weight;

/// A program on a batch: `build` gives its results.
pub fn recorded(
    shape: BatchShape,
    inputs: Vec<ValueType>,
    weights: &Arc<Vec<Weight>>,
    build: impl FnOnce(&mut Recorder) -> Vec<ValueId>,
) -> Program {
    let mut recorder = Recorder::new(
        Arc::clone(weights),
        inputs,
        Some(shape),
        RecordingLimits::default(),
    );
    let outputs = build(&mut recorder);
    recorder.finish(outputs)
}

/// What a batch of so many tokens is.
pub fn batch(tokens: usize) -> BatchShape {
    BatchShape {
        tokens,
        axes: 1,
        marks: Vec::new(),
        wanted: 1,
        features: Some(vec![2, 2]),
        has_context: false,
        new_context: None,
    }
}

/// A causal step of one sequence.
pub fn step(sequence: SequenceId, past: usize, rows: usize) -> Step {
    Step {
        tokens: (0..rows as i32).collect(),
        axes: 1,
        positions: (past as i32..(past + rows) as i32).collect(),
        sequences: vec![SequenceRows { sequence, past, rows }],
        visible: (past as u32..(past + rows) as u32)
            .map(|row| Visible {
                block_start: row,
                end: row + 1,
            })
            .collect(),
        wanted: vec![rows as u32 - 1],
        ..Step::default()
    }
}
