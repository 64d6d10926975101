//! The process of one model: `check` starts it, hears its lines, and survives it.

use std::io::Read;

use clap::Args;
use monocle_runtime::report::{Report, describe};
use monocle_runtime::scheduler::Flow;
use monocle_survey::failure::Failure;
use monocle_survey::row::{Answer, Figures, Host, Row};
use monocle_text::FinishReason;
use serde::{Deserialize, Serialize};

use super::super::overdue::Watch;
use super::super::request::RequestArguments;
use super::super::sampling::SamplingArguments;
use super::super::{isolate, output};
use super::fault;

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// What it is busy with.
    Phase {
        /// In words.
        name: String,
    },
    /// What came of it.
    Row {
        /// Answer and figures, or a failure.
        row: Box<Row>,
    },
}

#[derive(Debug, Args)]
pub struct CheckOne {
    #[command(flatten)]
    request: RequestArguments,

    #[command(flatten)]
    sampling: SamplingArguments,
}

impl CheckOne {
    /// Answers, or says why not; either is a line, and no error.
    pub fn run(self) -> anyhow::Result<()> {
        isolate::end_with_the_parent();
        let row = self.answer().map_or_else(
            |error| Row {
                failure: Some(Failure::new(fault::place(&error), super::super::in_words(&error))),
                ..Row::default()
            },
            |report| row(&report),
        );
        say(&Line::Row { row: Box::new(row) })
    }

    fn answer(self) -> anyhow::Result<Report> {
        phase("opening")?;
        self.sampling.check()?;
        let (mut scheduler, request) = self.request.open(true, self.sampling.longest())?;
        // A thread that was there before would be outside of the wall.
        std::thread::spawn(|| {
            // Standard input ends when the parent does.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
        let options =
            self.sampling
                .options(&self.request.length, &self.request.options, scheduler.model())?;
        phase("loading weights")?;
        scheduler.load_weights(&mut |_, _| {})?;
        phase("reading the picture and the prompt")?;
        let _watch = Watch::over("the request", self.sampling.longest());
        let mut begun = false;
        let report = scheduler.answer_on(&request, &options, self.sampling.terms(), &mut |_| {
            if !begun {
                begun = true;
                // A parent that is gone ends this process anyway.
                let _ = phase("answering");
            }
            Flow::Continue
        })?;
        Ok(report)
    }
}

/// Says what the process is busy with.
pub fn phase(name: &str) -> anyhow::Result<()> {
    say(&Line::Phase {
        name: name.to_owned(),
    })
}

/// Says a line.
pub fn say(line: &Line) -> anyhow::Result<()> {
    output::print(&(serde_json::to_string(line)? + "\n"))
}

/// A report's answer and figures.
fn row(report: &Report) -> Row {
    let (timings, memory) = (&report.timings, &report.memory);
    let seconds = |time: std::time::Duration| Some(time.as_secs_f64());
    let has_pictures = !report.images.is_empty();
    let bytes = |bytes: usize| Some(bytes as u64);
    let prompt = report.prompt.encoder_tokens.unwrap_or(0) + report.prompt.tokens;
    let last = match &report.output.finish {
        FinishReason::EndToken { token, .. } => Some(token.clone()),
        _ => None,
    };
    let removed = report.output.removed.iter();
    Row {
        host: Host {
            program: format!(
                "monocle {}, contract {}",
                report.host.version, report.host.contract
            ),
            engine: Some(format!("{}: {}", report.host.engine, report.host.device)),
            plugins: report
                .host
                .plugins
                .iter()
                .map(|plugin| format!("{} {} sha256 {}", plugin.name, plugin.version, plugin.sha256))
                .collect(),
            folder: Some(report.model.folder.clone()),
            declared_by: Some(report.model.declared_by.clone()),
            settings: Some(report.generation.words()),
            ..Host::default()
        },
        answer: Some(Answer {
            text: report.output.text.clone(),
            reasoning: report.output.reasoning.clone(),
            finish: describe(&report.output.finish),
            is_cut: matches!(
                report.output.finish,
                FinishReason::MaxTokens | FinishReason::ContextFull
            ),
            last_token: last,
            removed: removed
                .map(|removed| format!("`{}` x{}", removed.what, removed.count))
                .collect(),
        }),
        figures: Figures {
            prompt_tokens: Some(prompt as u64),
            text_tokens: Some(prompt.saturating_sub(report.prompt.image_tokens) as u64),
            picture_tokens: has_pictures.then_some(report.prompt.image_tokens as u64),
            answer_tokens: Some(report.output.tokens as u64),
            load_s: seconds(timings.load),
            picture_s: seconds(timings.images).filter(|_| has_pictures),
            encode_s: seconds(timings.encode).filter(|_| has_pictures),
            prefill_s: seconds(timings.prefill),
            prefill_tokens_per_s: timings.prefill_tokens_per_s,
            first_token_s: seconds(timings.first_token),
            decode_s: seconds(timings.decode),
            decode_tokens_per_s: timings.decode_tokens_per_s,
            total_s: seconds(timings.total),
            process_s: None,
            load_peak_bytes: bytes(memory.load.peak_bytes),
            encode_peak_bytes: bytes(memory.encode.peak_bytes).filter(|_| has_pictures),
            prefill_peak_bytes: bytes(memory.prefill.peak_bytes),
            decode_peak_bytes: bytes(memory.decode.peak_bytes),
            process_peak_bytes: memory.process_peak_bytes.map(|bytes| bytes as u64),
        },
        notes: report.notes.clone(),
        ..Row::default()
    }
}
