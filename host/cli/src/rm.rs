//! `monocle rm`: removes models from the cache.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use monocle_runtime::model::cached::Removed;
use monocle_runtime::model::locate::Places;
use monocle_weights::hub::Stays;

use super::{Misuse, output, stats};

#[derive(Debug, Args)]
pub struct Rm {
    /// Manifests' names (the revision that the manifest names), Hugging Face repositories (all their revisions), or one of a repository's GGUF
    /// models (`OWNER/NAME:Q4_K_M`)
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Rm {
    /// Everything is looked up before anything is removed.
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let mut found = Vec::new();
        for model in &self.models {
            match places.removal(model)? {
                Some(removed) => found.push((model, removed)),
                None => anyhow::bail!(
                    "`{model}` is not in the cache `{}`; nothing was removed\n\nhint: `monocle models --sizes` lists what is there",
                    places.hub.cache.display()
                ),
            }
        }
        let told: String = found
            .iter()
            .map(|(model, removed)| words(model, removed))
            .collect();
        if !self.yes {
            output::note(told.trim_end());
            ask()?;
        }
        for (model, removed) in &found {
            // What was shared with one that is gone by now may go too.
            let Some(now) = places.removal(model)? else {
                continue;
            };
            places.hub.remove(&now.removal)?;
            let bytes = stats::bytes(now.removal.bytes as usize);
            let kept = match removed.removal.stays.is_empty() {
                true => String::new(),
                false => format!("; {} stays", listed(&removed.removal.stays)),
            };
            output::print(&format!("{model}: removed, {bytes} are free{kept}\n"))?;
        }
        Ok(())
    }
}

/// What would go, and what else that means.
fn words(model: &str, removed: &Removed) -> String {
    let removal = &removed.removal;
    let what = match removal.goes.is_empty() {
        true => "leftovers of downloads".to_owned(),
        false => removal.goes.join(", "),
    };
    let mut text = format!(
        "{model}: {} ({what}), {} become free\n",
        removal.repo,
        stats::bytes(removal.bytes as usize)
    );
    for (what, shared) in &removal.stays {
        let shared = match shared {
            0 => "shares nothing with it".to_owned(),
            shared => format!("shares {} with it, which stay", stats::bytes(*shared as usize)),
        };
        text.push_str(&format!("  {what} stays: it {shared}\n"));
    }
    if !removed.also.is_empty() {
        let names = removed.also.join("`, `");
        text.push_str(&format!(
            "  the same files are those of `{names}`: they will be fetched again when that is used\n"
        ));
    }
    text
}

fn listed(stays: &[(Stays, u64)]) -> String {
    let names: Vec<String> = stays.iter().map(|(what, _)| what.to_string()).collect();
    names.join(", ")
}

fn ask() -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Misuse(
            "`monocle rm` asks before it removes, and nobody can answer here\n\nhint: `--yes` removes without asking".to_owned(),
        )
        .into());
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "Remove? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => anyhow::bail!("nothing was removed"),
    }
}
