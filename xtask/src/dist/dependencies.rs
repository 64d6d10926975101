//! What the program and the plugins are made of: the crates that cargo names, without those that only build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{cargo_command, output};

/// What plugins are built for.
const PLUGINS: &str = "wasm32-unknown-unknown";

/// One crate.
pub struct Crate {
    /// Cargo's own identifier, which others refer to.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it may be used under, as an SPDX expression.
    pub licence: String,
    /// Where cargo unpacked it.
    pub folder: PathBuf,
    /// SHA-256 of its package; the project's own have none.
    pub checksum: Option<String>,
    /// Identifiers of what it needs.
    pub needs: Vec<String>,
}

impl Crate {
    /// Whether it is a part of the project.
    pub fn is_own(&self) -> bool {
        self.checksum.is_none()
    }
}

/// The crates of the program for a system, and of the plugins, by name and version.
pub fn of(triple: &str) -> Result<Vec<Crate>> {
    let mut metadata = cargo_command();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    metadata.args(["--filter-platform", triple, "--filter-platform", PLUGINS]);
    let metadata: Value =
        serde_json::from_str(&output(&mut metadata)?).context("reading cargo's metadata")?;
    let lock = fs::read_to_string("Cargo.lock").context("reading `Cargo.lock`")?;
    let sums = checksums(&lock);
    let needs = needs(&metadata);
    let mut left: Vec<String> = list(&metadata["packages"])
        .iter()
        .filter(|package| is_shipped(package))
        .map(|package| text(&package["id"]))
        .collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = left.pop() {
        if reached.insert(id.clone()) {
            left.extend(needs.get(&id).into_iter().flatten().cloned());
        }
    }
    let mut crates: Vec<Crate> = list(&metadata["packages"])
        .iter()
        .filter(|package| reached.contains(&text(&package["id"])))
        .map(|package| {
            let (name, version) = (text(&package["name"]), text(&package["version"]));
            let manifest = text(&package["manifest_path"]);
            let id = text(&package["id"]);
            Crate {
                licence: text(&package["license"])
                    .replace(" / ", " OR ")
                    .replace('/', " OR "),
                folder: Path::new(&manifest).parent().unwrap_or(Path::new("")).to_owned(),
                checksum: sums.get(&(name.clone(), version.clone())).cloned(),
                needs: needs.get(&id).cloned().unwrap_or_default(),
                id,
                name,
                version,
            }
        })
        .collect();
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

/// The program, and the plugins that come with it.
fn is_shipped(package: &Value) -> bool {
    let manifest = text(&package["manifest_path"]);
    let folder = Path::new(&manifest).parent().and_then(Path::parent);
    let own = std::env::current_dir().unwrap_or_default();
    package["source"].is_null()
        && (package["name"] == "monocle" || folder.is_some_and(|folder| folder == own.join("plugins")))
}

/// What each crate needs when it runs.
fn needs(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let nodes = list(&metadata["resolve"]["nodes"]).iter();
    let runs = |need: &&Value| list(&need["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    nodes
        .map(|node| {
            let needs = list(&node["deps"]).iter().filter(runs);
            let mut needs: Vec<String> = needs.map(|need| text(&need["pkg"])).collect();
            needs.sort();
            (text(&node["id"]), needs)
        })
        .collect()
}

/// The sums in a `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches([' ', '=', '"']).to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) =
            (value("name ="), value("version ="), value("checksum ="))
        {
            sums.insert((name, version), sum);
        }
    }
    sums
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sums_are_read_from_a_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n\
                    source = \"registry\"\nchecksum = \"00ff\"\n";
        let sums = super::checksums(lock);
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[&("a".to_owned(), "2.0.0".to_owned())], "00ff");
    }
}
