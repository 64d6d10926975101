//! Whether the files that a model was opened from have changed since.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use monocle_manifest::Manifest;
use monocle_manifest::schema::Template;
use monocle_runtime::model::locate::Places;

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
        if let Some(folder) = folder {
            paths.extend(FILES.map(|file| folder.join(file)));
            paths.extend(gguf_files(folder));
        }
        Self(
            paths
                .into_iter()
                .map(|path| (stat(&path), path))
                .map(|(stat, path)| (path, stat))
                .collect(),
        )
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
