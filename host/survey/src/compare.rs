//! Two runs side by side: what changed, in numbers and in words.

use std::collections::HashMap;

use crate::row::Row;

/// A change of speed or memory below this is noise, in percent.
const NOISE: f64 = 10.0;

/// What changed from the old rows to the new, a line each.
pub fn compare(old: &[Row], new: &[Row]) -> Vec<String> {
    let before: HashMap<String, &Row> = old.iter().map(|row| (row.title(), row)).collect();
    let mut lines = Vec::new();
    for row in new {
        let name = row.title();
        let Some(was) = before.get(&name) else {
            lines.push(format!("{name}: new"));
            continue;
        };
        match (&was.failure, &row.failure) {
            (None, Some(failure)) => lines.push(format!(
                "{name}: fails now ({}): {}",
                failure.place.name(),
                failure.reason
            )),
            (Some(_), None) => lines.push(format!("{name}: works now")),
            (Some(was), Some(failure)) if was.reason != failure.reason => {
                lines.push(format!("{name}: fails otherwise: {}", failure.reason));
            }
            _ => {}
        }
        let figures = [
            (
                "decode tokens/s",
                was.figures.decode_tokens_per_s,
                row.figures.decode_tokens_per_s,
            ),
            (
                "prefill tokens/s",
                was.figures.prefill_tokens_per_s,
                row.figures.prefill_tokens_per_s,
            ),
            (
                "first token s",
                was.figures.first_token_s,
                row.figures.first_token_s,
            ),
            ("load s", was.figures.load_s, row.figures.load_s),
            ("peak MB", megabytes(was), megabytes(row)),
        ];
        for (what, then, now) in figures {
            if let (Some(then), Some(now)) = (then, now)
                && then > 0.0
            {
                let change = (now - then) / then * 100.0;
                if change.abs() >= NOISE {
                    lines.push(format!("{name}: {what} {then:.2} → {now:.2} ({change:+.0} %)"));
                }
            }
        }
        if let (Some(then), Some(now)) = (&was.grade, &row.grade)
            && then.points != now.points
        {
            lines.push(format!(
                "{name}: grade {} {} → {} {}",
                then.letter, then.points, now.letter, now.points
            ));
        }
        let has = |row: &Row, rule| row.findings.iter().any(|finding| finding.rule == rule);
        for finding in row.findings.iter().filter(|finding| !has(was, finding.rule)) {
            lines.push(format!(
                "{name}: new finding {}: {}",
                finding.rule.name(),
                finding.detail
            ));
        }
        for finding in was.findings.iter().filter(|finding| !has(row, finding.rule)) {
            lines.push(format!("{name}: no longer {}", finding.rule.name()));
        }
        if let (Some(then), Some(now)) = (&was.answer, &row.answer)
            && then.text != now.text
        {
            let same = then
                .text
                .chars()
                .zip(now.text.chars())
                .take_while(|(a, b)| a == b)
                .count();
            lines.push(format!(
                "{name}: the answer is another from character {} on",
                same + 1
            ));
        }
    }
    let gone = old
        .iter()
        .filter(|was| !new.iter().any(|row| row.title() == was.title()));
    lines.extend(gone.map(|was| format!("{}: not there any more", was.title())));
    lines
}

fn megabytes(row: &Row) -> Option<f64> {
    row.figures.peak_bytes().map(|bytes| bytes as f64 / 1e6)
}
