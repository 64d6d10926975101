//! Runs a case some times and takes the times of each run.

use std::time::Instant;

use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::{Event, Scheduler};
use serde::Serialize;

use super::cases::Case;
use crate::overdue::{self, Watch};

/// A case, measured. A figure that a case does not have is absent.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    /// Requests at once.
    pub concurrent: usize,
    /// The picture's sides, in pixels.
    pub picture: Option<String>,
    /// Tokens of one prompt, those of the picture included; of the longest where requests differ.
    pub prompt_tokens: usize,
    /// Those of them that hold picture features.
    pub image_tokens: usize,
    /// Decoding the picture and making the model's pixels of it, in seconds.
    pub picture_s: Option<Figure>,
    /// Vision tower and projector, in seconds.
    pub encode_s: Option<Figure>,
    /// Prompt tokens a second, of one request alone.
    pub prefill_tokens_per_s: Option<Figure>,
    /// From asking to the first token, in seconds; of the last request to get one where there are several.
    pub first_token_s: Figure,
    /// Tokens a second of one answer after its first token; the median of the answers where there are several.
    pub decode_tokens_per_s: Figure,
    /// Generated tokens a second, all answers together, from asking to the last token.
    pub together_tokens_per_s: Figure,
    /// The most that the engine had allocated at once, in bytes.
    pub engine_peak_bytes: usize,
}

/// What runs gave.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The middle one; with an even number of runs, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// Each run, in order.
    pub runs: Vec<f64>,
}

impl Figure {
    /// `None` where no run has a value.
    fn new(runs: Vec<f64>) -> Option<Self> {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        Some(Self {
            median: median_of_sorted(&sorted),
            least,
            most,
            runs,
        })
    }
}

/// The reports of one run, and what it took in all, in seconds.
struct Run {
    reports: Vec<Report>,
    wall: f64,
}

/// Runs a case; `told` hears the number of each run.
pub fn case(
    scheduler: &mut Scheduler,
    case: &Case,
    options: &GenerateOptions,
    warm_up: u32,
    runs: u32,
    told: &mut dyn FnMut(u32),
) -> anyhow::Result<CaseReport> {
    let mut measured = Vec::new();
    for number in 0..warm_up + runs {
        told(number + 1);
        let run = once(scheduler, case, options)?;
        if number >= warm_up {
            measured.push(run);
        }
    }
    let figure = |of: &dyn Fn(&Run) -> Option<f64>| Figure::new(measured.iter().filter_map(of).collect());
    let alone = case.requests.len() == 1;
    let pictured = case.picture.is_some();
    let tokens = |of: &dyn Fn(&Report) -> usize| {
        let reports = measured.iter().flat_map(|run| &run.reports);
        reports.map(of).max().unwrap_or(0)
    };
    let missing = || anyhow::anyhow!("the answers came without a time");
    Ok(CaseReport {
        concurrent: case.requests.len(),
        picture: case.picture.map(|size| size.to_string()),
        prompt_tokens: tokens(&|report| report.prompt.tokens),
        image_tokens: tokens(&|report| report.prompt.image_tokens),
        picture_s: figure(&|run| pictured.then(|| run.reports[0].timings.images.as_secs_f64())),
        encode_s: figure(&|run| pictured.then(|| run.reports[0].timings.encode.as_secs_f64())),
        prefill_tokens_per_s: figure(&|run| {
            alone
                .then(|| run.reports[0].timings.prefill_tokens_per_s)
                .flatten()
        }),
        first_token_s: figure(&|run| {
            let times = run.reports.iter().map(|report| report.timings.first_token);
            times.max().map(|time| time.as_secs_f64())
        })
        .ok_or_else(missing)?,
        decode_tokens_per_s: figure(&|run| {
            let rates = run.reports.iter();
            let mut rates: Vec<f64> = rates
                .filter_map(|report| report.timings.decode_tokens_per_s)
                .collect();
            rates.sort_by(f64::total_cmp);
            (!rates.is_empty()).then(|| median_of_sorted(&rates))
        })
        .ok_or_else(missing)?,
        together_tokens_per_s: figure(&|run| {
            let tokens: usize = run.reports.iter().map(|report| report.output.tokens).sum();
            Some(tokens as f64 / run.wall)
        })
        .ok_or_else(missing)?,
        engine_peak_bytes: tokens(&|report| report.memory.engine_peak()),
    })
}

fn once(scheduler: &mut Scheduler, case: &Case, options: &GenerateOptions) -> anyhow::Result<Run> {
    let _watch = Watch::over("the run", overdue::USUAL);
    let started = Instant::now();
    for request in &case.requests {
        let prepared = scheduler.prepare(request, options.max_tokens, options.prefill_chunk)?;
        scheduler.submit(prepared, options.clone(), started)?;
    }
    let mut reports = Vec::new();
    while !scheduler.is_idle() {
        for (_, event) in scheduler.step() {
            match event {
                Event::Done(report) => reports.push(*report),
                Event::Failed(error) => return Err(error.into()),
                Event::Text(_) | Event::Logprobs(_) | Event::Cancelled => {}
            }
        }
    }
    let wall = started.elapsed().as_secs_f64();
    anyhow::ensure!(
        reports.len() == case.requests.len(),
        "{} of {} requests were answered",
        reports.len(),
        case.requests.len()
    );
    Ok(Run { reports, wall })
}

/// The middle of sorted values, which are some.
fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::Figure;

    #[test]
    fn figures_say_middle_and_ends() {
        assert!(Figure::new(Vec::new()).is_none());
        let odd = Figure::new(vec![3.0, 1.0, 2.5]).unwrap();
        assert_eq!((odd.median, odd.least, odd.most), (2.5, 1.0, 3.0));
        assert_eq!(odd.runs, [3.0, 1.0, 2.5]);
        let even = Figure::new(vec![4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((even.median, even.least, even.most), (2.5, 1.0, 4.0));
    }
}
