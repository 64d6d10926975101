//! Choosing the likeliest tokens on the device, so that the next step can be asked for before this one's tokens are known to the
//! host.

use std::sync::Arc;

use monocle_tensor::backend::{Backend, BackendError, Tensor};
use monocle_tensor::operation::Op;
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{OperationError, Recorder, RecordingLimits};

/// Takes the likeliest token of each row, by a program of two results: its id and its logit.
pub struct Picker {
    logits: ValueType,
    program: Program,
}

/// Tokens that the device has chosen, or will have.
pub struct Picked {
    /// `[rows]`, int.
    pub ids: Tensor,
    /// `[rows]`
    logits: Tensor,
}

impl Picker {
    /// For logits like these: `[rows, vocabulary]`.
    pub fn new(logits: &ValueType) -> Result<Self, OperationError> {
        let mut recorder = Recorder::new(
            Arc::default(),
            vec![logits.clone()],
            None,
            RecordingLimits::default(),
        );
        let rows = logits.shape[0];
        let values = recorder.input_values()[0];
        let best = recorder.push(Op::TopK { k: 1 }, &[values], None)?;
        let logit = recorder.push(Op::GatherLast, &[values, best], None)?;
        let [ids, logits_of] = [best, logit].map(|value| recorder.push(Op::Reshape, &[value], Some(&[rows])));
        Ok(Self {
            logits: logits.clone(),
            program: recorder.finish(vec![ids?, logits_of?]),
        })
    }

    /// Whether it was made for logits like these.
    pub fn fits(&self, logits: &Tensor) -> bool {
        self.logits == *logits.value_type()
    }

    /// Has the likeliest tokens chosen.
    pub fn pick(&self, backend: &mut dyn Backend, logits: &Tensor) -> Result<Picked, BackendError> {
        let mut results = backend.run(&self.program, std::slice::from_ref(logits), None)?;
        let logits = results.remove(1);
        let ids = results.remove(0);
        Ok(Picked { ids, logits })
    }
}

impl Picked {
    /// The tokens, waiting for them; none where the logit says that no token is likely.
    pub fn read(&self, backend: &mut dyn Backend) -> Result<Vec<Option<u32>>, BackendError> {
        let logits = backend.download(&self.logits)?;
        let ids = backend.download(&self.ids)?;
        // Ids are far below what a float holds exactly.
        let each = ids.iter().zip(logits);
        Ok(each
            .map(|(id, logit)| (logit > f32::NEG_INFINITY).then_some(*id as u32))
            .collect())
    }
}
