//! Choosing the likeliest token on the device, so that the next step can be asked for before this one's token is known to the
//! host.

use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, Tensor};
use monocle_tensor::operation::Op;
use monocle_tensor::program::Program;
use monocle_tensor::recorder::{OperationError, Recorder, RecordingLimits};
use monocle_text::SamplingError;

/// Takes the likeliest token, by a program of two results: its id and its logit.
pub struct Picker {
    program: Program,
}

/// A token that the device has chosen, or will have.
pub struct Picked {
    /// `[1]`, int.
    pub id: Tensor,
    /// `[1]`
    logit: Tensor,
}

impl Picker {
    /// For logits like these: `[1, vocabulary]`.
    pub fn new(logits: &Tensor) -> Result<Self, OperationError> {
        let inputs = vec![logits.value_type().clone()];
        let mut recorder = Recorder::new(Arc::default(), inputs, None, RecordingLimits::default());
        let logits = recorder.input_values()[0];
        let best = recorder.push(Op::TopK { k: 1 }, &[logits], None)?;
        let logit = recorder.push(Op::GatherLast, &[logits, best], None)?;
        let [id, logit] = [best, logit].map(|value| recorder.push(Op::Reshape, &[value], Some(&[1])));
        Ok(Self {
            program: recorder.finish(vec![id?, logit?]),
        })
    }

    /// Has the likeliest token chosen.
    pub fn pick(&self, backend: &mut dyn Backend, logits: &Tensor) -> Result<Picked, BackendError> {
        let mut results = backend.run(&self.program, std::slice::from_ref(logits), None)?;
        let logit = results.remove(1);
        let id = results.remove(0);
        Ok(Picked { id, logit })
    }
}

impl Picked {
    /// The token, waiting for it; none if its logit says that no token is likely.
    pub fn read(&self, backend: &mut dyn Backend) -> Result<Option<u32>, BackendError> {
        let usable = backend.download(&self.logit)?[0] > f32::NEG_INFINITY;
        // Ids are far below what a float holds exactly.
        let id = backend.download(&self.id)?[0] as u32;
        Ok(usable.then_some(id))
    }
}

/// Why no token is likely.
pub fn no_usable(logits: &[f32]) -> SamplingError {
    SamplingError::NoUsableLogit {
        count: logits.len(),
        not_a_number: logits.iter().filter(|logit| logit.is_nan()).count(),
    }
}
