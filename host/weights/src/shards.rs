//! Which files a checkpoint consists of, and which file counts for each tensor.
//!
//! An index may lie: another build of the model may have left it, or it names tensors that nobody has. So the files decide. Of the sets of
//! files that could be meant ([`Sets`]), the first one counts that holds every tensor that the index names; where none does, the first one
//! that is all there by its names. A note tells when that is not what the index lists. A tensor that the index promises and nobody has is
//! an error only once it is asked for.

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
    /// Which file the index names for each tensor; empty without an index.
    pub index: BTreeMap<String, String>,
    /// Whether the files are among those that the index lists.
    follows_index: bool,
    /// What is odd but harmless.
    pub notes: Vec<String>,
}

impl Shards {
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let present = safetensors_in(folder)?;
        let index = read_index(folder)?;
        let listed: BTreeSet<String> = index.values().cloned().collect();
        let mut opened = Opened::new(folder);
        let sets = Sets::of(&listed, &present);
        let Some(names) = sets.choose(|set| opened.hold(set, index.keys())) else {
            return Err(opened.refusal(&index, &listed, &present));
        };
        let mut notes = Vec::new();
        let mut is_told = false;
        if names != listed && !listed.is_empty() {
            notes.push(opened.departure(&names, &listed, &present));
        } else if !listed.is_empty() && present.contains(SINGLE) && !listed.contains(SINGLE) {
            notes.push(format!("`{SINGLE}` is not used: `{INDEX}` lists other files"));
            is_told = true;
        }
        let unused: Vec<String> = present
            .difference(&names)
            .filter(|name| !(is_told && *name == SINGLE))
            .cloned()
            .collect();
        if !unused.is_empty() {
            notes.push(format!("not used: {}", list(&unused)));
        }
        let files = names
            .iter()
            .map(|name| opened.take(name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            files,
            index,
            follows_index: names.is_subset(&listed),
            notes,
        })
    }

    /// Every tensor once. The index decides when a tensor is in several files.
    pub fn tensors(&mut self) -> Result<BTreeMap<String, StoredTensor>, WeightsError> {
        let mut holders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            for header in &file.header().tensors {
                holders.entry(&header.name).or_default().push(at);
            }
        }
        let mut chosen: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, holders) in &holders {
            let home = self.index.get(*name);
            let is_home = |at: &&usize| home.is_some_and(|home| *home == self.files[**at].name());
            let file = match holders.as_slice() {
                [only] => *only,
                [first, second, ..] => *holders.iter().find(is_home).ok_or_else(|| WeightsError::Twice {
                    name: (*name).to_owned(),
                    first: self.files[*first].name(),
                    second: self.files[*second].name(),
                })?,
                [] => continue,
            };
            chosen.insert(*name, file);
        }
        let mut tensors = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            let mut doubled = Vec::new();
            for header in &file.header().tensors {
                if chosen.get(header.name.as_str()) == Some(&at) {
                    tensors.insert(header.name.clone(), file.tensor(header)?);
                } else {
                    doubled.push(header.name.clone());
                }
            }
            if let [first, rest @ ..] = doubled.as_slice() {
                let (more, are) = match rest.len() {
                    0 => (String::new(), "is"),
                    count => (format!(" and {count} more tensors"), "are"),
                };
                let first = list(std::slice::from_ref(first));
                self.notes.push(format!(
                    "{first}{more} {are} in `{}` too, which is not used",
                    file.name()
                ));
            }
        }
        if self.follows_index {
            let names = |tensors: &mut dyn Iterator<Item = &String>| tensors.cloned().collect::<Vec<_>>();
            let moved = names(&mut self.index.iter().filter_map(|(name, home)| {
                let file = chosen.get(name.as_str())?;
                (*home != self.files[*file].name()).then_some(name)
            }));
            let absent = names(&mut self.index.keys().filter(|name| !tensors.contains_key(*name)));
            let unlisted = tensors
                .keys()
                .filter(|name| !self.index.contains_key(*name))
                .count();
            if !moved.is_empty() {
                self.notes.push(format!(
                    "{} tensors are in other files than `{INDEX}` says: {}",
                    moved.len(),
                    list(&moved)
                ));
            }
            if unlisted > 0 {
                self.notes.push(format!(
                    "{unlisted} tensors are used that `{INDEX}` does not list"
                ));
            }
            if !absent.is_empty() {
                self.notes.push(format!(
                    "`{INDEX}` names {} tensors that no file has: {}",
                    absent.len(),
                    list(&absent)
                ));
            }
        }
        Ok(tensors)
    }
}

/// Sets of weight files that could be a whole checkpoint, the likeliest first.
struct Sets {
    /// All there, as far as names tell: the files that the index lists; and, where the index does not list them, `model.safetensors`; shards
    /// that count themselves (`…-00001-of-00002.safetensors`), none missing; all files, where none counts itself.
    by_name: Vec<BTreeSet<String>>,
    /// All there only if they hold what the index names: what is there of the listed files; whatever is there.
    by_content: Vec<BTreeSet<String>>,
    /// What to look for where nothing is all there.
    missing: BTreeSet<String>,
    /// How many files the missing ones belong to.
    total: usize,
}

impl Sets {
    fn of(listed: &BTreeSet<String>, present: &BTreeSet<String>) -> Self {
        let known: BTreeSet<String> = listed.intersection(present).cloned().collect();
        let mut families: BTreeMap<Family, BTreeSet<usize>> = BTreeMap::new();
        for (family, number) in present.iter().filter_map(|name| Family::of(name)) {
            families.entry(family).or_default().insert(number);
        }
        let complete: BTreeSet<String> = families
            .iter()
            .filter(|(family, numbers)| numbers.len() == family.count)
            .flat_map(|(family, _)| family.names())
            .collect();
        let mut by_name = Vec::new();
        if !listed.is_empty() && known.len() == listed.len() {
            by_name.push(known.clone());
        }
        // Files that the index lists belong to it: without the others that it lists, they are a part.
        let single = BTreeSet::from([SINGLE.to_owned()]);
        let loose = if families.is_empty() {
            present.clone()
        } else {
            BTreeSet::new()
        };
        for set in [single, complete, loose] {
            let is_there = !set.is_empty() && set.is_subset(present) && set.is_disjoint(listed);
            if is_there && !by_name.contains(&set) {
                by_name.push(set);
            }
        }
        let mut by_content = Vec::new();
        if !listed.is_empty() && !present.is_empty() {
            by_content.extend([known, present.clone()]);
        }
        let (missing, total) = match families.first_key_value() {
            Some((family, numbers)) if listed.is_empty() => {
                let missing = (1..=family.count).filter(|number| !numbers.contains(number));
                (missing.map(|number| family.name(number)).collect(), family.count)
            }
            _ => (listed.difference(present).cloned().collect(), listed.len()),
        };
        Self {
            by_name,
            by_content,
            missing,
            total,
        }
    }

    /// The first set that holds everything that the index names, else the first that is all there by its names.
    fn choose(&self, mut holds: impl FnMut(&BTreeSet<String>) -> bool) -> Option<BTreeSet<String>> {
        let mut all = self.by_name.iter().chain(&self.by_content);
        let holding = all.find(|set| !self.by_content.is_empty() && holds(set));
        holding.or(self.by_name.first()).cloned()
    }
}

/// Files of a folder, opened when somebody looks into them, once.
struct Opened<'a> {
    folder: &'a Path,
    files: BTreeMap<String, Result<SafetensorsFile, WeightsError>>,
}

impl<'a> Opened<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            files: BTreeMap::new(),
        }
    }

    fn file(&mut self, name: &str) -> &Result<SafetensorsFile, WeightsError> {
        let path = self.folder.join(name);
        self.files
            .entry(name.to_owned())
            .or_insert_with(|| SafetensorsFile::open(&path))
    }

    fn take(&mut self, name: &str) -> Result<SafetensorsFile, WeightsError> {
        match self.files.remove(name) {
            Some(opened) => opened,
            None => SafetensorsFile::open(&self.folder.join(name)),
        }
    }

    /// Whether the files of a set are sound, and hold these tensors together.
    fn hold<'n>(&mut self, set: &BTreeSet<String>, tensors: impl Iterator<Item = &'n String>) -> bool {
        let mut held: BTreeSet<String> = BTreeSet::new();
        for name in set {
            let Ok(file) = self.file(name) else {
                return false;
            };
            held.extend(file.header().tensors.iter().map(|header| header.name.clone()));
        }
        !set.is_empty() && tensors.into_iter().all(|name| held.contains(name))
    }

    /// Why other files are used than the index lists.
    fn departure(
        &mut self,
        names: &BTreeSet<String>,
        listed: &BTreeSet<String>,
        present: &BTreeSet<String>,
    ) -> String {
        if names.is_subset(listed) {
            return format!(
                "`{INDEX}` lists files that are missing; those that are there hold every tensor that it names"
            );
        }
        let why = if !listed.is_subset(present) {
            "it lists files that are missing"
        } else if listed.iter().any(|name| self.file(name).is_err()) {
            "a file that it lists is broken"
        } else {
            "the files that it lists lack tensors that it names"
        };
        let names: Vec<String> = names.iter().cloned().collect();
        let what = match names.as_slice() {
            [one] => format!("`{one}` is there"),
            _ => format!("{} are there", list(&names)),
        };
        format!("`{INDEX}` is not used: {why}, and {what}")
    }

    /// Why nothing in the folder can be a checkpoint.
    fn refusal(
        &mut self,
        index: &BTreeMap<String, String>,
        listed: &BTreeSet<String>,
        present: &BTreeSet<String>,
    ) -> WeightsError {
        let sets = Sets::of(listed, present);
        let folder = self.folder.to_owned();
        if sets.missing.is_empty() {
            return WeightsError::NoWeights { folder };
        }
        let present: Vec<String> = present.iter().cloned().collect();
        let is_lost = |name: &str| {
            let mut found = self.files.values().flatten();
            !found.any(|file| file.header().tensors.iter().any(|header| header.name == name))
        };
        let lost = index
            .iter()
            .find(|(name, file)| sets.missing.contains(*file) && is_lost(name));
        let lost = lost.map_or(String::new(), |(name, file)| {
            let there = match present.len() {
                0 => "no weight file is there".to_owned(),
                _ => format!("there: {}", list(&present)),
            };
            let name = list(std::slice::from_ref(name));
            format!(" (tensor {name}, for one, is promised in `{file}`, and no file has it; {there})")
        });
        WeightsError::MissingShards {
            folder,
            missing: sets.missing.into_iter().collect(),
            total: sets.total,
            lost,
        }
    }
}

/// Weight files that a folder lacks, by the rule by which they are opened; empty when there are enough.
pub(crate) fn missing_weights(folder: &Path) -> Vec<String> {
    let present = safetensors_in(folder).unwrap_or_default();
    // A broken index is reported when the weights are opened; here it only lists nothing.
    let index = read_index(folder).unwrap_or_default();
    let sets = Sets::of(&index.values().cloned().collect(), &present);
    let mut opened = Opened::new(folder);
    let is_enough =
        !sets.by_name.is_empty() || sets.by_content.iter().any(|set| opened.hold(set, index.keys()));
    match (is_enough, sets.missing.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![SINGLE.to_owned()],
        (false, false) => sets.missing.into_iter().collect(),
    }
}

/// The weight files to fetch of a repository that has these files, by the rule by which they are opened, as far as names tell. `index` is
/// its `weight_map`, empty where it has none. The error names what the index, or the shards that are there, promise and the repository
/// does not have; it is empty where there are no weights at all.
pub fn files_to_fetch<'a>(
    index: &BTreeMap<String, String>,
    repository: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>, Vec<String>> {
    let present = repository
        .filter(|name| name.ends_with(".safetensors") && !name.contains('/'))
        .map(str::to_owned)
        .collect();
    let sets = Sets::of(&index.values().cloned().collect(), &present);
    match sets.by_name.into_iter().next() {
        Some(names) => Ok(names.into_iter().collect()),
        None => Err(sets.missing.into_iter().collect()),
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

/// Shards that count themselves: all that have the stem, the number's width and the total of `STEM-00001-of-00003.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Family<'a> {
    stem: &'a str,
    width: usize,
    total: &'a str,
    count: usize,
}

impl<'a> Family<'a> {
    /// The family of a file and its number there; none when its name tells nothing.
    fn of(name: &'a str) -> Option<(Self, usize)> {
        const MOST: usize = 10_000;
        let (rest, total) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let count: usize = total.parse().ok().filter(|count| *count <= MOST)?;
        let width = number.len();
        let number: usize = number
            .parse()
            .ok()
            .filter(|number| width <= 9 && (1..=count).contains(number))?;
        let family = Self {
            stem,
            width,
            total,
            count,
        };
        Some((family, number))
    }

    fn name(&self, number: usize) -> String {
        let (stem, width, total) = (self.stem, self.width, self.total);
        format!("{stem}-{number:0width$}-of-{total}.safetensors")
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.count).map(|number| self.name(number))
    }
}
