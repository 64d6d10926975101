//! The `monocle` program: one file a command.

mod about;
mod bench;
mod catalogue;
mod chat;
mod check;
mod compile;
mod constraint;
mod convert;
mod doctor;
mod eval;
mod inspect;
mod isolate;
mod manual;
mod models;
mod output;
mod overdue;
mod panics;
mod pictures;
mod plugins;
mod progress;
mod pull;
mod report_folder;
mod request;
mod rm;
mod run;
mod sampling;
mod serve;
mod served;
mod size;
mod stats;
mod trace;
mod writer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use monocle_runtime::plugin::wasm::component;
use monocle_text::shown;

/// Runs vision-language models on this machine: pictures and words in, words out.
#[derive(Debug, Parser)]
#[command(
    name = "monocle",
    max_term_width = 100,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    /// Print the version
    #[arg(short = 'V', long)]
    version: bool,

    /// With `--version`: the versions of the contract and of each plugin, the engines, and where they all are
    #[arg(long, requires = "version")]
    verbose: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer a question about pictures (or without any)
    Run(Box<run::Run>),
    /// Talk with a model about pictures (or without any)
    Chat(Box<chat::Chat>),
    /// Answer over HTTP, as OpenAI's, Anthropic's and Ollama's servers do
    Serve(Box<serve::Serve>),
    /// Measure how fast a model is on this machine
    Bench(Box<bench::Bench>),
    /// Ask every model the same about one picture, each in a process of its own, and write a report
    Check(Box<check::Check>),
    /// Ask models questions with known answers, and score what they say
    Eval(Box<eval::Eval>),
    /// One model's part of `eval`
    #[command(hide = true)]
    EvalOne(Box<eval::EvalOne>),
    /// Write title, description and keywords for each photo of a folder into sidecars beside them
    Catalogue(Box<catalogue::Catalogue>),
    /// One model's part of `check`
    #[command(hide = true)]
    CheckOne(Box<check::CheckOne>),
    /// Another server's part of `check`
    #[command(hide = true)]
    AskServed(Box<served::AskServed>),
    /// Compiles a plugin for the process that started this one
    #[command(hide = true)]
    CompilePlugin(compile::CompilePlugin),
    /// Keeps another server running for `check` and `eval`
    #[command(hide = true)]
    KeepServer(Box<served::KeepServer>),
    /// Show what a request would come to, without running it
    Inspect(Box<inspect::Inspect>),
    /// List the models that manifests declare, and whether their weights are here
    Models(models::Models),
    /// Fetch models before they are used
    Pull(pull::Pull),
    /// Remove models from the cache
    Rm(rm::Rm),
    /// Quantise a model's weights, as MLX's conversions are
    Convert(convert::Convert),
    /// Write or compare what a model computes, number by number: ids, pixels, features, logits
    Trace(Box<trace::Trace>),
    /// List the installed plugins; make, test and share your own
    Plugins(plugins::Plugins),
    /// Look at caches and plugins, and say what is wrong
    Doctor(doctor::Doctor),
    /// Print what a shell needs to complete commands and options
    Completions(manual::Completions),
    /// Write the manual pages
    Manual(manual::Manual),
}

fn main() -> ExitCode {
    panics::take_over();
    component::tell_of_compiling(|name, bytes| {
        output::note(&format!(
            "note: compiling the plugin `{name}` ({} MB), once",
            bytes / 1_000_000
        ));
    });
    compile::apart();
    // Misuse (a wrong flag, a missing argument) is reported by clap, which exits with 2.
    let cli = Cli::parse();
    match panics::caught(|| cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// A command line that makes no sense as a whole, though each part of it does: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

impl Cli {
    /// Does what was asked.
    fn run(self) -> anyhow::Result<()> {
        let Some(command) = self.command else {
            return about::print(self.verbose);
        };
        match command {
            Command::Run(run) => run.run(),
            Command::Chat(chat) => chat.run(),
            Command::Serve(serve) => serve.run(),
            Command::Bench(bench) => bench.run(),
            Command::Check(check) => check.run(),
            Command::Eval(eval) => eval.run(),
            Command::EvalOne(one) => one.run(),
            Command::Catalogue(catalogue) => catalogue.run(),
            Command::CheckOne(one) => one.run(),
            Command::AskServed(one) => one.run(),
            Command::CompilePlugin(compile) => compile.run(),
            Command::KeepServer(keeper) => keeper.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Models(models) => models.run(),
            Command::Pull(pull) => pull.run(),
            Command::Rm(rm) => rm.run(),
            Command::Convert(convert) => convert.run(),
            Command::Trace(trace) => trace.run(),
            Command::Plugins(plugins) => plugins.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Completions(completions) => completions.run(),
            Command::Manual(manual) => manual.run(),
        }
    }
}

/// Says what went wrong, and gives the exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    // The reader of our output has seen enough.
    if error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    }) {
        return ExitCode::SUCCESS;
    }
    output::note(&format!("error: {}", in_words(error)));
    match error.is::<Misuse>() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

/// An error and its causes; a cause that the text before it holds already is not said again.
fn in_words(error: &anyhow::Error) -> String {
    let text = error.chain().fold(String::new(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        text
    });
    shown::message(&text)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::CommandFactory;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `x`: {source}")]
    struct Whole {
        source: std::io::Error,
    }

    #[test]
    fn causes_are_said_once() {
        let io = || std::io::Error::other("the disk is gone");
        let whole = anyhow::Error::from(Whole { source: io() });
        assert_eq!(in_words(&whole), "cannot read `x`: the disk is gone");
        let wrapped: anyhow::Result<()> = Err(io()).context("cannot read `x`");
        assert_eq!(
            in_words(&wrapped.unwrap_err()),
            "cannot read `x`: the disk is gone"
        );
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
