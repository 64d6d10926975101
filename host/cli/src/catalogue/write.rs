//! From an answer to sidecars.

use std::path::Path;

use anyhow::Context;
use monocle_survey::journal::{Answered, Journal, Line, Writing};
use monocle_survey::photos::Photo;
use monocle_survey::sidecar::{self, Entry, Naming, SidecarError};

use super::claim::name;

/// How answers become sidecars.
#[derive(Debug, Clone)]
pub struct Form {
    pub naming: Naming,
    pub under: Option<String>,
    pub model: String,
    pub tool: String,
}

impl Form {
    /// Of all that a sidecar depends on, beside the answer.
    fn key(&self, answered: &Answered) -> String {
        format!("{} {}", answered.key, self.under.as_deref().unwrap_or_default())
    }

    /// What an answer says, as sidecars hold it.
    pub fn entry(&self, answered: &Answered) -> Entry {
        let mut entry = Entry {
            model: self.model.clone(),
            tool: self.tool.clone(),
            ..Entry::default()
        };
        for (language, structure) in &answered.parts {
            let text = |text: &Option<String>| text.clone().map(|text| (language.clone(), text));
            entry.titles.extend(text(&structure.title));
            entry.descriptions.extend(text(&structure.description));
            for keyword in &structure.keywords {
                let levels: Vec<&str> = keyword
                    .split(['|', '>'])
                    .map(str::trim)
                    .filter(|level| !level.is_empty())
                    .collect();
                let Some(last) = levels.last() else { continue };
                entry.keywords.push((*last).to_owned());
                let above = self.under.as_deref().into_iter();
                let path: Vec<&str> = above.chain(levels.iter().copied()).collect();
                if path.len() > 1 {
                    entry.hierarchical.push(path.join("|"));
                }
            }
        }
        entry
    }

    /// The sidecars of a photo, below the folder: one for each file as darktable names them, one in all as Adobe does.
    pub fn sidecars(&self, photo: &Photo) -> Vec<std::path::PathBuf> {
        let mut all: Vec<_> = photo.files.iter().map(|file| self.naming.of(file)).collect();
        all.dedup();
        all
    }
}

/// What became of a photo's sidecars.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// They were written.
    New,
    /// They were there.
    #[default]
    Before,
}

/// Writes the sidecars of a photo, unless they are written already. Each is announced in the journal first, with what stood there before.
pub fn write(
    journal: &mut Journal,
    root: &Path,
    photo: &Photo,
    (answered, run): (&Answered, u64),
    form: &Form,
) -> anyhow::Result<Wrote> {
    let mut wrote = Wrote::Before;
    let entry = form.entry(answered);
    if entry.titles.is_empty() && entry.descriptions.is_empty() && entry.keywords.is_empty() {
        return Ok(wrote);
    }
    for below in form.sidecars(photo) {
        if write_one(journal, root, (photo, &below), (answered, run), (form, &entry))? == Wrote::New {
            wrote = Wrote::New;
        }
    }
    Ok(wrote)
}

fn write_one(
    journal: &mut Journal,
    root: &Path,
    (photo, below): (&Photo, &Path),
    (answered, run): (&Answered, u64),
    (form, entry): (&Form, &Entry),
) -> anyhow::Result<Wrote> {
    let path = root.join(below);
    let named = name(below).map_err(anyhow::Error::msg)?;
    let current = sidecar::read(&path)?;
    let hash = current.as_deref().map(monocle_survey::sha256);
    let key = form.key(answered);
    let last = journal
        .known
        .written(&named)
        .map(|(last, is_done)| (last.clone(), is_done));
    let mut base = current.clone();
    match (&last, &current, &hash) {
        (Some((last, is_done)), Some(bytes), Some(hash)) => {
            let is_same = last.hash == answered.hash && last.form == key;
            if is_same && (*is_done || last.after == *hash) {
                if !is_done {
                    let (sidecar, after) = (named, last.after.clone());
                    journal.add(Line::Wrote { sidecar, after })?;
                }
                return Ok(Wrote::Before);
            }
            // What was said before, of another picture or by another model, goes; unless it never got there.
            if last.before.as_ref() != Some(hash) {
                base = Some(read(&path, sidecar::take_out(bytes, &last.added))?);
            }
        }
        (None, Some(_), Some(hash)) => {
            // It came with a photo that was renamed.
            if let Some(known) = journal
                .known
                .written_as(hash)
                .filter(|known| known.hash == answered.hash && known.form == key)
                .cloned()
            {
                let adopted = Writing {
                    run,
                    path: name(&photo.shown).map_err(anyhow::Error::msg)?,
                    sidecar: named.clone(),
                    ..known
                };
                let after = adopted.after.clone();
                journal.add(Line::Writing(Box::new(adopted)))?;
                journal.add(Line::Wrote {
                    sidecar: named,
                    after,
                })?;
                return Ok(Wrote::Before);
            }
        }
        _ => {}
    }
    let (bytes, added) = read(&path, sidecar::merge(base.as_deref(), entry))?;
    let after = monocle_survey::sha256(&bytes);
    let before = current.as_deref().map(|bytes| journal.keep(bytes)).transpose()?;
    let is_new = before.as_ref() != Some(&after);
    journal.add(Line::Writing(Box::new(Writing {
        run,
        hash: answered.hash.clone(),
        form: key,
        path: name(&photo.shown).map_err(anyhow::Error::msg)?,
        sidecar: named.clone(),
        naming: form.naming,
        before,
        after: after.clone(),
        added,
    })))?;
    journal.settle()?;
    if is_new {
        sidecar::write(&path, &bytes)
            .context("the answer is in the journal, and is written by the next run")?;
    }
    journal.add(Line::Wrote {
        sidecar: named,
        after,
    })?;
    Ok(Wrote::New)
}

fn read<T>(path: &Path, result: Result<T, monocle_survey::xmp::XmpError>) -> Result<T, SidecarError> {
    result.map_err(|source| SidecarError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
