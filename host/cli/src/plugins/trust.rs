//! `monocle plugins trust` and `untrust`: which native libraries may run.

use std::path::PathBuf;

use clap::Args;
use monocle_runtime::plugin::trust::{MEANING, Trust, Trusted};

use crate::output;

#[derive(Debug, Args)]
pub struct Give {
    /// The library's file
    file: PathBuf,
}

impl Give {
    pub fn run(self) -> anyhow::Result<()> {
        let trusted = Trust::of_user().trust(&self.file)?;
        output::print(&format!("trusted: {}\n", line(&trusted)))?;
        output::note(&format!(
            "{MEANING}. A changed file is refused; `monocle plugins untrust {}` takes it back",
            trusted.name
        ));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Take {
    /// The plugin's name, its SHA-256 (eight digits will do), or the file that was trusted
    what: String,
}

impl Take {
    pub fn run(self) -> anyhow::Result<()> {
        for trusted in Trust::of_user().untrust(&self.what)? {
            output::print(&format!("not trusted any more: {}\n", line(&trusted)))?;
        }
        Ok(())
    }
}

/// `monocle plugins --trusted`
pub fn list(json: bool) -> anyhow::Result<()> {
    let all = Trust::of_user().list()?;
    match json {
        true => output::print_json(&all),
        false if all.is_empty() => output::print("no native library is trusted\n"),
        false => {
            let lines: String = all.iter().map(|trusted| format!("{}\n", line(trusted))).collect();
            output::print(&lines)
        }
    }
}

fn line(trusted: &Trusted) -> String {
    format!(
        "{} {} ({}), sha256 {}, from {}",
        trusted.name,
        trusted.version,
        trusted.kind,
        trusted.sha256,
        trusted.path.display()
    )
}
