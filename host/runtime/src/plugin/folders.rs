//! Finding plugins: files `NAME.wasm` in a list of folders, the first that has a name wins.

use std::path::{Path, PathBuf};

use super::error::PluginError;
use super::stamp::{PluginKind, Stamp, is_name};
use super::wasm::component;

/// A file that may be a plugin.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself, or why it cannot be used.
    pub stamp: Result<Stamp, String>,
}

/// Folders that may hold plugins.
#[derive(Debug, Clone)]
pub struct PluginFolders {
    folders: Vec<PathBuf>,
    preferred: Vec<String>,
}

impl PluginFolders {
    /// These folders, in this order of preference. Ones that do not exist are passed over.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders,
            preferred: Vec::new(),
        }
    }

    /// The same, where plugins of these names go first when several understand a `model_type`.
    pub fn preferring(self, preferred: Vec<String>) -> Self {
        Self { preferred, ..self }
    }

    /// The folders.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The file of the plugin of this name.
    pub fn path(&self, name: &str) -> Result<PathBuf, PluginError> {
        let not_found = || PluginError::NotFound {
            name: name.to_owned(),
            searched: self.folders.clone(),
        };
        // A name is a name: nothing in a manifest may point elsewhere.
        if !is_name(name) {
            return Err(not_found());
        }
        let file = format!("{name}.wasm");
        self.folders
            .iter()
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file())
            .ok_or_else(not_found)
    }

    /// Every plugin file, by name.
    pub fn list(&self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for folder in &self.folders {
            for path in wasm_files(folder) {
                if !found
                    .iter()
                    .any(|other| other.path.file_name() == path.file_name())
                {
                    let stamp = component::read(&path)
                        .map_err(|error| error.to_string())
                        .and_then(|wasm| Stamp::read(&wasm))
                        .and_then(|stamp| agrees(&path, stamp));
                    found.push(Found { path, stamp });
                }
            }
        }
        found.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
        found
    }

    /// The model plugins that understand a `model_type`. The first takes it: those that are preferred by name, then those of earlier folders,
    /// then by file name.
    pub fn for_model_type(&self, model_type: &str) -> Vec<(PathBuf, Stamp)> {
        let understands = |found: Found| {
            let stamp = found.stamp.ok()?;
            let is_model = stamp.kind == PluginKind::Model;
            let knows = is_model && stamp.model_types.iter().any(|known| known == model_type);
            knows.then_some((found.path, stamp))
        };
        let mut all: Vec<_> = self.list().into_iter().filter_map(understands).collect();
        all.sort_by_cached_key(|(path, stamp)| {
            let preferred = self.preferred.iter().position(|name| *name == stamp.name);
            let folder = self
                .folders
                .iter()
                .position(|folder| path.parent() == Some(folder));
            (preferred.unwrap_or(usize::MAX), folder, path.clone())
        });
        all
    }
}

/// A plugin is asked for by its file's name: one that calls itself otherwise would be shown as what it is not.
fn agrees(path: &Path, stamp: Stamp) -> Result<Stamp, String> {
    match path.file_stem().is_some_and(|stem| stem == stamp.name.as_str()) {
        true => Ok(stamp),
        false => Err(format!("it calls itself `{}`: rename the file", stamp.name)),
    }
}

fn wasm_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    files
}
