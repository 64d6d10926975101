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
/// Bytes of programs kept of all kinds; the last one stays, whatever it has.
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
    /// Counts their uses.
    uses: u64,
}

impl Programs {
    /// What encodes a picture, recorded if need be.
    pub fn encode<E>(
        &mut self,
        signature: EncodeSignature,
        record: impl FnOnce() -> Result<Encoder, E>,
    ) -> Result<Arc<Encoder>, E> {
        let bytes = |encoder: &Encoder| encoder.program.held_bytes();
        self.get_or_record(|this| &mut this.encode, signature, record, bytes)
    }

    /// The program for an encoder's prompt, recorded if need be.
    pub fn encode_prompt<E>(
        &mut self,
        signature: BatchShape,
        record: impl FnOnce() -> Result<Program, E>,
    ) -> Result<Arc<Program>, E> {
        self.get_or_record(
            |this| &mut this.encode_prompt,
            signature,
            record,
            Program::held_bytes,
        )
    }

    /// The program for a batch, recorded if need be.
    pub fn forward<E>(
        &mut self,
        signature: BatchShape,
        record: impl FnOnce() -> Result<Program, E>,
    ) -> Result<Arc<Program>, E> {
        self.get_or_record(|this| &mut this.forward, signature, record, Program::held_bytes)
    }

    /// One of a kind, recorded if need be.
    fn get_or_record<K: Hash + Eq + Clone, P, E>(
        &mut self,
        kind: impl FnOnce(&mut Self) -> &mut Kept<K, P>,
        signature: K,
        record: impl FnOnce() -> Result<P, E>,
        bytes: impl FnOnce(&P) -> usize,
    ) -> Result<Arc<P>, E> {
        self.uses += 1;
        let now = self.uses;
        let program = kind(self).get_or_record(now, signature, record, bytes);
        self.make_room();
        program
    }

    /// Forgets those that were not used for longest, of whatever kind, until the rest is small enough. What is used now stays.
    fn make_room(&mut self) {
        let oldest = |this: &Self| {
            let oldest = [
                this.encode.oldest(),
                this.encode_prompt.oldest(),
                this.forward.oldest(),
            ];
            oldest
                .into_iter()
                .flatten()
                .min()
                .filter(|last| *last < this.uses)
        };
        while self.encode.bytes + self.encode_prompt.bytes + self.forward.bytes > KEPT_BYTES
            && let Some(oldest) = oldest(self)
        {
            self.encode.forget(oldest);
            self.encode_prompt.forget(oldest);
            self.forward.forget(oldest);
        }
    }
}

#[derive(Debug)]
struct Kept<K, P> {
    /// With the bytes that each holds.
    programs: HashMap<K, (Arc<P>, usize)>,
    bytes: usize,
    /// Each with its last use; the one used last is at the end.
    order: VecDeque<(u64, K)>,
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
        now: u64,
        key: K,
        record: impl FnOnce() -> Result<P, E>,
        bytes: impl FnOnce(&P) -> usize,
    ) -> Result<Arc<P>, E> {
        if let Some((program, _)) = self.programs.get(&key) {
            let program = Arc::clone(program);
            self.order.retain(|(_, other)| *other != key);
            self.order.push_back((now, key));
            return Ok(program);
        }
        let program = Arc::new(record()?);
        let bytes = bytes(&program);
        if self.order.len() >= KEPT
            && let Some(oldest) = self.oldest()
        {
            self.forget(oldest);
        }
        self.bytes += bytes;
        self.order.push_back((now, key.clone()));
        self.programs.insert(key, (Arc::clone(&program), bytes));
        Ok(program)
    }

    /// The last use of the one that was not used for longest.
    fn oldest(&self) -> Option<u64> {
        self.order.front().map(|(last, _)| *last)
    }

    /// Forgets the one that was not used for longest, if that was its last use.
    fn forget(&mut self, last: u64) {
        let Some((_, key)) = self.order.pop_front_if(|(oldest, _)| *oldest == last) else {
            return;
        };
        if let Some((_, bytes)) = self.programs.remove(&key) {
            self.bytes -= bytes;
        }
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

    /// The pieces of the test have sizes of their own, so that no gigabyte is recorded.
    #[test]
    fn all_kinds_together_keep_no_more_bytes_than_one_may() {
        let shape = |tokens| BatchShape {
            tokens,
            axes: 1,
            marks: Vec::new(),
            wanted: 1,
            features: None,
            has_context: false,
            new_context: None,
        };
        let program = || {
            let recorder = Recorder::new(Arc::default(), Vec::new(), None, RecordingLimits::default());
            Ok::<_, ()>(recorder.finish(Vec::new()))
        };
        type Kind = fn(&mut Programs) -> &mut Kept<BatchShape, Program>;
        let half = |programs: &mut Programs, kind: Kind, tokens| {
            let got = programs.get_or_record(kind, shape(tokens), program, |_| KEPT_BYTES / 2);
            got.unwrap()
        };
        let forward = |programs: &mut Programs, tokens| half(programs, |this| &mut this.forward, tokens);
        let prompt = |programs: &mut Programs, tokens| half(programs, |this| &mut this.encode_prompt, tokens);
        let mut programs = Programs::default();
        let first = forward(&mut programs, 1);
        let other = prompt(&mut programs, 1);
        assert_eq!(first.id, forward(&mut programs, 1).id);
        // Three halves do not fit: the prompt's was not used for longest.
        let second = forward(&mut programs, 2);
        assert_eq!(programs.forward.bytes + programs.encode_prompt.bytes, KEPT_BYTES);
        assert_eq!(first.id, forward(&mut programs, 1).id);
        assert_eq!(second.id, forward(&mut programs, 2).id);
        assert_ne!(other.id, prompt(&mut programs, 1).id);
        // What alone is too large stays while it is used.
        let large = programs.get_or_record(|this| &mut this.forward, shape(3), program, |_| 2 * KEPT_BYTES);
        let again = programs.forward(shape(3), || Err(()));
        assert_eq!(large.unwrap().id, again.unwrap().id);
        assert_eq!(
            (
                programs.forward.programs.len(),
                programs.encode_prompt.programs.len()
            ),
            (1, 0)
        );
        forward(&mut programs, 1);
        assert_eq!(programs.forward.bytes, KEPT_BYTES / 2);
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
