//! Rows as pages: Markdown, one HTML file, a table of commas.

mod charts;
mod html;

use std::fmt::Write;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::failure::Place;
use crate::row::Row;

pub(crate) use html::{SCRIPT, head};
pub use html::{escaped, page};

/// The largest file of results.
const LARGEST: u64 = 1 << 30;

/// What a report is of, beside its rows.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The title.
    pub title: String,
    /// A line each: the machine, the picture, the settings.
    pub lines: Vec<(String, String)>,
    /// The prompts, each with the variant's name.
    pub prompts: Vec<(String, String)>,
    /// The picture as an address of data, for the page.
    pub picture: Option<String>,
    /// Whether rows are missing because the run was stopped.
    pub is_partial: bool,
}

/// A column of tables: its name, and what a row has there.
pub struct Column {
    /// The heading, with the unit.
    pub name: &'static str,
    /// The value as text; empty where it is absent.
    pub show: fn(&Row) -> String,
}

/// The columns of figures.
pub const COLUMNS: [Column; 13] = [
    Column {
        name: "grade",
        show: |row| {
            row.grade
                .as_ref()
                .map_or(String::new(), |g| format!("{} {}", g.letter, g.points))
        },
    },
    Column {
        name: "prompt",
        show: |row| whole(row.figures.prompt_tokens),
    },
    Column {
        name: "prompt: text",
        show: |row| whole(row.figures.text_tokens),
    },
    Column {
        name: "prompt: picture",
        show: |row| whole(row.figures.picture_tokens),
    },
    Column {
        name: "answer",
        show: |row| whole(row.figures.answer_tokens),
    },
    Column {
        name: "load s",
        show: |row| part(row.figures.load_s, 2),
    },
    Column {
        name: "picture s",
        show: |row| part(row.figures.picture_s, 2),
    },
    Column {
        name: "encode s",
        show: |row| part(row.figures.encode_s, 2),
    },
    Column {
        name: "prefill tokens/s",
        show: |row| part(row.figures.prefill_tokens_per_s, 0),
    },
    Column {
        name: "first token s",
        show: |row| part(row.figures.first_token_s, 2),
    },
    Column {
        name: "decode tokens/s",
        show: |row| part(row.figures.decode_tokens_per_s, 1),
    },
    Column {
        name: "total s",
        show: |row| part(row.figures.total_s, 2),
    },
    Column {
        name: "peak MB",
        show: |row| whole(row.figures.peak_bytes().map(|bytes| bytes / 1_000_000)),
    },
];

fn whole(number: Option<u64>) -> String {
    number.map_or(String::new(), |number| number.to_string())
}

fn part(number: Option<f64>, digits: usize) -> String {
    number.map_or(String::new(), |number| format!("{number:.digits$}"))
}

/// How many rows have an answer, and how many have none.
pub fn counts(rows: &[Row]) -> (usize, usize) {
    let answered = rows.iter().filter(|row| row.is_answered()).count();
    (answered, rows.len() - answered)
}

/// `report.md`.
pub fn markdown(about: &About, rows: &[Row]) -> String {
    let mut text = format!("# {}\n\n", about.title);
    if about.is_partial {
        text.push_str("**The run was stopped: rows are missing.**\n\n");
    }
    for (name, value) in &about.lines {
        let _ = writeln!(text, "- {name}: {value}");
    }
    let (answered, failed) = counts(rows);
    let _ = writeln!(text, "- rows: {answered} answered, {failed} failed\n");
    let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
    let _ = writeln!(text, "| model | {} | findings |", names.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---:|".repeat(COLUMNS.len()));
    for row in rows {
        let cells: Vec<String> = COLUMNS.iter().map(|column| (column.show)(row)).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            cell(&row.title()),
            cells.join(" | "),
            cell(&told(row))
        );
    }
    if failed > 0 {
        text.push_str("\n## Failures, by where the fault lies\n");
        for (place, rows) in failures(rows) {
            let _ = writeln!(text, "\n### {} ({})\n", place.name(), rows.len());
            for row in rows {
                let Some(failure) = &row.failure else { continue };
                let _ = writeln!(
                    text,
                    "- **{}**: {}\n\n{}\n\n  repeat: `{}`\n",
                    row.title(),
                    failure.reason,
                    fenced(&failure.error),
                    row.repeat
                );
            }
        }
    }
    text.push_str("\n## Prompts\n");
    for (name, prompt) in &about.prompts {
        let _ = writeln!(text, "\n{name}\n\n{}", fenced(prompt));
    }
    text.push_str("\n## Answers\n");
    for row in rows {
        let Some(answer) = &row.answer else { continue };
        let _ = writeln!(
            text,
            "\n### {}\n\n{}\n\n{}",
            row.title(),
            answer.finish,
            fenced(&answer.text)
        );
        for finding in &row.findings {
            let _ = writeln!(text, "- {}: {}", finding.rule.name(), finding.detail);
        }
    }
    text
}

/// What is to be said of a row beside figures.
fn told(row: &Row) -> String {
    match &row.failure {
        Some(failure) => format!("{}: {}", failure.place.name(), failure.reason),
        None => row
            .findings
            .iter()
            .map(|finding| finding.rule.name())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Failed rows by where the fault lies.
fn failures(rows: &[Row]) -> Vec<(Place, Vec<&Row>)> {
    let of = |place: Place| -> Vec<&Row> {
        let failed = rows
            .iter()
            .filter(|row| row.failure.as_ref().is_some_and(|f| f.place == place));
        failed.collect()
    };
    let places = Place::ALL.into_iter().map(|place| (place, of(place)));
    places.filter(|(_, rows)| !rows.is_empty()).collect()
}

/// A cell of a Markdown table: on one line, without bars.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// A block of text whose fence is longer than any in it.
fn fenced(text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}text\n{}\n{fence}", text.trim_end())
}

/// `results.csv`, as RFC 4180 says it.
pub fn csv(rows: &[Row]) -> String {
    let names = COLUMNS.iter().map(|column| column.name);
    let head: Vec<&str> = ["model", "with"]
        .into_iter()
        .chain(names)
        .chain(["findings", "fault", "reason", "finish", "text"])
        .collect();
    let mut text = head.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",") + "\r\n";
    for row in rows {
        let findings: Vec<&str> = row.findings.iter().map(|finding| finding.rule.name()).collect();
        let failure = row.failure.as_ref();
        let answer = row.answer.as_ref();
        let mut cells = vec![row.model.clone(), row.variant.clone()];
        cells.extend(COLUMNS.iter().map(|column| (column.show)(row)));
        cells.extend([
            findings.join(" "),
            failure.map_or(String::new(), |failure| failure.place.name().to_owned()),
            failure.map_or(String::new(), |failure| failure.reason.clone()),
            answer.map_or(String::new(), |answer| answer.finish.clone()),
            answer.map_or(String::new(), |answer| answer.text.clone()),
        ]);
        text += &cells
            .iter()
            .map(|cell| quoted(cell))
            .collect::<Vec<_>>()
            .join(",");
        text.push_str("\r\n");
    }
    text
}

/// Quoted where need be; a spreadsheet must not take a model's words for a formula.
pub(crate) fn quoted(cell: &str) -> String {
    let safe = match cell.starts_with(['=', '+', '-', '@']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    };
    match safe.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", safe.replace('"', "\"\"")),
        false => safe,
    }
}

/// Rows of a `results.jsonl`; a last line that was cut off by a crash is left out.
pub fn read_rows(path: &Path) -> Result<Vec<Row>, String> {
    read_lines(path)
}

/// Lines of JSON; a last one that was cut off by a crash is left out.
pub(crate) fn read_lines<Line: DeserializeOwned>(path: &Path) -> Result<Vec<Line>, String> {
    let text = read_text(path)?;
    Ok(lines(path, &text)?.into_iter().map(|(_, line)| line).collect())
}

/// The lines of a `results.jsonl` that are wanted still: what they say, and their text as it stands.
pub fn read_wanted<Line: DeserializeOwned>(
    path: &Path,
    is_wanted: impl Fn(&Line) -> bool,
) -> Result<(Vec<Line>, String), String> {
    let text = read_text(path)?;
    let mut kept = String::new();
    let mut wanted = Vec::new();
    for (line, said) in lines(path, &text)? {
        if is_wanted(&said) {
            kept += line.trim_end();
            kept.push('\n');
            wanted.push(said);
        }
    }
    Ok((wanted, kept))
}

fn read_text(path: &Path) -> Result<String, String> {
    monocle_files::read_text(path, LARGEST)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

fn lines<'a, Line: DeserializeOwned>(path: &Path, text: &'a str) -> Result<Vec<(&'a str, Line)>, String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut rows = Vec::new();
    for (index, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match serde_json::from_str(line) {
            Ok(row) => rows.push((*line, row)),
            Err(_) if index + 1 == lines.len() && !line.ends_with('\n') => {}
            Err(error) => return Err(format!("`{}`, line {}: {error}", path.display(), index + 1)),
        }
    }
    Ok(rows)
}
