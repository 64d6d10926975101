//! How many bits each weight of a conversion gets.

use std::collections::BTreeMap;
use std::path::Path;

use monocle_tensor::stored::StoredTensor;
use regex::Regex;

use super::QuantiseOptions;
use super::target::Target;
use crate::error::{WeightsError, cut};
use crate::names::regex;
use crate::quantisation::GROUP_SIZES;

/// Names of the parts that see, and of what joins them to the language model, as checkpoints have them.
pub const SEEING: &str = r"(^|\.)(vision|visual|image|multi_modal|multimodal|mm_|connector|projector|resampler|embed_vision|mlp1|mlp_AR)";
/// Tables of positions.
pub(super) const POSITIONS: &str = r"(^|\.)(pos_embed|pos_emb|embed_positions)\b|position(al)?_embed";
/// Tables that tokens are looked up in.
const EMBEDDINGS: &str = r"(^|\.)(embed_tokens|tok_embeddings|word_embeddings|wte|shared)\.weight$";
/// The same where they are bare parameters, which mlx-vlm does not load quantised.
const BARE_EMBEDDINGS: &str = r"(^|\.)(wte\.(new_)?embedding|text\.wte)$";
/// What turns the last state to logits, where it is not the table of tokens.
const HEADS: &str = r"(^|\.)(lm_head|embed_out|output|transformer\.ff_out)\.weight$";
/// What chooses experts: small, and a plain array in most of mlx-vlm's models, which cannot be loaded quantised.
const ROUTERS: &str = r"(^|\.)(gate|router)\.weight$";
/// The last matrix of a layer's feed-forward part.
const DOWN: &str = r"\.(down_proj|feed_forward\.w2)(\.|$)";
/// What makes the values of attention.
const VALUES: &str = r"\.v_proj\.";
/// The number of a layer.
const LAYER: &str = r"\.(\d+)\.";

/// What becomes of a part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It stays as it is.
    Keep,
    /// It gets so many bits.
    Bits(u32),
}

/// The options, ready to be asked.
pub(super) struct Choices<'a> {
    options: &'a QuantiseOptions,
    keep: Vec<Regex>,
    embeddings: Regex,
    bare_embeddings: Regex,
    heads: Regex,
    routers: Regex,
    down: Regex,
    values: Regex,
    layer: Regex,
    /// How many layers the language model has.
    layers: usize,
}

impl<'a> Choices<'a> {
    pub fn new(
        options: &'a QuantiseOptions,
        tensors: &BTreeMap<String, StoredTensor>,
    ) -> Result<Self, WeightsError> {
        let keep = options.keep.iter().map(|pattern| regex("keep", pattern));
        let mut choices = Self {
            options,
            keep: keep.collect::<Result<_, _>>()?,
            embeddings: regex("embeddings", EMBEDDINGS)?,
            bare_embeddings: regex("embeddings", BARE_EMBEDDINGS)?,
            heads: regex("head", HEADS)?,
            routers: regex("keep", ROUTERS)?,
            down: regex("mixed", DOWN)?,
            values: regex("mixed", VALUES)?,
            layer: regex("mixed", LAYER)?,
            layers: 0,
        };
        let sees = regex("mixed", SEEING)?;
        let of_language = tensors
            .keys()
            .filter(|name| choices.down.is_match(name) && !sees.is_match(name));
        choices.layers = of_language
            .filter_map(|name| choices.number(name))
            .max()
            .map_or(0, |last| last + 1);
        if options.mixed.is_some() && choices.layers == 0 {
            return Err(WeightsError::NoMixture);
        }
        Ok(choices)
    }

    /// Refuses options under which every weight stays as it is.
    pub fn refuse_nothing(&self, source: &Path, targets: &[Target]) -> Result<(), WeightsError> {
        if targets.iter().any(|target| self.bits(target).is_some()) {
            return Ok(());
        }
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        let matrices = targets.iter().filter(|target| self.is_matrix(target));
        for width in matrices.filter_map(|target| target.shape.last()) {
            *widths.entry(*width).or_default() += 1;
        }
        let fitting = |size: usize| -> usize {
            let fits = widths
                .iter()
                .filter(|(width, _)| **width > 0 && width.is_multiple_of(size));
            fits.map(|(_, count)| count).sum()
        };
        let size = self.options.group_size;
        // Of sizes that fit as many, the largest has the fewest scales.
        let best = GROUP_SIZES.into_iter().max_by_key(|size| fitting(*size));
        let problem = if fitting(size) > 0 {
            "all that could be is to stay as it is; keep less".to_owned()
        } else if let Some(best) = best.filter(|best| fitting(*best) > 0) {
            let widths: Vec<String> = widths.keys().map(usize::to_string).collect();
            format!(
                "no matrix has rows of whole groups of {size}, rows have {}: take groups of {best} (`--group {best}`)",
                widths.join(", ")
            )
        } else {
            "no matrix of floats has rows of whole groups of 32, 64 or 128; use it as it is".to_owned()
        };
        Err(WeightsError::NothingQuantised {
            path: source.to_owned(),
            problem,
        })
    }

    /// What was asked for and is not there.
    pub fn notes(&self, targets: &[Target]) -> Vec<String> {
        let unused = self.unused(targets).into_iter();
        let unused = unused.map(|flag| {
            let (what, why) = match flag {
                HEAD_FLAG => ("head", ", as in models that take the table of tokens for it"),
                _ => ("table of tokens", ""),
            };
            format!(
                "`{flag}` changes nothing: no weight that could be quantised has the name of a {what}{why}"
            )
        });
        let asked = self.keep.iter().filter(|keep| keep.as_str() != POSITIONS);
        let matches =
            |keep: &Regex, target: &Target| keep.is_match(&target.name) || keep.is_match(&target.source.name);
        let unmatched = asked.filter(|keep| !targets.iter().any(|target| matches(keep, target)));
        let unmatched = unmatched.map(|keep| {
            format!(
                "no tensor's name matches `{}`, so it keeps nothing",
                cut(keep.as_str())
            )
        });
        unused.chain(unmatched).collect()
    }

    /// Whether a name is one of what is to stay as it is.
    pub fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|keep| keep.is_match(name))
    }

    /// How many bits a tensor gets; none where it stays as it is.
    pub fn bits(&self, target: &Target) -> Option<u32> {
        let name = target.name.as_str();
        let fits = |columns: &usize| *columns > 0 && columns.is_multiple_of(self.options.group_size);
        if !self.is_matrix(target)
            || !target.shape.last().is_some_and(fits)
            || self.routers.is_match(name)
            || self.keeps(name)
        {
            return None;
        }
        let is_bare = self.bare_embeddings.is_match(name);
        let (is_embedding, is_head) = (
            is_bare || self.embeddings.is_match(name),
            self.heads.is_match(name),
        );
        let asked = match (is_embedding, is_head) {
            (true, _) => self.options.embeddings,
            (_, true) => self.options.head,
            _ => None,
        };
        match (asked, self.options.mixed) {
            (Some(Part::Keep), _) => None,
            (Some(Part::Bits(bits)), _) => Some(bits),
            (None, _) if is_bare => None,
            (None, Some(more)) if is_embedding || is_head || self.matters(name) => Some(more),
            (None, _) => Some(self.options.bits),
        }
    }

    /// Whether a mixture gives this weight more bits, by the rule of `mlx_vlm.convert` 0.7: values and the last matrix of the feed-forward part,
    /// in the first and the last eighth of the layers and in every third between.
    fn matters(&self, name: &str) -> bool {
        if !self.down.is_match(name) && !self.values.is_match(name) {
            return false;
        }
        let Some(number) = self.number(name).filter(|number| *number < self.layers) else {
            return false;
        };
        let eighth = self.layers / 8;
        number < eighth || number >= 7 * self.layers / 8 || (number - eighth) % 3 == 2
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.layer.captures(name)?.get(1)?.as_str().parse().ok()
    }

    /// Whether a tensor could be a layer's weight.
    fn is_matrix(&self, target: &Target) -> bool {
        let is_named = target.name.ends_with(".weight") || self.bare_embeddings.is_match(&target.name);
        is_named && target.kind().holds_matrices() && matches!(target.shape.len(), 2 | 3)
    }

    /// The flags for single parts that change nothing, as no weight is such a part: `--head` of a model whose head is the table of tokens.
    pub fn unused(&self, targets: &[Target]) -> Vec<&'static str> {
        let tables = |name: &str| self.embeddings.is_match(name) || self.bare_embeddings.is_match(name);
        let heads = |name: &str| self.heads.is_match(name);
        let is_used = |asked: Part, is_such: &dyn Fn(&str) -> bool| {
            let mut such = targets.iter().filter(|target| is_such(&target.name));
            such.any(|target| asked == Part::Keep || self.bits(target).is_some())
        };
        let (embeddings, head) = (self.options.embeddings, self.options.head);
        let mut unused = Vec::new();
        if embeddings.is_some_and(|asked| !is_used(asked, &tables)) {
            unused.push(EMBEDDINGS_FLAG);
        }
        if head.is_some_and(|asked| !is_used(asked, &heads)) {
            unused.push(HEAD_FLAG);
        }
        unused
    }
}

/// The flag for tables of tokens.
pub const EMBEDDINGS_FLAG: &str = "--embeddings";
/// The flag for what turns the last state to logits.
pub const HEAD_FLAG: &str = "--head";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_tables_have_their_usual_names() {
        let [heads, tables, bare] =
            [HEADS, EMBEDDINGS, BARE_EMBEDDINGS].map(|names| Regex::new(names).unwrap());
        for (name, is_head, is_table, is_bare) in [
            ("language_model.lm_head.weight", true, false, false),
            ("model.transformer.ff_out.weight", true, false, false),
            ("model.transformer.blocks.0.ff_out.weight", false, false, false),
            (
                "model.layers.0.self_attn.output.dense.weight",
                false,
                false,
                false,
            ),
            ("model.embed_tokens.weight", false, true, false),
            ("model.embed_tokens_per_layer.weight", false, false, false),
            ("model.transformer.wte.embedding", false, false, true),
            ("model.transformer.wte.new_embedding", false, false, true),
            ("model.text.wte", false, false, true),
        ] {
            let found = [&heads, &tables, &bare].map(|names| names.is_match(name));
            assert_eq!(found, [is_head, is_table, is_bare], "{name}");
        }
    }
}
