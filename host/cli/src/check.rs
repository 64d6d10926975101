//! `monocle check`: many models, one picture, one question; each model in a process of its own.

pub mod fault;
mod one;
mod table;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use monocle_manifest::schema::Source;
use monocle_manifest::served::Served;
use monocle_runtime::model::cached::gguf_models;
use monocle_runtime::model::locate::Places;
use monocle_runtime::program;
use monocle_survey::failure::{Failure, Place};
use monocle_survey::findings::{self, Asked, Said};
use monocle_survey::metadata::Metadata;
use monocle_survey::process::{self, End};
use monocle_survey::report::{self, About};
use monocle_survey::row::Row;
use monocle_survey::{compare, grade, sha256};
use monocle_weights::gguf::is_gguf;

use super::served::Running;
use super::{Misuse, isolate, output, report_folder};
pub use one::{CheckOne, Line, phase, say};
use table::Table;

/// How much longer than a row may take a server may be silent, for the process that asks it.
const SPARE: Duration = Duration::from_secs(60);

/// What is asked where nobody says what.
const CATALOGUE_PROMPT: &str = "Describe this picture for a catalogue, in exactly three parts.\n\nTitle: 5 to 12 words that name what is \
     shown.\n\nDescription: one to three sentences on subject, place and action, only what can be seen.\n\nKeywords: 10 to 50 keywords, \
     separated by commas, the most specific first.";

#[derive(Debug, Args)]
pub struct Check {
    /// The picture that every model is shown
    #[arg(long, value_name = "FILE")]
    image: PathBuf,

    /// Which models, separated by commas: names (`*` stands for anything), manifests, folders, repositories; `all` is every model whose files
    /// are here, and every one that a manifest says another program serves
    #[arg(long, value_delimiter = ',', default_value = "all")]
    models: Vec<String>,

    /// What to ask, in place of a title, a description and keywords
    #[arg(short, long, allow_hyphen_values = true, conflicts_with = "prompt_file")]
    prompt: Option<String>,

    /// A file with what to ask
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,

    /// What is known of the picture, added to the prompt
    #[arg(long, allow_hyphen_values = true)]
    context: Option<String>,

    /// Add what the photo says of itself (EXIF, IPTC, XMP, and a sidecar): time, place, title, keywords
    #[arg(long)]
    metadata: bool,

    /// With `--metadata`: the position by GPS, too
    #[arg(long, requires = "metadata")]
    position: bool,

    /// Ask without the context, too, to compare
    #[arg(long)]
    blind: bool,

    /// Seconds that each model may take, loading counted in
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    timeout: f64,

    /// The most tokens of an answer
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    /// Memory that each model may take, like `4GB`
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<String>,

    /// What computes: `cpu` or `mlx`
    #[arg(long)]
    engine: Option<String>,

    /// Processor threads of the engine `cpu`
    #[arg(long)]
    threads: Option<u32>,

    /// Let the models' processes read all files and use the network: by default, on Linux, they have what `monocle run --isolate` leaves them
    #[arg(long)]
    no_isolation: bool,

    /// The folder of the report
    #[arg(long, value_name = "FOLDER", default_value = "report")]
    out: PathBuf,

    /// Go on with the report that is there: what is finished is not done again
    #[arg(long)]
    resume: bool,

    /// Say what changed since another run's `results.jsonl`
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// One run: a model and what it is asked.
struct Task {
    model: String,
    /// Where another program serves it: its manifest, or what is wrong with that.
    served: Option<Result<Served, String>>,
    variant: &'static str,
    prompt: String,
    context: String,
    key: String,
}

impl Check {
    pub fn run(self) -> anyhow::Result<()> {
        let limit = Duration::try_from_secs_f64(self.timeout)
            .ok()
            .filter(|limit| !limit.is_zero());
        let limit =
            limit.ok_or_else(|| Misuse("`--timeout` expects a number of seconds above 0".to_owned()))?;
        if let Some(size) = &self.memory_limit {
            super::size::parse(size).map_err(Misuse)?;
        }
        let picture = monocle_files::read(&self.image, monocle_files::PICTURE)
            .with_context(|| format!("cannot read `{}`", self.image.display()))?;
        let hash = sha256(&picture);
        let old = self
            .compare
            .as_deref()
            .map(report::read_rows)
            .transpose()
            .map_err(anyhow::Error::msg)?;
        let models = models(&self.models)?;
        let tasks = self.tasks(&models, &hash)?;
        let wanted: HashSet<&str> = tasks.iter().map(|task| task.key.as_str()).collect();
        let is_wanted = |row: &Row| wanted.contains(row.key.as_str());
        let (results, mut rows) = report_folder::open(&self.out, self.resume, is_wanted)?;
        let stop = report_folder::stop_flag()?;
        let mut file = std::fs::OpenOptions::new().append(true).open(&results)?;
        let mut table = Table::new(tasks.iter().map(|task| task.model.as_str()), tasks.len(), &rows);
        let mut server = None;
        for task in &tasks {
            if rows.iter().any(|row| row.key == task.key) {
                continue;
            }
            table.begin(&task.model);
            let Some(row) = self.ask(task, limit, (&stop, &table), &mut server)? else {
                break;
            };
            let row = self.judged(row, task, &hash);
            table.row(&row);
            let line = serde_json::to_string(&row).context("cannot write JSON")?;
            writeln!(file, "{line}")
                .and_then(|()| file.sync_data())
                .with_context(|| format!("cannot write `{}`", results.display()))?;
            rows.push(row);
        }
        drop(server);
        table.finish();
        let is_partial = rows.len() < tasks.len();
        let about = self.about(&tasks, &hash, &picture, is_partial);
        report_folder::write(
            &self.out,
            [
                ("report.md", report::markdown(&about, &rows)),
                ("report.html", report::page(&about, &rows)),
                ("results.csv", report::csv(&rows)),
            ],
        )?;
        if let Some(old) = old {
            report_folder::say_changes(&compare::compare(&old, &rows))?;
        }
        let (answered, failed) = report::counts(&rows);
        output::note(&format!(
            "{answered} answered, {failed} failed: {}",
            self.out.join("report.html").display()
        ));
        anyhow::ensure!(
            !is_partial,
            "stopped: {} of {} rows are done; `--resume` goes on",
            rows.len(),
            tasks.len()
        );
        anyhow::ensure!(failed == 0, "{failed} of {} rows failed", rows.len());
        Ok(())
    }

    fn tasks(&self, models: &[String], picture: &str) -> anyhow::Result<Vec<Task>> {
        let prompt = match (&self.prompt, &self.prompt_file) {
            (Some(prompt), _) => prompt.clone(),
            (None, Some(path)) => monocle_files::read_given_text(path, monocle_files::TEXT)
                .with_context(|| format!("cannot read `{}`", path.display()))?,
            (None, None) => CATALOGUE_PROMPT.to_owned(),
        };
        let mut context = self.context.clone().unwrap_or_default();
        if self.metadata {
            let sidecar = [".xmp"].iter().find_map(|end| {
                let mut name = self.image.as_os_str().to_owned();
                name.push(end);
                let read = |path: &Path| monocle_files::read(path, monocle_files::TEXT);
                read(name.as_ref())
                    .or_else(|_| read(&self.image.with_extension("xmp")))
                    .ok()
            });
            let words = Metadata::read(&self.image, sidecar.as_deref()).in_words(self.position);
            if words.is_empty() {
                output::note("note: the photo says nothing of itself: no EXIF, IPTC or XMP that can be read");
            }
            context = [context, words]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("\n");
        }
        let with = |context: &str| match context {
            "" => prompt.clone(),
            context => format!("{prompt}\n\nWhat is known of the picture:\n{context}"),
        };
        let mut variants = vec![(
            if context.is_empty() { "" } else { "with context" },
            context.clone(),
        )];
        if self.blind && !context.is_empty() {
            variants.push(("blind", String::new()));
        }
        let settings = format!(
            "{} {:?} {:?} {:?}",
            self.max_tokens, self.memory_limit, self.engine, self.threads
        );
        let mut tasks = Vec::new();
        let places = Places::from_env();
        for model in models {
            let served = places
                .find_served(model)
                .map(|served| served.map_err(|error| error.to_string()));
            // Another server under the same name is asked again.
            let settings = match &served {
                Some(served) => format!("{settings} {served:?}"),
                None => settings.clone(),
            };
            for (variant, context) in &variants {
                let prompt = with(context);
                let version = crate::about::VERSION;
                let whole = [model, *variant, picture, &prompt, &settings, version].join("\0");
                tasks.push(Task {
                    model: model.clone(),
                    served: served.clone(),
                    variant,
                    prompt,
                    context: context.clone(),
                    key: sha256(whole.as_bytes())[..24].to_owned(),
                });
            }
        }
        Ok(tasks)
    }

    /// The arguments that `run` and the process of one model take.
    fn arguments(&self, task: &Task) -> Vec<String> {
        let mut arguments = vec![
            task.model.clone(),
            self.image.display().to_string(),
            "--prompt".to_owned(),
            task.prompt.clone(),
        ];
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value]);
            }
        };
        add("--max-tokens", Some(self.max_tokens.to_string()));
        if task.served.is_none() {
            add("--memory-limit", self.memory_limit.clone());
            add("--engine", self.engine.clone());
            add("--threads", self.threads.map(|threads| threads.to_string()));
        }
        arguments
    }

    /// The command that repeats a run alone.
    fn repeat(&self, task: &Task, arguments: &[String]) -> String {
        let asked = [
            "monocle",
            "check",
            "--models",
            &task.model,
            "--image",
            &self.image.display().to_string(),
            "--prompt",
            &task.prompt,
            "--max-tokens",
            &self.max_tokens.to_string(),
        ]
        .map(str::to_owned);
        match task.served {
            Some(_) => in_shell(&asked),
            None => {
                let program = ["monocle", "run"].map(str::to_owned);
                in_shell(&[&program, arguments].concat())
            }
        }
    }

    /// One model's row; none where Ctrl-C came.
    fn ask(
        &self,
        task: &Task,
        limit: Duration,
        (stop, table): (&AtomicBool, &Table),
        server: &mut Option<Running>,
    ) -> anyhow::Result<Option<Row>> {
        let begun = Instant::now();
        let go_on = || !stop.load(Ordering::SeqCst);
        let arguments = self.arguments(task);
        let mut row = match &task.served {
            None => self.run_one(("check-one", &arguments), limit, &go_on, table)?,
            Some(served) => match self.with_server(task, served, server, &go_on, table) {
                Ok(false) => None,
                Ok(true) => {
                    // What keeps the time is this process: the one that asks never gives up first, however late this one looks.
                    let seconds = limit.saturating_add(SPARE).as_secs_f64().to_string();
                    let arguments = [arguments.clone(), vec!["--timeout".to_owned(), seconds]].concat();
                    let row = self.run_one(("ask-served", &arguments), limit, &go_on, table)?;
                    row.map(|mut row| {
                        let server = server.as_ref();
                        row.figures.load_s = server.and_then(Running::load_s);
                        row.figures.process_peak_bytes = server.and_then(Running::peak_bytes);
                        row
                    })
                }
                Err(failure) => Some(Row {
                    failure: Some(failure),
                    ..Row::default()
                }),
            },
        };
        if let Some(row) = &mut row {
            row.key.clone_from(&task.key);
            row.model.clone_from(&task.model);
            row.variant = task.variant.to_owned();
            row.prompt.clone_from(&task.prompt);
            row.figures.process_s = Some(begun.elapsed().as_secs_f64());
            row.repeat = self.repeat(task, &arguments);
        }
        Ok(row)
    }

    /// Has a task's server running; false where Ctrl-C came. One is started at a time: the last one is stopped first.
    fn with_server(
        &self,
        task: &Task,
        served: &Result<Served, String>,
        server: &mut Option<Running>,
        go_on: &dyn Fn() -> bool,
        table: &Table,
    ) -> Result<bool, Failure> {
        let served = served
            .as_ref()
            .map_err(|error| Failure::new(Place::Manifest, error.clone()))?;
        if !server.as_mut().is_some_and(|running| running.is_for(&task.model)) {
            *server = None;
            table.phase("starting the server");
            *server = Running::start(&task.model, served, go_on)?;
        }
        Ok(server.is_some())
    }

    /// The row that a process of this program's own gives; none where Ctrl-C came.
    fn run_one(
        &self,
        (name, arguments): (&str, &[String]),
        limit: Duration,
        go_on: &dyn Fn() -> bool,
        table: &Table,
    ) -> anyhow::Result<Option<Row>> {
        let program = program::own_file()?;
        let mut command = Command::new(program);
        command.arg(name).args(arguments);
        if name == "check-one" && !self.no_isolation && isolate::is_available() {
            command.arg("--isolate");
        }
        let mut phase = String::new();
        let mut outcome: Option<Row> = None;
        let ran = process::run(command, "{}", Some(limit), go_on, &mut |line: Line| match line {
            Line::Phase { name } => {
                table.phase(&name);
                phase = name;
            }
            Line::Row { row } => outcome = Some(*row),
        });
        let ran = ran.context("cannot start a process for the model")?;
        let mut row = outcome.unwrap_or_default();
        if !row.is_answered() && row.failure.is_none() {
            row.failure = Some(match ran.end {
                End::Stopped => return Ok(None),
                End::Late => Failure::timeout(limit, &phase),
                End::Exit { code, signal } => Failure::ended(signal, code, &ran.stderr, &phase),
            });
        }
        Ok(Some(row))
    }

    /// The row with what is found in its answer.
    fn judged(&self, mut row: Row, task: &Task, hash: &str) -> Row {
        row.time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        row.host.picture_sha256 = Some(hash.to_owned());
        row.host.machine = machine();
        let Some(answer) = row.answer.as_ref().filter(|_| row.failure.is_none()) else {
            return row;
        };
        let lower = task.prompt.to_lowercase();
        let structured = ["title:", "description:", "keywords:"]
            .iter()
            .all(|label| lower.contains(label));
        let is_ours = self.prompt.is_none() && self.prompt_file.is_none();
        let instructions = task.prompt.strip_suffix(&task.context).unwrap_or(&task.prompt);
        let asked = Asked {
            prompt: instructions.to_owned(),
            context: task.context.clone(),
            structured,
            keywords: is_ours.then_some((10, 50)),
        };
        let said = Said {
            text: answer.text.clone(),
            is_cut: answer.is_cut,
        };
        row.findings = findings::find(&asked, &said);
        row.grade = structured.then(|| grade::grade(&asked, &said, &row.findings));
        row
    }

    fn about(&self, tasks: &[Task], hash: &str, picture: &[u8], is_partial: bool) -> About {
        let mut prompts: Vec<(String, String)> = Vec::new();
        for task in tasks {
            let name = if task.variant.is_empty() {
                "all models"
            } else {
                task.variant
            };
            if !prompts.iter().any(|(known, _)| known == name) {
                prompts.push((name.to_owned(), task.prompt.clone()));
            }
        }
        let lines = [
            ("program", format!("monocle {}", crate::about::VERSION)),
            ("machine", machine()),
            ("picture", format!("{}, sha256 {hash}", self.image.display())),
            (
                "settings",
                format!(
                    "at most {} tokens, {} s for each model",
                    self.max_tokens, self.timeout
                ),
            ),
        ];
        About {
            title: "Check of models".to_owned(),
            lines: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            prompts,
            picture: data_address(&self.image, picture),
            is_partial,
        }
    }
}

/// The models that are meant, each once.
pub fn models(asked: &[String]) -> anyhow::Result<Vec<String>> {
    let places = Places::from_env();
    let mut models: Vec<String> = Vec::new();
    for asked in asked {
        let found = match asked.as_str() {
            "all" => [here(&places), served(&places)].concat(),
            pattern if pattern.contains(['*', '?']) => {
                let names = places
                    .list()
                    .into_iter()
                    .filter_map(|listed| Some(listed.manifest.ok()?.name));
                let names = names.chain(served(&places));
                let found: Vec<String> = names.filter(|name| matches(pattern, name)).collect();
                if found.is_empty() {
                    return Err(Misuse(format!(
                        "no model matches `{pattern}`\n\nhint: `monocle models` lists what there is"
                    ))
                    .into());
                }
                found
            }
            name => vec![name.to_owned()],
        };
        for model in found {
            if !models.contains(&model) {
                models.push(model);
            }
        }
    }
    anyhow::ensure!(
        !models.is_empty(),
        "no model's files are here\n\nhint: `monocle pull MODEL` fetches one"
    );
    Ok(models)
}

/// Models that other programs serve.
fn served(places: &Places) -> Vec<String> {
    let served = places.served().into_iter();
    served.filter_map(|(_, served)| Some(served.ok()?.name)).collect()
}

/// Models whose files are here: manifests', then what the cache holds without one and a plugin knows.
fn here(places: &Places) -> Vec<String> {
    let mut models = Vec::new();
    let mut folders: HashSet<PathBuf> = HashSet::new();
    for manifest in places
        .list()
        .into_iter()
        .filter_map(|listed| listed.manifest.ok())
    {
        match &manifest.source {
            Source::Path(path) if path.join("config.json").is_file() || is_gguf(path) => {
                models.push(manifest.name.clone());
            }
            Source::Path(_) => {}
            Source::Repo {
                repo, revision, gguf, ..
            } => {
                if let Ok(Some(located)) = places.hub.locate_one(repo, revision, gguf.as_deref()) {
                    folders.insert(located.folder.clone());
                    if located.is_complete() {
                        models.push(manifest.name.clone());
                    }
                }
            }
        }
    }
    // Of the cache's others, those that manifests name besides go by their repositories' names.
    for declared in places.stored_otherwise() {
        if let Ok(Some(located)) = places.hub.locate_one(&declared.manifest.name, "main", None) {
            folders.insert(located.folder.clone());
            if located.is_complete() {
                models.push(declared.manifest.name);
            }
        }
    }
    for cached in places.hub.cached() {
        for snapshot in cached
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.is_complete && !folders.contains(&snapshot.folder))
        {
            // Of several GGUF models, each by its file.
            let of_gguf = gguf_models(&snapshot.folder).into_iter();
            let of_gguf: Vec<PathBuf> = of_gguf
                .filter(|model| model.is_whole)
                .map(|model| model.file)
                .collect();
            let found = match of_gguf.is_empty() {
                true => vec![snapshot.folder.clone()],
                false => of_gguf,
            };
            for place in found.into_iter().filter(|place| !folders.contains(place)) {
                let place = place.display().to_string();
                match places.find(&place, &mut |_| {}) {
                    Ok(_) => models.push(place),
                    Err(error) => output::note(&format!(
                        "note: `{}` is in the cache and not checked: {error}",
                        cached.repo
                    )),
                }
            }
        }
    }
    models
}

/// Whether a name is what a pattern with `*` and `?` means.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Whether the pattern so far matches the first so many letters.
    let mut can = vec![false; name.len() + 1];
    can[0] = true;
    for part in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match part {
                '*' => can[at] || (at > 0 && next[at - 1]),
                '?' => at > 0 && can[at - 1],
                letter => at > 0 && can[at - 1] && name[at - 1] == letter,
            };
        }
        can = next;
    }
    can[name.len()]
}

/// A command, as a shell takes it.
fn in_shell(arguments: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:".contains(c);
    let quoted = arguments.iter().map(
        |argument| match !argument.is_empty() && argument.chars().all(plain) {
            true => argument.clone(),
            false => format!("'{}'", argument.replace('\'', r"'\''")),
        },
    );
    quoted.collect::<Vec<_>>().join(" ")
}

/// Cores, processor, memory, system.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(": ")
            .map(|(_, name)| name.to_owned())
    });
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    let memory = memory.map_or(String::new(), |kilobytes| {
        format!(", {:.1} GB of memory", kilobytes as f64 * 1024.0 / 1e9)
    });
    format!(
        "{cores} cores{}{memory}, {} {}",
        model.map_or(String::new(), |model| format!(" of {model}")),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// The picture for the page; none where a browser does not show such files, or it is large.
fn data_address(path: &Path, bytes: &[u8]) -> Option<String> {
    let ending = path.extension()?.to_string_lossy().to_lowercase();
    let kind = match ending.as_str() {
        "jpg" | "jpeg" => "jpeg",
        "png" => "png",
        "webp" => "webp",
        "gif" => "gif",
        _ => return None,
    };
    (bytes.len() <= 8 << 20).then(|| format!("data:image/{kind};base64,{}", monocle_survey::base64(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a?c", "abc", true),
            ("a?", "abc", false),
            ("*b*", "abc", true),
            ("b*", "abc", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let arguments = ["x", "it's a b", ""].map(str::to_owned);
        assert_eq!(in_shell(&arguments), r"x 'it'\''s a b' ''");
    }
}
