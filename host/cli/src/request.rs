//! What commands that run a model have in common: the model, pictures, and how it is opened; for `run` and `inspect` a prompt, too.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use monocle_manifest::schema::Source;
use monocle_runtime::engines::{self, EngineName, EngineOptions, EngineUnavailable, KeyValueType};
use monocle_runtime::model::locate::Places;
use monocle_runtime::model::stamp::Stamp;
use monocle_runtime::model::{Model, OpenOptions};
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions};
use monocle_tensor::backend::Backend;
use monocle_text::template::{FIXED_VARIABLES, read_template_argument};

use super::Misuse;
use super::isolate::{self, Needs};
use super::output;
use super::overdue::Watch;
use super::pictures;
use super::progress::DownloadBar;

/// What is asked about pictures.
pub const USUAL_QUESTION: &str = "Describe this image.";
/// The most bytes of a prompt on standard input.
const LONGEST_PROMPT: u64 = 16 << 20;

// What is asked about. (No doc comment: it would be the help of the command that has this in it.)
#[derive(Debug, Args)]
pub struct ModelAndPictures {
    /// A manifest's name or path, a model's folder, or a Hugging Face repository
    pub model: String,

    /// Picture files; `photo.tif#2` takes the second page or frame, a folder stands for its pictures in the order of their names (at
    /// most 64), `-` for one on standard input; addresses that begin with https:, http:, data: or file: work too
    pub images: Vec<PathBuf>,

    /// Fetch pictures from this machine and its local network too (127.0.0.1, 192.168.…), not only from public addresses
    #[arg(long)]
    pub allow_private_addresses: bool,
}

// One question.
#[derive(Debug, Args)]
pub struct RequestArguments {
    #[command(flatten)]
    about: ModelAndPictures,

    /// What to ask; `-` reads it from standard input [default: "Describe this image."; without a picture, standard input if it is
    /// piped]
    #[arg(short, long, allow_hyphen_values = true)]
    prompt: Option<String>,

    /// Read and compute in a process that has no network, writes no files and reads no others than the model's and the pictures (Linux only)
    #[arg(long)]
    pub isolate: bool,

    #[command(flatten)]
    pub length: AnswerLength,

    #[command(flatten)]
    pub options: ModelOptions,
}

// How long an answer may be.
#[derive(Debug, Args)]
pub struct AnswerLength {
    /// The most tokens of the answer [default: the manifest's, else the model's, else 512]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
}

// How the model is opened, and what it may take.
#[derive(Debug, Args)]
pub struct ModelOptions {
    /// The system message, in place of the manifest's
    #[arg(long, allow_hyphen_values = true)]
    pub system: Option<String>,

    /// A chat template in place of the model's own: a .jinja file, or the template itself
    #[arg(long, allow_hyphen_values = true)]
    pub template: Option<String>,

    /// A variable for the chat template, like `enable_thinking=false`: JSON where it is some, else text (may be given several times)
    #[arg(long, value_name = "NAME=VALUE", value_parser = template_variable)]
    pub template_var: Vec<(String, serde_json::Value)>,

    /// Tokens of one prefill step
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub prefill_chunk: u32,

    #[command(flatten)]
    pub engine: EngineArguments,
}

// What computes, and what it may take.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct EngineArguments {
    /// What computes [default: mlx on macOS, else cpu]
    #[arg(long, value_enum)]
    pub engine: Option<Engine>,

    /// How exactly the engine computes. `cpu` computes in 32 bits and rounds what weights are multiplied with: `auto` to 16-bit integers where
    /// weights are quantised, which nobody notices; `int8` to 8 bits there, which is faster in prefill and changes some answers; `bf16` to
    /// bf16 where weights are bf16, and in attention of many rows; `f32` rounds nothing. `mlx` computes in what this names
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    pub precision: Precision,

    /// What the keys and values of earlier tokens are stored in: f32 loses nothing, q8 takes the least memory [default: f16 on `cpu`; on
    /// `mlx` what it computes in]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub kv_type: Option<KeyValues>,

    /// Memory that weights, pictures and the engine may take, like `4GB`; what needs more is refused before it is computed
    /// [default: what the device recommends, else three quarters of the machine's memory]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse)]
    pub memory_limit: Option<usize>,

    /// Processor threads of the engine `cpu` [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// This machine's processor
    Cpu,
    /// Apple's MLX: the graphics processor of a Mac
    Mlx,
}

/// What floats are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// On `mlx` as the model's weights are stored; on `cpu` 32 bits, but 16-bit integers times quantised weights
    #[default]
    Auto,
    /// 32 bits, nothing rounded
    F32,
    /// The upper 16 of 32 bits; on `mlx` half the memory for what is not quantised, on `cpu` as `auto` but for weights of bf16
    Bf16,
    /// Only on `mlx`: 16 bits, finer than bf16, but nothing beyond 65504
    F16,
    /// Only on `cpu`: as `auto`, but 8-bit integers with a scale for each 32
    Int8,
}

/// What keys and values are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyValues {
    /// 32 bits
    F32,
    /// The upper 16 of 32 bits
    Bf16,
    /// 16 bits, finer than bf16, but nothing beyond 65504
    F16,
    /// 8 bits, with a scale for each 32 elements
    Q8,
}

impl RequestArguments {
    /// As [`RequestArguments::open_stamped`], with the usual question where nothing is asked.
    pub fn open(&self, quiet: bool, limit: Duration) -> anyhow::Result<(Scheduler, Request)> {
        let prompt = self.question()?.unwrap_or_else(|| USUAL_QUESTION.to_owned());
        let (scheduler, request, _) = self.open_asked(&prompt, quiet, limit)?;
        Ok((scheduler, request))
    }

    /// The model, opened, and the request, with the state of the model's files and the pictures from before they were read; `quiet` shows no
    /// progress. What the user can get wrong is checked first, before anything is fetched or loaded; the process ends where opening takes longer
    /// than `limit`.
    pub fn open_stamped(&self, quiet: bool, limit: Duration) -> anyhow::Result<(Scheduler, Request, Stamp)> {
        self.open_asked(&self.prompt()?, quiet, limit)
    }

    fn open_asked(
        &self,
        prompt: &str,
        quiet: bool,
        limit: Duration,
    ) -> anyhow::Result<(Scheduler, Request, Stamp)> {
        let seen = Stamp::default().with(self.about.images.iter().cloned());
        let pictures = self.about.pictures(quiet)?;
        let needs = self.isolate.then(|| Needs {
            read: pictures.iter().filter_map(file_of).collect(),
            memory: self.options.engine.memory_limit.or_else(usual_limit),
        });
        let (scheduler, stamp) = self
            .options
            .open_stamped(&self.about.model, 0, quiet, needs, limit)?;
        let system = self.options.system(scheduler.model());
        let request = Request::single(system, pictures, prompt);
        Ok((scheduler, request, stamp.and(seen)))
    }

    /// Whether standard input is part of what is asked: then it can be asked once.
    pub fn reads_standard_input(&self) -> bool {
        let picture = self
            .about
            .images
            .iter()
            .any(|path| pictures::is_standard_input(path));
        picture
            || self.prompt.as_deref() == Some("-")
            || (self.prompt.is_none() && self.about.images.is_empty())
    }

    /// What is asked, and the pictures' names as a JSON list. (What standard input said can be read once: then there is no question.)
    pub fn asked(&self) -> anyhow::Result<[String; 2]> {
        let prompt = match self.prompt.as_deref() {
            None if !self.about.images.is_empty() => self.prompt()?,
            None | Some("-") => String::new(),
            Some(prompt) => prompt.to_owned(),
        };
        let names = self.about.images.iter().map(|path| path.display().to_string());
        let names: Vec<String> = names.collect();
        Ok([prompt, serde_json::to_string(&names)?])
    }

    fn prompt(&self) -> anyhow::Result<String> {
        self.question()?.ok_or_else(nothing_asked)
    }

    /// What is asked, if something is.
    fn question(&self) -> anyhow::Result<Option<String>> {
        let images = &self.about.images;
        match self.prompt.as_deref() {
            Some("-") if images.iter().any(|path| pictures::is_standard_input(path)) => Err(Misuse(
                "standard input is the question or a picture, not both: `-` is given for each".to_owned(),
            )
            .into()),
            Some("-") => read_prompt(),
            Some(prompt) => Ok(Some(prompt.to_owned())),
            None if !images.is_empty() => Ok(Some(USUAL_QUESTION.to_owned())),
            None if !std::io::stdin().is_terminal() => read_prompt(),
            None => Ok(None),
        }
    }
}

impl ModelAndPictures {
    /// The pictures; a folder's are named, as nobody typed them.
    pub fn pictures(&self, quiet: bool) -> anyhow::Result<Vec<PictureInput>> {
        let pictures = pictures::read(&self.images, self.allow_private_addresses)?;
        if !quiet && pictures.len() > self.images.len() {
            let names: Vec<String> = pictures.iter().map(PictureInput::name).collect();
            output::note(&format!(
                "note: {} pictures in one question: {}",
                names.len(),
                names.join(", ")
            ));
        }
        Ok(pictures)
    }
}

impl AnswerLength {
    /// The most tokens, where somebody said so.
    pub fn asked(&self) -> Option<usize> {
        self.max_tokens.map(|tokens| tokens as usize)
    }

    /// The most tokens of the answer.
    pub fn max_tokens(&self, model: &Model) -> usize {
        self.max_tokens
            .map_or(model.settings.generation.max_tokens.value, |tokens| {
                tokens as usize
            })
    }
}

impl ModelOptions {
    /// The model, opened, with so many bytes to keep for later requests; `quiet` shows no progress. With `needs`, all that is left to do is done
    /// behind a wall: what is to be fetched is fetched before. Downloads apart, the process ends where opening takes longer than `limit`.
    pub fn open(
        &self,
        model: &str,
        cache_limit: usize,
        quiet: bool,
        needs: Option<Needs>,
        limit: Duration,
    ) -> anyhow::Result<Scheduler> {
        Ok(self.open_stamped(model, cache_limit, quiet, needs, limit)?.0)
    }

    /// As [`ModelOptions::open`], with the state of the model's files from before they were read.
    pub fn open_stamped(
        &self,
        model: &str,
        cache_limit: usize,
        quiet: bool,
        needs: Option<Needs>,
        limit: Duration,
    ) -> anyhow::Result<(Scheduler, Stamp)> {
        // Its threads would be outside of the wall.
        let early = match needs {
            None => Some(self.engine.backend()?),
            Some(_) => None,
        };
        let template = match &self.template {
            Some(template) => Some(read_template_argument(template, Path::new("."))?),
            None => None,
        };
        let places = Places::from_env();
        let mut bar = DownloadBar::new(quiet);
        let options = OpenOptions {
            template,
            template_variables: self.template_var.iter().cloned().collect(),
        };
        let declaration = places.find(model, &mut |progress| bar.update(progress));
        let declaration = match (declaration, needs) {
            (Ok(declaration), Some(mut needs)) => {
                let folders = places.fetch_all(&declaration.manifest, &mut |progress| bar.update(progress));
                bar.finish();
                bar = DownloadBar::new(true);
                needs.read.extend(folders?);
                isolate::enclose(&needs)?;
                Ok(declaration)
            }
            (declaration, _) => declaration,
        };
        let opened = declaration.and_then(|declaration| {
            let declared_by = Path::new(&declaration.declared_by);
            let folder = match &declaration.manifest.source {
                Source::Path(path) => Some(path.as_path()),
                Source::Repo { .. } => None,
            };
            let stamp = Stamp::of(&places, &declaration.manifest, declared_by, folder);
            // Not before: behind the wall goes only who is alone.
            let watch = Watch::over("opening the model", limit);
            let model = Model::open(&places, &declaration, options, &mut |progress| {
                watch.went_on();
                bar.update(progress);
            })?;
            Ok((model, stamp))
        });
        bar.finish();
        if !quiet {
            let notes = places.hub.take_notes();
            notes
                .iter()
                .for_each(|note| output::note(&format!("note: {note}")));
        }
        let (model, stamp) = opened?;
        // A template of the command line's is one of the files, too.
        let template = self
            .template
            .iter()
            .map(PathBuf::from)
            .filter(|path| path.is_file());
        let stamp = stamp.with(template);
        let backend = match early {
            Some(backend) => backend,
            None => self.engine.backend()?,
        };
        let options = SchedulerOptions {
            memory_limit: self.engine.memory_limit,
            cache_limit,
            ..SchedulerOptions::default()
        };
        Ok((Scheduler::new(Arc::new(model), backend, options), stamp))
    }

    /// The system message.
    pub fn system<'a>(&'a self, model: &'a Model) -> Option<&'a str> {
        self.system.as_deref().or(model.settings.system.as_deref())
    }
}

impl EngineArguments {
    /// In 32 bits wherever nothing else was asked for: to be compared with a reference implementation's numbers.
    #[must_use]
    pub fn exact(self) -> Self {
        Self {
            precision: match self.precision {
                Precision::Auto => Precision::F32,
                asked => asked,
            },
            kv_type: self.kv_type.or(Some(KeyValues::F32)),
            ..self
        }
    }

    /// The engine.
    pub fn backend(&self) -> Result<Box<dyn Backend>, Misuse> {
        self.maker()().map_err(|error| Misuse(error.to_string()))
    }

    /// What makes such an engine, wherever it is to be.
    pub fn maker(&self) -> impl Fn() -> Result<Box<dyn Backend>, EngineUnavailable> + Send + Sync + 'static {
        let engine = match self.engine {
            Some(Engine::Cpu) => EngineName::Cpu,
            Some(Engine::Mlx) => EngineName::Mlx,
            None => EngineName::default_here(),
        };
        let options = EngineOptions {
            threads: self.threads.map(|threads| threads as usize),
            fuses: None,
            precision: match self.precision {
                Precision::Auto => engines::Precision::Stored,
                Precision::F16 => engines::Precision::F16,
                Precision::F32 => engines::Precision::F32,
                Precision::Bf16 => engines::Precision::Bf16,
                Precision::Int8 => engines::Precision::Int8,
            },
            key_values: self.kv_type.map(|kind| match kind {
                KeyValues::F32 => KeyValueType::F32,
                KeyValues::Bf16 => KeyValueType::Bf16,
                KeyValues::F16 => KeyValueType::F16,
                KeyValues::Q8 => KeyValueType::Q8,
            }),
        };
        move || engine.start(options)
    }
}

/// The file of a picture, where it is one.
fn file_of(picture: &PictureInput) -> Option<PathBuf> {
    match picture {
        PictureInput::File(path) => Some(path.clone()),
        PictureInput::Bytes { .. } => None,
        PictureInput::Page { of, .. } | PictureInput::Capped { of, .. } => file_of(of),
    }
}

/// All of the machine's memory.
fn usual_limit() -> Option<usize> {
    monocle_runtime::memory::installed()
}

/// A name and a value: `enable_thinking=false`.
fn template_variable(argument: &str) -> Result<(String, serde_json::Value), String> {
    let expected = "expected a name and a value, like `enable_thinking=false`";
    let (name, value) = argument.split_once('=').ok_or(expected)?;
    let letter = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.chars().all(letter)
    {
        return Err(format!(
            "{expected}; names are letters, digits and `_`, found {name:?}"
        ));
    }
    if FIXED_VARIABLES.contains(&name) {
        return Err(format!(
            "`{name}` is what Monocle itself gives to templates; choose another name"
        ));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

/// A prompt from standard input, without white space around it, if there is one.
fn read_prompt() -> anyhow::Result<Option<String>> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_PROMPT + 1)
        .read_to_string(&mut text)
        .context("cannot read the prompt from standard input")?;
    anyhow::ensure!(
        text.len() as u64 <= LONGEST_PROMPT,
        "the prompt on standard input is longer than {} MiB",
        LONGEST_PROMPT >> 20
    );
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn nothing_asked() -> anyhow::Error {
    Misuse(
        "there is nothing to answer\n\nhint: give a picture file, or a question with `--prompt`".to_owned(),
    )
    .into()
}
