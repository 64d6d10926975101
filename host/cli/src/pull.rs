//! `monocle pull`: fetches models before they are used.

use std::io::IsTerminal;
use std::time::Instant;

use clap::Args;
use monocle_runtime::model::cached::Pulled;
use monocle_runtime::model::locate::Places;

use super::progress::DownloadBar;
use super::{output, stats};

#[derive(Debug, Args)]
pub struct Pull {
    /// Manifests' names or paths, or Hugging Face repositories; what is here already is not fetched again, and a download that was
    /// interrupted goes on
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
}

impl Pull {
    /// One after another; one that cannot be fetched does not keep the others away.
    pub fn run(self) -> anyhow::Result<()> {
        let places = Places::from_env();
        let quiet = !std::io::stderr().is_terminal();
        let mut failed = Vec::new();
        for model in &self.models {
            let started = Instant::now();
            let mut bar = DownloadBar::new(quiet);
            let pulled = places.pull(model, &mut |progress| bar.update(progress));
            bar.finish();
            for note in places.hub.take_notes() {
                output::note(&format!("note: {note}"));
            }
            match pulled {
                Ok(pulled) => output::print(&line(model, &pulled, started))?,
                Err(error) => failed.push((model, anyhow::Error::from(error))),
            }
        }
        let of_how_many = stats::count(self.models.len(), "model");
        match failed.len() {
            0 => Ok(()),
            1 if self.models.len() == 1 => Err(failed.remove(0).1),
            many => {
                for (model, error) in &failed {
                    output::note(&format!(
                        "note: `{model}` was not fetched: {}",
                        crate::in_words(error)
                    ));
                }
                anyhow::bail!("{many} of {of_how_many} could not be fetched")
            }
        }
    }
}

fn line(model: &str, pulled: &Pulled, started: Instant) -> String {
    let size = stats::bytes(pulled.bytes as usize);
    let folder = pulled.folder.display();
    let seconds = started.elapsed().as_secs_f64();
    match pulled.fetched {
        None => {
            let kind = if pulled.folder.is_file() { "file" } else { "folder" };
            format!("{model}: a {kind} of this machine, nothing to fetch: {size} in {folder}\n")
        }
        Some(0) => format!("{model}: was here already: {size} in {folder}\n"),
        Some(fetched) if fetched >= pulled.bytes => {
            format!("{model}: fetched {size} in {seconds:.1} s, into {folder}\n")
        }
        Some(fetched) => format!(
            "{model}: fetched {} in {seconds:.1} s, the rest of {size} was here already, in {folder}\n",
            stats::bytes(fetched as usize)
        ),
    }
}
