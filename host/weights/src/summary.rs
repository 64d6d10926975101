//! What a checkpoint amounts to.

use std::collections::BTreeMap;

use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{StoredTensor, StoredType};

/// Counts and sizes of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Weight files.
    pub files: usize,
    /// Stored tensors, scales and biases of quantised weights included.
    pub tensors: usize,
    /// The model's parameters: a quantised weight counts as the values that it stands for.
    pub parameters: u64,
    /// Bytes of all tensors as stored.
    pub bytes: u64,
    /// The same by stored type.
    pub by_kind: BTreeMap<StoredType, KindSummary>,
    /// What is stored in blocks, by their scheme; `by_kind` does not count it.
    pub by_scheme: BTreeMap<Scheme, KindSummary>,
}

/// What is stored in one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindSummary {
    /// Stored tensors.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Summary {
    /// `tensors`: each with its scheme if it is made of blocks, and the number of parameters that it stands for.
    pub(crate) fn of<'a>(
        files: usize,
        tensors: impl Iterator<Item = (&'a StoredTensor, Option<Scheme>, u64)>,
    ) -> Self {
        let mut summary = Self {
            files,
            tensors: 0,
            parameters: 0,
            bytes: 0,
            by_kind: BTreeMap::new(),
            by_scheme: BTreeMap::new(),
        };
        for (tensor, scheme, parameters) in tensors {
            let bytes = (tensor.len() * tensor.kind.size()) as u64;
            let kind = match scheme {
                Some(scheme) => summary.by_scheme.entry(scheme).or_default(),
                None => summary.by_kind.entry(tensor.kind).or_default(),
            };
            kind.tensors += 1;
            kind.bytes += bytes;
            summary.tensors += 1;
            summary.bytes += bytes;
            summary.parameters += parameters;
        }
        summary
    }
}
