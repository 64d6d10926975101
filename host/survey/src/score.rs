//! Answers to a data set, and what models are worth by them: lines, tables, pages.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::interval::wilson;
use crate::report::{self, escaped};

/// The most wrong answers of one model that a page shows.
const WRONG: usize = 200;

/// An answer, scored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scored {
    /// Of everything that the answer depends on.
    pub key: String,
    /// The model.
    pub model: String,
    /// The question's name.
    pub id: String,
    /// The picture's file.
    pub picture: String,
    /// What was asked.
    pub question: String,
    /// Whether it was not the first question about the picture: the picture came with another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_second_turn: bool,
    /// `yes/no`, `number`, `other`.
    pub kind: String,
    /// What people answered.
    pub expected: Vec<String>,
    /// What the model answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// VQA 2.0's accuracy, 0 to 1; 0 where there is no answer.
    pub accuracy: f64,
    /// Whether it is one of the expected ones, case, articles and signs aside.
    pub is_exact: bool,
    /// From the question to the answer, others beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Tokens of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Whether the picture's features were there already.
    #[serde(default)]
    pub is_shared: bool,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What some answers come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Of how many.
    pub cases: usize,
    /// Of VQA 2.0's accuracy: the mean.
    pub accuracy: f64,
    /// Wilson's interval of it.
    pub interval: (f64, f64),
    /// Of exact answers: the share.
    pub exact: f64,
    /// Wilson's interval of it.
    pub exact_interval: (f64, f64),
}

impl Share {
    /// Of these answers; nothing where there are none.
    pub fn of<'a>(answers: impl Iterator<Item = &'a Scored>) -> Option<Self> {
        let (mut cases, mut accuracy, mut exact) = (0, 0.0, 0);
        for answer in answers {
            cases += 1;
            accuracy += answer.accuracy;
            exact += usize::from(answer.is_exact);
        }
        let n = cases as f64;
        (cases > 0).then(|| Self {
            cases,
            accuracy: accuracy / n,
            interval: wilson(accuracy / n, cases),
            exact: exact as f64 / n,
            exact_interval: wilson(exact as f64 / n, cases),
        })
    }
}

/// A model's figures: their names, and what stands there.
pub fn figures(answers: &[&Scored]) -> Vec<(String, String)> {
    let percent = |share: f64, (low, high): (f64, f64)| {
        format!(
            "{:.1} % ({:.1} to {:.1})",
            100.0 * share,
            100.0 * low,
            100.0 * high
        )
    };
    let of =
        |is_in: &dyn Fn(&Scored) -> bool| Share::of(answers.iter().copied().filter(|answer| is_in(answer)));
    let mut figures = Vec::new();
    let all = of(&|_| true);
    figures.push(("questions".to_owned(), answers.len().to_string()));
    let shown =
        |share: Option<Share>| share.map_or(String::new(), |share| percent(share.accuracy, share.interval));
    figures.push(("VQA accuracy".to_owned(), shown(all)));
    let exact = all.map_or(String::new(), |share| percent(share.exact, share.exact_interval));
    figures.push(("exact".to_owned(), exact));
    for kind in crate::dataset::Kind::ALL {
        figures.push((
            kind.name().to_owned(),
            shown(of(&|answer| answer.kind == kind.name())),
        ));
    }
    figures.push((
        "first turn".to_owned(),
        shown(of(&|answer| !answer.is_second_turn)),
    ));
    figures.push((
        "second turn".to_owned(),
        shown(of(&|answer| answer.is_second_turn)),
    ));
    let seconds: Vec<f64> = answers.iter().filter_map(|answer| answer.seconds).collect();
    let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
    let seconds = if seconds.is_empty() {
        String::new()
    } else {
        format!("{mean:.2}")
    };
    figures.push(("seconds for each".to_owned(), seconds));
    let failed = answers.iter().filter(|answer| answer.failure.is_some()).count();
    figures.push(("failed".to_owned(), failed.to_string()));
    figures
}

/// Answers by model, in the order in which models came.
pub fn by_model(answers: &[Scored]) -> Vec<(&str, Vec<&Scored>)> {
    let mut models: Vec<(&str, Vec<&Scored>)> = Vec::new();
    for answer in answers {
        match models.iter_mut().find(|(model, _)| *model == answer.model) {
            Some((_, of)) => of.push(answer),
            None => models.push((&answer.model, vec![answer])),
        }
    }
    models
}

/// `report.md`.
pub fn markdown(about: &report::About, answers: &[Scored]) -> String {
    let mut text = format!("# {}\n\n", about.title);
    if about.is_partial {
        text.push_str("**The run was stopped: answers are missing.**\n\n");
    }
    for (name, value) in &about.lines {
        let _ = writeln!(text, "- {name}: {value}");
    }
    text.push_str("\nIn brackets: Wilson's intervals of 95 %.\n");
    let models = by_model(answers);
    if let Some((_, first)) = models.first() {
        let names: Vec<String> = figures(first).into_iter().map(|(name, _)| name).collect();
        let _ = writeln!(
            text,
            "\n| model | {} |\n|---|{}",
            names.join(" | "),
            "---:|".repeat(names.len())
        );
    }
    for (model, of) in &models {
        let cells: Vec<String> = figures(of).into_iter().map(|(_, value)| value).collect();
        let _ = writeln!(text, "| {} | {} |", report::cell(model), cells.join(" | "));
    }
    for (model, of) in &models {
        let _ = writeln!(text, "\n## {}: wrong answers\n", report::cell(model));
        let (wrong, more) = wrong(of);
        for answer in wrong {
            let _ = writeln!(
                text,
                "- {}: {} **{}**, expected {}",
                report::cell(&answer.picture),
                report::cell(&answer.question),
                report::cell(&said(answer)),
                report::cell(&commonest(&answer.expected))
            );
        }
        if more > 0 {
            let _ = writeln!(text, "- and {more} more, in results.jsonl");
        }
    }
    text
}

/// `report.html`.
pub fn page(about: &report::About, answers: &[Scored]) -> String {
    let mut html = report::head(about, "answers");
    html.push_str("<div class=\"top\"><dl>");
    for (name, value) in &about.lines {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    html.push_str("</dl></div>\n<h2>Models</h2><p class=\"soft\">In brackets: Wilson's intervals of 95 %.</p><div class=\"wide\"><table><thead><tr>");
    let models = by_model(answers);
    let names = models
        .first()
        .map(|(_, first)| figures(first))
        .unwrap_or_default();
    for name in ["model"]
        .into_iter()
        .chain(names.iter().map(|(name, _)| name.as_str()))
    {
        let _ = write!(html, "<th scope=\"col\"><button>{name}</button></th>");
    }
    html.push_str("</tr></thead><tbody>\n");
    for (model, of) in &models {
        let _ = write!(html, "<tr><td>{}</td>", escaped(model));
        for (_, value) in figures(of) {
            let number = value.split(' ').next().unwrap_or_default();
            let _ = write!(html, "<td data-v=\"{number}\">{value}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    for (model, of) in &models {
        let (wrong, more) = wrong(of);
        let _ = write!(
            html,
            "<h2>{}: wrong answers</h2><div class=\"wide\"><table><thead><tr>",
            escaped(model)
        );
        for name in ["picture", "question", "answer", "accuracy", "expected"] {
            let _ = write!(html, "<th scope=\"col\"><button>{name}</button></th>");
        }
        html.push_str("</tr></thead><tbody>\n");
        for answer in wrong {
            let cells = [
                &answer.picture,
                &answer.question,
                &said(answer),
                &format!("{:.2}", answer.accuracy),
                &commonest(&answer.expected),
            ];
            html.push_str("<tr>");
            for cell in cells {
                let _ = write!(html, "<td>{}</td>", escaped(cell));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        if more > 0 {
            let _ = writeln!(html, "<p class=\"soft\">And {more} more, in results.jsonl.</p>");
        }
    }
    let _ = writeln!(html, "<script>{}</script></body></html>", report::SCRIPT);
    html
}

/// `results.csv`.
pub fn csv(answers: &[Scored]) -> String {
    let head = [
        "model",
        "id",
        "picture",
        "question",
        "second turn",
        "kind",
        "answer",
        "expected",
        "accuracy",
        "exact",
        "seconds",
        "failure",
    ];
    let mut text = head.join(",") + "\r\n";
    for answer in answers {
        let cells = [
            answer.model.clone(),
            answer.id.clone(),
            answer.picture.clone(),
            answer.question.clone(),
            if answer.is_second_turn { "yes" } else { "" }.to_owned(),
            answer.kind.clone(),
            answer.answer.clone().unwrap_or_default(),
            commonest(&answer.expected),
            format!("{:.4}", answer.accuracy),
            if answer.is_exact { "yes" } else { "no" }.to_owned(),
            answer
                .seconds
                .map_or(String::new(), |seconds| format!("{seconds:.3}")),
            answer
                .failure
                .as_ref()
                .map_or(String::new(), |failure| failure.reason.clone()),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| report::quoted(cell)).collect();
        text += &(cells.join(",") + "\r\n");
    }
    text
}

/// What changed from old answers to new ones, a line each.
pub fn compare(old: &[Scored], new: &[Scored]) -> Vec<String> {
    let mut lines = Vec::new();
    let before = by_model(old);
    for (model, now) in by_model(new) {
        let Some((_, then)) = before.iter().find(|(name, _)| *name == model) else {
            lines.push(format!("{model}: new"));
            continue;
        };
        if let (Some(was), Some(is)) = (Share::of(then.iter().copied()), Share::of(now.iter().copied())) {
            let overlaps = was.interval.0 <= is.interval.1 && is.interval.0 <= was.interval.1;
            let sure = if overlaps {
                "within the intervals"
            } else {
                "beyond the intervals"
            };
            if (was.accuracy - is.accuracy).abs() > 1e-9 {
                lines.push(format!(
                    "{model}: VQA accuracy {:.1} % → {:.1} %, {sure}",
                    100.0 * was.accuracy,
                    100.0 * is.accuracy
                ));
            }
        }
        let by_id: BTreeMap<&str, &Scored> =
            then.iter().map(|answer| (answer.id.as_str(), *answer)).collect();
        let (mut better, mut worse) = (0, 0);
        for answer in now {
            if let Some(was) = by_id.get(answer.id.as_str()) {
                better += usize::from(answer.accuracy > was.accuracy);
                worse += usize::from(answer.accuracy < was.accuracy);
            }
        }
        if better + worse > 0 {
            lines.push(format!("{model}: {better} answers are better, {worse} are worse"));
        }
    }
    lines
}

/// Answers of a `results.jsonl`; a last line that was cut off by a crash is left out.
pub fn read(path: &Path) -> Result<Vec<Scored>, String> {
    report::read_lines(path)
}

fn wrong<'a>(answers: &[&'a Scored]) -> (Vec<&'a Scored>, usize) {
    let wrong: Vec<&Scored> = answers
        .iter()
        .copied()
        .filter(|answer| !answer.is_exact)
        .collect();
    let more = wrong.len().saturating_sub(WRONG);
    (wrong.into_iter().take(WRONG).collect(), more)
}

fn said(answer: &Scored) -> String {
    match (&answer.answer, &answer.failure) {
        (Some(answer), _) => answer.clone(),
        (None, Some(failure)) => format!("({})", failure.reason),
        (None, None) => String::new(),
    }
}

/// The answers that people gave, the commonest first.
fn commonest(answers: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    let mut all: Vec<(&str, usize)> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = all.iter().map(|(answer, count)| match answers.len() {
        1 => (*answer).to_owned(),
        _ => format!("{answer} ({count})"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
