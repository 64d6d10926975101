//! How answers are generated, as the command line says it.

use std::time::{Duration, Instant};

use clap::Args;
use monocle_runtime::model::Model;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::terms::Terms;
use monocle_text::SamplingOptions;

use super::Misuse;
use super::constraint::ConstraintArguments;
use super::request::{AnswerLength, ModelOptions};

#[derive(Debug, Args)]
pub struct SamplingArguments {
    /// 0 takes the likeliest token always; higher is more varied
    #[arg(long, allow_negative_numbers = true)]
    temperature: Option<f32>,

    /// Choose among this many of the likeliest tokens; 0: among all
    #[arg(long, allow_negative_numbers = true)]
    top_k: Option<usize>,

    /// Choose among the likeliest tokens that together reach this probability
    #[arg(long, allow_negative_numbers = true)]
    top_p: Option<f32>,

    /// Choose among tokens with at least this share of the likeliest one's probability
    #[arg(long, allow_negative_numbers = true)]
    min_p: Option<f32>,

    /// Above 1: make tokens that occurred already less likely
    #[arg(long, allow_negative_numbers = true)]
    repetition_penalty: Option<f32>,

    /// Where random numbers start
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,

    /// End the answer at this text (may be given several times)
    #[arg(long, allow_hyphen_values = true)]
    stop: Vec<String>,

    /// Close reasoning after so many tokens
    #[arg(long)]
    thinking_budget: Option<usize>,

    /// Give up after so many seconds, preparation counted in; opening the model before may take as long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3600")]
    timeout: Duration,

    #[command(flatten)]
    constraint: ConstraintArguments,
}

/// Seconds above 0.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|time| !time.is_zero());
    seconds.ok_or_else(|| "expected a number of seconds above 0, like `30` or `2.5`".to_owned())
}

impl SamplingArguments {
    /// Manifests are checked where they are read, so what is wrong here is a flag; it should not wait for a download.
    pub fn check(&self) -> Result<(), Misuse> {
        self.constraint.constraint()?;
        self.sampling(&SamplingOptions::default())
            .validate()
            .map_err(|error| Misuse(error.to_string()))
    }

    /// What was asked for; the rest is the model's.
    pub fn options(
        &self,
        length: &AnswerLength,
        options: &ModelOptions,
        model: &Model,
    ) -> anyhow::Result<GenerateOptions> {
        let constraint = self.constraint.constraint()?;
        let grammar = constraint.map(|constraint| model.grammar(&constraint));
        Ok(GenerateOptions {
            grammar: grammar.transpose()?,
            max_tokens: length.max_tokens(model),
            sampling: self.sampling(&model.settings.generation.sampling()),
            stop: self.stop.clone(),
            prefill_chunk: options.prefill_chunk as usize,
            thinking_budget: self.thinking_budget.or(model.settings.thinking_budget),
            logprobs: None,
            keep_tokens: Vec::new(),
            ignore_end: false,
        })
    }

    /// How long a request may take, and opening the model before it.
    pub fn longest(&self) -> Duration {
        self.timeout
    }

    /// The terms of a request that comes now.
    pub fn terms(&self) -> Terms {
        Terms {
            longest: Some(self.timeout),
            ..Terms::from(Instant::now())
        }
    }

    fn sampling(&self, defaults: &SamplingOptions) -> SamplingOptions {
        SamplingOptions {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            seed: self.seed.unwrap_or(defaults.seed),
            ..defaults.clone()
        }
    }
}
