//! A report in a few lines of text.

use std::fmt::Write;

use crate::report::Report;
use crate::statistics::{Spread, Within};

/// Pairs below which no conclusion should be drawn.
const ENOUGH_PAIRS: usize = 20;
/// Cores used by others above which the machine was not quiet.
const QUIET: f64 = 0.1;
/// How wide a label is.
const LABEL: usize = 16;

/// The table that is printed.
pub fn table(report: &Report) -> String {
    let mut lines = vec![
        format!("a: {}", report.asked.a),
        format!("b: {}", report.asked.b),
        format!(
            "{} pairs, {}, {} is better",
            report.pairs.len(),
            report.asked.measure,
            if report.asked.higher_is_better {
                "higher"
            } else {
                "lower"
            },
        ),
        String::new(),
        format!(
            "{:LABEL$}{:>12}{:>26}{:>26}",
            "", "median", "middle half", "range"
        ),
    ];
    let summary = &report.summary;
    lines.push(row("a", &summary.a, 1.0));
    lines.push(row("b", &summary.b, 1.0));
    lines.push(row("probe, GB/s", &summary.probe_bytes_per_s, 1e-9));
    for (label, share) in [
        ("a, % of probe", &summary.a_share_of_probe),
        ("b, % of probe", &summary.b_share_of_probe),
    ] {
        lines.extend(share.as_ref().map(|share| row(label, share, 100.0)));
    }
    lines.push(String::new());
    lines.extend(verdict(report));
    lines.push(String::new());
    lines.extend(surroundings(report));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn row(label: &str, spread: &Spread, scale: f64) -> String {
    let number = |value: f64| significant(value * scale);
    let from_to = |from: f64, to: f64| format!("{} .. {}", number(from), number(to));
    format!(
        "{label:LABEL$}{:>12}{:>26}{:>26}",
        number(spread.median),
        from_to(spread.lower_quartile, spread.upper_quartile),
        from_to(spread.least, spread.largest),
    )
}

/// Five digits that count, so that 0.1 % can be seen.
fn significant(value: f64) -> String {
    let before_point = value.abs().log10().floor().max(-6.0) as i32 + 1;
    let after_point = usize::try_from(5 - before_point).unwrap_or(0);
    format!("{value:.after_point$}")
}

fn verdict(report: &Report) -> Vec<String> {
    let summary = &report.summary;
    let ratio = &summary.ratio;
    let mut lines = vec![format!(
        "b/a {:.4}, {:.1} % interval {:.4} .. {:.4} ({})",
        ratio.median,
        ratio.confidence * 100.0,
        ratio.low,
        ratio.high,
        "of the median ratio of pairs, by order statistics",
    )];
    let better = (ratio.median > 1.0) == report.asked.higher_is_better;
    lines.push(if summary.equal {
        format!(
            "equal within the interval; differences from {} % up would have been seen",
            percent(summary.resolution)
        )
    } else {
        format!(
            "b is {} by {} % ({} to {} %); differences from {} % up would have been seen",
            if better { "better" } else { "worse" },
            percent((ratio.median - 1.0).abs()),
            percent((ratio.low - 1.0).abs().min((ratio.high - 1.0).abs())),
            percent((ratio.low - 1.0).abs().max((ratio.high - 1.0).abs())),
            percent(summary.resolution),
        )
    });
    lines.push(format!(
        "within {} %: {}",
        percent(summary.limit),
        match summary.within_limit {
            Within::Yes => "yes, the whole interval is",
            Within::No => "no, none of the interval is",
            Within::Undecided =>
                "cannot be said, a part of the interval is: take more pairs, longer runs or a quieter machine",
        }
    ));
    if report.pairs.len() < ENOUGH_PAIRS {
        lines.push(format!("fewer than {ENOUGH_PAIRS} pairs: a look, no measurement"));
    }
    lines
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent < 1.0 { 2 } else { 1 };
    let text = format!("{percent:.digits$}");
    // A limit of 1 % is not 1.0 %.
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn surroundings(report: &Report) -> Vec<String> {
    let machine = &report.machine;
    let mut line = machine
        .processor
        .clone()
        .unwrap_or_else(|| "unknown processor".to_owned());
    write!(line, ", {} cores", machine.cores).expect("a string takes what is written");
    if let Some(bytes) = machine.memory_bytes {
        let gibibytes = bytes as f64 / f64::from(1 << 30);
        write!(line, ", {gibibytes:.1} GiB").expect("a string takes what is written");
    }
    for (name, value) in [("", &machine.system), ("governor ", &machine.governor)] {
        if let Some(value) = value {
            write!(line, ", {name}{value}").expect("a string takes what is written");
        }
    }
    let mut lines = vec![line, format!("flags: {}", machine.vector_flags().join(" "))];
    lines.push(format!(
        "probe: threads {}, {} MiB{}{}",
        report.probe.threads,
        report.probe.bytes >> 20,
        if report.probe.file.is_some() {
            " of a mapped file"
        } else {
            ""
        },
        match report.probe.huge_share {
            Some(share) => format!(", {:.0} % in huge pages", share * 100.0),
            None => String::new(),
        }
    ));
    if let Some(others) = report.summary.others_cores {
        let stolen = report.summary.stolen_cores.unwrap_or_default();
        lines.push(format!(
            "meanwhile other processes used {others:.2} cores, other virtual machines {stolen:.2}{}",
            if others + stolen > QUIET {
                ": not a quiet machine"
            } else {
                ""
            }
        ));
    }
    let mut line = format!("{} to {}", report.started, report.ended);
    if let Some(revision) = &report.revision {
        let changed = if revision.changed { ", with changes" } else { "" };
        write!(line, ", in a folder at {}{changed}", revision.commit)
            .expect("a string takes what is written");
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_five_digits() {
        for (value, text) in [
            (0.012345678, "0.012346"),
            (0.5, "0.50000"),
            (7.654321, "7.6543"),
            (27.0, "27.000"),
            (123456.7, "123457"),
        ] {
            assert_eq!(significant(value), text);
        }
    }

    #[test]
    fn percents_are_short() {
        for (share, text) in [
            (0.01, "1"),
            (0.005, "0.50"),
            (0.0123, "1.2"),
            (1.0, "100"),
            (0.1, "10"),
        ] {
            assert_eq!(percent(share), text);
        }
    }
}
