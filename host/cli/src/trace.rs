//! `monocle trace`: everything that a reference implementation can be compared with, number by number. It is computed in 32 bits unless something else
//! is asked for.

pub mod compare;
pub mod file;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Scheduler;
use monocle_runtime::trace::{Answer, Trace as Traced};
use serde::Serialize;

use super::output;
use super::overdue::{self, Watch};
use super::request::RequestArguments;
use compare::{Row, Tolerances, compare};
use file::TraceFile;

/// Tokens that are traced where nobody says how many.
const TOKENS: usize = 16;

/// The script that makes such a file from transformers.
pub const SCRIPT: &str = include_str!("../../../plugin-api/reference/trace_transformers.py");

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct Trace {
    #[command(flatten)]
    request: RequestArguments,

    /// Write ids, pixels, features and logits into this safetensors file
    // What is isolated writes no files, and reads none but the model's.
    #[arg(short, long, group = "what", conflicts_with = "isolate")]
    output: Option<PathBuf>,

    /// Compare with such a file, Monocle's own or a reference implementation's
    #[arg(long, group = "what", conflicts_with = "isolate")]
    golden: Option<PathBuf>,

    /// Sizes of prefill steps, like `4096,1,7`: each is traced, and all must agree [default: `--prefill-chunk`]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    chunks: Vec<u32>,

    /// The logits of every token of the prompt too, not only of the last: as many numbers as tokens times the vocabulary
    #[arg(long)]
    all_logits: bool,

    #[command(flatten)]
    within: Within,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

// How far numbers may be off.
#[derive(Debug, Clone, Copy, Args)]
pub struct Within {
    /// How far pixels may be off
    #[arg(long, default_value_t = 1e-6, value_name = "DIFFERENCE")]
    pixels_within: f32,

    /// How far features may be off
    #[arg(long, default_value_t = 1e-4, value_name = "DIFFERENCE")]
    features_within: f32,

    /// How far logits may be off
    #[arg(long, default_value_t = 1e-4, value_name = "DIFFERENCE")]
    logits_within: f32,
}

impl Default for Within {
    fn default() -> Self {
        Self {
            pixels_within: 1e-6,
            features_within: 1e-4,
            logits_within: 1e-4,
        }
    }
}

impl Within {
    pub fn tolerances(self) -> Tolerances {
        Tolerances {
            pixels: self.pixels_within,
            features: self.features_within,
            logits: self.logits_within,
        }
    }
}

/// What came of one size of prefill steps.
#[derive(Debug, Serialize)]
pub struct ChunkReport {
    /// Tokens of a step.
    pub chunk: usize,
    /// What it was compared with.
    pub against: String,
    /// What was compared.
    pub rows: Vec<Row>,
}

impl ChunkReport {
    pub fn agrees(&self) -> bool {
        self.rows.iter().all(|row| row.agrees != Some(false))
    }
}

impl Trace {
    pub fn run(mut self) -> anyhow::Result<()> {
        self.request.options.engine = self.request.options.engine.exact();
        let golden = self.golden.as_deref().map(TraceFile::read).transpose()?;
        let (mut scheduler, request) = self.request.open(true, overdue::USUAL)?;
        let _watch = Watch::over("the request", overdue::USUAL);
        let chunks = match &self.chunks[..] {
            [] => vec![self.request.options.prefill_chunk as usize],
            chunks => chunks.iter().map(|&chunk| chunk as usize).collect(),
        };
        let tokens = self.request.length.asked();
        let mut tracer = Tracer::new(&mut scheduler, &request, golden.as_ref(), tokens, self.all_logits);
        let mut reports = Vec::new();
        let mut first: Option<TraceFile> = None;
        for chunk in chunks {
            let mut file = tracer.trace(chunk)?;
            self.note_request(&mut file)?;
            if let Some(golden) = &golden {
                let shown = self.golden.as_deref().map(|path| path.display().to_string());
                let against = shown.unwrap_or_default();
                reports.push(tracer.report(chunk, against, &file, golden, self.within.tolerances()));
            }
            match &first {
                Some(first) if golden.is_none() => {
                    let against = "the first size".to_owned();
                    reports.push(tracer.report(chunk, against, &file, first, self.within.tolerances()));
                }
                Some(_) => {}
                None => first = Some(file),
            }
        }
        if let (Some(path), Some(file)) = (&self.output, &first) {
            file.write(path)?;
        }
        match self.json {
            true => output::print_json(&reports)?,
            false => output::print(&text(&reports, self.output.as_deref(), first.as_ref()))?,
        }
        let differing = reports.iter().filter(|report| !report.agrees()).count();
        anyhow::ensure!(differing == 0, "{differing} of {} traces differ", reports.len());
        Ok(())
    }
}

impl Trace {
    /// What was asked: `monocle plugins test` asks the same.
    fn note_request(&self, file: &mut TraceFile) -> anyhow::Result<()> {
        let [prompt, pictures] = self.request.asked()?;
        file.texts.insert("question".to_owned(), prompt);
        file.texts.insert("pictures".to_owned(), pictures);
        if let Some(system) = &self.request.options.system {
            file.texts.insert("system".to_owned(), system.clone());
        }
        Ok(())
    }
}

/// Traces one request in several ways.
pub struct Tracer<'a> {
    scheduler: &'a mut Scheduler,
    request: &'a Request,
    given: Option<Vec<u32>>,
    tokens: usize,
    all_logits: bool,
}

impl<'a> Tracer<'a> {
    /// With a file to compare with, its answer is followed, and the logits are traced that it has.
    pub fn new(
        scheduler: &'a mut Scheduler,
        request: &'a Request,
        golden: Option<&TraceFile>,
        tokens: Option<usize>,
        all_logits: bool,
    ) -> Self {
        let given = golden.and_then(|golden| golden.ids("greedy_tokens"));
        let given = given.map(|ids| {
            let ids = ids.iter().filter_map(|&id| u32::try_from(id).ok());
            ids.take(tokens.unwrap_or(usize::MAX)).collect()
        });
        let has_all = golden.is_some_and(|golden| {
            ["prompt_logits", "prompt_argmax"]
                .iter()
                .any(|name| golden.arrays.contains_key(*name))
        });
        Self {
            scheduler,
            request,
            given,
            tokens: tokens.unwrap_or(TOKENS),
            all_logits: all_logits || has_all,
        }
    }

    /// The trace with prefill steps of so many tokens.
    pub fn trace(&mut self, chunk: usize) -> anyhow::Result<TraceFile> {
        let answer = match &self.given {
            Some(tokens) => Answer::Given(tokens),
            None => Answer::Greedy(self.tokens),
        };
        let traced: Traced = match self.all_logits {
            true => self.scheduler.trace_whole(self.request, chunk, answer),
            false => self.scheduler.trace_steps(self.request, chunk, answer),
        }
        .with_context(|| format!("in prefill steps of {chunk}"))?;
        Ok(TraceFile::of(&traced, &self.scheduler.model().report.name))
    }

    /// One trace against another.
    pub fn report(
        &self,
        chunk: usize,
        against: String,
        found: &TraceFile,
        golden: &TraceFile,
        tolerances: Tolerances,
    ) -> ChunkReport {
        let tokenizer = self.scheduler.model().tokenizer();
        let token = |id: i64| {
            let text = u32::try_from(id).ok().and_then(|id| tokenizer.token(id));
            text.map_or("(no token)".to_owned(), |text| format!("{text:?}"))
        };
        let rows = compare(found, golden, tolerances, &token);
        ChunkReport { chunk, against, rows }
    }
}

/// The rows of reports, a line each.
pub fn rows_text(reports: &[ChunkReport]) -> String {
    let mut text = String::new();
    for report in reports {
        text.push_str(&format!(
            "prefill steps of {}, against {}\n",
            report.chunk, report.against
        ));
        let width = report.rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
        for row in &report.rows {
            let mark = match row.agrees {
                Some(true) => "ok      ",
                Some(false) => "DIFFERS ",
                None => "-       ",
            };
            text.push_str(&format!("  {mark}{:width$}  {}\n", row.what, row.words));
        }
    }
    text
}

fn text(reports: &[ChunkReport], path: Option<&std::path::Path>, file: Option<&TraceFile>) -> String {
    let mut text = rows_text(reports);
    if let (Some(path), Some(file)) = (path, file) {
        text.push_str(&format!("{}:\n", path.display()));
        let width = file.arrays.keys().map(String::len).max().unwrap_or(0);
        for (name, array) in &file.arrays {
            text.push_str(&format!("  {name:width$}  {:?}\n", array.shape));
        }
    }
    text
}
