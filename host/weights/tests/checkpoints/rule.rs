//! The rule for files and index, over random folders: as a model of it says that knows neither files nor headers.

use std::collections::{BTreeMap, BTreeSet};

use monocle_tensor::stored::StoredType::F32;
use monocle_weights::hub::Hub;
use monocle_weights::{Checkpoint, ModelFolder, NameRules, files_to_fetch};
use proptest::prelude::*;
use serde_json::json;

use super::folder::Folder;

type Names = BTreeSet<&'static str>;

const SINGLE: &str = "model.safetensors";
const PAIR: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];
const TRIPLE: [&str; 3] = [
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
];
const FILES: [&str; 8] = [
    SINGLE,
    PAIR[0],
    PAIR[1],
    TRIPLE[0],
    TRIPLE[1],
    TRIPLE[2],
    "a.safetensors",
    "b.safetensors",
];
const TENSORS: [&str; 4] = ["t0.weight", "t1.weight", "t2.weight", "t3.weight"];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a file holds; nothing where it is broken.
type Contents = Option<Names>;

/// A folder: its files, and its index if it has one.
#[derive(Debug, Clone)]
struct Case {
    files: BTreeMap<&'static str, Contents>,
    index: BTreeMap<&'static str, &'static str>,
}

impl Case {
    /// Sets that are all there by their names, the likeliest first.
    fn by_name(&self) -> Vec<Names> {
        let there: Names = self.files.keys().copied().collect();
        let listed: Names = self.index.values().copied().collect();
        let mut sets = Vec::new();
        if !listed.is_empty() && listed.is_subset(&there) {
            sets.push(listed.clone());
        }
        let mut counted = Names::new();
        for family in [&PAIR[..], &TRIPLE[..]] {
            if family.iter().all(|name| there.contains(name)) {
                counted.extend(family);
            }
        }
        let counts_itself = |name: &&str| PAIR.contains(name) || TRIPLE.contains(name);
        let mut others = vec![Names::from([SINGLE]), counted];
        if !there.iter().any(counts_itself) {
            others.push(there.clone());
        }
        others.retain(|set| !set.is_empty() && set.is_subset(&there) && set.is_disjoint(&listed));
        sets.extend(others);
        sets
    }

    /// Whether the files of a set are sound and hold all that the index names.
    fn holds(&self, set: &Names) -> bool {
        let mut held = Names::new();
        for name in set {
            match &self.files[name] {
                Some(tensors) => held.extend(tensors),
                None => return false,
            }
        }
        !set.is_empty() && self.index.keys().all(|tensor| held.contains(tensor))
    }

    /// The files that count.
    fn chosen(&self) -> Option<Names> {
        let there: Names = self.files.keys().copied().collect();
        let listed: Names = self.index.values().copied().collect();
        let by_name = self.by_name();
        let mut sets = by_name.clone();
        sets.extend([listed.intersection(&there).copied().collect(), there]);
        let holding = sets
            .into_iter()
            .find(|set| !self.index.is_empty() && self.holds(set));
        holding.or(by_name.first().cloned())
    }

    /// Which file counts for each tensor; the error is a part of the message.
    fn expected(&self) -> Result<BTreeMap<&'static str, &'static str>, &'static str> {
        let chosen = self.chosen().ok_or("FOLDER")?;
        let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for file in &chosen {
            for tensor in self.files[file].as_ref().ok_or("not a sound")? {
                homes.entry(tensor).or_default().push(file);
            }
        }
        let home = |(tensor, files): (&'static str, Vec<&'static str>)| {
            let promised = self.index.get(tensor).filter(|file| files.contains(file));
            match (files.as_slice(), promised) {
                ([only], _) => Ok((tensor, *only)),
                (_, Some(promised)) => Ok((tensor, *promised)),
                _ => Err("is both in"),
            }
        };
        homes.into_iter().map(home).collect()
    }
}

fn case() -> impl Strategy<Value = Case> {
    let tensors = || prop::sample::subsequence(TENSORS.to_vec(), 0..=TENSORS.len());
    let contents = prop_oneof![1 => Just(None), 12 => tensors().prop_map(Some)];
    let file = (prop::sample::select(FILES.to_vec()), contents);
    // Indices that list few files are right more often.
    let listed = prop::sample::subsequence(FILES.to_vec(), 1..=3);
    let index = (tensors(), listed, prop::collection::vec(0usize..3, TENSORS.len()));
    // Often a whole family is there.
    let whole = prop_oneof![
        Just(vec![]),
        Just(PAIR.to_vec()),
        Just(TRIPLE.to_vec()),
        Just(vec![SINGLE])
    ];
    let fills = prop::collection::vec(prop::option::weighted(0.95, tensors()), 3);
    (
        prop::collection::vec(file, 0..5),
        whole,
        fills,
        prop::option::weighted(0.8, index),
    )
        .prop_map(|(files, whole, fills, index)| {
            let set = |tensors: Vec<&'static str>| tensors.into_iter().collect::<Names>();
            let mut all: BTreeMap<&str, Contents> = files
                .into_iter()
                .map(|(name, tensors)| (name, tensors.map(set)))
                .collect();
            all.extend(
                whole
                    .into_iter()
                    .zip(fills.into_iter().map(|tensors| tensors.map(set))),
            );
            let index = index.map_or(BTreeMap::new(), |(tensors, listed, at)| {
                let entry = |(tensor, at): (&'static str, usize)| (tensor, listed[at % listed.len()]);
                tensors.into_iter().zip(at).map(entry).collect()
            });
            Case { files: all, index }
        })
}

/// In the cache, where it can be found.
fn write(folder: &Folder, case: &Case) -> std::path::PathBuf {
    let snapshot = folder.0.join("models--o--m/snapshots").join(COMMIT);
    let _ = std::fs::remove_dir_all(&snapshot);
    std::fs::create_dir_all(&snapshot).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        std::fs::write(snapshot.join(name), "{}").unwrap();
    }
    for (name, contents) in &case.files {
        match contents {
            None => std::fs::write(snapshot.join(name), "broken").unwrap(),
            Some(tensors) => {
                let fill = FILES.iter().position(|file| file == name).unwrap() as u8;
                let tensors: Vec<(&str, _, &[usize])> = tensors
                    .iter()
                    .map(|tensor| (*tensor, F32, [1].as_slice()))
                    .collect();
                folder.file("new", &tensors, fill);
                std::fs::rename(folder.0.join("new"), snapshot.join(name)).unwrap();
            }
        }
    }
    if !case.index.is_empty() {
        let index = json!({ "weight_map": case.index });
        std::fs::write(snapshot.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn files_and_index_are_read_as_the_rule_says(case in case()) {
        let folder = Folder::new(&format!("rule-{:?}", std::thread::current().id()));
        let snapshot = write(&folder, &case);
        let opened = Checkpoint::open(&ModelFolder::open(&snapshot).unwrap(), &NameRules::default());
        match (case.expected(), &opened) {
            (Ok(homes), Ok(checkpoint)) => {
                prop_assert_eq!(checkpoint.names().collect::<Vec<_>>(), homes.keys().copied().collect::<Vec<_>>());
                for (tensor, file) in &homes {
                    let fill = FILES.iter().position(|name| name == file).unwrap() as u8;
                    let found = checkpoint.tensor(tensor).unwrap();
                    prop_assert_eq!(found.bytes.as_slice(), &[fill; 4], "{}", tensor);
                }
                for (tensor, file) in case.index.iter().filter(|(tensor, _)| !homes.contains_key(*tensor)) {
                    let message = checkpoint.tensor(tensor).unwrap_err().to_string();
                    prop_assert!(message.contains(&format!("no weight `{tensor}`")), "{}", message);
                    prop_assert!(message.contains(&format!("promises it in `{file}`")), "{}", message);
                    prop_assert_eq!(message.contains("is not there"), !case.files.contains_key(file), "{}", message);
                }
                // Where other files count than the index lists, or it is wrong in another way, a note tells.
                let listed: Names = case.index.values().copied().collect();
                let is_right = homes.iter().all(|(tensor, file)| case.index.get(tensor) == Some(file))
                    && homes.len() == case.index.len();
                if !listed.is_empty() && !is_right {
                    prop_assert!(!checkpoint.notes().is_empty());
                }
            }
            (Err(part), Err(error)) => {
                let message = error.to_string().replace(&snapshot.display().to_string(), "FOLDER");
                prop_assert!(message.contains(part), "{}: {}", part, message);
            }
            (expected, _) => prop_assert!(false, "{:?}, {:?}", expected, opened.map(|checkpoint| checkpoint.summary())),
        }
        // What lies in sound files is never missed.
        let there: Names = case.files.keys().copied().collect();
        if !case.index.is_empty() && case.holds(&there) {
            let message = opened.err().map_or(String::new(), |error| error.to_string());
            prop_assert!(message.is_empty() || message.contains("is both in"), "{}", message);
        }

        let hub = Hub::from_variables(|name| (name == "HF_HUB_CACHE").then(|| folder.0.display().to_string()));
        let located = hub.locate("o/m", COMMIT).unwrap().unwrap();
        prop_assert_eq!(located.is_complete(), case.chosen().is_some(), "{:?}", located.missing);
        prop_assert!(located.missing.iter().all(|name| !there.contains(name.as_str())));

        let index = case.index.iter().map(|(tensor, file)| ((*tensor).to_owned(), (*file).to_owned())).collect();
        let fetched = files_to_fetch(&index, there.iter().copied()).ok();
        let by_name = case.by_name().first().map(|set| set.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        prop_assert_eq!(fetched, by_name);
    }
}
