//! What `monocle plugins new` writes beside an author's own files: the crate `monocle-plugin` and the contract, so that a plugin needs no clone
//! of the project.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let api = root.join("plugin-api");
    let mut list = String::from("/// Paths and contents.\npub const FILES: &[(&str, &str)] = &[\n");
    for (folder, kept) in [
        ("guest/src", "guest/src"),
        ("abi/src", "abi/src"),
        ("wit/v0.2", "wit/v0.2"),
        ("include", "include"),
    ] {
        println!("cargo::rerun-if-changed={}", api.join(folder).display());
        for path in files(&api.join(folder)) {
            let inside = path.strip_prefix(api.join(folder)).expect("it lies there");
            let name = Path::new(kept).join(inside);
            writeln!(
                list,
                "    ({:?}, include_str!({:?})),",
                name.display().to_string(),
                path.display().to_string()
            )
            .expect("a string can be written to");
        }
    }
    let workspace = read(&root.join("Cargo.toml"));
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["guest/Cargo.toml", "abi/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", api.join(name).display());
        let manifest = standing_alone(&read(&api.join(name)), &workspace);
        writeln!(list, "    ({name:?}, {manifest:?}),").expect("a string can be written to");
    }
    list += "];\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder"));
    fs::write(out.join("sdk.rs"), list).expect("the folder can be written to");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// A manifest whose `KEY.workspace = true` lines are what the workspace says.
fn standing_alone(manifest: &str, workspace: &str) -> String {
    let mut section = "";
    let mut lines = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        match line.strip_suffix(".workspace = true") {
            _ if section == "[lints]" => {}
            None if line.starts_with("workspace") => {}
            None => lines.push(line.to_owned()),
            Some("publish") => {}
            Some(key) => lines.push(inherited(workspace, section, key)),
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn inherited(workspace: &str, section: &str, key: &str) -> String {
    // Dependencies of one target are the workspace's like others.
    let section = match section.ends_with(".dependencies]") {
        true => "dependencies]",
        false => section.trim_start_matches('['),
    };
    let place = format!("[workspace.{section}");
    let lines = workspace.lines().skip_while(|line| *line != place).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let starts = format!("{key} = ");
    let line = lines.into_iter().find(|line| line.starts_with(&starts));
    line.unwrap_or_else(|| panic!("the workspace has no `{key}` in {place}"))
        .to_owned()
}
