//! A model, ready to answer: its plugins, its files, its engine.

pub mod error;
pub mod locate;
pub mod services;
pub mod settings;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monocle_manifest::Manifest;
use monocle_manifest::schema::Plugin as PluginChoice;
use monocle_tensor::backend::Backend;
use monocle_tensor::stored::Weight;
use monocle_text::template::{Candidates, plain_template, repository_template};
use monocle_text::{OutputRules, Tokenizer};
use monocle_weights::hub::Progress;
use monocle_weights::{Checkpoint, ModelFolder, NameRules};

use crate::engine::error::EngineError;
use crate::engine::memory::{MemoryLimit, MemoryPolicy};
use crate::engine::programs::Programs;
use crate::engine::report::{ModelReport, PhaseMemory};
use crate::plugin::component::Plugin;
use crate::plugin::contract::{ModelFiles, Plan};
use crate::plugin::error::{Fault, PluginError};
use crate::plugin::instance::Instance;
use crate::plugin::stamp::PluginKind;
use error::ModelError;
use locate::{Declaration, Places};
use services::ModelServices;
use settings::Settings;

/// See the module.
pub struct Model {
    /// What it is called and where it comes from.
    pub report: ModelReport,
    /// The manifest's rules.
    pub settings: Settings,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) programs: Programs,
    pub(crate) load_time: Duration,
    processor: Rc<Plugin>,
    /// Where the processor is an adapter.
    network: Option<Rc<Plugin>>,
    processor_files: ModelFiles,
    network_files: ModelFiles,
    services: Rc<ModelServices>,
    weights: Option<Arc<Vec<Weight>>>,
    on_engine: bool,
    pub(crate) memory: MemoryPolicy,
    pub(crate) load_memory: PhaseMemory,
}

/// What a caller may ask for besides the model.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// A template that goes before all others: its text.
    pub template: Option<String>,
    /// Variables for the template, besides the manifest's and before them.
    pub template_variables: serde_json::Map<String, serde_json::Value>,
    /// Bytes that may be used, in place of the default share.
    pub memory_limit: Option<usize>,
}

impl Model {
    /// Opens a model: everything is read and checked, no weight is on the engine yet.
    pub fn open(
        places: &Places,
        declaration: &Declaration,
        options: OpenOptions,
        mut backend: Box<dyn Backend>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, ModelError> {
        let manifest = &declaration.manifest;
        let path = places.folder(manifest, progress)?;
        let started = Instant::now();
        let folder = ModelFolder::open(&path)?;
        let (processor, network) = plugins(places, manifest)?;
        let tokenizer = Arc::new(Tokenizer::from_folder(&path)?);
        let rename = manifest
            .weights
            .rename
            .iter()
            .map(|(pattern, new)| (pattern.0.as_str(), new.as_str()));
        let ignore = manifest.weights.ignore.iter().map(|pattern| pattern.0.as_str());
        let checkpoint = Checkpoint::open(&folder, &NameRules::new(rename, ignore)?)?;
        let candidates = candidates(manifest, &path, options.template)?;
        let settings = Settings::new(manifest, folder.config());
        let mut variables = manifest.prompt.variables.clone();
        variables.extend(options.template_variables);
        let adapter_files = |choice: &PluginChoice| files(&folder, choice);
        let processor_files = adapter_files(manifest.adapter.as_ref().unwrap_or(&manifest.plugin))?;
        let network_files = adapter_files(&manifest.plugin)?;
        let memory = MemoryPolicy::new(MemoryLimit::choose(options.memory_limit, backend.as_ref()));
        if let Some(limit) = memory.limit {
            backend.keep_within(limit.bytes);
        }
        Ok(Self {
            report: ModelReport {
                name: manifest.name.clone(),
                declared_by: declaration.declared_by.clone(),
                folder: path.display().to_string(),
            },
            settings,
            backend,
            programs: Programs::default(),
            load_time: started.elapsed(),
            processor,
            network,
            processor_files,
            network_files,
            services: Rc::new(ModelServices::new(tokenizer, checkpoint, candidates, variables)),
            weights: None,
            on_engine: false,
            memory,
            load_memory: PhaseMemory::default(),
        })
    }

    /// Hands the weights to the engine, once.
    pub fn load_weights(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Result<(), EngineError> {
        if self.on_engine {
            return Ok(());
        }
        let started = Instant::now();
        if self.weights.is_none() {
            let mut instance = match self.network_instance()? {
                Some(network) => network,
                None => self.processor_instance()?,
            };
            self.load_instance(&mut instance)?;
        }
        self.check_memory(&self.weights_estimate())?;
        self.backend.reset_peak();
        self.backend.load(self.weights(), progress)?;
        self.load_memory = PhaseMemory::now(self.backend.as_ref());
        self.on_engine = true;
        self.load_time += started.elapsed();
        Ok(())
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
            .map(Rc::as_ref)
    }

    /// Where the template of the last prompt came from.
    pub fn template_source(&self) -> String {
        self.services
            .template_source()
            .unwrap_or_else(|| "the plugin (no template was rendered)".to_owned())
    }

    /// Bytes of the weights that the plugin asked for, as stored; 0 before it asked.
    pub fn weight_bytes(&self) -> usize {
        self.weights
            .as_ref()
            .map_or(0, |weights| weights.iter().map(Weight::stored_bytes).sum())
    }

    /// How much memory may be used; `None` where nobody knows how much there is.
    pub fn memory_limit(&self) -> Option<MemoryLimit> {
        self.memory.limit
    }

    /// The engine.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    pub(crate) fn processor_instance(&self) -> Result<Instance, PluginError> {
        self.instance(&self.processor, &self.processor_files)
    }

    pub(crate) fn network_instance(&self) -> Result<Option<Instance>, PluginError> {
        self.network
            .as_ref()
            .map(|plugin| self.instance(plugin, &self.network_files))
            .transpose()
    }

    /// Lets an instance ask for its weights; all instances of a model must ask for the same.
    pub(crate) fn load_instance(&mut self, instance: &mut Instance) -> Result<(), PluginError> {
        let weights = instance.load(&self.network_files)?;
        match &self.weights {
            None => {
                self.backend.announce(&weights);
                self.weights = Some(weights);
            }
            Some(known) => {
                let same = known.len() == weights.len()
                    && known.iter().zip(weights.iter()).all(|(a, b)| {
                        a.name() == b.name() && std::mem::discriminant(a) == std::mem::discriminant(b)
                    });
                if !same {
                    let reason = "asked for other weights than before, with the same files".to_owned();
                    return Err(instance.error("network.load", Fault::Inconsistent(reason)));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn weights(&self) -> Arc<Vec<Weight>> {
        self.weights.clone().unwrap_or_default()
    }

    pub(crate) fn tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(self.services.tokenizer())
    }

    /// Ids that end an answer: of the model's files, the manifest, the plan.
    pub(crate) fn end_tokens(&self, plan: &Plan) -> Vec<u32> {
        let tokenizer = self.services.tokenizer();
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
    pub(crate) fn output_rules(&self, plan: &Plan, stop: &[String]) -> OutputRules {
        let mut rules = self.settings.output.clone();
        rules.stop.extend_from_slice(stop);
        if rules.reasoning.is_none()
            && let Some((markers, from)) = self.services.reasoning_markers()
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
    pub(crate) fn thinking_end(&self, rules: &OutputRules) -> Result<Vec<u32>, EngineError> {
        match &rules.reasoning {
            Some(markers) => Ok(self.services.tokenizer().encode(&markers.end, false)?),
            None => Ok(Vec::new()),
        }
    }

    /// What the user should know of the model's files, and of what the template of the last prompt was given.
    pub fn notes(&self) -> Vec<String> {
        let tokenizer = self.services.tokenizer();
        let unknown = self
            .settings
            .stop_tokens
            .iter()
            .filter(|token| tokenizer.token_id(token).is_none());
        let unknown =
            unknown.map(|token| format!("the manifest's stop token `{token}` is not in the tokenizer"));
        let unread = self.services.unread_variables();
        let unread = unread.into_iter().map(|name| {
            format!("the chat template never reads the variable `{name}`, which was given to it")
        });
        let checkpoint = self.services.checkpoint().notes().iter().cloned();
        tokenizer
            .notes()
            .iter()
            .cloned()
            .chain(checkpoint)
            .chain(unknown)
            .chain(unread)
            .collect()
    }

    fn instance(&self, plugin: &Rc<Plugin>, files: &ModelFiles) -> Result<Instance, PluginError> {
        let services = Rc::clone(&self.services);
        Instance::new(plugin, services, self.settings.limits, files)
    }
}

/// The plugin that prepares requests, and the one that computes where that is another.
fn plugins(places: &Places, manifest: &Manifest) -> Result<(Rc<Plugin>, Option<Rc<Plugin>>), ModelError> {
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

fn load_plugin(places: &Places, choice: &PluginChoice) -> Result<Rc<Plugin>, PluginError> {
    let plugin = Plugin::load(&places.plugins.path(&choice.name)?)?;
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
    Ok(Rc::new(plugin))
}

/// The templates on offer.
fn candidates(
    manifest: &Manifest,
    folder: &std::path::Path,
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
        repository: repository_template(folder)?,
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
