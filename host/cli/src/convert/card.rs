//! The card of a converted folder.

use std::collections::BTreeMap;

use monocle_weights::{Converted, EMBEDDINGS_FLAG, HEAD_FLAG, Part, QuantiseOptions};

use super::loss::{Loss, without_hint};
use crate::stats;

/// `README.md`.
pub fn text(
    model: &str,
    options: &QuantiseOptions,
    converted: &Converted,
    lost: Option<&anyhow::Result<Loss>>,
) -> String {
    let mut text = format!(
        "# {model}, quantised\n\nMade from `{model}` by `monocle convert` {}: MLX's affine quantisation with groups of {}, {}.\n",
        crate::about::VERSION,
        options.group_size,
        bits(&converted.layers)
    );
    for (what, flag, part) in [
        ("Embeddings", EMBEDDINGS_FLAG, options.embeddings),
        ("The head", HEAD_FLAG, options.head),
    ] {
        text += &match part.filter(|_| !converted.unused.contains(&flag)) {
            None => continue,
            Some(Part::Keep) => format!("{what}: left as stored.\n"),
            Some(Part::Bits(bits)) => format!("{what}: {bits} bits.\n"),
        };
    }
    let kept: Vec<String> = options
        .keep
        .iter()
        .map(|pattern| format!("`{pattern}`"))
        .collect();
    text += &format!(
        "Left as stored: what is no matrix of whole groups, and names that match {}.\n\n## What is lost\n\n",
        kept.join(", ")
    );
    text += &match lost {
        None => "Not measured.\n".to_owned(),
        Some(Err(error)) => format!("Not measured: {}\n", without_hint(&crate::in_words(error))),
        Some(Ok(lost)) => lost.table(),
    };
    text
}

/// How many layers have how many bits.
pub fn bits(layers: &BTreeMap<String, u32>) -> String {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for bits in layers.values() {
        *counts.entry(*bits).or_default() += 1;
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(bits, layers)| format!("{} in {bits} bits", stats::count(*layers, "layer")))
        .collect();
    match words.is_empty() {
        true => "no layer".to_owned(),
        false => words.join(", "),
    }
}
