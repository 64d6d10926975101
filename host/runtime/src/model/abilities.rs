//! What a model is and can do, as its files say it: lists of models tell it of models that nobody opened.

use std::path::Path;

use monocle_manifest::Manifest;
use monocle_text::find_markers;
use serde_json::Value;

use super::error::ModelError;
use super::locate::Places;
use super::settings::Settings;
use super::{candidates, tool_format};

/// See the module.
#[derive(Debug, Clone)]
pub struct Abilities {
    /// The model's `config.json`.
    pub config: Value,
    /// How most of its GGUF files are stored, in llama.cpp's words; nothing where it has none.
    pub stored_as: Option<String>,
    /// The rules of its manifest.
    pub settings: Settings,
    /// The chat template; nothing where it is the plugin's own.
    pub template: Option<String>,
    /// Whether it is known how the model writes calls of tools.
    pub calls_tools: bool,
    /// Whether it is known how the model marks its reasoning.
    pub reasons: bool,
}

impl Abilities {
    /// Those of a manifest's model whose files are in a folder, or in GGUF files. No plugin is asked, and no weight is read.
    pub fn of(places: &Places, manifest: &Manifest, folder: &Path) -> Result<Self, ModelError> {
        let folder = places.open(folder)?;
        let other = manifest.tokenizer.repo.as_deref().and_then(|repo| {
            let revision = manifest.tokenizer.revision.as_deref().unwrap_or("main");
            places.hub.locate(repo, revision).ok().flatten()
        });
        let other = other.as_ref().map(|located| located.folder.as_path());
        let candidates = candidates(manifest, &folder, other, None)?;
        let calls_tools = tool_format(places, manifest, &candidates, &folder).is_some();
        let settings = Settings::new(manifest, folder.config(), folder.generation_config());
        let template = candidates
            .manifest
            .or(candidates.repository.map(|(_, text)| text));
        let added = folder
            .tokenizer_config()
            .and_then(|config| config["added_tokens_decoder"].as_object());
        let is_token = |text: &str| {
            let mut tokens = added.into_iter().flat_map(|added| added.values());
            tokens.any(|token| token["content"] == text)
        };
        let reasons =
            settings.output.reasoning.is_some() || find_markers(template.as_deref(), is_token).is_some();
        Ok(Self {
            config: folder.config().clone(),
            stored_as: folder.stored_as().map(str::to_owned),
            settings,
            template,
            calls_tools,
            reasons,
        })
    }
}
