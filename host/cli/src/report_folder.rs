//! The folder that `check` and `eval` write into: results line by line while they work, reports at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use monocle_survey::{files, report};
use serde::de::DeserializeOwned;

use super::{Misuse, output};

/// Where results stand, and those of an earlier run that this one goes on with. The folder and the file are made; an earlier one loses the
/// line that a crash cut off, and what is not asked any more.
pub fn open<T: DeserializeOwned>(
    folder: &Path,
    resume: bool,
    is_wanted: impl Fn(&T) -> bool,
) -> anyhow::Result<(PathBuf, Vec<T>)> {
    let results = folder.join("results.jsonl");
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let (earlier, text) = match (resume, results.exists()) {
        (true, true) => report::read_wanted(&results, is_wanted).map_err(anyhow::Error::msg)?,
        (false, true) => {
            return Err(Misuse(format!(
                "`{}` is there already\n\nhint: `--resume` goes on with it, `--out` names another folder",
                results.display()
            ))
            .into());
        }
        (_, false) => (Vec::new(), String::new()),
    };
    files::write(&results, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", results.display()))?;
    Ok((results, earlier))
}

/// What Ctrl-C sets from now on, in place of ending the program.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))
        .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// Writes the reports, each whole or not at all.
pub fn write(folder: &Path, reports: [(&str, String); 3]) -> anyhow::Result<()> {
    for (name, text) in reports {
        let path = folder.join(name);
        files::write(&path, text.as_bytes()).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// Says what changed since another run.
pub fn say_changes(lines: &[String]) -> anyhow::Result<()> {
    match lines.is_empty() {
        true => output::print("nothing changed\n")?,
        false => output::print(&(lines.join("\n") + "\n"))?,
    }
    Ok(())
}
