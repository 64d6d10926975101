//! What a checkpoint amounts to.

use std::collections::BTreeMap;

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
    /// The same by stored type, for what is not quantised.
    pub by_kind: BTreeMap<StoredType, KindSummary>,
    /// Quantised weights with their scales and biases, by the name of their form: `affine 4 bits`, `Q4_K`, `MXFP4`.
    pub by_form: BTreeMap<String, KindSummary>,
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
    /// `tensors`: each with the name of its form if it is part of a quantised weight, and the number of parameters that it stands for.
    pub(crate) fn of<'a>(
        files: usize,
        tensors: impl Iterator<Item = (&'a StoredTensor, Option<String>, u64)>,
    ) -> Self {
        let mut summary = Self {
            files,
            tensors: 0,
            parameters: 0,
            bytes: 0,
            by_kind: BTreeMap::new(),
            by_form: BTreeMap::new(),
        };
        for (tensor, form, parameters) in tensors {
            let bytes = (tensor.len() * tensor.kind.size()) as u64;
            let kind = match form {
                Some(form) => summary.by_form.entry(form).or_default(),
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
