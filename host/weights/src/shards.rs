//! Which files a checkpoint consists of, and which file counts for each tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use monocle_tensor::stored::StoredTensor;
use serde_json::Value;

use crate::error::{WeightsError, list};
use crate::json::read_json;
use crate::safetensors::SafetensorsFile;

pub(crate) const SINGLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// A folder's weight files.
pub(crate) struct Shards {
    /// The files, in the order of their names.
    pub files: Vec<SafetensorsFile>,
    /// File by tensor, as the index says; empty without one.
    index: BTreeMap<String, String>,
    /// What is odd but harmless.
    pub notes: Vec<String>,
}

impl Shards {
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let present = safetensors_in(folder)?;
        let index = read_index(folder)?;
        let mut notes = Vec::new();
        let listed: BTreeSet<String> = index.values().cloned().collect();
        let missing: Vec<String> = listed.difference(&present).cloned().collect();
        let names = if listed.is_empty() {
            without_index(folder, &present)?
        } else if missing.is_empty() {
            if present.contains(SINGLE) && !listed.contains(SINGLE) {
                notes.push(format!("`{SINGLE}` is not used: `{INDEX}` lists other files"));
            }
            listed.clone()
        } else if present.contains(SINGLE) {
            notes.push(format!(
                "`{INDEX}` is not used: it lists files that are missing, and `{SINGLE}` is there"
            ));
            BTreeSet::from([SINGLE.to_owned()])
        } else {
            return Err(WeightsError::MissingShards {
                folder: folder.to_owned(),
                missing,
                total: listed.len(),
            });
        };
        let unlisted: Vec<String> = present
            .difference(&names)
            .filter(|name| *name != SINGLE)
            .cloned()
            .collect();
        if !unlisted.is_empty() {
            notes.push(format!("not used: {}", list(&unlisted)));
        }
        let open = |name: &String| SafetensorsFile::open(&folder.join(name));
        let files = names.iter().map(open).collect::<Result<_, _>>()?;
        let index = if names == listed { index } else { BTreeMap::new() };
        Ok(Self { files, index, notes })
    }

    /// Every tensor once. The index decides when a tensor is in several files.
    pub fn tensors(&mut self, folder: &Path) -> Result<BTreeMap<String, StoredTensor>, WeightsError> {
        let mut tensors = BTreeMap::new();
        let mut homes: BTreeMap<&str, String> = BTreeMap::new();
        let mut unlisted = 0;
        for file in &self.files {
            for header in &file.header().tensors {
                let home = self.index.get(&header.name);
                if home.is_some_and(|home| *home != file.name()) {
                    self.notes.push(format!(
                        "`{}` is in `{}` too, which is not used",
                        header.name,
                        file.name()
                    ));
                    continue;
                }
                unlisted += usize::from(home.is_none() && !self.index.is_empty());
                if let Some(first) = homes.insert(&header.name, file.name()) {
                    return Err(WeightsError::Twice {
                        name: header.name.clone(),
                        first,
                        second: file.name(),
                    });
                }
                tensors.insert(header.name.clone(), file.tensor(header)?);
            }
        }
        if unlisted > 0 {
            self.notes.push(format!(
                "{unlisted} tensors are used that `{INDEX}` does not list"
            ));
        }
        match self.index.iter().find(|(name, _)| !tensors.contains_key(*name)) {
            Some((name, file)) => Err(WeightsError::BrokenIndex {
                index: folder.join(INDEX),
                problem: format!("tensor `{name}` should be in `{file}`, and is not"),
            }),
            None => Ok(tensors),
        }
    }
}

/// Names of the safetensors files in a folder.
fn safetensors_in(folder: &Path) -> Result<BTreeSet<String>, WeightsError> {
    let io = |source| WeightsError::io("list", folder, source);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        if let Ok(name) = entry.map_err(io)?.file_name().into_string()
            && name.ends_with(".safetensors")
            // A link into a cache whose target is gone counts as absent.
            && folder.join(&name).is_file()
        {
            names.insert(name);
        }
    }
    Ok(names)
}

/// File by tensor; empty when there is no index.
pub(crate) fn read_index(folder: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let path = folder.join(INDEX);
    let Some(json) = read_json(&path)? else {
        return Ok(BTreeMap::new());
    };
    weight_map(&json).map_err(|problem| WeightsError::BrokenIndex { index: path, problem })
}

pub(crate) fn weight_map(index: &Value) -> Result<BTreeMap<String, String>, String> {
    let Some(map) = index["weight_map"].as_object().filter(|map| !map.is_empty()) else {
        return Err("it has no `weight_map` with an entry a tensor".to_owned());
    };
    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            // Shards lie beside the index, so a path is a mistake or an attack.
            Some(file) if file.ends_with(".safetensors") && !file.contains(['/', '\\']) => {
                Ok((tensor.clone(), file.to_owned()))
            }
            _ => Err(format!(
                "tensor `{tensor}` should name a `.safetensors` file, not {file}"
            )),
        })
        .collect()
}

/// The files to use when nothing lists them: the single one, or all that there are.
fn without_index(folder: &Path, present: &BTreeSet<String>) -> Result<BTreeSet<String>, WeightsError> {
    if present.contains(SINGLE) {
        return Ok(BTreeSet::from([SINGLE.to_owned()]));
    }
    let Some(first) = present.first() else {
        return Err(WeightsError::NoWeights {
            folder: folder.to_owned(),
        });
    };
    let expected = siblings(first);
    let missing: Vec<String> = expected.difference(present).cloned().collect();
    if !missing.is_empty() {
        return Err(WeightsError::MissingShards {
            folder: folder.to_owned(),
            missing,
            total: expected.len(),
        });
    }
    Ok(present.clone())
}

/// All shards that the name of one, `…-00001-of-00003.safetensors`, tells of; none when it tells nothing.
fn siblings(name: &str) -> BTreeSet<String> {
    const MOST: usize = 10_000;
    let parse = || {
        let (rest, total) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let count: usize = total.parse().ok().filter(|count| *count <= MOST)?;
        let width = number.len().min(9);
        Some(
            (1..=count)
                .map(|n| format!("{stem}-{n:0width$}-of-{total}.safetensors"))
                .collect(),
        )
    };
    parse().unwrap_or_default()
}
