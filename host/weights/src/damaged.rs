//! Layers that are packed in a way that is read, but whose tensors do not fit together: what was expected, and what is there.

use monocle_tensor::stored::StoredTensor;

use crate::error::WeightsError;

/// 8-bit floats, whose scales are beside them.
pub(crate) fn float8<'a>(
    weight: &StoredTensor,
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> WeightsError {
    let rows = &weight.shape[..weight.shape.len().saturating_sub(1)];
    let expected = format!(
        "scales of one number, of {rows:?}, of {:?}, or for blocks that divide it or that `config.json` names",
        [rows, &[1]].concat()
    );
    let scales = ["_scale_inv", "_scale"].map(|end| format!("{}{end}", weight.name));
    error(weight, "8-bit floats", expected, &scales, get)
}

/// Small floats with a power of two for each 32 numbers, which `each` elements of the last dimension hold.
pub(crate) fn exponents<'a>(
    weight: &StoredTensor,
    scales: String,
    each: &[usize],
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> WeightsError {
    let (rows, last) = match weight.shape.split_last() {
        Some((last, rows)) => (rows, *last),
        None => (&[][..], 0),
    };
    let shapes: Vec<String> = each
        .iter()
        .filter(|each| last.is_multiple_of(**each))
        .map(|each| format!("{:?}", [rows, &[last / each]].concat()))
        .collect();
    let expected = match shapes.is_empty() {
        true => format!("rows of whole groups of {}", each[0]),
        false => format!("`{scales}` {} U8 or F8_E8M0", shapes.join(" or ")),
    };
    error(weight, "small floats in blocks of 32", expected, &[scales], get)
}

/// The same of experts, in blocks of 16 bytes.
pub(crate) fn experts<'a>(
    layer: &str,
    blocks: &StoredTensor,
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> WeightsError {
    let scales = format!("{layer}_scales");
    let expected =
        format!("`{layer}_blocks` [experts, out, groups, 16] and `{scales}` [experts, out, groups], both U8");
    error(blocks, "small floats in blocks of 32", expected, &[scales], get)
}

/// AWQ's 4 bits.
pub(crate) fn awq<'a>(
    layer: &str,
    words: &StoredTensor,
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> WeightsError {
    let expected = format!(
        "`{layer}.qweight` [in, out / 8] I32, `{layer}.qzeros` [in / group, out / 8] I32 and `{layer}.scales` [in / group, out] of \
         floats, with groups of 32, 64 or 128"
    );
    let parts = ["qzeros", "scales"].map(|end| format!("{layer}.{end}"));
    error(words, "4-bit integers by AWQ", expected, &parts, get)
}

fn error<'a>(
    packed: &StoredTensor,
    method: &'static str,
    expected: String,
    parts: &[String],
    get: &dyn Fn(&str) -> Option<&'a StoredTensor>,
) -> WeightsError {
    let described = |tensor: &StoredTensor| {
        let (name, kind) = (&tensor.name, tensor.kind.name());
        format!("`{name}` {:?} {kind}", tensor.shape)
    };
    let found: Vec<String> = parts
        .iter()
        .map(|name| get(name).map_or_else(|| format!("no `{name}`"), described))
        .collect();
    WeightsError::Packed {
        packed: described(packed),
        method,
        expected,
        found: found.join(", "),
    }
}
