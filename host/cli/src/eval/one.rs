//! The process of one model: it answers question after question, several at once, and says so in lines.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use monocle_runtime::error::RequestError;
use monocle_runtime::model::locate::Places;
use monocle_runtime::report::Report;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::terms::{Class, Terms};
use monocle_runtime::scheduler::{Event, SessionId};
use monocle_survey::dataset::Question;
use monocle_survey::failure::Failure;
use serde::{Deserialize, Serialize};

use super::questions;
use super::served::{self, Manner};
use crate::check::fault;
use crate::output;
use crate::overdue::Watch;
use crate::request::ModelOptions;
use crate::sampling::seconds;

/// Bytes of picture features that are kept for the next question about the same picture.
const CACHE: usize = 512 << 20;

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// What it is busy with.
    Phase {
        /// In words.
        name: String,
    },
    /// What came of a question.
    Answer {
        /// An answer, or why there is none.
        answer: Box<Answer>,
    },
    /// No question can be answered.
    Failed {
        /// Why.
        failure: Box<Failure>,
    },
}

/// What came of a question.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The question's name.
    pub id: String,
    /// The text.
    pub text: Option<String>,
    /// From the question to the answer.
    pub seconds: Option<f64>,
    /// Tokens of the answer.
    pub tokens: Option<u64>,
    /// Whether the picture's features were there already.
    pub is_shared: bool,
    /// Why there is no answer.
    pub failure: Option<Failure>,
}

#[derive(Debug, Args)]
pub struct EvalOne {
    model: String,
    dataset: PathBuf,
    #[arg(long)]
    pictures: Option<PathBuf>,
    #[arg(long, allow_hyphen_values = true)]
    instruction: String,
    #[arg(long)]
    second_turn: bool,
    #[arg(long)]
    limit: Option<usize>,
    #[arg(long)]
    at_once: u32,
    #[arg(long)]
    max_tokens: u32,
    #[arg(long, value_parser = seconds)]
    timeout: Duration,
    #[command(flatten)]
    options: ModelOptions,
}

/// A question that is being answered.
struct Asked {
    id: String,
    picture: PathBuf,
    started: Instant,
}

impl EvalOne {
    /// Answers the questions whose names come as a line of JSON on standard input; what goes wrong is a line, too.
    pub fn run(self) -> anyhow::Result<()> {
        let mut line = String::new();
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .context("cannot read the questions' names")?;
        let wanted: HashSet<String> =
            serde_json::from_str(&line).context("cannot read the questions' names")?;
        std::thread::spawn(|| {
            // Standard input ends when the parent does.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
        match self.answer(&wanted) {
            Ok(()) => Ok(()),
            Err(error) => say(&Line::Failed {
                failure: Box::new(Failure::new(fault::place(&error), crate::in_words(&error))),
            }),
        }
    }

    fn answer(&self, wanted: &HashSet<String>) -> anyhow::Result<()> {
        phase("opening")?;
        let questions = questions(
            &self.dataset,
            self.pictures.as_deref(),
            self.limit,
            self.second_turn,
        )?;
        let mut left: VecDeque<&Question> = questions
            .iter()
            .filter(|question| wanted.contains(&question.id))
            .collect();
        // Questions about one picture one after another, so that its features are there from the first to the last.
        left.make_contiguous().sort_by(|a, b| a.picture.cmp(&b.picture));
        if let Some(served) = Places::from_env().find_served(&self.model) {
            phase("answering")?;
            let manner = Manner {
                system: self.options.system.as_deref(),
                instruction: &self.instruction,
                max_tokens: self.max_tokens,
                timeout: self.timeout,
                at_once: self.at_once,
            };
            return served::ask(served?, left.make_contiguous(), manner);
        }
        let mut scheduler = self.options.open(&self.model, CACHE, true, None, self.timeout)?;
        phase("loading weights")?;
        scheduler.load_weights(&mut |_, _| {})?;
        phase("answering")?;
        let settings = &scheduler.model().settings;
        let options = GenerateOptions {
            max_tokens: self.max_tokens as usize,
            sampling: settings.generation.sampling(),
            prefill_chunk: self.options.prefill_chunk as usize,
            thinking_budget: settings.thinking_budget,
            ..GenerateOptions::default()
        };
        let system = self.options.system(scheduler.model()).map(str::to_owned);
        let mut running: HashMap<SessionId, Asked> = HashMap::new();
        // Pictures whose features some question is having computed: others about them wait, and share them then.
        let mut warming: HashSet<PathBuf> = HashSet::new();
        let mut warm: HashSet<PathBuf> = HashSet::new();
        let watch = Watch::over("a question", self.timeout);
        while !left.is_empty() || !running.is_empty() {
            while running.len() < self.at_once as usize {
                let Some(place) = left
                    .iter()
                    .position(|question| !warming.contains(&question.picture))
                else {
                    break;
                };
                let Some(question) = left.remove(place) else { break };
                let asked = Asked {
                    id: question.id.clone(),
                    picture: question.picture.clone(),
                    started: Instant::now(),
                };
                watch.went_on();
                let request = self.request(question, system.as_deref());
                let prepared = scheduler.prepare(&request, options.max_tokens, options.prefill_chunk);
                let terms = Terms {
                    longest: Some(self.timeout),
                    class: Class::Bulk,
                    ..Terms::from(asked.started)
                };
                match prepared.and_then(|prepared| scheduler.submit(prepared, options.clone(), terms)) {
                    Ok(id) => {
                        if !warm.contains(&asked.picture) {
                            warming.insert(asked.picture.clone());
                        }
                        running.insert(id, asked);
                    }
                    Err(error) => say(&failed(asked, error))?,
                }
            }
            watch.went_on();
            for (id, event) in scheduler.step() {
                let Some(asked) = running.get(&id) else { continue };
                // Whatever came, the features are there, or never will be.
                if warming.remove(&asked.picture) {
                    warm.insert(asked.picture.clone());
                }
                let line = match event {
                    Event::Text(_) | Event::Logprobs(_) => continue,
                    Event::Done(report) => running.remove(&id).map(|asked| done(asked, &report)),
                    Event::Failed(error) => running.remove(&id).map(|asked| failed(asked, error)),
                    // Nobody cancels.
                    Event::Cancelled => continue,
                };
                if let Some(line) = line {
                    say(&line)?;
                }
            }
        }
        Ok(())
    }

    fn request(&self, question: &Question, system: Option<&str>) -> Request {
        let mut request = Request::default();
        if let Some(system) = system {
            request.add_system(system);
        }
        let worded = |words: &str| match self.instruction.as_str() {
            "" => words.to_owned(),
            instruction => format!("{words}\n{instruction}"),
        };
        let mut picture = Some(PictureInput::File(question.picture.clone()));
        for (words, answer) in &question.before {
            request.add_user(picture.take(), &worded(words));
            request.add_answer(answer);
        }
        request.add_user(picture, &worded(&question.question));
        request
    }
}

fn done(asked: Asked, report: &Report) -> Line {
    let answer = Answer {
        id: asked.id,
        text: Some(report.output.text.trim().to_owned()),
        seconds: Some(asked.started.elapsed().as_secs_f64()),
        tokens: Some(report.output.tokens as u64),
        is_shared: !report.images.is_empty() && report.images.iter().all(|image| image.cached),
        failure: None,
    };
    Line::Answer {
        answer: Box::new(answer),
    }
}

fn failed(asked: Asked, error: RequestError) -> Line {
    let error = anyhow::Error::from(error);
    let answer = Answer {
        id: asked.id,
        failure: Some(Failure::new(fault::place(&error), crate::in_words(&error))),
        ..Answer::default()
    };
    Line::Answer {
        answer: Box::new(answer),
    }
}

fn phase(name: &str) -> anyhow::Result<()> {
    say(&Line::Phase {
        name: name.to_owned(),
    })
}

/// Says a line.
pub fn say(line: &Line) -> anyhow::Result<()> {
    output::print(&(serde_json::to_string(line)? + "\n"))
}
