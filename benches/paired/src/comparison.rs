//! Runs both commands in turns, with a probe before each run.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use thiserror::Error;

use crate::command::{CommandError, CommandLine, Running};
use crate::machine::{Machine, Revision};
use crate::measure::{Measure, MeasureError};
use crate::order::{Side, firsts};
use crate::others::Moment;
use crate::probe::{Pages, Probe, ProbeError, Source};
use crate::report::{Report, Summary};
use crate::statistics::{FEWEST, MOST};

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the other is held against.
    pub a: CommandLine,
    /// The other.
    pub b: CommandLine,
    /// How often both run, within [`FEWEST`] and [`MOST`].
    pub pairs: usize,
    /// How often both run before, unheeded.
    pub warm_up: usize,
    /// Decides which command of a pair goes first.
    pub seed: u64,
    /// What is measured.
    pub measure: Measure,
    /// Whether a larger figure is the better one.
    pub higher_is_better: bool,
    /// The difference, as a share, that is asked about.
    pub within: f64,
    /// The longest that a run may take.
    pub timeout: Duration,
    /// Bytes of memory that a unit of work reads: a run, or what a figure counts a second of.
    pub bytes_per_unit: Option<f64>,
    /// What the probe reads.
    pub source: Source,
    /// Through which pages.
    pub pages: Pages,
    /// With how many threads.
    pub threads: usize,
}

/// A run of one command.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// What was measured.
    pub figure: f64,
    /// From start to end.
    pub wall_s: f64,
    /// What the probe read a second just before.
    pub probe_bytes_per_s: f64,
    /// Cores that other processes used meanwhile.
    pub others_cores: Option<f64>,
    /// Cores that other virtual machines took meanwhile.
    pub stolen_cores: Option<f64>,
}

/// A run of both.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// Which went first.
    pub first: Side,
    /// The one.
    pub a: Run,
    /// The other.
    pub b: Run,
    /// b's figure over a's.
    pub ratio: f64,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// A pair whose figures do not count has run.
    WarmUp {
        /// How many have.
        done: usize,
        /// Of how many.
        all: usize,
    },
    /// A pair has run.
    Pair {
        /// How many have.
        done: usize,
        /// Of how many.
        all: usize,
        /// What came out.
        pair: &'a Pair,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WarmUp { done, all } => write!(formatter, "warm-up {done} of {all}"),
            Self::Pair { done, all, pair } => write!(
                formatter,
                "pair {done} of {all}: a {:.4}, b {:.4}, b/a {:.4}; the probe read {:.1} and {:.1} GB/s",
                pair.a.figure,
                pair.b.figure,
                pair.ratio,
                pair.a.probe_bytes_per_s / 1e9,
                pair.b.probe_bytes_per_s / 1e9,
            ),
        }
    }
}

/// Why a comparison broke off.
#[derive(Debug, Error)]
pub enum ComparisonError {
    /// Too few pairs for an interval, or more than it can be computed for.
    #[error("expected {FEWEST} to {MOST} pairs, found {0}")]
    Pairs(usize),
    /// No probe.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A command gave nothing.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A command gave no figure.
    #[error("`{command}`: {source}")]
    Measure {
        /// The command.
        command: String,
        /// What was wrong.
        source: MeasureError,
    },
}

/// Runs everything. `running` knows the command that runs; `watch` hears of every pair.
pub fn compare(
    settings: &Settings,
    running: &Running,
    watch: &mut dyn FnMut(Event),
) -> Result<Report, ComparisonError> {
    if !(FEWEST..=MOST).contains(&settings.pairs) {
        return Err(ComparisonError::Pairs(settings.pairs));
    }
    let started = SystemTime::now();
    let machine = Machine::here();
    let revision = std::env::current_dir()
        .ok()
        .and_then(|folder| Revision::of(&folder));
    let probe = Probe::new(&settings.source, settings.pages, settings.threads)?;
    for done in 1..=settings.warm_up {
        run_pair(settings, &probe, Side::A, running)?;
        watch(Event::WarmUp {
            done,
            all: settings.warm_up,
        });
    }
    let mut pairs = Vec::with_capacity(settings.pairs);
    for first in firsts(settings.pairs, settings.seed) {
        let pair = run_pair(settings, &probe, first, running)?;
        watch(Event::Pair {
            done: pairs.len() + 1,
            all: settings.pairs,
            pair: &pair,
        });
        pairs.push(pair);
    }
    let summary = Summary::of(settings, &pairs).ok_or(ComparisonError::Pairs(pairs.len()))?;
    Ok(Report::new(
        settings, &probe, machine, revision, started, summary, pairs,
    ))
}

fn run_pair(
    settings: &Settings,
    probe: &Probe,
    first: Side,
    running: &Running,
) -> Result<Pair, ComparisonError> {
    let run = |side| run_one(settings, probe, side, running);
    let (a, b) = match first {
        Side::A => {
            let a = run(Side::A)?;
            (a, run(Side::B)?)
        }
        Side::B => {
            let b = run(Side::B)?;
            (run(Side::A)?, b)
        }
    };
    let ratio = b.figure / a.figure;
    Ok(Pair { first, a, b, ratio })
}

fn run_one(
    settings: &Settings,
    probe: &Probe,
    side: Side,
    running: &Running,
) -> Result<Run, ComparisonError> {
    let command = match side {
        Side::A => &settings.a,
        Side::B => &settings.b,
    };
    let probe_bytes_per_s = probe.read();
    let before = Moment::now();
    let mut finished = command.run(settings.timeout, running)?;
    let others = Moment::now().since(&before);
    let figure = settings
        .measure
        .figure(&mut finished)
        .map_err(|source| ComparisonError::Measure {
            command: command.text().to_owned(),
            source,
        })?;
    Ok(Run {
        figure,
        wall_s: finished.wall.as_secs_f64(),
        probe_bytes_per_s,
        others_cores: others.map(|others| others.busy),
        stolen_cores: others.map(|others| others.stolen),
    })
}
