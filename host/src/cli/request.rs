//! What `run` and `inspect` have in common: a model, pictures, a prompt.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use monocle::engine::pictures::PictureInput;
use monocle::engine::prepare::Request;
use monocle::model::locate::Places;
use monocle::model::{Model, OpenOptions};
use monocle_tensor::backend::Backend;
use monocle_tensor::cpu::CpuBackend;
use monocle_text::template::read_template_argument;

use super::Misuse;
use super::progress::DownloadBar;

/// The most bytes of a prompt on standard input.
const LONGEST_PROMPT: u64 = 16 << 20;

#[derive(Debug, Args)]
pub struct RequestArguments {
    /// A manifest's name or path, a model's folder, or a Hugging Face repository
    pub model: String,

    /// Picture files
    pub images: Vec<PathBuf>,

    /// What to ask [default: standard input when it is no terminal, else "Describe this image."]
    #[arg(short, long)]
    pub prompt: Option<String>,

    /// The system message, in place of the manifest's
    #[arg(long)]
    pub system: Option<String>,

    /// A chat template in place of the model's own: a .jinja file, or the template itself
    #[arg(long)]
    pub template: Option<String>,

    /// The most tokens of the answer [default: the manifest's, else 512]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: Option<u32>,

    /// Tokens of one prefill step
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub prefill_chunk: u32,

    /// What computes
    #[arg(long, value_enum, default_value_t = Engine::Cpu)]
    pub engine: Engine,

    /// Processor threads [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// This machine's processor
    Cpu,
}

impl RequestArguments {
    /// The model, opened; `quiet` shows no progress.
    pub fn open(&self, quiet: bool) -> anyhow::Result<Model> {
        let places = Places::from_env();
        let mut bar = DownloadBar::new(quiet);
        let declaration = places.find(&self.model, &mut |progress| bar.update(progress))?;
        let template = match &self.template {
            Some(template) => Some(read_template_argument(template, Path::new("."))?),
            None => None,
        };
        let options = OpenOptions { template };
        let model = Model::open(&places, &declaration, options, self.backend(), &mut |progress| {
            bar.update(progress)
        })?;
        bar.finish();
        Ok(model)
    }

    /// The request.
    pub fn request(&self, model: &Model) -> anyhow::Result<Request> {
        let pictures = self.images.iter().cloned().map(PictureInput::File).collect();
        let system = self.system.as_deref().or(model.settings.system.as_deref());
        Ok(Request::single(system, pictures, &self.prompt()?))
    }

    /// The most tokens of the answer.
    pub fn max_tokens(&self, model: &Model) -> usize {
        self.max_tokens
            .map_or(model.settings.max_tokens, |tokens| tokens as usize)
    }

    fn prompt(&self) -> anyhow::Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        let input = std::io::stdin();
        if !input.is_terminal() {
            let mut text = String::new();
            input
                .lock()
                .take(LONGEST_PROMPT)
                .read_to_string(&mut text)
                .context("cannot read the prompt")?;
            let text = text.trim();
            if !text.is_empty() {
                return Ok(text.to_owned());
            }
        }
        match self.images.is_empty() {
            false => Ok("Describe this image.".to_owned()),
            true => Err(Misuse(
                "there is neither a picture nor a prompt\n\nhint: give a picture file, or `--prompt`"
                    .to_owned(),
            )
            .into()),
        }
    }

    fn backend(&self) -> Box<dyn Backend> {
        match self.engine {
            Engine::Cpu => Box::new(CpuBackend::new(self.threads.map(|threads| threads as usize))),
        }
    }
}
