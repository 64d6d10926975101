//! `monocle run`: the answer streams to standard output; everything else goes to standard error.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use monocle_runtime::model::stamp::Stamp;

use super::overdue::Watch;
use super::progress::LoadBar;
use super::request::RequestArguments;
use super::sampling::SamplingArguments;
use super::writer::Writer;
use super::{Misuse, isolate, output, stats};

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    request: RequestArguments,

    #[command(flatten)]
    sampling: SamplingArguments,

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

    /// Answer again whenever the manifest, a template, a plugin, the model's files or a picture changes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["json", "isolate"])]
    watch: bool,
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(200);

impl Run {
    pub fn run(self) -> anyhow::Result<()> {
        if self.request.isolate && !isolate::is_inside() {
            return isolate::run_inside();
        }
        let quiet = self.plain || self.json || !std::io::stderr().is_terminal();
        self.sampling.check()?;
        if !self.watch {
            return self.answer(quiet).map(drop);
        }
        if self.request.reads_standard_input() {
            return Err(Misuse(
                "with `--watch`, give pictures as files and the question with `--prompt`".to_owned(),
            )
            .into());
        }
        // What cannot be answered at first is the user's to put right at the command line.
        let mut seen = self.answer(quiet)?;
        loop {
            let now = seen.again();
            let changed = now.changed(&seen).next().map(|path| path.display().to_string());
            let Some(changed) = changed else {
                std::thread::sleep(LOOK);
                continue;
            };
            output::note(&format!("note: `{changed}` changed"));
            seen = self.answer(quiet).unwrap_or_else(|error| {
                output::note(&format!("error: {}", crate::in_words(&error)));
                now
            });
        }
    }

    /// Answers; gives the state of the files that the answer was made of.
    fn answer(&self, quiet: bool) -> anyhow::Result<Stamp> {
        let (mut scheduler, request, stamp) = self.request.open_stamped(quiet, self.sampling.longest())?;
        let options =
            self.sampling
                .options(&self.request.length, &self.request.options, scheduler.model())?;
        let mut bar = LoadBar::new(quiet);
        scheduler.load_weights(&mut |done, total| bar.update(done, total))?;
        bar.finish();

        let terms = self.sampling.terms();
        let _watch = Watch::over("the request", self.sampling.longest());
        let mut writer = Writer::new(self.json, !self.plain);
        let report = scheduler.answer_on(&request, &options, terms, &mut |delta| writer.write(delta))?;
        writer.finish()?;
        if self.json {
            output::print_json(&report)?;
            return Ok(stamp);
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
        Ok(stamp)
    }
}
