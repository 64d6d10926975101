//! What `check` shows while it works: on a terminal a table that grows, elsewhere a line for each row.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use monocle_survey::row::Row;

use super::super::output;

/// Columns between the model's name and what was found, with their widths.
const COLUMNS: [(&str, usize); 5] = [
    ("grade", 6),
    ("load s", 7),
    ("first token s", 14),
    ("tokens/s", 9),
    ("peak MB", 8),
];
/// The widest name of a model.
const NAME: usize = 40;

/// See the module.
pub struct Table {
    /// None where there is no terminal.
    live: Option<Live>,
    name_width: usize,
    answered: usize,
    failed: usize,
}

struct Live {
    multi: MultiProgress,
    running: ProgressBar,
    all: ProgressBar,
}

impl Table {
    /// Of so many rows; `names` are their models'. `done` are rows that are there already.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>, rows: usize, done: &[Row]) -> Self {
        let live = std::io::stderr().is_terminal().then(|| {
            let multi = MultiProgress::new();
            let running = multi.add(ProgressBar::new_spinner());
            running.set_style(
                ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed}")
                    .expect("the template is valid"),
            );
            running.enable_steady_tick(Duration::from_millis(120));
            let all = multi.add(ProgressBar::new(rows as u64));
            all.set_style(
                ProgressStyle::with_template("{bar:30} {pos} of {len} rows, {msg}, {elapsed}")
                    .expect("the template is valid"),
            );
            Live { multi, running, all }
        });
        let widest = names.map(|name| name.chars().count()).max().unwrap_or(0);
        let mut table = Self {
            live,
            name_width: widest.clamp(5, NAME),
            answered: 0,
            failed: 0,
        };
        if let Some(live) = &table.live {
            let _ = live.multi.println(heading(table.name_width));
        }
        for row in done {
            table.add(row, true);
        }
        table
    }

    /// A row is begun.
    pub fn begin(&self, name: &str) {
        if let Some(live) = &self.live {
            live.running.reset_elapsed();
            live.running.set_prefix(name.to_owned());
            live.running.set_message("");
        }
    }

    /// What the row that was begun is busy with.
    pub fn phase(&self, phase: &str) {
        if let Some(live) = &self.live {
            live.running.set_message(phase.to_owned());
        }
    }

    /// A row is there.
    pub fn row(&mut self, row: &Row) {
        self.add(row, false);
    }

    fn add(&mut self, row: &Row, was_there: bool) {
        match row.is_answered() {
            true => self.answered += 1,
            false => self.failed += 1,
        }
        match &self.live {
            Some(live) => {
                let _ = live.multi.println(in_columns(row, self.name_width));
                live.all.set_position((self.answered + self.failed) as u64);
                live.all
                    .set_message(format!("{} answered, {} failed", self.answered, self.failed));
            }
            None if was_there => {}
            None => output::note(&in_a_line(row)),
        }
    }

    /// No more rows come; those that are there stay on the screen.
    pub fn finish(&self) {
        if let Some(live) = &self.live {
            live.running.finish_and_clear();
            live.all.finish_and_clear();
        }
    }
}

fn heading(name_width: usize) -> String {
    let columns = COLUMNS.map(|(name, width)| format!("{name:>width$}"));
    format!("{:name_width$} {} findings", "model", columns.join(""))
}

fn in_columns(row: &Row, name_width: usize) -> String {
    let mut name = row.title();
    if name.chars().count() > name_width {
        name = name.chars().take(name_width - 1).chain(['…']).collect();
    }
    let part =
        |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    let figures = &row.figures;
    let values = [
        row.grade.as_ref().map_or(String::new(), |grade| {
            format!("{} {}", grade.letter, grade.points)
        }),
        part(figures.load_s, 1),
        part(figures.first_token_s, 2),
        part(figures.decode_tokens_per_s, 1),
        figures
            .peak_bytes()
            .map_or(String::new(), |bytes| (bytes / 1_000_000).to_string()),
    ];
    let cells = COLUMNS
        .iter()
        .zip(&values)
        .map(|((_, width), value)| format!("{value:>width$}"));
    let cells: String = cells.collect();
    format!("{name:name_width$} {cells} {}", told(row))
}

fn told(row: &Row) -> String {
    match &row.failure {
        Some(failure) => format!("failed ({}): {}", failure.place.name(), failure.reason),
        None if row.findings.is_empty() => "no findings".to_owned(),
        None => {
            let found = row.findings.iter().map(|finding| finding.rule.name());
            found.collect::<Vec<_>>().join(", ")
        }
    }
}

fn in_a_line(row: &Row) -> String {
    if row.failure.is_some() {
        return format!("{}: {}", row.title(), told(row));
    }
    let grade = row.grade.as_ref().map_or(String::new(), |grade| {
        format!("{} {}/100, ", grade.letter, grade.points)
    });
    let speed = row
        .figures
        .decode_tokens_per_s
        .map_or(String::new(), |speed| format!("{speed:.1} tokens/s, "));
    format!("{}: {grade}{speed}{}", row.title(), told(row))
}

#[cfg(test)]
mod tests {
    use monocle_survey::failure::{Failure, Place};
    use monocle_survey::row::{Answer, Figures, Row};

    use super::{heading, in_columns};

    #[test]
    fn cells_stand_below_their_headings() {
        let row = Row {
            model: "a-model".to_owned(),
            answer: Some(Answer::default()),
            figures: Figures {
                load_s: Some(1.25),
                decode_tokens_per_s: Some(9.96),
                process_peak_bytes: Some(512_400_000),
                ..Figures::default()
            },
            ..Row::default()
        };
        let (head, line) = (heading(10), in_columns(&row, 10));
        for (name, value) in [("load s", "1.2"), ("tokens/s", "10.0"), ("peak MB", "512")] {
            let end = head.find(name).expect("a column") + name.len();
            assert!(line[..end].ends_with(value), "{name}\n{head}\n{line}");
        }
        let late = Row {
            failure: Some(Failure::new(Place::Timeout, "stopped")),
            ..row
        };
        assert!(in_columns(&late, 10).ends_with("failed (timeout): stopped"));
        let long = Row {
            model: "a-model-with-a-name-that-is-long".to_owned(),
            ..late
        };
        assert!(in_columns(&long, 10).starts_with("a-model-w… "));
    }
}
