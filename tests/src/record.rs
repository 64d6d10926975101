//! What the last parity run measured, kept under `target/parity` for the page of models.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::project;

/// One folder of golden answers, compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ParityRecord {
    /// The folder of `tests/oracle`.
    pub folder: String,
    /// The plugin that computed.
    pub plugin: String,
    /// Which published model the tiny checkpoint stands for.
    pub stands_for: String,
    /// The judge and its version.
    pub reference: String,
    /// Its cases.
    pub cases: Vec<CaseRecord>,
}

/// One case: the largest differences over all chunk sizes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CaseRecord {
    /// `image`, `two_images`, `text`
    pub name: String,
    /// Of pixel values, where they were compared.
    pub pixels: Option<f32>,
    /// Of logits, over 16 greedy steps.
    pub logits: f32,
}

/// The page tells of the engine `cpu`; what others measure lies apart.
fn folder() -> PathBuf {
    let name = match std::env::var(project::ENGINE) {
        Ok(engine) if engine != "cpu" => format!("parity-{engine}"),
        _ => "parity".to_owned(),
    };
    project::target().join(name)
}

/// Keeps a record.
pub fn write(record: &ParityRecord) {
    let text = serde_json::to_string_pretty(record).expect("a record is plain data");
    std::fs::create_dir_all(folder()).expect("target/parity can be made");
    std::fs::write(folder().join(format!("{}.json", record.folder)), text).expect("a record can be written");
}

/// All records, by folder.
pub fn read() -> Vec<ParityRecord> {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("a record can be read");
    paths
        .iter()
        .map(|path| serde_json::from_str(&text(path)).expect("a record is JSON"))
        .collect()
}
