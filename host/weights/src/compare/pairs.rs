//! Which tensors of two checkpoints are the same ones: those of one name; experts that lie in one tensor, as they are published, and those that
//! `monocle convert` makes of them; and those that have the name, and the layout of experts, that mlx-vlm gives them.

use std::collections::{BTreeMap, BTreeSet};

use super::names;
use crate::checkpoint::Checkpoint;
use crate::convert::{Target, modules_of, taken_apart};

/// What of a checkpoint corresponds to something of another.
#[derive(Debug)]
pub(super) enum Side {
    /// A tensor.
    Tensor(String),
    /// A part of a tensor.
    Part(Box<Target>),
    /// Several, which are a stack.
    Each(Vec<String>),
}

/// Two that correspond.
#[derive(Debug)]
pub(super) struct Pair {
    /// What it is called.
    pub name: String,
    pub first: Side,
    pub second: Side,
}

/// Tensors of two checkpoints that correspond, though they have other names or lie otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otherwise {
    /// Their names in the first.
    pub first: Vec<String>,
    /// Their names in the second.
    pub second: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub both: Vec<Pair>,
    pub only_first: BTreeSet<String>,
    pub only_second: BTreeSet<String>,
    pub otherwise: Vec<Otherwise>,
}

/// What only one of two has: its names.
type Names = BTreeSet<String>;

impl Pairs {
    pub fn of(first: &Checkpoint, second: &Checkpoint) -> Self {
        let mut pairs = Self {
            only_second: names(second)
                .filter(|name| !first.has(name))
                .map(str::to_owned)
                .collect(),
            ..Self::default()
        };
        for name in names(first) {
            match second.has(name) {
                true => pairs.add(Side::Tensor(name.to_owned()), Side::Tensor(name.to_owned()), name),
                false => {
                    pairs.only_first.insert(name.to_owned());
                }
            }
        }
        pairs.take_apart(first, second);
        pairs.rename();
        pairs
    }

    fn add(&mut self, first: Side, second: Side, name: &str) {
        self.both.push(Pair {
            name: name.to_owned(),
            first,
            second,
        });
    }

    /// Experts that one has in one tensor and the other as convert writes them.
    fn take_apart(&mut self, first: &Checkpoint, second: &Checkpoint) {
        for (source, parts) in apart(first, &mut self.only_first, &mut self.only_second) {
            self.note(vec![source], parts.iter().map(|(_, name)| name.clone()).collect());
            for (target, name) in parts {
                self.add(Side::Part(Box::new(target)), Side::Tensor(name.clone()), &name);
            }
        }
        for (source, parts) in apart(second, &mut self.only_second, &mut self.only_first) {
            self.note(parts.iter().map(|(_, name)| name.clone()).collect(), vec![source]);
            for (target, name) in parts {
                self.add(Side::Tensor(name.clone()), Side::Part(Box::new(target)), &name);
            }
        }
    }

    /// Tensors that one calls as checkpoints are published, and the other as mlx-vlm does.
    fn rename(&mut self) {
        for (names, name) in renamed(&mut self.only_first, &mut self.only_second) {
            self.note(names.clone(), vec![name.clone()]);
            self.add(one_or_each(names), Side::Tensor(name.clone()), &name);
        }
        for (names, name) in renamed(&mut self.only_second, &mut self.only_first) {
            self.note(vec![name.clone()], names.clone());
            self.add(Side::Tensor(name.clone()), one_or_each(names), &name);
        }
    }

    fn note(&mut self, first: Vec<String>, second: Vec<String>) {
        self.otherwise.push(Otherwise { first, second });
    }
}

fn one_or_each(mut names: Vec<String>) -> Side {
    match names.len() {
        1 => Side::Tensor(names.remove(0)),
        _ => Side::Each(names),
    }
}

/// Tensors of experts of one checkpoint that the other has in parts: each with its parts and their names there. Both are taken from what only one has.
fn apart(of: &Checkpoint, own: &mut Names, others: &mut Names) -> Vec<(String, Vec<(Target, String)>)> {
    let tensors = own.iter().filter_map(|name| of.tensor(name).ok()).collect();
    let mut parts: BTreeMap<String, Vec<(Target, Option<String>)>> = BTreeMap::new();
    for target in taken_apart(tensors) {
        let found = names_of(&target.name)
            .into_iter()
            .find(|name| others.contains(name));
        parts
            .entry(target.source.name.clone())
            .or_default()
            .push((target, found));
    }
    let mut all = Vec::new();
    for (source, parts) in parts {
        let found: Option<Vec<(Target, String)>> = parts
            .into_iter()
            .map(|(target, name)| Some((target, name?)))
            .collect();
        if let Some(found) = found {
            own.remove(&source);
            for (_, name) in &found {
                others.remove(name);
            }
            all.push((source, found));
        }
    }
    all
}

/// Tensors of one checkpoint that the other has under the name of mlx-vlm's module: several where they are numbered experts, and the other has their
/// stack. Both are taken from what only one has.
fn renamed(own: &mut Names, others: &mut Names) -> Vec<(Vec<String>, String)> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in own.iter() {
        if let Some(other) = names_of(name).into_iter().find(|other| others.contains(other)) {
            found.entry(other).or_default().push(name.clone());
        }
    }
    let mut all = Vec::new();
    for (other, mut names) in found {
        names.sort_by_key(|name| number_of_expert(name));
        let is_stack = || {
            (0..)
                .zip(&names)
                .all(|(number, name)| number_of_expert(name) == Some(number))
        };
        if names.len() > 1 && !is_stack() {
            continue;
        }
        for name in &names {
            own.remove(name);
        }
        others.remove(&other);
        all.push((names, other));
    }
    all
}

/// The names that a tensor may have: its own first, then those of mlx-vlm's modules, for a layer's tensors and for bare ones.
fn names_of(name: &str) -> Vec<String> {
    let (layer, part) = name.rsplit_once('.').unwrap_or((name, ""));
    let of_layer = modules_of(layer)
        .into_iter()
        .map(|module| format!("{module}.{part}"));
    let own = std::iter::once(name.to_owned());
    own.chain(of_layer).chain(modules_of(name)).collect()
}

/// 3 of `layers.1.mlp.experts.3.up_proj.weight`.
fn number_of_expert(name: &str) -> Option<usize> {
    let (_, rest) = name.split_once(".experts.")?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// What mlx-vlm's `sanitize` functions make of all tensors of whole checkpoints (`make_mlx_names.py`). What it calls otherwise of families
    /// that are not in the list is missed by both.
    #[test]
    fn names_of_mlx_vlm_are_found_in_most_families() {
        let text = include_str!("../../../../tests/oracle/mlx_names.json");
        let families: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let mut missed = Vec::new();
        for (family, tensors) in &families {
            let (mut own, mut others) = (Names::new(), Names::new());
            for tensor in tensors.as_array().unwrap() {
                let list = tensor[0]
                    .as_array()
                    .map_or(std::slice::from_ref(&tensor[0]), Vec::as_slice);
                own.extend(list.iter().map(|name| name.as_str().unwrap().to_owned()));
                others.insert(tensor[1].as_str().unwrap().to_owned());
            }
            let same: Names = own.intersection(&others).cloned().collect();
            own.retain(|name| !same.contains(name));
            others.retain(|name| !same.contains(name));
            drop(renamed(&mut own, &mut others));
            if !own.is_empty() || !others.is_empty() {
                missed.push(family.as_str());
            }
        }
        assert_eq!(
            missed,
            [
                // One tensor is spelt otherwise.
                "deepseek_vl2",
                "deepseek_vl2_base",
                "deepseek_vl2_small",
                "ernie4_5_vl",
                // Its table of tokens is there twice.
                "gemma3",
                "kimi_vl",
                "molmo",
                "moondream2",
                "nanollava",
                "paddleocr_vl",
            ]
        );
        assert!(families.len() >= 30, "{}", families.len());
    }

    #[test]
    fn names_of_mlx_are_found() {
        let experts: Vec<String> = (0..11)
            .map(|number| format!("model.layers.1.mlp.experts.{number}.up_proj.weight"))
            .collect();
        let mut own = names(&[
            "lm_head.weight",
            "model.visual.merger.norm.bias",
            "model.layers.2.mlp.experts.5.up_proj.weight",
            "odd",
        ]);
        own.extend(experts.iter().cloned());
        let mut others = names(&[
            "language_model.lm_head.weight",
            "vision_tower.merger.norm.bias",
            "language_model.model.layers.1.mlp.switch_mlp.up_proj.weight",
            "language_model.model.layers.2.mlp.switch_mlp.up_proj.weight",
            "other",
        ]);
        let found = renamed(&mut own, &mut others);
        let one = |name: &str, other: &str| (vec![name.to_owned()], other.to_owned());
        assert_eq!(
            found,
            [
                one("lm_head.weight", "language_model.lm_head.weight"),
                (
                    experts,
                    "language_model.model.layers.1.mlp.switch_mlp.up_proj.weight".to_owned()
                ),
                one(
                    "model.layers.2.mlp.experts.5.up_proj.weight",
                    "language_model.model.layers.2.mlp.switch_mlp.up_proj.weight"
                ),
                one("model.visual.merger.norm.bias", "vision_tower.merger.norm.bias"),
            ]
        );
        assert_eq!((own, others), (names(&["odd"]), names(&["other"])));
        // Numbers that do not go from 0 on are no stack.
        let mut own = names(&[
            "model.layers.1.mlp.experts.0.up_proj.weight",
            "model.layers.1.mlp.experts.2.up_proj.weight",
        ]);
        let mut others = names(&["language_model.model.layers.1.mlp.switch_mlp.up_proj.weight"]);
        assert_eq!(renamed(&mut own, &mut others), []);
        assert_eq!((own.len(), others.len()), (2, 1));
    }
}
