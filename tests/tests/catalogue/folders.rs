//! A folder of drawn pictures, and the program at work in it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use monocle_survey::journal::FOLDER;
use monocle_survey::xmp::{DC, Packet};
use monocle_tests::pictures::drawn;
use monocle_tests::program::Monocle;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// What the demo model knows as the question for a catalogue.
pub const PROMPT: &str = "Give a title, a description and keywords.";

/// A folder with so many drawn pictures.
pub fn photos(name: &str, count: u64) -> Scratch {
    let scratch = Scratch::new(name);
    for number in 0..count {
        scratch.write(&format!("trip {}/{number:04}.ppm", number % 3), drawn(number));
    }
    scratch
}

/// `monocle catalogue FOLDER` with the demo model.
pub fn catalogue(folder: &Path, more: &[&str]) -> Monocle {
    Monocle::new([
        "catalogue",
        &folder.display().to_string(),
        "--model",
        "shapes",
        "--prompt",
        PROMPT,
    ])
    .args(more)
}

/// Files below a folder that end so, the journal's left out.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            match path.is_dir() {
                true if path.ends_with(FOLDER) => {}
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// A sidecar's title and keywords; it must be XMP.
pub fn read(sidecar: &Path) -> (Vec<String>, Vec<String>) {
    let bytes = std::fs::read(sidecar).unwrap_or_else(|error| panic!("{}: {error}", sidecar.display()));
    let packet = Packet::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", sidecar.display()));
    (packet.texts(DC, "title"), packet.texts(DC, "subject"))
}

/// How often each photo's bytes were answered, by the journal.
pub fn answers(folder: &Path) -> HashMap<String, usize> {
    let text =
        std::fs::read_to_string(folder.join(FOLDER).join("journal.jsonl")).expect("there is a journal");
    let mut count = HashMap::new();
    // A last line that is not whole is no line.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        if line["event"] == "answered" {
            *count
                .entry(line["hash"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
    }
    count
}

/// `monocle catalogue undo FOLDER`
pub fn undo(folder: &Path) -> Monocle {
    Monocle::new(["catalogue", "undo", &folder.display().to_string()])
}
