//! `monocle catalogue undo`: a run is taken back.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use monocle_survey::journal::Line;
use monocle_survey::sidecar::{self, SidecarError};

use crate::output;

#[derive(Debug, Args)]
pub struct Undo {
    /// The folder of photos
    folder: PathBuf,

    /// Which run, by its number [default: the last one that wrote something and was not taken back]
    #[arg(long, value_name = "NUMBER")]
    run: Option<u64>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Undo {
    pub fn run(self) -> anyhow::Result<()> {
        let mut journal = super::existing(&self.folder)?;
        let run = match (self.run, journal.known.last_written_run()) {
            (Some(number), _) if journal.known.has_run(number) => number,
            (Some(number), _) => anyhow::bail!("there is no run {number}, or it was taken back already"),
            (None, Some(run)) => run.run,
            (None, None) => anyhow::bail!("there is no run that could be taken back"),
        };
        let (mut removed, mut restored, mut kept, mut failed) = (0, 0, 0, 0);
        for writing in journal.known.writings_of(run) {
            let path = self.folder.join(&writing.sidecar);
            let Some(bytes) = sidecar::read(&path)? else {
                continue;
            };
            let hash = monocle_survey::sha256(&bytes);
            let change = match &writing.before {
                // It never got there, or was taken back before a crash.
                Some(before) if *before == hash => continue,
                Some(before) if writing.after == hash => {
                    restored += 1;
                    Some(journal.kept(before)?)
                }
                None if writing.after == hash => {
                    removed += 1;
                    None
                }
                _ => match sidecar::take_out(&bytes, &writing.added) {
                    Ok(rest) if rest == bytes => continue,
                    Ok(rest) => {
                        kept += 1;
                        Some(rest)
                    }
                    Err(source) => {
                        failed += 1;
                        output::note(&SidecarError::Unreadable { path, source }.to_string());
                        continue;
                    }
                },
            };
            match change {
                _ if self.dry_run => {}
                Some(bytes) => sidecar::write(&path, &bytes)?,
                None => std::fs::remove_file(&path)
                    .with_context(|| format!("cannot remove `{}`", path.display()))?,
            }
        }
        let would = if self.dry_run {
            "would take back"
        } else {
            "took back"
        };
        output::print(&format!(
            "{would} run {run}: {removed} sidecars removed, {restored} as they were before, {kept} changed since and only Monocle's own \
             words taken out\n"
        ))?;
        anyhow::ensure!(
            failed == 0,
            "{failed} sidecars cannot be read; the run is not taken back"
        );
        if !self.dry_run {
            journal.add(Line::Undone { run })?;
            journal.settle()?;
        }
        Ok(())
    }
}
