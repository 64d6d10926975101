//! `monocle run`: the answer streams to standard output; everything else goes to standard error.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use monocle_runtime::model::Model;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::Flow;
use monocle_text::{Delta, SamplingOptions};

use super::progress::LoadBar;
use super::request::RequestArguments;
use super::{Misuse, output, stats};

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    request: RequestArguments,

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

    /// Print one JSON object with the answer and all that was done, in place of the text
    #[arg(long)]
    json: bool,

    /// Show sizes, tokens, timings and memory after the answer
    #[arg(long)]
    stats: bool,

    /// Show what plugins write to their log, too
    #[arg(long, conflicts_with_all = ["plain", "json"])]
    verbose: bool,

    /// The answer and nothing else: no progress, no notes, no reasoning
    #[arg(long)]
    plain: bool,
}

impl Run {
    pub fn run(self) -> anyhow::Result<()> {
        let quiet = self.plain || self.json || !std::io::stderr().is_terminal();
        // Manifests are checked where they are read, so what is wrong here is a flag; it should not wait for a download.
        self.sampling(&SamplingOptions::default())
            .validate()
            .map_err(|error| Misuse(error.to_string()))?;
        let (mut scheduler, request) = self.request.open(quiet)?;
        let options = self.options(scheduler.model());
        let mut bar = LoadBar::new(quiet);
        scheduler.load_weights(&mut |done, total| bar.update(done, total))?;
        bar.finish();

        let mut writer = Writer::new(&self);
        let report = scheduler.answer(&request, &options, &mut |delta| writer.write(delta))?;
        writer.finish()?;
        if self.json {
            return output::print_json(&report);
        }
        if !self.plain {
            let notes = report.notes.iter().cloned().chain(stats::flags(&report));
            notes.for_each(|note| output::note(&format!("note: {note}")));
        }
        if self.verbose {
            let log = report.log.iter();
            log.for_each(|line| output::note(&format!("log: {line}")));
        }
        if self.stats {
            output::note(stats::text(&report).trim_end());
        }
        Ok(())
    }

    fn options(&self, model: &Model) -> GenerateOptions {
        GenerateOptions {
            max_tokens: self.request.max_tokens(model),
            sampling: self.sampling(&model.settings.generation.sampling()),
            stop: self.stop.clone(),
            prefill_chunk: self.request.prefill_chunk as usize,
            thinking_budget: self.thinking_budget.or(model.settings.thinking_budget),
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

/// Streams text as it comes.
struct Writer {
    silent: bool,
    show_reasoning: bool,
    reasoning_shown: bool,
    text_shown: bool,
    ends_line: bool,
    failed: Option<std::io::Error>,
}

impl Writer {
    fn new(run: &Run) -> Self {
        Self {
            silent: run.json,
            show_reasoning: !run.plain && std::io::stderr().is_terminal(),
            reasoning_shown: false,
            text_shown: false,
            ends_line: false,
            failed: None,
        }
    }

    fn write(&mut self, delta: &Delta) -> Flow {
        if self.silent {
            return Flow::Continue;
        }
        match self.try_write(delta) {
            Ok(()) => Flow::Continue,
            Err(error) => {
                self.failed = Some(error);
                Flow::Cancel
            }
        }
    }

    fn try_write(&mut self, delta: &Delta) -> std::io::Result<()> {
        if self.show_reasoning && !delta.reasoning.is_empty() {
            let mut stderr = std::io::stderr().lock();
            write!(
                stderr,
                "\x1b[2m{}\x1b[0m",
                output::safe_for(&stderr, &delta.reasoning)
            )?;
            self.reasoning_shown = true;
        }
        if !delta.text.is_empty() {
            if self.reasoning_shown && !self.text_shown {
                output::note("");
            }
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(output::safe_for(&stdout, &delta.text).as_bytes())?;
            stdout.flush()?;
            self.text_shown = true;
            self.ends_line = delta.text.ends_with('\n');
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error).context("cannot write the answer");
        }
        if !self.silent && !self.ends_line {
            output::print("\n")?;
        }
        Ok(())
    }
}
