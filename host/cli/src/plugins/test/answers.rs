//! Answers: in chunks, beside others, cut in pieces, and against a reference.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use monocle_runtime::error::RequestError;
use monocle_runtime::plugin::contract::Size;
use monocle_runtime::plugin::error::{Fault, PluginError};
use monocle_runtime::probe::Probe;
use monocle_runtime::report::Report;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Flow, Scheduler};
use monocle_runtime::trace::Answer;

use super::plans;
use super::report::Verdict;
use crate::trace::compare::Tolerances;
use crate::trace::file::TraceFile;
use crate::trace::{Tracer, rows_text};

/// Tokens of each answer.
const TOKENS: usize = 12;

fn input(name: &str, width: u32, height: u32) -> PictureInput {
    PictureInput::Bytes {
        name: name.to_owned(),
        bytes: plans::file(Size { width, height }),
    }
}

/// Questions that are not alike, of those that the model takes.
fn questions(scheduler: &mut Scheduler) -> Result<Vec<Request>, RequestError> {
    let asked = [
        Request::single(None, vec![input("wide", 96, 64)], "What is this?"),
        Request::single(None, vec![input("tall", 60, 120)], "Describe the colours."),
        Request::single(None, vec![], "What is the capital of France?"),
    ];
    let mut taken = Vec::new();
    for request in asked {
        match scheduler.prepare(&request, TOKENS, 4096) {
            Ok(_) => taken.push(request),
            // Some models answer about pictures only, or about words.
            Err(RequestError::Plugin(PluginError::Call {
                fault: Fault::Refused(_),
                ..
            })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// What there is to say where a model takes none of the questions.
fn nothing_taken() -> Verdict {
    Verdict::Skipped("the model takes none of the questions: `--goldens` with a trace asks yours".to_owned())
}

/// How far logits of this size may be apart where only the order of sums differs.
fn slack(logits: &[Vec<f32>], tolerance: f32) -> f32 {
    let largest = logits
        .iter()
        .flatten()
        .fold(1.0_f32, |most, value| most.max(value.abs()));
    tolerance * largest
}

/// A prompt in chunks of any size gives the same logits.
pub fn chunks(scheduler: &mut Scheduler, tolerance: f32) -> Result<Verdict, RequestError> {
    let (mut problems, mut worst, mut tried) = (Vec::new(), 0.0_f32, Vec::new());
    let requests = questions(scheduler)?;
    if requests.is_empty() {
        return Ok(nothing_taken());
    }
    for request in requests.iter().take(2) {
        let whole = scheduler.trace_steps(request, 4096, Answer::Greedy(TOKENS))?;
        let slack = slack(&whole.step_logits, tolerance);
        // Row by row, a long prompt takes long.
        let sizes = [64, 7, 1]
            .into_iter()
            .filter(|size| whole.prompt_ids.len() <= 512 * size);
        for size in sizes {
            let along = scheduler.trace_steps(request, size, Answer::Given(&whole.tokens))?;
            let pairs = whole
                .step_logits
                .iter()
                .flatten()
                .zip(along.step_logits.iter().flatten());
            let off = pairs.fold(0.0_f32, |most, (a, b)| match (a - b).abs() {
                off if off.is_nan() && a.to_bits() != b.to_bits() => f32::INFINITY,
                off => most.max(off),
            });
            worst = worst.max(off);
            tried.push(size);
            if off > slack {
                problems.push(format!(
                    "in steps of {size} tokens logits are off by {off:.1e}, more than {slack:.1e}: does a row depend on how many there are?"
                ));
            }
        }
    }
    tried.sort_unstable();
    tried.dedup();
    let tried: Vec<String> = tried.iter().map(usize::to_string).collect();
    Ok(Verdict::of(
        &problems,
        format!(
            "prompts in steps of {} tokens as whole, within {worst:.1e}",
            tried.join(", ")
        ),
    ))
}

/// Three requests together are answered as each alone.
pub fn batches(scheduler: &mut Scheduler, tolerance: f32) -> Result<Verdict, RequestError> {
    let options = GenerateOptions {
        max_tokens: TOKENS,
        ignore_end: true,
        ..GenerateOptions::default()
    };
    let requests = questions(scheduler)?;
    if requests.is_empty() {
        return Ok(nothing_taken());
    }
    let mut alone = Vec::new();
    for request in &requests {
        let report = scheduler.answer(request, &options, &mut |_| Flow::Continue)?;
        alone.push(report.token_ids);
    }
    let mut asked = Vec::new();
    for request in &requests {
        let prepared = scheduler.prepare(request, TOKENS, options.prefill_chunk)?;
        asked.push(scheduler.submit(prepared, options.clone(), Instant::now())?);
    }
    let mut together: Vec<Option<Box<Report>>> = asked.iter().map(|_| None).collect();
    while !scheduler.is_idle() {
        for (id, event) in scheduler.step() {
            let place = asked.iter().position(|asked| *asked == id);
            match (event, place) {
                (Event::Done(report), Some(place)) => together[place] = Some(report),
                (Event::Failed(error), _) => return Err(error),
                _ => {}
            }
        }
    }
    let mut problems = Vec::new();
    for (number, (request, alone)) in requests.iter().zip(&alone).enumerate() {
        let Some(report) = &together[number] else {
            problems.push(format!("request {number} was not answered beside others"));
            continue;
        };
        let at = alone.iter().zip(&report.token_ids).position(|(a, b)| a != b);
        let Some(at) = at else { continue };
        // Sums in another order may turn a tie.
        let trace = scheduler.trace_steps(request, options.prefill_chunk, Answer::Given(alone))?;
        let row = &trace.step_logits[at];
        let apart = (row[alone[at] as usize] - row[report.token_ids[at] as usize]).abs();
        if apart > slack(&trace.step_logits, tolerance) {
            problems.push(format!(
                "request {number}: token {at} is {} alone and {} beside others, and their logits are {apart:.1e} apart",
                alone[at], report.token_ids[at]
            ));
        }
    }
    Ok(Verdict::of(
        &problems,
        format!(
            "{} requests together as each alone, {TOKENS} tokens",
            requests.len()
        ),
    ))
}

/// Cleaned text does not depend on where the stream was cut.
pub fn output(scheduler: &mut Scheduler) -> anyhow::Result<Verdict> {
    let model = std::sync::Arc::clone(scheduler.model());
    if !Probe::new(&model)?.filters_output() {
        return Ok(Verdict::Skipped("the plugin does not clean answers".to_owned()));
    }
    let options = GenerateOptions {
        max_tokens: TOKENS,
        ..GenerateOptions::default()
    };
    let answer = match questions(scheduler)?.first() {
        Some(request) => {
            scheduler
                .answer(request, &options, &mut |_| Flow::Continue)?
                .output
                .text
        }
        None => String::new(),
    };
    let texts = [
        answer,
        "An answer of several words, \u{e9}\u{1f600}, with <tags> and [1, 2].\nAnd a line.".to_owned(),
        String::new(),
    ];
    let mut problems = Vec::new();
    for text in &texts {
        let whole = Probe::new(&model)?.output(text, true)?;
        for size in [1, 2, 3, 7] {
            let mut probe = Probe::new(&model)?;
            let letters: Vec<char> = text.chars().collect();
            let mut pieces: Vec<String> = letters.chunks(size).map(|piece| piece.iter().collect()).collect();
            pieces.push(String::new());
            let mut cleaned = String::new();
            for (number, piece) in pieces.iter().enumerate() {
                cleaned.push_str(&probe.output(piece, number + 1 == pieces.len())?);
            }
            if cleaned != whole {
                problems.push(format!(
                    "{text:?} in pieces of {size} letters becomes {cleaned:?}, whole {whole:?}"
                ));
            }
        }
    }
    Ok(Verdict::of(
        &problems,
        "answers are cleaned alike however they are cut",
    ))
}

/// Every trace of a reference implementation in the folder.
pub fn references(
    scheduler: &mut Scheduler,
    folder: &Path,
    pictures: &Path,
    within: Tolerances,
) -> anyhow::Result<Verdict> {
    let mut files: Vec<_> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "safetensors")
    });
    files.sort();
    if files.is_empty() {
        return Ok(Verdict::Skipped(format!(
            "no traces in `{}`: `trace_transformers.py` writes one",
            folder.display()
        )));
    }
    let (mut problems, mut fine) = (Vec::new(), Vec::new());
    for file in &files {
        let shown = file.display().to_string();
        let golden = TraceFile::read(file)?;
        let Some(question) = golden.texts.get("question") else {
            problems.push(format!(
                "`{shown}` does not say what was asked (`question` in its metadata)"
            ));
            continue;
        };
        let named: Vec<String> = match golden.texts.get("pictures") {
            Some(list) => serde_json::from_str(list)
                .with_context(|| format!("`{shown}`: `pictures` in its metadata"))?,
            None => Vec::new(),
        };
        let inputs = named.iter().map(|name| PictureInput::File(pictures.join(name)));
        let system = golden.texts.get("system").map(String::as_str);
        let request = Request::single(system, inputs.collect(), question);
        let mut tracer = Tracer::new(scheduler, &request, Some(&golden), None, false);
        let mut reports = Vec::new();
        for chunk in [4096, 7] {
            let found = tracer.trace(chunk)?;
            reports.push(tracer.report(chunk, shown.clone(), &found, &golden, within));
        }
        match reports.iter().all(|report| report.agrees()) {
            true => {
                let rows = reports.iter().flat_map(|report| &report.rows);
                let worst = rows
                    .filter(|row| row.what.ends_with("logits"))
                    .filter_map(|row| row.worst);
                let worst = worst.fold(0.0, f32::max);
                let reference = golden.texts.get("reference").map_or("?", String::as_str);
                fine.push(format!("`{shown}` ({reference}): logits within {worst:.1e}"));
            }
            false => problems.push(rows_text(&reports)),
        }
    }
    Ok(Verdict::of(&problems, fine.join("\n")))
}
