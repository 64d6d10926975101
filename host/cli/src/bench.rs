//! `monocle bench`: how fast a model is here, by prompt length, picture size and number of requests at once.

mod cases;
mod measure;
mod table;

use std::io::IsTerminal;

use clap::Args;
use indicatif::ProgressBar;
use monocle_runtime::report::HostReport;
use monocle_runtime::request::GenerateOptions;
use serde::Serialize;

use self::cases::{Case, PictureSize};
use self::measure::CaseReport;
use super::output;
use super::overdue::{self, Watch};
use super::progress::LoadBar;
use super::request::ModelOptions;

#[derive(Debug, Args)]
pub struct Bench {
    /// A manifest's name or path, a model's folder, or a Hugging Face repository
    model: String,

    /// Lengths of prompts without a picture, in tokens
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', default_values_t = [128, 1024])]
    prompt_tokens: Vec<usize>,

    /// Sizes of pictures; each is asked about alone. They are drawn, and come as uncompressed files
    #[arg(long, value_name = "WIDTHxHEIGHT", value_delimiter = ',', default_values_t = [PictureSize { width: 512, height: 512 }, PictureSize { width: 1024, height: 768 }])]
    picture_sizes: Vec<PictureSize>,

    /// Numbers of requests at once, each with a prompt of the first length
    #[arg(long, value_name = "REQUESTS", value_delimiter = ',', default_values_t = [1, 4, 8], value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrent: Vec<u32>,

    /// Tokens of each answer; it goes on to them whatever the model says
    #[arg(long, value_name = "TOKENS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    max_tokens: u32,

    /// Runs of each case that count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Runs of each case before those that count
    #[arg(long, default_value_t = 1)]
    warm_up: u32,

    #[command(flatten)]
    options: ModelOptions,

    /// Print JSON: each run of each case
    #[arg(long)]
    json: bool,
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct BenchReport {
    model: String,
    host: HostReport,
    /// Opening the model: plugin, tokenizer, weights; in seconds.
    load_s: f64,
    generated_tokens: usize,
    prefill_chunk: usize,
    warm_up_runs: u32,
    cases: Vec<CaseReport>,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<()> {
        let quiet = !std::io::stderr().is_terminal();
        let mut scheduler = self.options.open(&self.model, 0, quiet, None, overdue::USUAL)?;
        let options = GenerateOptions {
            max_tokens: self.max_tokens as usize,
            prefill_chunk: self.options.prefill_chunk as usize,
            ignore_end: true,
            ..GenerateOptions::default()
        };
        let system = self.options.system(scheduler.model()).map(str::to_owned);
        // All requests are planned and checked before the first is computed: what cannot run is told at once.
        let planning = Watch::over("planning the requests", overdue::USUAL);
        let cases = Case::list(
            &mut scheduler,
            system.as_deref(),
            &self.prompt_tokens,
            &self.picture_sizes,
            &self.concurrent,
            &options,
        )?;
        drop(planning);
        let mut bar = LoadBar::new(quiet);
        scheduler.load_weights(&mut |done, total| bar.update(done, total))?;
        bar.finish();

        let progress = match quiet {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner(),
        };
        let mut reports = Vec::new();
        for case in &cases {
            let mut told = |run: u32| {
                let (case, all) = (case.name(), self.warm_up + self.runs);
                progress.set_message(format!("{case}: run {run} of {all}"));
                progress.tick();
            };
            reports.push(measure::case(
                &mut scheduler,
                case,
                &options,
                self.warm_up,
                self.runs,
                &mut told,
            )?);
        }
        progress.finish_and_clear();
        let report = BenchReport {
            model: scheduler.model().report.name.clone(),
            host: scheduler.host_report(),
            load_s: scheduler.load_time().as_secs_f64(),
            generated_tokens: options.max_tokens,
            prefill_chunk: options.prefill_chunk,
            warm_up_runs: self.warm_up,
            cases: reports,
        };
        match self.json {
            true => output::print_json(&report),
            false => output::print(&table::text(&report)),
        }
    }
}
