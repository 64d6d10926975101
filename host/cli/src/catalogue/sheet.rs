//! `monocle catalogue report`: a page with all photos and what is known of them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use monocle_image::{DecodeOptions, Filter};
use monocle_survey::contact::{self, Card};
use monocle_survey::journal::Journal;
use monocle_survey::photos;

use super::claim::name;
use crate::output;

/// The longer side of a small picture, in pixels.
const SMALL: u32 = 320;

#[derive(Debug, Args)]
pub struct Sheet {
    /// The folder of photos
    folder: PathBuf,

    /// The page's file [default: catalogue.html in the folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Sheet {
    pub fn run(self) -> anyhow::Result<()> {
        let root = super::folder(&self.folder)?;
        let known = Journal::look(root)?;
        let out = self.out.clone().unwrap_or_else(|| root.join("catalogue.html"));
        let found = photos::find(root);
        let mut cards = Vec::new();
        for photo in &found.photos {
            let Ok(path) = name(&photo.shown) else { continue };
            let answered = known.last_answer(&path);
            let failure = known.failure(&path).map(|failed| failed.reason.clone());
            if answered.is_none() && failure.is_none() {
                continue;
            }
            cards.push(Card {
                picture: small(&root.join(&photo.shown)),
                files: photo
                    .files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect(),
                parts: answered
                    .map(|answered| answered.parts.clone())
                    .unwrap_or_default(),
                marks: answered
                    .map(|answered| answered.marks.clone())
                    .unwrap_or_default(),
                failure: failure.filter(|_| answered.is_none()),
            });
        }
        anyhow::ensure!(
            !cards.is_empty(),
            "no photo of `{}` was catalogued yet\n\nhint: `monocle catalogue {}` does so",
            root.display(),
            root.display()
        );
        let runs: Vec<String> = known
            .runs
            .iter()
            .filter(|run| known.has_run(run.run))
            .map(|run| format!("{}, {}", run.model, run.tool))
            .collect();
        let waiting = found.photos.len() - cards.len();
        let page = contact::page(&root.display().to_string(), &runs, &cards, waiting);
        monocle_survey::files::write(&out, page.as_bytes())
            .with_context(|| format!("cannot write `{}`", out.display()))?;
        output::print(&format!("{} photos: {}\n", cards.len(), out.display()))
    }
}

/// A small JPEG as an address of data; nothing where the photo cannot be decoded.
fn small(path: &Path) -> Option<String> {
    let decoded = monocle_image::open(path, &DecodeOptions::default()).ok()?;
    let picture = decoded.picture;
    let longer = picture.width().max(picture.height()).max(1);
    let side = |side: u32| (u64::from(side) * u64::from(SMALL) / u64::from(longer)).max(1) as u32;
    let small = match longer > SMALL {
        true => picture
            .resize(side(picture.width()), side(picture.height()), Filter::Lanczos)
            .ok()?,
        false => picture,
    };
    contact::jpeg(small.rgb(), small.width(), small.height())
}
