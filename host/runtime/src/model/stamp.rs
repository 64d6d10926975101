//! Whether the files that a model was opened from have changed since.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::locate::Places;
use monocle_manifest::Manifest;
use monocle_manifest::schema::Template;

/// What a model's folder holds besides its weights that decides how it answers, and the weights' own index.
const FILES: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.model",
    "model.safetensors",
    "model.safetensors.index.json",
];

/// Sizes and times of files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Stamp {
    /// Of a model's files. `folder` is where the model is, as far as that is known.
    pub fn of(places: &Places, manifest: &Manifest, declared_by: &Path, folder: Option<&Path>) -> Self {
        let mut paths = vec![declared_by.to_owned()];
        if let Some(Template::File(path)) = &manifest.prompt.template {
            paths.push(path.clone());
        }
        let plugins = [Some(&manifest.plugin), manifest.adapter.as_ref()];
        let plugins = plugins.into_iter().flatten();
        paths.extend(plugins.filter_map(|plugin| places.plugins.path(&plugin.name).ok()));
        if let Some(place) = folder {
            // What lies beside a GGUF file counts as what lies in a folder.
            let folder = match place.is_file() {
                true => place.parent().unwrap_or(place),
                false => place,
            };
            paths.extend(FILES.map(|file| folder.join(file)));
            paths.extend(gguf_files(place));
        }
        Self::default().with(paths)
    }

    /// Of other files, too.
    #[must_use]
    pub fn with(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.0.extend(paths.into_iter().map(|path| {
            let stat = stat(&path);
            (path, stat)
        }));
        self
    }

    /// Of the files of another, too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Of the same files, as they are now.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::default().with(self.0.iter().map(|(path, _)| path.clone()))
    }

    /// The files that are not as they are in another stamp of the same files.
    pub fn changed<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Path> {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .filter(|(own, other)| own != other)
            .map(|((path, _), _)| path.as_path())
    }
}

/// The GGUF files that a model may be made of: those beside the one that is named, or those of the folder.
fn gguf_files(path: &Path) -> Vec<PathBuf> {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    files.sort();
    files
}

/// A file's size and time; nothing where it is not there.
pub fn stat(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
