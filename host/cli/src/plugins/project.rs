//! The folder that an author works in.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use monocle_component::NewStamp;
use monocle_runtime::plugin::folders::PluginFolders;
use monocle_runtime::plugin::native;
use monocle_runtime::plugin::stamp::is_name;
use serde::Deserialize;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with the crate `monocle-plugin`
    Rust,
    /// C, with clang
    C,
    /// JavaScript, with componentize-js
    Js,
    /// Python, with componentize-py
    Python,
}

impl Language {
    /// As `--lang` and `plugin.json` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Js => "js",
            Self::Python => "python",
        }
    }
}

/// `plugin.json`: what a plugin that is not in Rust says of itself. (In Rust it is the crate and the export macro that say it.)
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is written in.
    pub language: Language,
    /// `adapter` or `model`.
    pub world: String,
    /// Values of `model_type` that it serves.
    #[serde(default)]
    pub model_types: Vec<String>,
    /// Whether `processor.output` is to be called.
    #[serde(default)]
    pub filters_output: bool,
    /// Whether `processor.parts` is to be called.
    #[serde(default)]
    pub answers_parts: bool,
}

impl Description {
    /// For the stamp.
    pub fn stamp(&self) -> NewStamp {
        NewStamp {
            name: self.name.clone(),
            version: self.version.clone(),
            model_types: self.model_types.clone(),
            filters_output: self.filters_output,
            answers_parts: self.answers_parts,
        }
    }
}

/// A plugin's folder.
#[derive(Debug)]
pub struct Project {
    /// Where it is.
    pub folder: PathBuf,
    /// The plugin's name.
    pub name: String,
    /// What it says of itself where it is not in Rust.
    pub description: Option<Description>,
}

impl Project {
    /// The project in this folder, if it is one.
    pub fn open(folder: &Path) -> anyhow::Result<Option<Self>> {
        let described = folder.join("plugin.json");
        if described.is_file() {
            let text = monocle_files::read_text(&described, monocle_files::TEXT)
                .with_context(|| format!("cannot read `{}`", described.display()))?;
            let description: Description = serde_json::from_str(&text)
                .with_context(|| format!("`{}` is malformed", described.display()))?;
            anyhow::ensure!(
                is_name(&description.name),
                "`{}`: a plugin cannot be called {:?}",
                described.display(),
                description.name
            );
            return Ok(Some(Self {
                folder: folder.to_owned(),
                name: description.name.clone(),
                description: Some(description),
            }));
        }
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            return Ok(None);
        }
        let text = monocle_files::read_text(&manifest, monocle_files::TEXT)
            .with_context(|| format!("cannot read `{}`", manifest.display()))?;
        let read: CargoManifest =
            toml::from_str(&text).with_context(|| format!("`{}` is malformed", manifest.display()))?;
        Ok(Some(Self {
            folder: folder.to_owned(),
            name: read.package.name,
            description: None,
        }))
    }

    /// As [`Project::open`]; it must be one.
    pub fn must_open(folder: &Path) -> anyhow::Result<Self> {
        Self::open(folder)?.with_context(|| {
            format!(
                "`{}` is no plugin's folder: it has neither `Cargo.toml` nor `plugin.json`\n\nhint: `monocle plugins new NAME` makes one",
                folder.display()
            )
        })
    }

    /// What `monocle plugins build` made: the component, or where there is none, the native library.
    pub fn built(&self) -> PathBuf {
        let of = |ending: &str| self.plugins().join(format!("{}{ending}", self.name));
        let library = Some(of(native::ENDING)).filter(|library| library.is_file());
        let component = of(".wasm");
        match component.is_file() {
            true => component,
            false => library.unwrap_or(component),
        }
    }

    /// Where `monocle plugins build` puts the plugin.
    pub fn plugins(&self) -> PathBuf {
        self.folder.join("plugins")
    }

    /// The manifest of the model that it is tried on.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }

    /// These folders of plugins, after the project's own.
    pub fn first_of(&self, others: &PluginFolders) -> PluginFolders {
        others.after(self.plugins())
    }
}

#[derive(Deserialize)]
struct CargoManifest {
    package: CargoPackage,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
}
