//! Whatever the text, reading a manifest returns; and an error always has a place inside the text.

use monocle_manifest::{Manifest, ManifestError};
use proptest::prelude::*;

const SEED: &str = include_str!("../fuzz/corpus/manifest/full.toml");

fn read(text: &str) {
    if let Err(error) = Manifest::from_str(text, "m.toml") {
        let ManifestError::Invalid { place, .. } = &error else {
            panic!("reading text cannot fail otherwise: {error}")
        };
        assert!(place.line <= text.matches('\n').count() + 1, "{error}");
        let line = text.split('\n').nth(place.line - 1).unwrap();
        assert!(place.column <= line.chars().count() + 1, "{error}");
    }
}

#[test]
fn the_corpus_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/manifest");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        read(&String::from_utf8_lossy(
            &std::fs::read(entry.unwrap().path()).unwrap(),
        ));
        files += 1;
    }
    assert!(files >= 5, "{files}");
    assert!(Manifest::from_str(SEED, "full.toml").is_ok());
}

#[test]
fn every_prefix_and_every_cut_line_is_read() {
    for end in 0..=SEED.len() {
        read(&SEED[..end]);
    }
    let lines: Vec<&str> = SEED.lines().collect();
    for cut in 0..lines.len() {
        let rest: Vec<&str> = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != cut)
            .map(|(_, line)| *line)
            .collect();
        read(&rest.join("\n"));
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Manifest::from_str(&deep, "m.toml").is_err());
    let dotted = format!("{}x = 1", "a.".repeat(100_000));
    assert!(Manifest::from_str(&dotted, "m.toml").is_err());
    let options =
        "schema = 1\nname = \"m\"\nsource = { repo = \"o/r\" }\n[plugin]\nname = \"p\"\n[plugin.options]\n";
    read(&format!("{options}{}x = 1", "a.".repeat(100_000)));
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC*") {
        read(&text);
    }

    #[test]
    fn any_toml_like_text_is_read(words in prop::collection::vec(
        prop::sample::select(vec![
            "schema", "=", "1", "\n", "name", "\"m\"", "[", "]", "[[", "]]", "{", "}", ",", ".", "plugin", "source",
            "[source]", "repo", "\"o/r\"", "[prompt]", "template", "true", "nan", "-inf", "0x", "1979-05-27", "'''",
            "\"\"\"", "#", "[weights]", "rename", "\"(\"", "é", "\u{0}", "options", "[generation]", "seed", "1e999",
        ]), 0..60)) {
        read(&words.join(" "));
    }

    #[test]
    fn any_mutation_is_read(at in 0..SEED.len(), drop in 0usize..12, insert in "[\\PC\n]{0,6}") {
        let mut bytes = SEED.as_bytes().to_vec();
        let end = (at + drop).min(bytes.len());
        bytes.splice(at..end, insert.bytes());
        read(&String::from_utf8_lossy(&bytes));
    }
}
