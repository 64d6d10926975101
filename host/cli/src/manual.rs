//! What other programs know of the command line: manual pages, and what shells complete. Both are made of the same description as `--help`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};

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

impl Completions {
    pub fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "monocle", &mut script);
        output::print(&String::from_utf8(script).context("what a shell reads is UTF-8")?)
    }
}

impl Manual {
    pub fn run(self) -> anyhow::Result<()> {
        let written = std::fs::create_dir_all(&self.folder);
        written
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.folder))
            .with_context(|| format!("cannot write into `{}`", self.folder.display()))
    }
}
