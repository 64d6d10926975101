//! Which format a model writes calls in: the table whose marks its chat template has.

use std::path::{Path, PathBuf};

use monocle_manifest::schema::ToolFormat;
use serde::Deserialize;

/// A file of `manifests/tools`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolTable {
    /// Texts that the chat template has, all of them.
    pub marks: Vec<String>,
    /// The format.
    pub tools: ToolFormat,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The most bytes of a table.
const LARGEST: u64 = 64 << 10;

/// Reads the tables of a folder, by name; what cannot be used is told. A folder that is not there has none.
pub fn load(folder: &Path) -> (Vec<ToolTable>, Vec<BadTable>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let (mut tables, mut bad) = (Vec::new(), Vec::new());
    for path in paths {
        match read(&path) {
            Ok(table) => tables.push(table),
            Err(reason) => bad.push(BadTable { path, reason }),
        }
    }
    (tables, bad)
}

fn read(path: &Path) -> Result<ToolTable, String> {
    let text = monocle_files::read_text(path, LARGEST).map_err(|error| error.to_string())?;
    let table: ToolTable = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
    if table.marks.iter().all(String::is_empty) {
        return Err("`marks` names no text of a chat template".to_owned());
    }
    Ok(table)
}

/// The format for a chat template: of the tables whose marks it has, the one with the most of them, in characters.
pub fn find<'a>(tables: &'a [ToolTable], template: &str) -> Option<&'a ToolFormat> {
    let fits = tables
        .iter()
        .filter(|table| table.marks.iter().all(|mark| template.contains(mark.as_str())));
    let length = |table: &&ToolTable| table.marks.iter().map(String::len).sum::<usize>();
    Some(&fits.max_by_key(length)?.tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_tables() {
        let folder = std::env::temp_dir().join(format!("monocle-tables-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let made = std::process::Command::new("mkfifo")
            .arg(folder.join("a.toml"))
            .status();
        assert!(made.expect("mkfifo starts").success());
        std::os::unix::fs::symlink("/dev/zero", folder.join("b.toml")).expect("a link");
        let (told, found) = std::sync::mpsc::channel();
        let there = folder.clone();
        std::thread::spawn(move || told.send(load(&there)));
        let (tables, bad) = found
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("it waits for nobody");
        let reasons: Vec<&str> = bad.iter().map(|bad| bad.reason.as_str()).collect();
        assert_eq!(tables, []);
        assert_eq!(
            reasons,
            [
                "it is a pipe; expected a regular file",
                "it is a device; expected a regular file"
            ]
        );
        let _ = std::fs::remove_dir_all(&folder);
    }
}
