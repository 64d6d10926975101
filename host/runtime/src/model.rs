//! A model that was opened: its plugins, its files, its settings. Nothing of it changes, and it is cheap to share; what answers with it is
//! [`crate::scheduler::Scheduler`].

pub mod abilities;
mod address;
pub mod cached;
pub mod error;
pub mod generation;
pub mod locate;
pub mod services;
pub mod settings;
pub mod stamp;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use monocle_constraint::{Constraint, ConstraintError, Grammar, Vocabulary};
use monocle_manifest::Manifest;
use monocle_manifest::schema::{Plugin as PluginChoice, ToolFormat};
use monocle_text::template::{Candidates, made_template, plain_template, repository_template};
use monocle_text::{OutputRules, TemplateError, Tokenizer, TokenizerError, TokenizerRules};
use monocle_weights::hub::{Progress, distrust};
use monocle_weights::{Checkpoint, ModelFolder, NameRules};

use crate::plugin::contract::{ModelFiles, Plan};
use crate::plugin::error::PluginError;
use crate::plugin::instance::Instance;
use crate::plugin::limits::Limits;
use crate::plugin::loaded::Plugin;
use crate::plugin::stamp::PluginKind;
use crate::plugin::wasm::component;
use crate::report::ModelReport;
use error::ModelError;
use locate::{Declaration, Places};
use services::{ModelServices, RequestServices};
use settings::Settings;

/// See the module.
pub struct Model {
    /// What it is called and where it comes from.
    pub report: ModelReport,
    /// The manifest's rules.
    pub settings: Settings,
    pub(crate) open_time: Duration,
    processor: Arc<Plugin>,
    /// Where the processor is an adapter.
    network: Option<Arc<Plugin>>,
    processor_files: ModelFiles,
    network_files: ModelFiles,
    services: Arc<ModelServices>,
    /// Keys of `options` that no plugin reads, and why compiled plugins are not kept.
    option_notes: Vec<String>,
    tools: Option<Arc<ToolFormat>>,
    /// Its tokens by what they write, once an answer was constrained.
    vocabulary: OnceLock<Result<Arc<Vocabulary>, ConstraintError>>,
}

/// What a caller may ask for besides the model.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// A template that goes before all others: its text.
    pub template: Option<String>,
    /// Variables for the template, besides the manifest's and before them.
    pub template_variables: serde_json::Map<String, serde_json::Value>,
}

impl Model {
    /// Opens a model: everything is read and checked, no weight is on an engine.
    pub fn open(
        places: &Places,
        declaration: &Declaration,
        options: OpenOptions,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, ModelError> {
        let manifest = &declaration.manifest;
        let path = places.folder(manifest, progress)?;
        let started = Instant::now();
        let folder = places.open(&path)?;
        let (processor, network) = plugins(places, manifest)?;
        let rules = tokenizer_rules(manifest);
        let other = places.other_tokenizer(manifest, progress)?;
        let tokenizer = match &other {
            Some(other) => Tokenizer::with_rules(other, &rules)
                .inspect_err(|_| distrust(&other.join("tokenizer.json")))?,
            None => {
                locate::tokenizer(&folder, &rules).inspect_err(|_| distrust(&path.join("tokenizer.json")))?
            }
        };
        let tokenizer = Arc::new(tokenizer);
        let rename = manifest
            .weights
            .rename
            .iter()
            .map(|(pattern, new)| (pattern.0.as_str(), new.as_str()));
        let ignore = manifest.weights.ignore.iter().map(|pattern| pattern.0.as_str());
        let turn = manifest.weights.turn.iter().map(|pattern| pattern.0.as_str());
        let names = NameRules::new(rename, ignore)?.with_turned(turn)?;
        let checkpoint = Checkpoint::open(&folder, &names)?;
        let candidates = candidates(manifest, &folder, other.as_deref(), options.template)?;
        let tools = tool_format(places, manifest, &candidates, &folder);
        let settings = Settings::new(manifest, folder.config(), folder.generation_config());
        let mut variables = manifest.prompt.variables.clone();
        variables.extend(options.template_variables);
        let adapter_files = |choice: &PluginChoice| files(&folder, choice);
        let processor_files = adapter_files(manifest.adapter.as_ref().unwrap_or(&manifest.plugin))?;
        let network_files = adapter_files(&manifest.plugin)?;
        let mut option_notes = unread_options(manifest, &processor, network.as_ref());
        option_notes.extend(component::not_kept());
        Ok(Self {
            report: ModelReport {
                name: manifest.name.clone(),
                declared_by: declaration.declared_by.clone(),
                folder: path.display().to_string(),
            },
            settings,
            open_time: started.elapsed(),
            processor,
            network,
            processor_files,
            network_files,
            services: Arc::new(ModelServices::new(tokenizer, checkpoint, candidates, variables)),
            option_notes,
            tools,
            vocabulary: OnceLock::new(),
        })
    }

    /// The same model with a template that adds nothing: the prompt is what the messages say. Programs that were recorded for one are good for
    /// the other.
    pub fn without_template(&self) -> Self {
        Self {
            report: self.report.clone(),
            settings: self.settings.clone(),
            open_time: self.open_time,
            processor: Arc::clone(&self.processor),
            network: self.network.clone(),
            processor_files: self.processor_files.clone(),
            network_files: self.network_files.clone(),
            services: Arc::new(self.services.with_template(plain_template(""))),
            vocabulary: self.vocabulary.clone(),
            option_notes: self.option_notes.clone(),
            tools: None,
        }
    }

    /// The tokenizer, as the model's files have it.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.services.tokenizer()
    }

    /// Whether its chat template compiles. It is compiled when a request needs it, so opening a model does not find that out.
    pub fn check_template(&self) -> Result<(), TemplateError> {
        self.services.check_template()
    }

    /// How the model writes calls of tools, where that is known.
    pub fn tools(&self) -> Option<&Arc<ToolFormat>> {
        self.tools.as_ref()
    }

    /// Compiles what answers must look like. It takes a second at most, and as much again when it is first asked for one: no work for the
    /// thread that computes.
    pub fn grammar(&self, constraint: &Constraint) -> Result<Grammar, ConstraintError> {
        let vocabulary = self
            .vocabulary
            .get_or_init(|| Vocabulary::new(self.services.tokenizer()).map(Arc::new));
        match vocabulary {
            Ok(vocabulary) => Grammar::new(constraint, vocabulary),
            Err(error) => Err(error.clone()),
        }
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.services.checkpoint()
    }

    /// The plugins: the one that prepares, and the one that computes where that is another.
    pub fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        [Some(&self.processor), self.network.as_ref()]
            .into_iter()
            .flatten()
            .map(Arc::as_ref)
    }

    /// The plugin that computes.
    pub(crate) fn network_plugin(&self) -> &Plugin {
        self.network.as_ref().unwrap_or(&self.processor)
    }

    /// The files of the plugin that computes.
    pub(crate) fn network_files(&self) -> &ModelFiles {
        match self.network {
            Some(_) => &self.network_files,
            None => &self.processor_files,
        }
    }

    /// An instance that prepares one request, which must end then, and what it has of the model.
    pub(crate) fn processor_instance(
        &self,
        until: Option<Instant>,
    ) -> Result<(Instance, Arc<RequestServices>), PluginError> {
        let services = Arc::new(RequestServices::new(Arc::clone(&self.services)));
        let files = &self.processor_files;
        let instance = self.instance(&self.processor, files, Arc::clone(&services), until)?;
        Ok((instance, services))
    }

    /// An instance that records programs.
    pub(crate) fn recording_instance(&self, until: Option<Instant>) -> Result<Instance, PluginError> {
        let services = Arc::new(RequestServices::new(Arc::clone(&self.services)));
        let plugin = self.network.as_ref().unwrap_or(&self.processor);
        self.instance(plugin, self.network_files(), services, until)
    }

    /// Ids that end an answer: of the model's files, the manifest, the plan. The tokenizer is the request's.
    pub(crate) fn end_tokens(&self, plan: &Plan, tokenizer: &Tokenizer) -> Vec<u32> {
        let files = tokenizer.end_tokens().iter().map(|end| end.id);
        let manifest = self
            .settings
            .stop_tokens
            .iter()
            .filter_map(|token| tokenizer.token_id(token));
        files
            .chain(manifest)
            .chain(plan.stop_tokens.iter().copied())
            .collect()
    }

    /// The output filter's rules for one request.
    pub(crate) fn output_rules(
        &self,
        plan: &Plan,
        stop: &[String],
        services: &RequestServices,
    ) -> OutputRules {
        let mut rules = self.settings.output.clone();
        rules.stop.extend_from_slice(stop);
        rules.keep_tokens.extend_from_slice(&plan.keep_tokens);
        if rules.reasoning.is_none()
            && let Some((markers, from)) = services.reasoning_markers()
        {
            (rules.reasoning, rules.reasoning_from) = (Some(markers), Some(from));
            rules.trim_reasoning = true;
        }
        let opened = rules
            .reasoning
            .as_ref()
            .is_some_and(|markers| markers.opened_by(&plan.text));
        rules.reasoning_opened |= opened;
        rules
    }

    /// The tokens that close reasoning.
    pub(crate) fn thinking_end(
        &self,
        rules: &OutputRules,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, TokenizerError> {
        match &rules.reasoning {
            Some(markers) => tokenizer.encode(&markers.end, false),
            None => Ok(Vec::new()),
        }
    }

    /// Keys of `config.json`, the first few hundred, that stand nowhere in the plugin: it does not read them.
    pub fn unread_config(&self) -> Vec<String> {
        const MOST: usize = 512;
        let config: serde_json::Value = serde_json::from_str(&self.network_files.config).unwrap_or_default();
        let mut keys = BTreeSet::new();
        let mut rest = vec![&config];
        while let Some(value) = rest.pop() {
            let Some(table) = value.as_object() else {
                continue;
            };
            keys.extend(table.keys().map(String::as_str).take(MOST - keys.len()));
            rest.extend(table.values());
        }
        let plugin = self.network.as_ref().unwrap_or(&self.processor);
        let unread = plugin.unmentioned(keys);
        unread.into_iter().map(str::to_owned).collect()
    }

    /// What the user should know of the model's files.
    pub fn notes(&self) -> Vec<String> {
        let tokenizer = self.services.tokenizer();
        let unknown = self
            .settings
            .stop_tokens
            .iter()
            .filter(|token| tokenizer.token_id(token).is_none());
        let unknown =
            unknown.map(|token| format!("the manifest's stop token `{token}` is not in the tokenizer"));
        let checkpoint = self.services.checkpoint().notes().iter().cloned();
        tokenizer
            .notes()
            .iter()
            .cloned()
            .chain(checkpoint)
            .chain(unknown)
            .chain(
                self.settings
                    .generation
                    .unknown_ids(|id| tokenizer.token(id).is_some()),
            )
            .chain(self.option_notes.iter().cloned())
            .chain(self.settings.generation_notes.iter().cloned())
            .collect()
    }

    fn instance(
        &self,
        plugin: &Arc<Plugin>,
        files: &ModelFiles,
        services: Arc<RequestServices>,
        until: Option<Instant>,
    ) -> Result<Instance, PluginError> {
        let limits = Limits {
            until,
            ..self.settings.limits
        };
        Instance::new(plugin, services, limits, files)
    }
}

/// What a manifest says of the tokenizer.
pub(super) fn tokenizer_rules(manifest: &Manifest) -> TokenizerRules {
    TokenizerRules {
        pattern: manifest.tokenizer.pattern.clone(),
    }
}

/// The plugin that prepares requests, and the one that computes where that is another.
fn plugins(places: &Places, manifest: &Manifest) -> Result<(Arc<Plugin>, Option<Arc<Plugin>>), ModelError> {
    let model = load_plugin(places, &manifest.plugin)?;
    let wrong = |plugin: &Plugin, role, kind| ModelError::WrongKind {
        name: plugin.stamp.name.clone(),
        role,
        kind,
    };
    if model.stamp.kind != PluginKind::Model {
        return Err(wrong(&model, "`plugin`", "an adapter"));
    }
    match &manifest.adapter {
        None => Ok((model, None)),
        Some(choice) => {
            let adapter = load_plugin(places, choice)?;
            if adapter.stamp.kind != PluginKind::Adapter {
                return Err(wrong(&adapter, "`adapter`", "a model"));
            }
            Ok((adapter, Some(model)))
        }
    }
}

/// The keys of `options` that stand nowhere in the plugin that is given them: misspelt ones. The contract does not let a plugin say which
/// it knows, but what it looks for by name, it has the name of.
fn unread_options(manifest: &Manifest, processor: &Plugin, network: Option<&Arc<Plugin>>) -> Vec<String> {
    let of = |table: &'static str, choice: &PluginChoice, plugin: &Plugin| -> Vec<String> {
        let unread = plugin.unmentioned(choice.options.keys().map(String::as_str));
        unread
            .into_iter()
            .map(|key| {
                format!(
                    "the plugin `{}` does not know the option `{key}`, which the manifest's `{table}.options` gives it",
                    plugin.stamp.name
                )
            })
            .collect()
    };
    match (&manifest.adapter, network) {
        (Some(adapter), Some(network)) => {
            let both = [
                of("adapter", adapter, processor),
                of("plugin", &manifest.plugin, network),
            ];
            both.concat()
        }
        _ => of("plugin", &manifest.plugin, processor),
    }
}

fn load_plugin(places: &Places, choice: &PluginChoice) -> Result<Arc<Plugin>, PluginError> {
    let plugin = Plugin::load(&places.plugins.path(&choice.name)?, places.plugins.trust())?;
    if plugin.stamp.name != choice.name {
        return Err(PluginError::NotAPlugin {
            reason: format!("it calls itself `{}`: rename the file", plugin.stamp.name),
            path: plugin.path,
        });
    }
    if let Some(wanted) = &choice.version {
        let found =
            semver::Version::parse(&plugin.stamp.version).map_err(|error| PluginError::NotAPlugin {
                path: plugin.path.clone(),
                reason: format!("its version `{}` is none: {error}", plugin.stamp.version),
            })?;
        if !wanted.matches(&found) {
            return Err(PluginError::WrongVersion {
                name: choice.name.clone(),
                wanted: wanted.to_string(),
                found: plugin.stamp.version,
                path: plugin.path,
            });
        }
    }
    Ok(Arc::new(plugin))
}

/// How calls of tools are written: the manifest's word; else, with the folder's own template, the folder's word (`response_template`); else what
/// the template's text tells.
fn tool_format(
    places: &Places,
    manifest: &Manifest,
    candidates: &Candidates,
    folder: &ModelFolder,
) -> Option<Arc<ToolFormat>> {
    if let Some(format) = &manifest.tools {
        return Some(Arc::new(format.clone()));
    }
    let repository = candidates.repository.as_ref().map(|(_, text)| text);
    let given = candidates.flag.as_ref().or(candidates.manifest.as_ref());
    if given.is_none()
        && let Some(config) = folder.tokenizer_config()
        && let Some(format) = monocle_tools::response_template::format(&config["response_template"])
    {
        return Some(Arc::new(format));
    }
    let template = given.or(repository)?;
    let folders = places.manifests.iter().map(|folder| folder.join("tools"));
    let tables: Vec<_> = folders
        .flat_map(|folder| monocle_tools::load(&folder).0)
        .collect();
    monocle_tools::find(&tables, template).cloned().map(Arc::new)
}

/// The templates on offer. Where GGUF files have none, that of the repository whose tokenizer is used counts.
fn candidates(
    manifest: &Manifest,
    folder: &ModelFolder,
    other: Option<&Path>,
    flag: Option<String>,
) -> Result<Candidates, ModelError> {
    let manifest_template = match &manifest.prompt.template {
        Some(template) => Some(template.read()?),
        None if manifest.prompt.plain => Some(plain_template("")),
        None => None,
    };
    Ok(Candidates {
        flag,
        manifest: manifest_template,
        repository: match folder.made_texts() {
            Some(texts) => match (made_template(folder.path(), texts)?, other) {
                (None, Some(other)) => repository_template(other)?,
                (own, _) => own,
            },
            None => repository_template(folder.path())?,
        },
        plugin: None,
        image_marker: String::new(),
    })
}

fn files(folder: &ModelFolder, choice: &PluginChoice) -> Result<ModelFiles, ModelError> {
    let part = folder
        .processor_config()
        .map(|config| &config["image_processor"])
        .filter(|part| part.is_object());
    let preprocessor = folder
        .text("preprocessor_config.json")?
        .or_else(|| part.map(ToString::to_string));
    Ok(ModelFiles {
        config: folder.config().to_string(),
        preprocessor,
        processor: folder.text("processor_config.json")?,
        generation: folder.text("generation_config.json")?,
        options: serde_json::Value::Object(choice.options.clone()).to_string(),
    })
}
