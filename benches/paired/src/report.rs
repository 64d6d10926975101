//! What came out, with all that one must know to trust and to repeat it.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use crate::comparison::{Pair, Run, Settings};
use crate::machine::{Machine, Revision};
use crate::probe::{Pages, Probe, Source};
use crate::statistics::{CONFIDENCE, Ratio, Spread, Within};

/// The whole result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// This program's version.
    pub version: &'static str,
    /// When it began, in UTC (RFC 3339).
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// What it ran on.
    pub machine: Machine,
    /// The folder that it ran in.
    pub revision: Option<Revision>,
    /// What was asked for.
    pub asked: Asked,
    /// What the probe read.
    pub probe: Probed,
    /// What came out.
    pub summary: Summary,
    /// Everything that was measured, in order.
    pub pairs: Vec<Pair>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// The one command.
    pub a: String,
    /// The other.
    pub b: String,
    /// What was measured of both.
    pub measure: String,
    /// Whether a larger figure is the better one.
    pub higher_is_better: bool,
    /// Runs of both before those that count.
    pub warm_up: usize,
    /// What the order was drawn from.
    pub seed: u64,
    /// The longest that a run might take.
    pub timeout_s: f64,
    /// Bytes that a unit of work reads.
    pub bytes_per_unit: Option<f64>,
}

/// What the probe read.
#[derive(Debug, Serialize)]
pub struct Probed {
    /// Threads that read.
    pub threads: usize,
    /// Bytes of a pass.
    pub bytes: usize,
    /// The file; none for memory of its own.
    pub file: Option<PathBuf>,
    /// Pages that were asked for.
    pub pages: Pages,
    /// The share that lay in huge pages at the end.
    pub huge_share: Option<f64>,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Figures of the one.
    pub a: Spread,
    /// Figures of the other.
    pub b: Spread,
    /// What the probe read a second, before all runs.
    pub probe_bytes_per_s: Spread,
    /// The share of the probe's rate at which the one read memory.
    pub a_share_of_probe: Option<Spread>,
    /// The same of the other.
    pub b_share_of_probe: Option<Spread>,
    /// Cores that other processes used while commands ran, on average.
    pub others_cores: Option<f64>,
    /// Cores that other virtual machines took while commands ran, on average.
    pub stolen_cores: Option<f64>,
    /// b's figures over a's.
    pub ratio: Ratio,
    /// How the interval is made.
    pub interval: String,
    /// Whether the interval holds 1.
    pub equal: bool,
    /// The least difference, as a share, that would have been told from none.
    pub resolution: f64,
    /// The difference, as a share, that was asked about.
    pub limit: f64,
    /// Whether the two differ by less.
    pub within_limit: Within,
}

impl Summary {
    /// Of pairs; `None` if there are too few or too many.
    pub fn of(settings: &Settings, pairs: &[Pair]) -> Option<Self> {
        let of_a = |value: fn(&Run) -> f64| pairs.iter().map(|pair| value(&pair.a)).collect::<Vec<_>>();
        let of_b = |value: fn(&Run) -> f64| pairs.iter().map(|pair| value(&pair.b)).collect::<Vec<_>>();
        let runs = || pairs.iter().flat_map(|pair| [&pair.a, &pair.b]);
        let probe: Vec<f64> = runs().map(|run| run.probe_bytes_per_s).collect();
        let (a, b) = (of_a(|run| run.figure), of_b(|run| run.figure));
        let ratio = Ratio::of(&a, &b)?;
        Some(Self {
            a: Spread::of(&a)?,
            b: Spread::of(&b)?,
            probe_bytes_per_s: Spread::of(&probe)?,
            a_share_of_probe: shares(settings, pairs.iter().map(|pair| &pair.a)),
            b_share_of_probe: shares(settings, pairs.iter().map(|pair| &pair.b)),
            others_cores: average(runs(), |run| run.others_cores),
            stolen_cores: average(runs(), |run| run.stolen_cores),
            ratio,
            interval: format!(
                "of the median of the pairs' ratios, from order statistics (the sign test's), at least {} %",
                CONFIDENCE * 100.0
            ),
            equal: ratio.is_equal(),
            resolution: ratio.resolution(),
            limit: settings.within,
            within_limit: ratio.within(settings.within),
        })
    }
}

impl Report {
    /// Puts everything together; the present is the end.
    pub fn new(
        settings: &Settings,
        probe: &Probe,
        machine: Machine,
        revision: Option<Revision>,
        started: SystemTime,
        summary: Summary,
        pairs: Vec<Pair>,
    ) -> Self {
        let date = |time| humantime::format_rfc3339_seconds(time).to_string();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started: date(started),
            ended: date(SystemTime::now()),
            machine,
            revision,
            asked: Asked {
                a: settings.a.text().to_owned(),
                b: settings.b.text().to_owned(),
                measure: settings.measure.describe(),
                higher_is_better: settings.higher_is_better,
                warm_up: settings.warm_up,
                seed: settings.seed,
                timeout_s: settings.timeout.as_secs_f64(),
                bytes_per_unit: settings.bytes_per_unit,
            },
            probe: Probed {
                threads: settings.threads,
                bytes: probe.size(),
                file: match &settings.source {
                    Source::Memory(_) => None,
                    Source::File(path) => Some(path.clone()),
                },
                pages: settings.pages,
                huge_share: probe.huge_share(),
            },
            summary,
            pairs,
        }
    }
}

/// Each run's rate of reading as a share of what the probe read just before it. A figure that is better when higher counts units a
/// second; any other is the seconds of one unit.
fn shares<'a>(settings: &Settings, runs: impl Iterator<Item = &'a Run>) -> Option<Spread> {
    let bytes = settings.bytes_per_unit?;
    let share = |run: &Run| {
        let rate = if settings.higher_is_better {
            bytes * run.figure
        } else {
            bytes / run.figure
        };
        rate / run.probe_bytes_per_s
    };
    Spread::of(&runs.map(share).collect::<Vec<_>>())
}

/// Weighted by how long each run took; `None` if no run says.
fn average<'a>(runs: impl Iterator<Item = &'a Run>, value: fn(&Run) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut seconds) = (0.0, 0.0);
    for run in runs {
        if let Some(cores) = value(run) {
            sum += cores * run.wall_s;
            seconds += run.wall_s;
        }
    }
    (seconds > 0.0).then(|| sum / seconds)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Measure;
    use crate::order::Side;

    fn settings(higher_is_better: bool) -> Settings {
        Settings {
            a: "true".parse().unwrap(),
            b: "true".parse().unwrap(),
            pairs: 6,
            warm_up: 0,
            seed: 0,
            measure: Measure::Wall,
            higher_is_better,
            within: 0.01,
            timeout: Duration::from_secs(1),
            bytes_per_unit: Some(1e9),
            source: Source::Memory(1 << 20),
            pages: Pages::Default,
            threads: 1,
        }
    }

    fn run(figure: f64, others_cores: Option<f64>) -> Run {
        Run {
            figure,
            wall_s: figure,
            probe_bytes_per_s: 8e9,
            others_cores,
            stolen_cores: None,
        }
    }

    fn pairs() -> Vec<Pair> {
        (0..6)
            .map(|_| Pair {
                first: Side::A,
                a: run(0.25, Some(0.4)),
                b: run(0.5, None),
                ratio: 2.0,
            })
            .collect()
    }

    #[test]
    fn shares_by_hand() {
        // 1 GB in 0.25 s is 4 GB/s of 8; in 0.5 s a quarter.
        let summary = Summary::of(&settings(false), &pairs()).unwrap();
        assert_eq!(summary.a_share_of_probe.unwrap().median, 0.5);
        assert_eq!(summary.b_share_of_probe.unwrap().median, 0.25);
        // A quarter of a unit a second, of 1 GB: 0.25 GB/s of 8.
        let summary = Summary::of(&settings(true), &pairs()).unwrap();
        assert_eq!(summary.a_share_of_probe.unwrap().median, 0.031_25);
    }

    #[test]
    fn what_others_used_is_weighted_and_may_be_unknown() {
        let mut pairs = pairs();
        // 0.4 cores for 6 times 0.25 s, and 1 core for 0.5 s: (0.6 + 0.5) / 2.0.
        pairs[0].b.others_cores = Some(1.0);
        let summary = Summary::of(&settings(false), &pairs).unwrap();
        assert!((summary.others_cores.unwrap() - 0.55).abs() < 1e-12);
        assert_eq!(summary.stolen_cores, None);
    }

    #[test]
    fn too_few_pairs_have_no_summary() {
        assert!(Summary::of(&settings(false), &pairs()[..5]).is_none());
    }
}
