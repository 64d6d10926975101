//! How much memory a request will take, how much it may take, and when what is kept for reuse is given back.

// Shapes are a plugin's: a sum of them that wraps would be an estimate of nothing.
#![deny(clippy::arithmetic_side_effects)]

pub(crate) mod process;

pub use process::installed;

use monocle_tensor::backend::Backend;
use monocle_tensor::program::{Program, ValueId};
use serde::Serialize;

use crate::request::prepare::PreparedRequest;

/// After so many requests, what an engine keeps for reuse is given back: sizes that no longer come do not stay for ever.
const REQUESTS_BETWEEN_CLEARINGS: u64 = 64;

/// Bytes of a number as uploaded and as results have it.
const FLOAT: usize = 4;

/// What a request is expected to take, in bytes, from shapes alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// Weights as stored.
    pub weights_bytes: usize,
    /// What the engine allocates for weights: copies in the form that it computes with.
    pub engine_weights_bytes: usize,
    /// The engine's peak while weights are loaded: it holds some twice where it converts them.
    pub load_peak_bytes: usize,
    /// Decoded pictures.
    pub picture_bytes: usize,
    /// Features of all pictures.
    pub feature_bytes: usize,
    /// Key-value caches for the prompt and the tokens to come.
    pub cache_bytes: usize,
    /// The largest program's intermediate results.
    pub program_bytes: usize,
    /// What a picture that is encoded in slices keeps between them.
    pub slices_bytes: usize,
    /// Free buffers that the engine keeps for reuse when the request is over; they are given back before the limit is reached.
    pub kept_bytes: usize,
    /// The engine's peak while pictures are encoded; its weights are in this and the next two.
    pub encode_peak_bytes: usize,
    /// The engine's peak during prefill.
    pub prefill_peak_bytes: usize,
    /// The engine's peak during decode, when as many tokens come as may.
    pub decode_peak_bytes: usize,
}

impl MemoryEstimate {
    /// The most that the engine will have allocated at once; comparable to what it measures.
    pub fn engine_peak(&self) -> usize {
        self.encode_peak_bytes
            .max(self.prefill_peak_bytes)
            .max(self.decode_peak_bytes)
            .max(self.load_peak_bytes)
            .max(self.engine_weights_bytes)
    }

    /// All that must fit in memory. Weights count once: as stored (and mapped), or as the engine's copies.
    pub fn total(&self) -> usize {
        let weights = self.weights_bytes.max(self.engine_weights_bytes);
        let others = self.engine_peak().saturating_sub(self.engine_weights_bytes);
        weights.saturating_add(others).saturating_add(self.picture_bytes)
    }
}

/// How much memory may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes of weights, pictures and everything that the engine allocates.
    pub bytes: usize,
    /// Who says so.
    pub source: &'static str,
}

impl MemoryLimit {
    /// What the user said; else what the device recommends; else three quarters of the machine's memory. The last quarter is
    /// for the system, this program's own text and tables, and whatever else runs.
    pub fn choose(asked: Option<usize>, backend: &dyn Backend) -> Option<Self> {
        let limit = |bytes, source| Self { bytes, source };
        let asked = asked.map(|bytes| limit(bytes, "as asked"));
        let device = || {
            let bytes = backend.recommended_limit()?;
            Some(limit(bytes, "the device's recommendation"))
        };
        let machine = || {
            let installed = process::installed()?;
            Some(limit(
                three_quarters(installed),
                "three quarters of this machine's memory",
            ))
        };
        asked.or_else(device).or_else(machine)
    }
}

/// A model's memory: its limit and what happened so far.
#[derive(Debug, Clone)]
pub struct MemoryPolicy {
    /// How much may be used; `None` where nobody knows how much there is.
    pub limit: Option<MemoryLimit>,
    requests: u64,
}

impl MemoryPolicy {
    /// A policy with this limit.
    pub fn new(limit: Option<MemoryLimit>) -> Self {
        Self { limit, requests: 0 }
    }

    /// Whether so much use is close enough to the limit that nothing should be kept for reuse: from four fifths on.
    pub(crate) fn is_tight(&self, used: usize) -> bool {
        self.limit.is_some_and(|limit| used > four_fifths(limit.bytes))
    }

    /// How much may be kept for reuse beside so much other use, when a request is over.
    pub(crate) fn most_kept(&self, used: usize) -> usize {
        self.limit
            .map_or(usize::MAX, |limit| four_fifths(limit.bytes).saturating_sub(used))
    }

    /// Counts a request; says whether it is time to give back what is kept.
    pub(crate) fn count_request(&mut self) -> bool {
        self.requests = self.requests.wrapping_add(1);
        self.requests.is_multiple_of(REQUESTS_BETWEEN_CLEARINGS)
    }
}

/// What a request will take, alone on an engine that holds the model's weights.
pub fn estimate(
    backend: &dyn Backend,
    weights: MemoryEstimate,
    prepared: &PreparedRequest,
) -> MemoryEstimate {
    let bytes = |program: &Program, value: &ValueId| program.value(*value).len().saturating_mul(FLOAT);
    let results = |program: &Program| {
        program
            .outputs
            .iter()
            .map(|value| bytes(program, value))
            .fold(0, usize::saturating_add)
    };
    let pictures = prepared.pictures.iter();
    let mut estimate = MemoryEstimate {
        picture_bytes: pictures
            .map(|opened| opened.picture.rgb().len())
            .fold(0, usize::saturating_add),
        ..weights
    };
    let weights = estimate.engine_weights_bytes;
    for encoder in &prepared.encoders {
        let bytes = encoder.bytes(backend);
        let peak = sum([weights, estimate.feature_bytes, bytes.peak]);
        estimate.encode_peak_bytes = estimate.encode_peak_bytes.max(peak);
        estimate.program_bytes = estimate.program_bytes.max(bytes.peak);
        estimate.slices_bytes = estimate.slices_bytes.max(bytes.between);
        estimate.feature_bytes = sum([estimate.feature_bytes, results(&encoder.program)]);
    }
    if let Some(encoder) = &prepared.prompt_encoder {
        let intermediate = backend.program_bytes(&encoder.program, 0);
        let peak = sum([weights, estimate.feature_bytes, intermediate]);
        estimate.encode_peak_bytes = estimate.encode_peak_bytes.max(peak);
        estimate.program_bytes = estimate.program_bytes.max(intermediate);
        // The context takes the features' place.
        estimate.feature_bytes = results(&encoder.program);
    }
    let Some(((decode, tokens), prefill)) = prepared.programs.split_last() else {
        return estimate;
    };
    // The caches' layout is the same in all of them; a context of cross attention comes with the first.
    let first = prefill.first().map_or(decode, |(program, _)| program);
    for (program, tokens) in prefill {
        let intermediate = backend.program_bytes(program, *tokens);
        let peak = sum([
            weights,
            estimate.feature_bytes,
            backend.cache_bytes(first, *tokens),
            intermediate,
        ]);
        estimate.prefill_peak_bytes = estimate.prefill_peak_bytes.max(peak);
        estimate.program_bytes = estimate.program_bytes.max(intermediate);
    }
    estimate.cache_bytes = backend.cache_bytes(first, *tokens);
    let encoders = prepared.encoders.iter().flat_map(|encoder| &encoder.pieces);
    let encoders = encoders.map(|piece| piece.program.as_ref());
    let forward = prepared.programs.iter().map(|(program, _)| program.as_ref());
    let programs: Vec<&Program> = encoders.chain(forward).collect();
    estimate.kept_bytes = backend.kept_bytes(&programs, (first, *tokens));
    // The last logits are there until the next ones are.
    estimate.decode_peak_bytes = sum([
        weights,
        estimate.cache_bytes,
        backend.program_bytes(decode, *tokens),
        results(decode),
    ]);
    estimate
}

fn three_quarters(bytes: usize) -> usize {
    (bytes / 4).saturating_mul(3)
}

fn four_fifths(bytes: usize) -> usize {
    (bytes / 5).saturating_mul(4)
}

/// Beyond all memory where it is beyond numbers.
fn sum<const N: usize>(bytes: [usize; N]) -> usize {
    bytes.into_iter().fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_counts_weights_once() {
        // Mapped weights, of which the engine copies a little.
        let mapped = MemoryEstimate {
            weights_bytes: 1000,
            engine_weights_bytes: 10,
            picture_bytes: 5,
            prefill_peak_bytes: 110,
            decode_peak_bytes: 60,
            ..MemoryEstimate::default()
        };
        assert_eq!((mapped.engine_peak(), mapped.total()), (110, 1105));
        // An engine that copies them all.
        let copied = MemoryEstimate {
            weights_bytes: 1000,
            engine_weights_bytes: 1000,
            encode_peak_bytes: 1200,
            ..MemoryEstimate::default()
        };
        assert_eq!((copied.engine_peak(), copied.total()), (1200, 1200));
        // One that holds some of them twice on the way.
        let converted = MemoryEstimate {
            load_peak_bytes: 1300,
            ..copied
        };
        assert_eq!((converted.engine_peak(), converted.total()), (1300, 1300));
    }

    #[test]
    fn what_is_kept_is_given_back_in_time() {
        let limit = MemoryLimit {
            bytes: 1000,
            source: "as asked",
        };
        let mut policy = MemoryPolicy::new(Some(limit));
        assert!(!policy.is_tight(800) && policy.is_tight(801));
        let clearings = (0..640).filter(|_| policy.count_request()).count();
        assert_eq!(clearings, 10);
        assert!(!MemoryPolicy::new(None).is_tight(usize::MAX));
    }
}
