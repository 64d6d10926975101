//! `monocle catalogue`: title, description and keywords for each photo of a folder, written beside it.

mod ask;
mod claim;
mod run;
mod sheet;
mod undo;
mod write;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use monocle_survey::journal::Journal;
use monocle_survey::sidecar;

use super::Misuse;
use super::request::ModelOptions;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Catalogue {
    #[command(subcommand)]
    other: Option<Other>,

    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Take a run back: what it put into sidecars goes, what others put there stays
    Undo(undo::Undo),
    /// Write a page with all photos and what is known of them
    Report(sheet::Sheet),
}

/// What a run takes.
#[derive(Debug, Args)]
struct Run {
    /// The photos: all of this folder and of folders in it; what an earlier run did is not done again
    #[arg(required = true)]
    folder: Option<PathBuf>,

    /// Which model: a manifest's name or path, a folder, a repository [default: that of the last run in this folder]
    #[arg(short, long)]
    model: Option<String>,

    /// What is written
    #[arg(long, value_enum, default_value_t = Target::Xmp)]
    write: Target,

    /// How sidecars are named
    #[arg(long, value_enum, default_value_t = Naming::Darktable)]
    sidecars: Naming,

    /// With `--write jsonl`: the file [default: catalogue.jsonl in the folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Languages of titles and descriptions, separated by commas, like `en,de`; each photo is asked about once for each
    #[arg(long, value_delimiter = ',', default_value = "en")]
    languages: Vec<String>,

    /// What to ask, in place of Monocle's own prompt; `{language}` stands for the language
    #[arg(short, long, allow_hyphen_values = true, conflicts_with = "prompt_file")]
    prompt: Option<String>,

    /// A file with what to ask
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,

    /// What an answer may be [default: json with Monocle's own prompt, free with another]
    #[arg(long, value_enum)]
    answers: Option<Answers>,

    /// Put all keywords below this one in lr:hierarchicalSubject, so that they can be told from others
    #[arg(long, value_name = "KEYWORD")]
    under: Option<String>,

    /// Do not tell the model what the photo and its sidecar say already (time, place, title, keywords)
    #[arg(long)]
    blind: bool,

    /// Tell the model the position by GPS, too
    #[arg(long, conflicts_with = "blind")]
    position: bool,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Ask again about photos that were marked, because their answers were incomplete
    #[arg(long)]
    retry: bool,

    /// Photos that are looked at side by side
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,

    /// The most tokens of an answer
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,

    #[command(flatten)]
    options: ModelOptions,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A sidecar beside each photo
    Xmp,
    /// One file with a line for each photo
    Jsonl,
}

/// What an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answers {
    /// Nothing but a JSON object with a title, a description and keywords: other tokens cannot come
    Json,
    /// Anything; what it is worth is seen afterwards
    Free,
}

/// How sidecars are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Naming {
    /// a.jpg.xmp, one for each file
    Darktable,
    /// a.xmp, one for each photo
    Adobe,
}

impl Naming {
    fn meant(self) -> sidecar::Naming {
        match self {
            Self::Darktable => sidecar::Naming::Darktable,
            Self::Adobe => sidecar::Naming::Adobe,
        }
    }
}

impl Catalogue {
    pub fn run(self) -> anyhow::Result<()> {
        match self.other {
            Some(Other::Undo(undo)) => undo.run(),
            Some(Other::Report(sheet)) => sheet.run(),
            None => self.run.run(),
        }
    }
}

/// The folder, if it is one.
fn folder(path: &Path) -> anyhow::Result<&Path> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(Misuse(format!(
            "`{}` is a file; expected a folder of photos",
            path.display()
        ))
        .into()),
        Err(error) => Err(error).with_context(|| format!("cannot read the folder `{}`", path.display())),
    }
}

/// The journal of a folder that has one.
fn existing(path: &Path) -> anyhow::Result<Journal> {
    let path = folder(path)?;
    anyhow::ensure!(
        path.join(monocle_survey::journal::FOLDER).is_dir(),
        "nothing was catalogued in `{}`: it has no folder `{}`",
        path.display(),
        monocle_survey::journal::FOLDER
    );
    Ok(Journal::open(path)?)
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What writes, as sidecars name it.
fn tool() -> String {
    format!("Monocle {}", crate::about::VERSION)
}
