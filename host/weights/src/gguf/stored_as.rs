//! How most of a model is stored, in the words that llama.cpp has for it.

use std::collections::BTreeMap;

use super::header::Storage;
use super::source::GgufFiles;

/// By `general.file_type`; where the file does not say, the type of most of the language model's bytes.
pub(super) fn stored_as(files: &GgufFiles) -> Option<String> {
    let first = files.language.first()?;
    let said = first.header().values.get("general.file_type");
    if let Some(name) = said.and_then(|number| name(number.as_u64()?)) {
        return Some(name.to_owned());
    }
    let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in files.language.iter().flat_map(|file| &file.header().tensors) {
        let kind = match tensor.storage {
            Storage::Plain(kind) => kind.name().to_owned(),
            Storage::Blocks(scheme) => scheme.name().to_owned(),
        };
        *bytes.entry(kind).or_default() += tensor.range.len();
    }
    bytes
        .into_iter()
        .max_by_key(|(_, bytes)| *bytes)
        .map(|(kind, _)| kind)
}

/// The numbers of `llama_ftype` in `llama.h`.
fn name(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        21 => "Q2_K_S",
        25 => "IQ4_NL",
        30 => "IQ4_XS",
        32 => "BF16",
        38 => "MXFP4_MOE",
        _ => return None,
    })
}
