//! What a conversion loses: the model and its copy are run along the same tokens, and their probabilities compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use monocle_image::DecodeOptions;
use monocle_manifest::schema::Source;
use monocle_runtime::error::RequestError;
use monocle_runtime::model::locate::{Declaration, Places};
use monocle_runtime::model::{Model, OpenOptions};
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions};
use monocle_runtime::trace::{Answer, Trace, argmax};

use crate::overdue::{self, Watch};
use crate::request::{EngineArguments, USUAL_QUESTION};

/// The text that is built in: prose, numbers, a list and code.
const TEXT: &str = include_str!("loss.txt");
/// The most bytes of a text.
const LONGEST: usize = 1200;
/// Tokens of the answer about a picture.
const ANSWER: usize = 32;
/// Sides of the pictures that are drawn.
const SIDE: u32 = 224;

/// What the loss is measured on.
pub struct Cases {
    text: String,
    pictures: Vec<PictureInput>,
}

impl Cases {
    /// The files that are given, else what is built in. What is wrong with them is found before hours of work.
    pub fn new(text: Option<&Path>, pictures: &[PathBuf]) -> anyhow::Result<Self> {
        let mut text = match text {
            None => TEXT.to_owned(),
            Some(path) => {
                let text = monocle_files::read_given_text(path, monocle_files::TEXT)
                    .with_context(|| path.display().to_string())?;
                if text.trim().is_empty() {
                    anyhow::bail!(
                        "{}: there are no words in it; the loss is measured on a text of some sentences",
                        path.display()
                    );
                }
                text
            }
        };
        text.truncate(text.floor_char_boundary(LONGEST));
        for path in pictures {
            monocle_image::open(path, &DecodeOptions::default())
                .with_context(|| path.display().to_string())?;
        }
        let pictures = match pictures.is_empty() {
            true => vec![drawn("rings", rings), drawn("tiles", tiles)],
            false => pictures.iter().cloned().map(PictureInput::File).collect(),
        };
        Ok(Self { text, pictures })
    }
}

/// What was found, at least of a part.
pub struct Loss {
    text: Part,
    pictures: Part,
}

/// What was found on a text or on pictures.
#[derive(Default)]
struct Part {
    compared: Compared,
    /// Why what is missing was not measured.
    problems: Vec<String>,
}

/// Two models at the same positions.
#[derive(Default)]
struct Compared {
    positions: usize,
    divergence: f64,
    others: usize,
    /// Of the tokens that really come: the sums of minus the logarithms of their probabilities.
    surprise: [f64; 2],
    known: usize,
}

/// Runs both models. What one of them refuses, such as a text without a picture, is left out; it is an error only where nothing is left.
pub fn measure(
    places: &Places,
    declaration: &Declaration,
    target: &Path,
    cases: &Cases,
    engine: EngineArguments,
) -> anyhow::Result<Loss> {
    let requests: Vec<Request> = cases
        .pictures
        .iter()
        .map(|picture| Request::single(None, vec![picture.clone()], USUAL_QUESTION))
        .collect();
    let words = Request::single(None, Vec::new(), &cases.text);
    let mut loss = Loss {
        text: Part::default(),
        pictures: Part::default(),
    };
    let watch = Watch::over("measuring the loss", overdue::USUAL);
    let mut original = open(places, declaration, engine)?;
    watch.went_on();
    let text = original.trace(&words, 512, 1);
    let text = loss.text.kept("the original, on the text", text);
    let mut answers = Vec::new();
    for request in &requests {
        watch.went_on();
        let answer = original.trace_steps(request, 512, Answer::Greedy(ANSWER));
        let answer = loss.pictures.kept("the original, on a picture", answer);
        answers.extend(answer.map(|answer| (request, answer)));
    }
    drop(original);
    if text.is_some() || !answers.is_empty() {
        let mut copy = declaration.clone();
        copy.manifest.source = Source::Path(std::path::absolute(target)?);
        watch.went_on();
        let mut copy = open(places, &copy, engine)?;
        watch.went_on();
        if let Some(text) = text {
            let found = copy.trace_along(&words, 512, &text.tokens);
            if let Some(found) = loss.text.kept("the copy, on the text", found) {
                let logits = text.prompt_logits.iter().zip(&found.prompt_logits);
                for (at, (exact, found)) in logits.enumerate() {
                    let next = text.prompt_ids.get(at + 1).copied();
                    loss.text.compared.count(exact, found, next);
                }
            }
        }
        for (request, answer) in answers {
            watch.went_on();
            let found = copy.trace_steps(request, 512, Answer::Given(&answer.tokens));
            if let Some(found) = loss.pictures.kept("the copy, on a picture", found) {
                let logits = answer.step_logits.iter().zip(&found.step_logits);
                for ((exact, found), token) in logits.zip(&answer.tokens) {
                    loss.pictures.compared.count(exact, found, Some(*token));
                }
            }
        }
    }
    let is_measured = loss.parts().iter().any(|(_, part)| part.compared.positions > 0);
    if !is_measured && let Some(problem) = loss.text.problems.first() {
        anyhow::bail!("{problem}");
    }
    Ok(loss)
}

impl Part {
    /// The result, if it is one; else its error is kept.
    fn kept(&mut self, what: &str, result: Result<Trace, RequestError>) -> Option<Trace> {
        match result {
            Ok(trace) => Some(trace),
            Err(error) => {
                let error = crate::in_words(&anyhow::Error::from(error));
                let problem = format!("{what}: {}", without_hint(&error));
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    fn why(&self) -> String {
        self.problems.join("; ")
    }
}

/// What an error says, without its advice on other flags of a request.
pub fn without_hint(text: &str) -> &str {
    text.split_once("\n\nhint:").map_or(text, |(said, _)| said)
}

fn open(places: &Places, declaration: &Declaration, engine: EngineArguments) -> anyhow::Result<Scheduler> {
    let model = Model::open(places, declaration, OpenOptions::default(), &mut |_| {})?;
    let options = SchedulerOptions {
        memory_limit: engine.memory_limit,
        cache_limit: 0,
        ..SchedulerOptions::default()
    };
    Ok(Scheduler::new(Arc::new(model), engine.backend()?, options))
}

impl Compared {
    fn count(&mut self, exact: &[f32], found: &[f32], token: Option<u32>) {
        let logs = [exact, found].map(Logs::new);
        let divergence: f64 = (0..exact.len().min(found.len()))
            .map(|token| {
                let log = logs[0].of(token);
                log.exp() * (log - logs[1].of(token))
            })
            .sum();
        self.positions += 1;
        self.divergence += divergence;
        self.others += usize::from(argmax(exact) != argmax(found));
        if let Some(token) = token
            .map(|token| token as usize)
            .filter(|token| *token < exact.len())
        {
            self.known += 1;
            for (surprise, logs) in self.surprise.iter_mut().zip(&logs) {
                *surprise -= logs.of(token);
            }
        }
    }

    fn mean_divergence(&self) -> f64 {
        self.divergence / self.positions.max(1) as f64
    }

    fn others(&self) -> f64 {
        100.0 * self.others as f64 / self.positions.max(1) as f64
    }

    fn perplexities(&self) -> [f64; 2] {
        self.surprise.map(|sum| (sum / self.known.max(1) as f64).exp())
    }
}

/// The logarithms of probabilities.
struct Logs<'a> {
    logits: &'a [f32],
    normaliser: f64,
}

impl<'a> Logs<'a> {
    fn new(logits: &'a [f32]) -> Self {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total: f64 = logits.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
        Self {
            logits,
            normaliser: largest + total.ln(),
        }
    }

    fn of(&self, token: usize) -> f64 {
        f64::from(self.logits[token]) - self.normaliser
    }
}

impl Loss {
    fn parts(&self) -> [(&'static str, &Part); 2] {
        [("text", &self.text), ("pictures", &self.pictures)]
    }

    /// For the terminal.
    pub fn lines(&self) -> Vec<String> {
        let line = |(what, part): (&str, &Part)| {
            let compared = &part.compared;
            if compared.positions == 0 {
                return format!("{what}: not measured: {}", part.why());
            }
            let [before, after] = compared.perplexities();
            let text = format!(
                "{what}: divergence {:.4} nats, another likeliest token in {:.1} % of {} positions, perplexity {before:.3} -> {after:.3}",
                compared.mean_divergence(),
                compared.others(),
                compared.positions
            );
            match part.problems.is_empty() {
                true => text,
                false => format!("{text} (not all were measured: {})", part.why()),
            }
        };
        self.parts().map(line).to_vec()
    }

    /// For the card.
    pub fn table(&self) -> String {
        let mut text = "The original and this copy were run along the same tokens: a text, and the original's answers about pictures.\n\n\
            | on | positions | divergence (nats) | another likeliest token | perplexity of the original | of this copy |\n\
            |---|---|---|---|---|---|\n"
            .to_owned();
        let mut missing = String::new();
        for (what, part) in self.parts() {
            if !part.problems.is_empty() {
                let how = match part.compared.positions {
                    0 => "Not measured",
                    _ => "Not all measured",
                };
                missing += &format!("\n{how} on {what}: {}.\n", part.why());
            }
            let compared = &part.compared;
            if compared.positions == 0 {
                continue;
            }
            let [before, after] = compared.perplexities();
            text += &format!(
                "| {what} | {} | {:.5} | {:.2} % | {before:.4} | {after:.4} |\n",
                compared.positions,
                compared.mean_divergence(),
                compared.others(),
            );
        }
        text + &missing
            + "\nDivergence is Kullback and Leibler's, of the copy's probabilities from the original's, on average.\n"
    }
}

/// A picture as a Netpbm file.
fn drawn(name: &str, pixel: fn(i32, i32) -> [u8; 3]) -> PictureInput {
    let mut bytes = format!("P6 {SIDE} {SIDE} 255\n").into_bytes();
    let side = SIDE as i32;
    bytes.extend((0..side).flat_map(|y| (0..side).flat_map(move |x| pixel(x, y))));
    PictureInput::Bytes {
        name: format!("drawn: {name}"),
        bytes,
    }
}

/// A red disc and a blue square on a ground that becomes brighter.
fn rings(x: i32, y: i32) -> [u8; 3] {
    let disc = (x - 80).pow(2) + (y - 90).pow(2) < 50 * 50;
    let square = (130..200).contains(&x) && (110..180).contains(&y);
    match (disc, square) {
        (true, _) => [210, 40, 35],
        (_, true) => [40, 80, 200],
        _ => [(60 + x / 2) as u8, (90 + y / 2) as u8, 120],
    }
}

/// Tiles, dark and light, with stripes.
fn tiles(x: i32, y: i32) -> [u8; 3] {
    let light = (x / 28 + y / 28) % 2 == 0;
    let stripe = ((x + y) % 14 < 4) as u8;
    match light {
        true => [230 - 60 * stripe, 220, 180],
        false => [40, 60 + 90 * stripe, 50],
    }
}
