//! What the goldens of a family may weigh: everybody who clones the project has all of them.

use std::collections::BTreeMap;
use std::path::Path;

use monocle_tests::project;

/// Bytes of a family's folders.
const LARGEST: u64 = 1_500_000;

/// Families of several folders.
const PARTS: [(&str, &str); 2] = [
    ("deepseek_vl2_base", "deepseek_vl2"),
    ("deepseek_vl2_small", "deepseek_vl2"),
];

/// Folders that were there before the limit was, with what they may weigh: none may grow.
const OLDER: [(&str, u64); 12] = [
    ("glm4v", 2_420_000),
    ("idefics3", 1_850_000),
    ("lfm2_vl", 3_380_000),
    ("llava_next", 1_530_000),
    ("mllama", 2_030_000),
    ("nanollava", 2_040_000),
    ("paligemma2", 1_880_000),
    ("phi3_v", 4_560_000),
    ("qwen2_5_vl", 2_390_000),
    ("qwen2_vl", 2_320_000),
    ("qwen3_vl", 3_000_000),
    ("smolvlm", 1_880_000),
];

fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entries = entries.map(|entry| entry.expect("the folder can be read").path());
    entries
        .map(|path| match path.is_dir() {
            true => bytes(&path),
            false => std::fs::metadata(&path).expect("it is there").len(),
        })
        .sum()
}

#[test]
fn no_family_weighs_more_than_it_may() {
    let mut families: BTreeMap<String, u64> = BTreeMap::new();
    for folder in project::checkpoints() {
        let part = PARTS.iter().find(|(part, _)| *part == folder);
        let family = part.map_or(folder.as_str(), |(_, family)| family);
        *families.entry(family.to_owned()).or_default() += bytes(&project::oracle(&folder));
    }
    for (family, found) in &families {
        let older = OLDER.iter().find(|(name, _)| name == family);
        let most = older.map_or(LARGEST, |(_, most)| *most);
        assert!(*found <= most, "{family} has {found} bytes of {most}");
    }
    for (older, _) in OLDER {
        let found = families.get(older).unwrap_or_else(|| panic!("{older} is gone"));
        assert!(
            *found > LARGEST,
            "{older} has {found} bytes now, and needs no place of its own"
        );
    }
}
