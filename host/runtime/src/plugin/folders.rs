//! Finding plugins: files `NAME.wasm` in a list of folders, the first that has a name wins; in one folder, a component goes before a native
//! library of its name.

use std::path::{Path, PathBuf};

use super::error::PluginError;
use super::stamp::{PluginKind, Stamp, is_name};
use super::trust::Trust;
use super::{file, native};

/// A file that may be a plugin.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself, or why it cannot be used.
    pub stamp: Result<Stamp, String>,
    /// Whether it is a native library.
    pub native: bool,
}

/// Folders that may hold plugins.
#[derive(Debug, Clone)]
pub struct PluginFolders {
    folders: Vec<PathBuf>,
    preferred: Vec<String>,
    trust: Trust,
}

impl PluginFolders {
    /// These folders, in this order of preference. Ones that do not exist are passed over.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders,
            preferred: Vec::new(),
            trust: Trust::nothing(),
        }
    }

    /// The same, where plugins of these names go first when several understand a `model_type`.
    pub fn preferring(self, preferred: Vec<String>) -> Self {
        Self { preferred, ..self }
    }

    /// The same, where these native libraries may run.
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// The same folders after this one.
    pub fn after(&self, first: PathBuf) -> Self {
        let folders = [first].into_iter().chain(self.folders.iter().cloned());
        Self {
            folders: folders.collect(),
            ..self.clone()
        }
    }

    /// Which native libraries may run.
    pub fn trust(&self) -> &Trust {
        &self.trust
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
        let files = [format!("{name}.wasm"), format!("{name}{}", native::ENDING)];
        self.folders
            .iter()
            .flat_map(|folder| files.each_ref().map(|file| folder.join(file)))
            .find(|path| path.is_file())
            .ok_or_else(not_found)
    }

    /// Every plugin file, by name.
    pub fn list(&self) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for folder in &self.folders {
            for path in files(folder) {
                if !found
                    .iter()
                    .any(|other| other.path.file_stem() == path.file_stem())
                {
                    found.push(self.look_at(path));
                }
            }
        }
        found.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
        found
    }

    /// A file: nothing of it is run.
    fn look_at(&self, path: PathBuf) -> Found {
        let bytes = match file::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                return Found {
                    path,
                    stamp: Err(error.to_string()),
                    native: false,
                };
            }
        };
        let native = native::is_library(&bytes);
        let stamp = Stamp::read(&bytes).and_then(|stamp| agrees(&path, stamp));
        let stamp = stamp.and_then(|stamp| match native {
            true => match self.trust.check(&path, &stamp, &file::sha256(&bytes)) {
                Ok(()) => Ok(stamp),
                Err(error) => Err(error.to_string()),
            },
            false => Ok(stamp),
        });
        Found { path, stamp, native }
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

/// The files of a folder that may be plugins, components before libraries.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let ends = |path: &PathBuf, ending: &str| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.ends_with(ending))
    };
    let mut files: Vec<(bool, PathBuf)> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| ends(path, ".wasm") || ends(path, native::ENDING))
        .map(|path| (!ends(&path, ".wasm"), path))
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}
