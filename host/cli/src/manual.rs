//! What other programs know of the command line: manual pages, and what shells complete. Both are made of the same description as `--help`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, about, output};

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that will read them
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct Manual {
    /// Where the pages go: `monocle.1`, and one for each command
    folder: PathBuf,
}

/// The commands that people type; not those that the program starts itself with.
fn shown() -> Command {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set());
    let about = whole.get_about().cloned().unwrap_or_default();
    // The version is an option of ours.
    let command = Command::new("monocle")
        .about(about)
        .version(about::VERSION)
        .disable_version_flag(true);
    command
        .args(whole.get_arguments().cloned())
        .subcommands(shown.cloned())
}

impl Completions {
    pub fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut shown(), "monocle", &mut script);
        output::print(&String::from_utf8(script).context("what a shell reads is UTF-8")?)
    }
}

impl Manual {
    pub fn run(self) -> anyhow::Result<()> {
        let written = std::fs::create_dir_all(&self.folder);
        written
            .and_then(|()| clap_mangen::generate_to(shown(), &self.folder))
            .with_context(|| format!("cannot write into `{}`", self.folder.display()))
    }
}
