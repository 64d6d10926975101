//! `monocle eval`: questions with known answers, asked of each model in a process of its own, and scored.

mod one;
mod served;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use monocle_manifest::served::Served;
use monocle_runtime::model::locate::Places;
use monocle_runtime::program;
use monocle_survey::dataset::{self, Question};
use monocle_survey::failure::{Failure, Place};
use monocle_survey::process::{self, End};
use monocle_survey::report::About;
use monocle_survey::score::{self, Scored, Share};
use monocle_survey::vqa;

use super::check::models;
use super::sampling::seconds;
use super::served::Running;
use super::{Misuse, output, report_folder};
pub use one::EvalOne;
use one::Line;

#[derive(Debug, Args)]
pub struct Eval {
    /// Questions and answers: a file of JSON lines, a folder with `questions.jsonl`, or VQA 2.0's `…_questions.json` with its annotations beside it
    dataset: PathBuf,

    /// Which models, separated by commas: names (`*` stands for anything), manifests, folders, repositories; `all` is every model whose files
    /// are here, and every one that a manifest says another program serves
    #[arg(long, value_delimiter = ',', default_value = "all")]
    models: Vec<String>,

    /// Where VQA 2.0's pictures are [default: beside the questions]
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,

    /// What is added to each question; '' adds nothing
    #[arg(
        long,
        allow_hyphen_values = true,
        default_value = "Answer with a single word or a short phrase."
    )]
    instruction: String,

    /// Ask each question also as the second one about its picture, which is not sent again
    #[arg(long)]
    second_turn: bool,

    /// Ask the first so many questions only
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,

    /// Questions that are asked side by side
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,

    /// The most tokens of an answer
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Seconds that each question may take
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    timeout: Duration,

    /// Memory that each model may take, like `4GB`
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<String>,

    /// What computes: `cpu` or `mlx`
    #[arg(long)]
    engine: Option<String>,

    /// Processor threads of the engine `cpu`
    #[arg(long)]
    threads: Option<u32>,

    /// The folder of the report
    #[arg(long, value_name = "FOLDER", default_value = "evaluation")]
    out: PathBuf,

    /// Go on with the report that is there: questions that were answered are not asked again
    #[arg(long)]
    resume: bool,

    /// Say what changed since another run's `results.jsonl`
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

impl Eval {
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(size) = &self.memory_limit {
            super::size::parse(size).map_err(Misuse)?;
        }
        let questions = self.questions()?;
        let old = self
            .compare
            .as_deref()
            .map(score::read)
            .transpose()
            .map_err(anyhow::Error::msg)?;
        let places = Places::from_env();
        let models: Vec<Asked> = models(&self.models)?
            .into_iter()
            .map(|name| Asked {
                served: places
                    .find_served(&name)
                    .map(|served| served.map_err(|error| error.to_string())),
                name,
            })
            .collect();
        let keys: HashSet<String> = models
            .iter()
            .flat_map(|model| questions.iter().map(|question| self.key(model, question)))
            .collect();
        let is_wanted = |answer: &Scored| keys.contains(&answer.key);
        let (results, mut answers) = report_folder::open(&self.out, self.resume, is_wanted)?;
        let stop = report_folder::stop_flag()?;
        let mut file = std::fs::OpenOptions::new().append(true).open(&results)?;
        let mut failures: Vec<(String, Failure)> = Vec::new();
        for asked in &models {
            let failure = self.ask(asked, &questions, (&mut answers, &mut file), &stop)?;
            let model = &asked.name;
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let of: Vec<&Scored> = answers.iter().filter(|answer| answer.model == *model).collect();
            match (&failure, Share::of(of.iter().copied())) {
                (Some(failure), _) => {
                    output::note(&format!(
                        "{model}: failed ({}): {}",
                        failure.place.name(),
                        failure.reason
                    ));
                }
                (None, Some(share)) => output::note(&format!(
                    "{model}: VQA accuracy {:.1} %, exact {:.1} %, {} questions",
                    100.0 * share.accuracy,
                    100.0 * share.exact,
                    share.cases
                )),
                (None, None) => {}
            }
            failures.extend(failure.map(|failure| (model.clone(), failure)));
        }
        let is_partial = stop.load(Ordering::SeqCst);
        // As in the data set, whatever order answers came in.
        let order: HashMap<String, usize> = models
            .iter()
            .flat_map(|model| questions.iter().map(|question| self.key(model, question)))
            .enumerate()
            .map(|(place, key)| (key, place))
            .collect();
        answers.sort_by_key(|answer| order.get(&answer.key).copied());
        let about = self.about(questions.len(), &failures, is_partial);
        report_folder::write(
            &self.out,
            [
                ("report.md", score::markdown(&about, &answers)),
                ("report.html", score::page(&about, &answers)),
                ("results.csv", score::csv(&answers)),
            ],
        )?;
        if let Some(old) = old {
            report_folder::say_changes(&score::compare(&old, &answers))?;
        }
        output::note(&format!("report: {}", self.out.join("report.html").display()));
        let failed = answers.iter().filter(|answer| answer.failure.is_some()).count();
        anyhow::ensure!(
            !is_partial,
            "stopped: {} answers are there; `--resume` goes on",
            answers.len()
        );
        anyhow::ensure!(
            failures.is_empty() && failed == 0,
            "{} of {} models failed, and {failed} of {} questions",
            failures.len(),
            models.len(),
            models.len() * questions.len()
        );
        Ok(())
    }

    fn questions(&self) -> anyhow::Result<Vec<Question>> {
        questions(
            &self.dataset,
            self.pictures.as_deref(),
            self.limit,
            self.second_turn,
        )
    }

    fn key(&self, model: &Asked, question: &Question) -> String {
        let Asked { name, served } = model;
        // Another server under the same name is asked again.
        let served = served
            .as_ref()
            .map_or(String::new(), |served| format!("\0{served:?}"));
        let whole = format!(
            "{name}{served}\0{question:?}\0{}\0{}\0{:?}",
            self.instruction, self.max_tokens, self.engine
        );
        monocle_survey::sha256(whole.as_bytes())[..24].to_owned()
    }

    /// Asks a model what it was not asked yet; gives why it cannot be asked, if so.
    fn ask(
        &self,
        asked: &Asked,
        questions: &[Question],
        (answers, file): (&mut Vec<Scored>, &mut std::fs::File),
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Failure>> {
        let known: HashSet<&str> = answers.iter().map(|answer| answer.key.as_str()).collect();
        let left: Vec<&Question> = questions
            .iter()
            .filter(|question| !known.contains(self.key(asked, question).as_str()))
            .collect();
        if left.is_empty() {
            return Ok(None);
        }
        let model = &asked.name;
        let go_on = || !stop.load(Ordering::SeqCst);
        let _server = match &asked.served {
            None => None,
            Some(Err(error)) => return Ok(Some(Failure::new(Place::Manifest, error.clone()))),
            Some(Ok(served)) => match Running::start(model, served, &go_on) {
                Ok(Some(running)) => Some(running),
                Ok(None) => return Ok(None),
                Err(failure) => return Ok(Some(failure)),
            },
        };
        let ids: Vec<&str> = left.iter().map(|question| question.id.as_str()).collect();
        let task = serde_json::to_string(&ids).context("cannot write JSON")?;
        let program = program::own_file()?;
        let mut command = Command::new(program);
        command.args(["eval-one", model]).arg(&self.dataset);
        command.args(["--instruction", &self.instruction]);
        command.args([
            "--max-tokens",
            &self.max_tokens.to_string(),
            "--at-once",
            &self.at_once.to_string(),
        ]);
        command.args(["--timeout", &self.timeout.as_secs_f64().to_string()]);
        if self.second_turn {
            command.arg("--second-turn");
        }
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        };
        add(
            "--pictures",
            self.pictures.as_ref().map(|path| path.display().to_string()),
        );
        add("--limit", self.limit.map(|limit| limit.to_string()));
        add("--memory-limit", self.memory_limit.clone());
        add("--engine", self.engine.clone());
        add("--threads", self.threads.map(|threads| threads.to_string()));
        let by_id: HashMap<&str, &Question> = left
            .iter()
            .map(|question| (question.id.as_str(), *question))
            .collect();
        let (mut phase, mut failure) = (String::new(), None);
        let mut trouble: Option<anyhow::Error> = None;
        // Loading has a question's time, too; nothing may take longer than all of them one after another.
        let limit = self
            .timeout
            .saturating_mul(u32::try_from(left.len()).unwrap_or(u32::MAX).saturating_add(1));
        let mut done = 0;
        let ran = process::run(
            command,
            &task,
            Some(limit),
            &go_on,
            &mut |line: Line| match line {
                Line::Phase { name } => phase = name,
                Line::Failed { failure: why } => failure = Some(*why),
                Line::Answer { answer } => {
                    let Some(question) = by_id.get(answer.id.as_str()) else {
                        return;
                    };
                    done += 1;
                    let scored = scored(*answer, question, model, self.key(asked, question));
                    let written = serde_json::to_string(&scored)
                        .map_err(std::io::Error::from)
                        .and_then(|line| writeln!(file, "{line}"));
                    if let Err(error) = written {
                        trouble.get_or_insert(error.into());
                    }
                    answers.push(scored);
                }
            },
        )
        .context("cannot start a process for the model")?;
        if let Some(error) = trouble {
            return Err(error.context("cannot write the results"));
        }
        file.sync_data().context("cannot write the results")?;
        Ok(failure.or_else(|| match ran.end {
            End::Stopped => None,
            End::Late => Some(Failure::timeout(limit, &phase)),
            End::Exit { code: Some(0), .. } if done == left.len() => None,
            End::Exit { code, signal } => Some(Failure::ended(signal, code, &ran.stderr, &phase)),
        }))
    }

    fn about(&self, questions: usize, failures: &[(String, Failure)], is_partial: bool) -> About {
        let mut lines = vec![
            ("program".to_owned(), format!("monocle {}", crate::about::VERSION)),
            ("machine".to_owned(), super::check::machine()),
            (
                "data set".to_owned(),
                format!("{}, {questions} questions", self.dataset.display()),
            ),
            (
                "settings".to_owned(),
                format!(
                    "at most {} tokens; added to each question: {:?}",
                    self.max_tokens, self.instruction
                ),
            ),
        ];
        lines.extend(failures.iter().map(|(model, failure)| {
            (
                "failed".to_owned(),
                format!("{model} ({}): {}", failure.place.name(), failure.reason),
            )
        }));
        About {
            title: "Evaluation of models".to_owned(),
            lines,
            is_partial,
            ..About::default()
        }
    }
}

/// A model that is asked.
struct Asked {
    name: String,
    /// Where another program serves it: its manifest, or what is wrong with that.
    served: Option<Result<Served, String>>,
}

/// The questions, as both processes see them.
fn questions(
    dataset: &Path,
    pictures: Option<&Path>,
    limit: Option<usize>,
    second_turn: bool,
) -> anyhow::Result<Vec<Question>> {
    let mut questions = dataset::read(dataset, pictures)?;
    questions.truncate(limit.unwrap_or(usize::MAX));
    anyhow::ensure!(!questions.is_empty(), "`{}` has no questions", dataset.display());
    if second_turn {
        let more = dataset::second_turns(&questions);
        questions.extend(more);
    }
    let mut seen = HashSet::new();
    if let Some(twice) = questions.iter().find(|question| !seen.insert(&question.id)) {
        anyhow::bail!(
            "`{}` has two questions with the id `{}`",
            dataset.display(),
            twice.id
        );
    }
    Ok(questions)
}

fn scored(answer: one::Answer, question: &Question, model: &str, key: String) -> Scored {
    let text = answer.text.as_deref();
    Scored {
        key,
        model: model.to_owned(),
        id: answer.id,
        picture: question.picture.display().to_string(),
        question: question.question.clone(),
        is_second_turn: !question.before.is_empty(),
        kind: question.kind.name().to_owned(),
        expected: question.answers.clone(),
        accuracy: text.map_or(0.0, |text| vqa::accuracy(text, &question.answers)),
        is_exact: text.is_some_and(|text| vqa::is_exact(text, &question.answers)),
        answer: answer.text,
        seconds: answer.seconds,
        tokens: answer.tokens,
        is_shared: answer.is_shared,
        failure: answer.failure,
    }
}
