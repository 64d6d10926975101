//! Nothing in an archive may name the machine that built it: its user, its folders. And whoever builds it elsewhere gets the same bytes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::Tree;
use crate::process::output;

/// Folders of this machine that a compiler may write into what it makes, and the names that stand for them.
pub struct Folders(Vec<(PathBuf, &'static str)>);

impl Folders {
    /// Those of this machine, for a build into `target`.
    pub fn here(target: &Path) -> Result<Self> {
        let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.or_else(|| Some(env::home_dir()?.join(".cargo")));
        let cargo = cargo.context("finding cargo's folder: neither CARGO_HOME nor HOME is set")?;
        // The last that fits is used: what lies in another comes after it.
        let mut folders = vec![(env::current_dir().context("finding the project")?, "monocle")];
        folders.push((cargo.clone(), "cargo"));
        folders.extend(registries(&cargo).into_iter().map(|folder| (folder, "crates")));
        folders.push((PathBuf::from(sysroot.trim()), "rust"));
        folders.push((target.to_owned(), "target"));
        Ok(Self(folders))
    }

    /// With another, of a tool.
    pub fn and(mut self, folder: PathBuf, name: &'static str) -> Self {
        self.0.push((folder, name));
        self
    }

    /// Has rustc write the other names: flags, with what stands between them in `CARGO_ENCODED_RUSTFLAGS`.
    pub fn for_rustc(&self) -> String {
        let flags = self.0.iter();
        let flags = flags.map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display()));
        flags.collect::<Vec<_>>().join("\u{1f}")
    }

    /// Has a C compiler write the other names.
    pub fn for_c(&self) -> String {
        let flags = self.0.iter();
        let flags = flags.map(|(folder, name)| format!("-ffile-prefix-map={}={name}", folder.display()));
        flags.collect::<Vec<_>>().join(" ")
    }

    /// Whether any file names one of them, but for those of a folder that others built.
    pub fn check(&self, tree: &Tree, of_others: &str) -> Result<()> {
        let is_of_others = |path: &str| Path::new(path).starts_with(of_others);
        for (path, file) in tree.files().filter(|(path, _)| !is_of_others(path)) {
            for (folder, _) in &self.0 {
                let name = folder.display().to_string();
                if let Some(at) = position(&file.bytes, name.as_bytes()) {
                    let end = (at + 200).min(file.bytes.len());
                    let said = String::from_utf8_lossy(&file.bytes[at..end]);
                    let said: String = said.chars().take_while(|c| c.is_ascii_graphic()).collect();
                    bail!("`{path}` names a folder of this machine at byte {at}: `{said}`");
                }
            }
        }
        Ok(())
    }
}

/// Where cargo unpacks crates: one folder a registry.
fn registries(cargo: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cargo.join("registry/src"));
    let mut folders: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}

/// Where a folder is named. A longer name that begins alike is another folder's. Before it, anything may stand, as texts in a program lie side by
/// side without a border; but where the folder is one of the root's, like `/src` or `/build`, paths of others end so, and what stands before must
/// be no part of a path.
fn position(bytes: &[u8], name: &[u8]) -> Option<usize> {
    let first = *name.first()?;
    let is_short = name.iter().filter(|&&byte| byte == b'/').count() < 2;
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~".contains(&byte);
    let mut at = 0;
    while let Some(next) = bytes.get(at..)?.iter().position(|byte| *byte == first) {
        at += next;
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + name.len()).copied();
        let is_end_of_another = is_short && before.is_some_and(|byte| in_name(byte) || byte == b'/');
        if bytes[at..].starts_with(name) && !is_end_of_another && !after.is_some_and(in_name) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_is_found_wherever_it_stands() {
        let folders = Folders(vec![(PathBuf::from("/home/someone/x"), "x")]);
        let said = |bytes: &[u8]| {
            let mut tree = Tree::default();
            tree.add("bin/p", bytes);
            tree.add("lib/of-others", *b"/home/someone/x/a.rs");
            folders.check(&tree, "lib").map_err(|error| error.to_string())
        };
        assert_eq!(said(b"\0/home/someone/y//home/someone/"), Ok(()));
        let found = said(b"/home//home/someone/x/src/a.rs\0more").unwrap_err();
        assert!(
            found.contains("`bin/p`") && found.contains("at byte 6: `/home/someone/x/src/a.rs`"),
            "{found}"
        );
        assert_eq!(folders.for_rustc(), "--remap-path-prefix=/home/someone/x=x");
        assert_eq!(folders.for_c(), "-ffile-prefix-map=/home/someone/x=x");
    }

    #[test]
    fn a_folder_of_the_root_is_no_part_of_other_paths() {
        let at = |text: &str, name: &str| position(text.as_bytes(), name.as_bytes());
        // As crates, systems and addresses are called.
        for other in [
            "crates/a-1.0/src/lib.rs",
            "/usr/src/lib.rs",
            "https://src/",
            "/srcset",
            "/src-1/a",
            "../src/lib.rs",
        ] {
            assert_eq!(at(other, "/src"), None, "{other}");
        }
        for (text, place) in [
            ("/src/main.rs", 0),
            ("a\0/src/main.rs", 2),
            ("in `/src`", 4),
            ("/src", 0),
            ("x=/src:y", 2),
        ] {
            assert_eq!(at(text, "/src"), Some(place), "{text}");
        }
        // A longer one, behind a text that ends without a border; and one that begins alike.
        assert_eq!(at("not found/base/x/src/a.rs", "/base/x"), Some(9));
        assert_eq!(at("/base/x2/src/a.rs", "/base/x"), None);
        assert_eq!(at("/base/x2/a /base/x/a", "/base/x"), Some(11));
    }
}
