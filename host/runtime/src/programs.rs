//! Recorded programs, kept by signature: a plugin's code runs when a signature is new, and not again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use monocle_tensor::program::Program;
use monocle_tensor::recorder::BatchShape;

use crate::slices::Encoder;

/// Programs kept of each kind. A long conversation in odd chunks makes many signatures; those not used for
/// longest are recorded anew.
const KEPT: usize = 64;
/// Bytes of programs kept of each kind; the last one stays, whatever it has.
const KEPT_BYTES: usize = 64 << 20;

/// What distinguishes recordings of `network.encode`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncodeSignature {
    /// Shapes of the pixel tensors.
    pub pixels: Vec<Vec<usize>>,
    /// The plan's further numbers.
    pub layout: Vec<u32>,
}

/// All programs of one model.
#[derive(Debug, Default)]
pub struct Programs {
    encode: Kept<EncodeSignature, Encoder>,
    encode_prompt: Kept<BatchShape, Program>,
    forward: Kept<BatchShape, Program>,
}

impl Programs {
    /// What encodes a picture, recorded if need be.
    pub fn encode<E>(
        &mut self,
        signature: EncodeSignature,
        record: impl FnOnce() -> Result<Encoder, E>,
    ) -> Result<Arc<Encoder>, E> {
        self.encode
            .get_or_record(signature, record, |encoder| encoder.program.held_bytes())
    }

    /// The program for an encoder's prompt, recorded if need be.
    pub fn encode_prompt<E>(
        &mut self,
        signature: BatchShape,
        record: impl FnOnce() -> Result<Program, E>,
    ) -> Result<Arc<Program>, E> {
        self.encode_prompt
            .get_or_record(signature, record, Program::held_bytes)
    }

    /// The program for a batch, recorded if need be.
    pub fn forward<E>(
        &mut self,
        signature: BatchShape,
        record: impl FnOnce() -> Result<Program, E>,
    ) -> Result<Arc<Program>, E> {
        self.forward.get_or_record(signature, record, Program::held_bytes)
    }
}

#[derive(Debug)]
struct Kept<K, P> {
    /// With the bytes that each holds.
    programs: HashMap<K, (Arc<P>, usize)>,
    bytes: usize,
    /// The one used last is at the end.
    order: VecDeque<K>,
}

impl<K, P> Default for Kept<K, P> {
    fn default() -> Self {
        Self {
            programs: HashMap::new(),
            bytes: 0,
            order: VecDeque::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, P> Kept<K, P> {
    fn get_or_record<E>(
        &mut self,
        key: K,
        record: impl FnOnce() -> Result<P, E>,
        bytes: impl FnOnce(&P) -> usize,
    ) -> Result<Arc<P>, E> {
        if let Some((program, _)) = self.programs.get(&key) {
            let program = Arc::clone(program);
            if self.order.back() != Some(&key) {
                self.order.retain(|other| *other != key);
                self.order.push_back(key);
            }
            return Ok(program);
        }
        let program = Arc::new(record()?);
        let bytes = bytes(&program);
        self.bytes += bytes;
        while self.order.len() >= KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some((_, bytes)) = self.programs.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
        self.order.push_back(key.clone());
        self.programs.insert(key, (Arc::clone(&program), bytes));
        Ok(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monocle_tensor::recorder::{Recorder, RecordingLimits};

    fn signature(size: usize) -> EncodeSignature {
        EncodeSignature {
            pixels: vec![vec![size]],
            layout: Vec::new(),
        }
    }

    fn empty() -> Result<Encoder, ()> {
        let recorder = Recorder::new(Arc::default(), Vec::new(), None, RecordingLimits::default());
        Ok(Encoder::new(
            Arc::new(recorder.finish(Vec::new())),
            &Arc::default(),
        ))
    }

    #[test]
    fn a_signature_is_recorded_once() {
        let mut programs = Programs::default();
        let first = programs.encode(signature(1), empty).unwrap();
        let again = programs.encode(signature(1), || Err(())).unwrap();
        assert_eq!(first.program.id, again.program.id);
        assert!(programs.encode(signature(2), || Err(())).is_err());
    }

    #[test]
    fn the_one_not_used_for_longest_makes_room() {
        let mut programs = Programs::default();
        for size in 0..KEPT {
            programs.encode(signature(size), empty).unwrap();
        }
        programs.encode(signature(0), || Err(())).unwrap();
        programs.encode(signature(KEPT), empty).unwrap();
        assert!(programs.encode(signature(0), || Err(())).is_ok());
        assert!(programs.encode(signature(1), || Err(())).is_err());
        assert!(programs.encode(signature(2), || Err(())).is_ok());
    }
}
