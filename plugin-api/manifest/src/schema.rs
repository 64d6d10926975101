//! What a manifest can say. The doc comments here are also the reference that users read.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// A model for Monocle to run.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest format; 1 is the only one.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u32,
    /// What the model is called on the command line: letters, digits, `.`, `_` and `-`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"))]
    pub name: String,
    /// One line for people.
    pub description: Option<String>,
    /// The plugin that holds the model's architecture. A plain string is short for `{ name = … }`.
    pub plugin: Plugin,
    /// An adapter plugin that does prompt, pixels and output, and borrows the forward pass of `plugin`.
    pub adapter: Option<Plugin>,
    /// Where the model's folder is: exactly one of `repo` and `path`.
    pub source: Source,
    /// How text becomes tokens, where the model's files do not say.
    #[serde(default)]
    pub tokenizer: TokenizerRules,
    /// How messages become a prompt. What the model's folder ships is used unless overridden here.
    #[serde(default)]
    pub prompt: Prompt,
    /// What pictures are accepted.
    #[serde(default)]
    pub image: ImageRules,
    /// How tokens are chosen and when generation ends. What is absent comes from the model's own
    /// `generation_config.json`, then from Monocle's defaults.
    #[serde(default)]
    pub generation: Generation,
    /// What is done to the generated text.
    #[serde(default)]
    pub output: Output,
    /// How the model writes calls of tools. When absent: what `response_template` in the model's own `tokenizer_config.json` says, else the
    /// table of `manifests/tools` whose marks the chat template has.
    pub tools: Option<ToolFormat>,
    /// How the checkpoint's names are mapped to the names that the plugin asks for.
    #[serde(default)]
    pub weights: WeightRules,
    /// What the plugin may use, in place of Monocle's defaults; no more than its fixed maximum.
    #[serde(default)]
    pub limits: Limits,
}

/// A plugin, by name.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(from = "PluginForm")]
#[schemars(with = "PluginForm")]
pub struct Plugin {
    /// The plugin's name.
    pub name: String,
    /// Versions that will do; `None`: any.
    pub version: Option<semver::VersionReq>,
    /// Handed to the plugin, as JSON, when it loads.
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl Plugin {
    /// Any version of the plugin called `name`, without options.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: None,
            options: serde_json::Map::new(),
        }
    }
}

/// A name, or a table with the name in it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum PluginForm {
    Name(PluginName),
    Table(PluginTable),
}

/// A plugin's name: lower-case letters, digits and `-`.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct PluginName(#[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))] String);

/// A plugin with what is asked of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PluginTable {
    /// The plugin's name: lower-case letters, digits and `-`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))]
    name: String,
    /// Accepted versions, in Cargo's notation: `"0.1"` takes 0.1.0 and later 0.1.x. When absent: any version.
    #[schemars(with = "Option<String>", extend("format" = "semver-requirement"))]
    version: Option<semver::VersionReq>,
    /// Handed to the plugin, as JSON, when it loads; the plugin's own documentation says what it takes.
    #[serde(default)]
    options: serde_json::Map<String, serde_json::Value>,
}

impl From<PluginForm> for Plugin {
    fn from(form: PluginForm) -> Self {
        match form {
            PluginForm::Name(PluginName(name)) => Self::named(name),
            PluginForm::Table(table) => Self {
                name: table.name,
                version: table.version,
                options: table.options,
            },
        }
    }
}

/// Where a model's files are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "SourceTable")]
#[schemars(with = "SourceTable")]
pub enum Source {
    /// A Hugging Face repository, fetched into the standard cache.
    Repo {
        /// `organisation/name`.
        repo: String,
        /// Branch, tag or commit.
        revision: String,
        /// Which of its GGUF models, by its files' names.
        gguf: Option<String>,
        /// Repositories with the same model, stored otherwise.
        also: Vec<String>,
    },
    /// A folder, or a GGUF file. Relative to the manifest's own until the manifest is loaded from its file.
    Path(PathBuf),
}

/// The branch that is meant where none is named.
const MAIN: &str = "main";

/// Where a model's files are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SourceTable {
    /// A Hugging Face repository: `organisation/name`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"))]
    repo: Option<String>,
    /// Branch, tag or commit of `repo`; `main` when absent.
    #[schemars(length(min = 1))]
    revision: Option<String>,
    /// Which of the GGUF models in `repo`, by the last part of its file's name: `Q8_0`. When absent: the repository's only model.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    gguf: Option<String>,
    /// Repositories with the same model, stored otherwise: conversions to other bits, copies. Who asks for one gets its newest revision, under its
    /// own name, and everything else as the manifest says. A repository that needs weights or a tokenizer of its own kind needs a manifest of its own.
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")))]
    also: Vec<String>,
    /// A folder with the model's files, or a GGUF file (its `mmproj` file lies beside it), relative to the manifest.
    #[schemars(length(min = 1))]
    path: Option<PathBuf>,
}

impl TryFrom<SourceTable> for Source {
    type Error = String;

    fn try_from(table: SourceTable) -> Result<Self, String> {
        match (table.repo, table.path) {
            (Some(_), None) if table.gguf.is_some() && !table.also.is_empty() => {
                Err("`also` in `[source]` names repositories that are folders of weights, and `gguf` one model of several; keep one of them".into())
            }
            (Some(repo), None) => Ok(Self::Repo {
                repo,
                revision: table.revision.unwrap_or_else(|| MAIN.to_owned()),
                gguf: table.gguf,
                also: table.also,
            }),
            (None, Some(_)) if !table.also.is_empty() => {
                Err("`also` in `[source]` goes with `repo`, not with `path`; remove it".into())
            }
            (None, Some(_)) if table.revision.is_some() => {
                Err("`revision` in `[source]` goes with `repo`, not with `path`; remove it".into())
            }
            (None, Some(_)) if table.gguf.is_some() => {
                Err("`gguf` in `[source]` goes with `repo`; name the GGUF file in `path`".into())
            }
            (None, Some(path)) => Ok(Self::Path(path)),
            (Some(_), Some(_)) => Err("`[source]` has both `repo` and `path`; keep one of them".into()),
            (None, None) => Err("`[source]` needs one of `repo` and `path`; it has neither".into()),
        }
    }
}

/// How text becomes tokens, where the model's files do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenizerRules {
    /// A Hugging Face repository whose tokenizer is used in place of the model's own: `organisation/name`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"))]
    pub repo: Option<String>,
    /// Branch, tag or commit of `repo`; `main` when absent.
    #[schemars(length(min = 1))]
    pub revision: Option<String>,
    /// The regular expression that cuts text before tokens are looked up, for tokenizers that are files of ranks (tiktoken): what the model's
    /// Python code calls `pat_str`. Look-ahead is understood.
    #[schemars(length(min = 1))]
    pub pattern: Option<String>,
}

/// How messages become a prompt.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prompt {
    /// A chat template in Jinja: the name of a file beside the manifest that ends in `.jinja`, or the template itself.
    pub template: Option<Template>,
    /// The system message, unless the user gives one.
    pub system: Option<String>,
    /// For base models without a chat template: the prompt is the pictures, then the user's text, and nothing else.
    pub plain: bool,
    /// Variables that the chat template reads, besides those that it is always given: `{ enable_thinking = false }`. The command line's
    /// `--template-var` overrides them.
    pub variables: serde_json::Map<String, serde_json::Value>,
}

/// A chat template.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub enum Template {
    /// The template's text.
    Inline(String),
    /// A file that holds it. Relative to the manifest's folder until the manifest is loaded from its file.
    File(PathBuf),
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        if text.ends_with(".jinja") && !text.contains(['\n', '{']) {
            Self::File(PathBuf::from(text))
        } else {
            Self::Inline(text)
        }
    }
}

/// What pictures are accepted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageRules {
    /// The largest picture, in pixels (width times height), that is used as it is.
    #[schemars(range(min = 1))]
    pub max_pixels: Option<u64>,
    /// What happens to a picture with more pixels than `max_pixels`.
    pub over: Oversize,
    /// How 16-bit grey pictures become 8-bit: the whole range is scaled (`scale`, when absent), or values above 255 are cut off
    /// (`pillow`), as Pillow and most models' own code do.
    pub wide_grey: WideGrey,
    /// How many pictures one prompt may hold.
    #[schemars(range(min = 1))]
    pub max_images: Option<u32>,
}

/// What happens to a picture that is too large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Oversize {
    /// Scale it down, and say so.
    #[default]
    Shrink,
    /// Refuse it, with the numbers.
    Refuse,
}

/// What becomes of grey pictures of 16 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WideGrey {
    /// Scale 0 to 65535 to 0 to 255, and say so.
    #[default]
    Scale,
    /// Cut off what is above 255, and say so.
    Pillow,
}

/// How tokens are chosen and when generation ends.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Generation {
    /// The most tokens that one answer may have.
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u32>,
    /// 0 always takes the likeliest token; 1 samples from the model's own distribution.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub temperature: Option<f32>,
    /// Sample only among this many likeliest tokens; 0: among all.
    pub top_k: Option<u32>,
    /// Sample only among the likeliest tokens that together hold this share of the probability.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: Option<f32>,
    /// Sample only among tokens at least this share as likely as the likeliest.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_p: Option<f32>,
    /// Above 1, tokens that have occurred become less likely.
    #[schemars(range(min = 0.01, max = 100.0))]
    pub repetition_penalty: Option<f32>,
    /// Taken from the logit of each token that the answer has already: OpenAI's `presence_penalty`.
    #[schemars(range(min = -2.0, max = 2.0))]
    pub presence_penalty: Option<f32>,
    /// The same, as many times as the answer has it: OpenAI's `frequency_penalty`.
    #[schemars(range(min = -2.0, max = 2.0))]
    pub frequency_penalty: Option<f32>,
    /// Pairs of a token's id and what is added to its logit, -100 to 100: `[[123, -5.0]]`.
    pub logit_bias: Option<Vec<(u32, f32)>>,
    /// Makes sampling repeatable.
    pub seed: Option<u64>,
    /// Texts that end the answer; they are not shown. In the reasoning they are ordinary text.
    #[schemars(inner(length(min = 1)))]
    pub stop: Vec<String>,
    /// Tokens, as the tokenizer writes them, that end generation besides those that the model's folder names.
    #[schemars(inner(length(min = 1)))]
    pub stop_tokens: Vec<String>,
}

/// What is done to the generated text.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Texts that are removed wherever they occur.
    #[schemars(inner(length(min = 1)))]
    pub strip: Vec<String>,
    /// The marks between which the model reasons; that part is reported apart from the answer. When absent: well-known marks that the chat
    /// template writes, or that are single tokens.
    pub reasoning: Option<Reasoning>,
    /// Remove white space before the first word of the answer and of the reasoning.
    pub trim: bool,
}

/// The marks between which a model reasons.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reasoning {
    /// The text that opens the reasoning.
    #[schemars(length(min = 1))]
    pub start: String,
    /// The text that closes it.
    #[schemars(length(min = 1))]
    pub end: String,
    /// The prompt already opens the reasoning, so the answer begins inside it.
    #[serde(default)]
    pub opened: bool,
    /// The most tokens of reasoning; after that many, Monocle closes it.
    #[schemars(range(min = 1))]
    pub budget: Option<u32>,
}

/// How a model writes calls of tools.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolFormat {
    /// What a call looks like.
    pub shape: ToolShape,
    /// The texts of which any opens a call.
    #[serde(default)]
    #[schemars(inner(length(min = 1)))]
    pub open: Vec<String>,
    /// The text that closes a call; empty where nothing does.
    #[serde(default)]
    pub close: String,
    /// The texts around all calls of an answer.
    pub section: Option<[String; 2]>,
    /// An answer may also begin with a call that nothing opens.
    #[serde(default)]
    pub bare: bool,
    /// `json`: a list holds all calls.
    #[serde(default)]
    pub array: bool,
    /// `json`: the key of the tool's name.
    #[serde(default = "name_key")]
    pub name_key: String,
    /// `json`: the key of the arguments.
    #[serde(default = "arguments_key")]
    pub arguments_key: String,
    /// Other shapes: the texts before and after the tool's name.
    #[serde(default)]
    pub around_name: [String; 2],
    /// What stands before the name where the model numbers its calls itself, as in `functions.NAME:0`.
    #[serde(default)]
    pub id_prefix: String,
    /// `tagged`: the texts before an argument's name, between it and the value, and after the value; or four, where name and value each have
    /// two of their own.
    #[serde(default)]
    pub argument: Vec<String>,
    /// `loose`: pairs of quotation marks around texts.
    #[serde(default)]
    pub quotes: Vec<[String; 2]>,
}

fn name_key() -> String {
    "name".to_owned()
}

fn arguments_key() -> String {
    "arguments".to_owned()
}

/// What a call of a tool looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ToolShape {
    /// JSON with name and arguments in it.
    Json,
    /// The name, then the arguments as JSON.
    NameJson,
    /// The name, then each argument between tags.
    Tagged,
    /// A list of calls as Python writes them.
    Python,
    /// The name, then arguments with bare keys and quotation marks of the model's own.
    Loose,
}

/// How the checkpoint's names are mapped to the names that the plugin asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightRules {
    /// Pairs of a regular expression and its replacement (`$1` stands for the first group), applied one after another
    /// to each name in the checkpoint.
    #[schemars(length(max = 64))]
    pub rename: Vec<(Pattern, String)>,
    /// Regular expressions; tensors whose name in the checkpoint matches one are left out.
    #[schemars(length(max = 64))]
    pub ignore: Vec<Pattern>,
    /// Regular expressions; of tensors whose name in the checkpoint matches one, the last two dimensions change places, in new memory, as soon as they
    /// are read. For experts that are stored by their inputs.
    #[schemars(length(max = 64))]
    pub turn: Vec<Pattern>,
}

/// A regular expression, in the syntax of Rust's `regex` crate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pattern(#[schemars(extend("format" = "regex"))] pub String);

/// What the plugin may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The plugin's own memory, in MiB (weights and activations are in the host and do not count).
    #[schemars(range(min = 1))]
    pub memory_mib: Option<u32>,
    /// How long one call into the plugin may take, in milliseconds.
    #[schemars(range(min = 1))]
    pub call_timeout_ms: Option<u32>,
    /// How many tensors one recording may make. Each operation makes one, so this is a limit on operations too.
    #[schemars(range(min = 1))]
    pub tensors: Option<u32>,
    /// How many operations one recording may have.
    #[schemars(range(min = 1))]
    pub operations: Option<u32>,
}

impl Manifest {
    /// The manifest of a model that has none: only a plugin and a place, everything else left to the model's folder.
    pub fn new(name: impl Into<String>, plugin: Plugin, source: Source) -> Self {
        Self {
            schema: crate::SCHEMA_VERSION,
            name: name.into(),
            description: None,
            plugin,
            adapter: None,
            source,
            tokenizer: TokenizerRules::default(),
            prompt: Prompt::default(),
            image: ImageRules::default(),
            generation: Generation::default(),
            tools: None,
            output: Output::default(),
            weights: WeightRules::default(),
            limits: Limits::default(),
        }
    }

    /// The same model as another repository stores it, under that repository's name; nothing where `also` does not name it.
    pub fn stored_in(&self, asked: &str) -> Option<Self> {
        let Source::Repo { also, .. } = &self.source else {
            return None;
        };
        also.iter().any(|repo| repo == asked).then(|| Self {
            name: asked.to_owned(),
            source: Source::Repo {
                repo: asked.to_owned(),
                revision: MAIN.to_owned(),
                gguf: None,
                also: Vec::new(),
            },
            ..self.clone()
        })
    }

    /// Other repositories with the same model.
    pub fn also(&self) -> &[String] {
        match &self.source {
            Source::Repo { also, .. } => also,
            Source::Path(_) => &[],
        }
    }
}
