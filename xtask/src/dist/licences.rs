//! `LICENSES.txt` of an archive: the licence of everything that is in it, word for word.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::dependencies::Crate;
use super::others::Other;
use crate::process::output;
use crate::sorted_entries;

/// How the files begin that say what may be done.
const BEGINNINGS: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
    "UNLICENSE",
];
/// Folders in which such files say nothing of what is built in.
const PASSED_OVER: [&str; 8] = [
    "tests", "test", "benches", "examples", "fuzz", "docs", "doc", "target",
];
/// Bytes; what is longer is no licence.
const LONGEST: u64 = 200_000;

/// The text: each licence once, under the names of those that it is for.
pub fn text(crates: &[Crate], others: &[Other]) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let foreign: Vec<&Crate> = crates.iter().filter(|one| !one.is_own()).collect();
    for one in &foreign {
        let name = format!("{} {} ({})", one.name, one.version, one.licence);
        for text in of_crate(one, &foreign)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for other in others {
        if other.files.is_empty() {
            bail!("there is no file with the licence of {}", other.name);
        }
        let version = other.version.as_deref().map(|version| format!(" {version}"));
        let name = format!(
            "{}{} ({})",
            other.name,
            version.unwrap_or_default(),
            other.licence
        );
        let inside = others.iter().find(|one| other.inside == Some(one.reference()));
        let name = match inside {
            Some(one) => format!("{name}, in {}", one.name),
            None => name,
        };
        for file in &other.files {
            texts.entry(read(file)?).or_default().push(name.clone());
        }
    }
    let mut sorted: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    sorted.sort();
    let mut text = String::from(
        "Monocle is under the licence in the file LICENSE. It is built with the work of others, which is under these licences.\n",
    );
    for (mut names, licence) in sorted {
        names.dedup();
        let rule = "=".repeat(80);
        write!(
            text,
            "\n{rule}\n{}\n{rule}\n\n{}\n",
            names.join("\n"),
            licence.trim_end()
        )
        .expect("a string can be written to");
    }
    Ok(text)
}

/// The texts that come with a crate. Some come without: then, where it may be had under a licence that names nobody, and so is the same text for
/// everybody, those of a crate under that licence.
fn of_crate(one: &Crate, all: &[&Crate]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    find(&one.folder, &mut files)?;
    let choices = one.licence.split(" OR ");
    for choice in choices.filter(|choice| choice.starts_with("Apache-2.0")) {
        let same = all
            .iter()
            .filter(|other| other.licence == choice && other.name != one.name);
        for other in same {
            if files.is_empty() {
                find(&other.folder, &mut files)?;
            }
        }
    }
    if files.is_empty() {
        bail!(
            "the crate `{}` {} ({}) comes without its licence's text, in `{}`",
            one.name,
            one.version,
            one.licence,
            one.folder.display()
        );
    }
    let mut texts = files
        .iter()
        .map(|file| read(file))
        .collect::<Result<Vec<String>>>()?;
    texts.sort();
    texts.dedup();
    Ok(texts)
}

/// The licences in a folder and in those in it: of C sources, too, that a crate brings.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = sorted_entries(folder)?;
    // zstd: LICENSE, or GPL 2 as in COPYING, at the choice of whoever uses it.
    let has_choice = entries.iter().any(|path| path.ends_with("LICENSE"));
    for path in entries {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            // Some have a folder of licences.
            if !PASSED_OVER.contains(&name.as_str()) && !name.starts_with('.') {
                find(&path, files)?;
            }
            continue;
        }
        let is_code = [".rs", ".toml", ".c", ".h", ".py", ".go", ".pl", ".cc"]
            .iter()
            .any(|end| name.ends_with(end));
        let upper = name.to_uppercase();
        let is_licence = BEGINNINGS.iter().any(|beginning| upper.starts_with(beginning));
        let is_other_choice = has_choice && upper == "COPYING";
        if is_licence
            && !is_code
            && !is_other_choice
            && path.metadata().is_ok_and(|found| found.len() <= LONGEST)
        {
            files.push(path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("reading `{}`", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

/// What Rust says of its standard library, which is in every program: a page with all licences.
pub fn of_rust() -> Result<Vec<u8>> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let page = Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    fs::read(&page).with_context(|| {
        format!(
            "reading `{}`, which comes with Rust where rustup installed it",
            page.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, licence: &str, folder: &Path) -> Crate {
        Crate {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.to_owned(),
            folder: folder.to_owned(),
            checksum: Some(String::new()),
            needs: Vec::new(),
        }
    }

    #[test]
    fn each_licence_is_there_once_and_none_is_missing() {
        let place = std::env::temp_dir().join(format!("monocle-licences-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = place.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/LICENSE-MIT", "as a says\r\n");
        write("b/LICENSE", "as a says\n");
        write("b/code/COPYING", "as b's C code says");
        write("b/zstd/LICENSE", "as zstd says");
        write("b/zstd/COPYING", "GPL");
        write("b/src/license.rs", "code");
        write("c/README.md", "nothing");
        write("d/LICENSE", "for all of the project");
        let [a, b] = ["a", "b"].map(|name| named(name, "MIT", &place.join(name)));
        let said = text(&[a, b], &[]).unwrap();
        assert_eq!(said.matches("as a says").count(), 1, "{said}");
        assert!(said.contains("a 1.0.0 (MIT)\nb 1.0.0 (MIT)\n"), "{said}");
        assert!(
            said.contains("C code") && said.contains("as zstd") && !said.contains("GPL"),
            "{said}"
        );
        // One without a text: the same project's where it names nobody, else a fault.
        let llvm = "Apache-2.0 WITH LLVM-exception";
        let [c, d] = ["c", "d"].map(|name| named(name, llvm, &place.join(name)));
        assert!(
            text(&[c, d], &[])
                .unwrap()
                .contains("c 1.0.0 (Apache-2.0 WITH LLVM-exception)\nd 1.0.0")
        );
        // Of two licences, the one that names nobody may be taken.
        let c = named("c", "MIT OR Apache-2.0", &place.join("c"));
        let others = ["a", "d"].map(|name| named(name, "Apache-2.0", &place.join(name)));
        let [a, d] = others;
        let said = text(&[c, d], &[]).unwrap();
        assert!(
            said.contains("c 1.0.0 (MIT OR Apache-2.0)\nd 1.0.0 (Apache-2.0)"),
            "{said}"
        );
        let c = named("c", "MIT OR Apache-2.0", &place.join("c"));
        let both = named("b", "MIT OR Apache-2.0", &place.join("b"));
        assert!(text(&[c, both], &[]).is_err());
        assert!(text(&[named("c", "MIT", &place.join("c")), a], &[]).is_err());
        let c = named("c", "MIT", &place.join("c"));
        let missing = text(&[c], &[]).unwrap_err().to_string();
        assert!(missing.contains("`c` 1.0.0"), "{missing}");
        fs::remove_dir_all(place).unwrap();
    }
}
