//! A run over a folder: several photos at once on one engine, each answer journalled, then written.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use monocle_constraint::{ConstraintError, Grammar};
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::terms::{Class, Terms};
use monocle_runtime::scheduler::{Event, Scheduler, SessionId};
use monocle_survey::journal::{self, Answered, Failed, Journal, Known, Line};
use monocle_survey::photos::{self, Photo};
use monocle_text::{FinishReason, shown};
use serde_json::json;

use super::ask::Questions;
use super::claim::{self, Asking, Kit, Ready, lock, name};
use super::write::{self, Form, Wrote};
use super::{Answers, Run, Target};
use crate::overdue::{self, Watch};
use crate::{Misuse, output};

/// Bytes of picture features and prompts that are kept for the next question about the same photo.
const CACHE: usize = 256 << 20;
/// Threads that decode and plan.
const HANDS: usize = 2;
/// How often a line says how far it is, where there is no terminal.
const NEWS: Duration = Duration::from_secs(30);
/// How often Ctrl-C is looked for while nothing is computed.
const LOOK: Duration = Duration::from_millis(100);

impl Run {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let root = self
            .folder
            .clone()
            .expect("clap asks for the folder where there is no other command");
        let root = super::folder(&root)?;
        let questions = self.questions()?;
        let found = photos::find(root);
        found
            .unread
            .iter()
            .for_each(|error| output::note(&format!("note: cannot look into a folder: {error}")));
        anyhow::ensure!(
            !found.photos.is_empty(),
            "no photo is in `{}`; expected files that end in .jpg, .png, .dng and the like",
            root.display()
        );
        let known = Journal::look(root)?;
        let model = match (&self.model, known.last_run()) {
            (Some(model), _) => model.clone(),
            (None, Some(run)) => run.model.clone(),
            (None, None) => {
                return Err(Misuse(
                    "no model is named, and there was no run in this folder whose model could be taken\n\nhint: \
                     `--model`; `monocle models` lists what there is"
                        .to_owned(),
                )
                .into());
            }
        };
        let settings = format!("{} tokens; {}", self.max_tokens, questions.key());
        let key =
            monocle_survey::sha256(format!("{model}\0{settings}\0{:?}", self.options.template).as_bytes())
                [..24]
                .to_owned();
        if self.dry_run {
            return self.foretell(root, &found.photos, known, &key, &questions);
        }
        drop(known);
        let journal = Journal::open(root)?;
        let run = journal.known.unfinished(&key);
        let number = run.unwrap_or_else(|| journal.known.next_run());
        let mut work = Work {
            root,
            photos: &found.photos,
            run: number,
            key: key.clone(),
            form: Form {
                naming: self.sidecars.meant(),
                under: self.under.clone(),
                model: model.clone(),
                tool: super::tool(),
            },
            target: self.write,
            tally: Tally::default(),
            failed: Vec::new(),
            progress: Progress::new(found.photos.len()),
        };
        let mut scheduler = self.options.open(&model, CACHE, false, None, overdue::USUAL)?;
        scheduler.load_weights(&mut |_, _| {})?;
        // Until here Ctrl-C ends the program at once: nothing was begun.
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot listen for Ctrl-C")?;
        }
        let mut journal = journal;
        if run.is_none() {
            journal.add(Line::Run(journal::Run {
                run: number,
                time: super::now(),
                tool: super::tool(),
                model,
                key: key.clone(),
                settings,
            }))?;
        }
        let journal = Mutex::new(journal);
        let wanted = work.without_collisions(&journal)?;
        let kit = Kit {
            model: Arc::clone(scheduler.model()),
            recordings: scheduler.recordings().clone(),
            limit: scheduler.memory_limit(),
            questions,
            key,
            retry: self.retry,
            max_tokens: self.max_tokens as usize,
            prefill_chunk: self.options.prefill_chunk as usize,
        };
        let line = claim::Line::new(root, &found.photos, wanted.clone(), &journal);
        let is_done = std::thread::scope(|scope| {
            let (sender, ready) = sync_channel(HANDS);
            for _ in 0..HANDS {
                let (sender, line, kit) = (sender.clone(), &line, &kit);
                scope.spawn(move || line.work(kit, &sender));
            }
            drop(sender);
            let done = work.go(
                &mut scheduler,
                &kit,
                (&line, ready),
                wanted.len(),
                (self.at_once as usize, &stop),
            );
            line.end();
            done
        })?;
        work.progress.finish();
        let mut journal = journal
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.write == Target::Jsonl {
            let path = self.out.clone().unwrap_or_else(|| root.join("catalogue.jsonl"));
            let text = work.in_lines(&journal);
            monocle_survey::files::write(&path, text.as_bytes())
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        if is_done {
            journal.add(Line::Finished { run: number })?;
        }
        journal.settle()?;
        output::note(&work.told());
        anyhow::ensure!(is_done, "stopped: the same command goes on with what is left");
        let failed = work.failed.len();
        for (photo, reason) in &work.failed {
            output::note(&format!("failed: {}: {reason}", photo.display()));
        }
        anyhow::ensure!(
            failed == 0,
            "{failed} of {} photos failed; they are tried again by the next run",
            found.photos.len()
        );
        Ok(())
    }

    fn questions(&self) -> anyhow::Result<Questions> {
        let prompt = match &self.prompt_file {
            Some(path) => {
                let text = monocle_files::read_given_text(path, monocle_files::TEXT);
                Some(text.with_context(|| format!("cannot read `{}`", path.display()))?)
            }
            None => self.prompt.clone(),
        };
        let is_code = |code: &String| {
            !code.is_empty()
                && code.len() <= 35
                && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        if let Some(wrong) = self.languages.iter().find(|code| !is_code(code)) {
            return Err(Misuse(format!(
                "`{wrong}` is no language; `--languages` expects codes like `en,de,pt-BR`"
            ))
            .into());
        }
        let mut languages: Vec<String> = Vec::new();
        for language in &self.languages {
            if !languages.contains(language) {
                languages.push(language.clone());
            }
        }
        let is_blind_to_them = prompt
            .as_ref()
            .is_some_and(|prompt| !prompt.contains("{language}"));
        if languages.len() > 1 && is_blind_to_them {
            return Err(Misuse(
                "several languages are asked for, and the prompt does not say where the language goes\n\nhint: write `{language}` \
                 into it"
                    .to_owned(),
            )
            .into());
        }
        let is_json = match self.answers {
            Some(answers) => answers == Answers::Json,
            None => prompt.is_none(),
        };
        Ok(Questions::new(
            (prompt, is_json),
            languages,
            self.options.system.clone(),
            !self.blind,
            self.position,
        ))
    }

    /// What a run would do.
    fn foretell(
        &self,
        root: &Path,
        photos: &[Photo],
        known: Known,
        key: &str,
        questions: &Questions,
    ) -> anyhow::Result<()> {
        let (mut new, mut done) = (0, 0);
        let mut shown = false;
        for photo in photos {
            let files: Vec<String> = photo
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let files = files.join(" + ");
            let hash = claim::stand(root, &photo.shown).and_then(|(path, size, changed)| {
                match known.hash_of(&path, size, changed) {
                    Some(hash) => Ok(hash.to_owned()),
                    None => monocle_survey::files::hash_of_photo(&root.join(&photo.shown))
                        .map_err(|error| format!("cannot read it: {error}")),
                }
            });
            let word = match hash.as_ref().map(|hash| known.answer(hash, key)) {
                Err(reason) => reason.clone(),
                Ok(Some(answer)) if self.retry && !answer.marks.is_empty() => {
                    "to be asked about again".to_owned()
                }
                Ok(Some(_)) => {
                    done += 1;
                    "done".to_owned()
                }
                Ok(None) => {
                    new += 1;
                    "to be asked about".to_owned()
                }
            };
            output::print(&format!("{files}: {word}\n"))?;
            if word.starts_with("to be") && !shown {
                shown = true;
                let request = questions.prompt(&questions.languages[0]);
                let context = questions.context(root, &photo.files, &known);
                let context = match context.as_str() {
                    "" => String::new(),
                    context => format!("\n\nWhat is known of the photo:\n{context}"),
                };
                output::note(&format!("what is asked of it:\n{request}{context}\n"));
            }
        }
        output::note(&format!(
            "{} photos: {new} to be asked about, {done} done; nothing was written",
            photos.len()
        ));
        Ok(())
    }
}

/// How many photos became what.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    marked: usize,
    known: usize,
    rewritten: usize,
}

/// A run.
struct Work<'a> {
    root: &'a Path,
    photos: &'a [Photo],
    run: u64,
    key: String,
    form: Form,
    target: Target,
    tally: Tally,
    failed: Vec<(PathBuf, String)>,
    progress: Progress,
}

impl Work<'_> {
    /// The photos that can have a sidecar of their own; of those that would share one, the first.
    fn without_collisions(&mut self, journal: &Mutex<Journal>) -> anyhow::Result<Vec<usize>> {
        let mut taken: HashMap<PathBuf, usize> = HashMap::new();
        let mut wanted = Vec::new();
        for (place, photo) in self.photos.iter().enumerate() {
            let sidecars = self.form.sidecars(photo);
            let other = sidecars.iter().find_map(|sidecar| taken.get(sidecar));
            match other.filter(|_| self.target == Target::Xmp) {
                Some(other) => {
                    let reason = format!(
                        "it would share its sidecar with {}; `--sidecars darktable` gives each its own",
                        self.photos[*other].shown.display()
                    );
                    self.fail(&mut lock(journal), place, reason)?;
                }
                None => {
                    taken.extend(sidecars.into_iter().map(|sidecar| (sidecar, place)));
                    wanted.push(place);
                }
            }
        }
        Ok(wanted)
    }

    /// Goes through all photos; false where Ctrl-C came first.
    fn go(
        &mut self,
        scheduler: &mut Scheduler,
        kit: &Kit,
        (line, ready): (&claim::Line, Receiver<Ready>),
        wanted: usize,
        (at_once, stop): (usize, &AtomicBool),
    ) -> anyhow::Result<bool> {
        let generation = &kit.model.settings;
        let options = GenerateOptions {
            max_tokens: kit.max_tokens,
            sampling: generation.generation.sampling(),
            prefill_chunk: kit.prefill_chunk,
            thinking_budget: generation.thinking_budget,
            grammar: grammar(kit),
            ..GenerateOptions::default()
        };
        let mut running: HashMap<SessionId, Box<Asking>> = HashMap::new();
        let mut same: Vec<(usize, String)> = Vec::new();
        let mut left = wanted;
        let watch = Watch::over("a photo's request", overdue::USUAL);
        while left > 0 {
            if stop.load(Ordering::SeqCst) {
                return Ok(false);
            }
            while running.len() < at_once {
                let given = match running.is_empty() {
                    true => match ready.recv_timeout(LOOK) {
                        Ok(given) => given,
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => anyhow::bail!(
                            "preparing photos ended by itself; the program's own output says more"
                        ),
                    },
                    false => match ready.try_recv() {
                        Ok(given) => given,
                        Err(_) => break,
                    },
                };
                watch.went_on();
                match given {
                    Ready::Ask(asking, prepared) => {
                        let terms = Terms {
                            class: Class::Bulk,
                            ..Terms::from(Instant::now())
                        };
                        match scheduler.submit(*prepared, options.clone(), terms) {
                            Ok(id) => {
                                running.insert(id, asking);
                            }
                            Err(error) => {
                                left -= 1;
                                self.fail(&mut lock(line.journal), asking.photo, error.to_string())?;
                            }
                        }
                    }
                    Ready::Known { photo, hash } => {
                        left -= 1;
                        self.tally.known += 1;
                        self.write(&mut lock(line.journal), photo, &hash)?;
                    }
                    Ready::Same { photo, hash } => {
                        left -= 1;
                        same.push((photo, hash));
                    }
                    Ready::Failed { photo, reason } => {
                        left -= 1;
                        self.fail(&mut lock(line.journal), photo, reason)?;
                    }
                }
            }
            if scheduler.is_idle() {
                continue;
            }
            watch.went_on();
            for (id, event) in scheduler.step() {
                match event {
                    Event::Text(_) | Event::Logprobs(_) => {}
                    Event::Done(report) => {
                        let Some(asking) = running.remove(&id) else {
                            continue;
                        };
                        match answered(kit, asking, &report) {
                            Next::Ask(asking) => line.again(asking),
                            Next::Done(asking) => {
                                left -= 1;
                                self.settle(&mut lock(line.journal), *asking)?;
                            }
                        }
                    }
                    Event::Failed(error) => {
                        let Some(asking) = running.remove(&id) else {
                            continue;
                        };
                        left -= 1;
                        self.fail(&mut lock(line.journal), asking.photo, error.to_string())?;
                    }
                    // Nobody cancels.
                    Event::Cancelled => {}
                }
            }
            self.progress.show(self.done());
        }
        for (photo, hash) in same {
            self.tally.known += 1;
            self.write(&mut lock(line.journal), photo, &hash)?;
        }
        Ok(true)
    }

    fn done(&self) -> (usize, usize) {
        (self.tally.answered, self.tally.known + self.failed.len())
    }

    /// An answer is journalled, then written.
    fn settle(&mut self, journal: &mut Journal, asking: Asking) -> anyhow::Result<()> {
        self.tally.answered += 1;
        self.tally.marked += usize::from(!asking.marks.is_empty());
        let path = name(&self.photos[asking.photo].shown).map_err(anyhow::Error::msg)?;
        let answered = Answered {
            run: self.run,
            hash: asking.hash.clone(),
            key: self.key.clone(),
            path,
            time: super::now(),
            parts: asking.parts,
            marks: asking.marks,
            asked: asking.asked,
            tokens: asking.tokens,
            seconds: asking.started.elapsed().as_secs_f64(),
        };
        journal.add(Line::Answered(Box::new(answered)))?;
        self.write(journal, asking.photo, &asking.hash)
    }

    /// Writes what is known of a photo.
    fn write(&mut self, journal: &mut Journal, photo: usize, hash: &str) -> anyhow::Result<()> {
        let Some(answered) = journal.known.answer(hash, &self.key).cloned() else {
            return self.fail(
                journal,
                photo,
                "another file with the same bytes failed".to_owned(),
            );
        };
        if self.target == Target::Jsonl {
            return Ok(());
        }
        let is_known = answered.run != self.run;
        match write::write(
            journal,
            self.root,
            &self.photos[photo],
            (&answered, self.run),
            &self.form,
        ) {
            Ok(Wrote::New) => self.tally.rewritten += usize::from(is_known),
            Ok(Wrote::Before) => {}
            Err(error) => self.fail(journal, photo, crate::in_words(&error))?,
        }
        Ok(())
    }

    fn fail(&mut self, journal: &mut Journal, photo: usize, reason: String) -> anyhow::Result<()> {
        let reason = shown::message(&reason);
        let shown = &self.photos[photo].shown;
        if let Ok(path) = name(shown) {
            journal.add(Line::Failed(Failed {
                run: self.run,
                path,
                reason: reason.clone(),
            }))?;
        }
        self.failed.push((shown.clone(), reason));
        Ok(())
    }

    /// What is known of all photos, a line each.
    fn in_lines(&self, journal: &Journal) -> String {
        let mut text = String::new();
        for photo in self.photos {
            let Ok(path) = name(&photo.shown) else { continue };
            let Some(answered) = journal
                .known
                .last_answer(&path)
                .filter(|answered| answered.key == self.key)
            else {
                continue;
            };
            let entry = self.form.entry(answered);
            let by_language = |texts: Vec<(String, String)>| -> serde_json::Map<String, serde_json::Value> {
                texts
                    .into_iter()
                    .map(|(language, text)| (language, text.into()))
                    .collect()
            };
            let line = json!({
                "file": path,
                "files": photo.files,
                "sha256": answered.hash,
                "title": by_language(entry.titles),
                "description": by_language(entry.descriptions),
                "keywords": entry.keywords,
                "hierarchical": entry.hierarchical,
                "marks": answered.marks,
                "model": entry.model,
                "tool": entry.tool,
            });
            text += &format!("{line}\n");
        }
        text
    }

    /// The run in a line.
    fn told(&self) -> String {
        let Tally {
            answered,
            marked,
            known,
            rewritten,
        } = self.tally;
        format!(
            "run {}: {answered} photos asked about ({marked} marked as incomplete), {known} were known ({rewritten} of them written anew), {} \
             failed; {}",
            self.run,
            self.failed.len(),
            self.progress.speed(answered)
        )
    }
}

/// What answers are held to; a note where this model's cannot be held to anything.
fn grammar(kit: &Kit) -> Option<Grammar> {
    let grammar = kit.model.grammar(&kit.questions.constraint()?);
    let note = |error: &ConstraintError| {
        output::note(&format!(
            "note: answers are checked, not constrained to JSON: {error}"
        ));
    };
    grammar.inspect_err(note).ok()
}

/// What comes after an answer.
enum Next {
    /// Another question about the same photo.
    Ask(Box<Asking>),
    /// All is said.
    Done(Box<Asking>),
}

fn answered(kit: &Kit, mut asking: Box<Asking>, report: &Report) -> Next {
    let languages = &kit.questions.languages;
    let language = &languages[asking.language];
    let output = &report.output;
    let is_cut = matches!(output.finish, FinishReason::MaxTokens | FinishReason::ContextFull);
    asking.asked += 1;
    asking.tokens += output.tokens as u64;
    let judged = kit.questions.judge(language, &output.text, is_cut);
    let judged = match asking.first.take() {
        None if !judged.wrong.is_empty() => {
            asking.first = Some((output.text.clone(), judged));
            return Next::Ask(asking);
        }
        None => judged,
        Some((_, first)) => first.better(judged),
    };
    let wrong = judged.wrong.iter().map(|wrong| match languages.len() {
        1 => wrong.clone(),
        _ => format!("{language}: {wrong}"),
    });
    asking.marks.extend(wrong);
    let language = language.clone();
    asking.parts.push((language, judged.usable()));
    asking.language += 1;
    match asking.language < languages.len() {
        true => Next::Ask(asking),
        false => Next::Done(asking),
    }
}

/// How far it is, how fast it goes, and when it will be over.
struct Progress {
    all: usize,
    bar: ProgressBar,
    started: Instant,
    told: Instant,
    is_terminal: bool,
}

impl Progress {
    fn new(all: usize) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = match is_terminal {
            true => ProgressBar::new(all as u64),
            false => ProgressBar::hidden(),
        };
        bar.set_style(ProgressStyle::with_template("{bar:30} {wide_msg}").expect("the template is valid"));
        Self {
            all,
            bar,
            started: Instant::now(),
            told: Instant::now(),
            is_terminal,
        }
    }

    fn show(&mut self, (answered, others): (usize, usize)) {
        let done = answered + others;
        self.bar.set_position(done as u64);
        if !self.is_terminal && self.told.elapsed() < NEWS {
            return;
        }
        self.told = Instant::now();
        let took = self.started.elapsed().as_secs_f64();
        let left = self.all.saturating_sub(done);
        let line = format!(
            "{done} of {} photos, {}, {}",
            self.all,
            self.speed(answered),
            time_left(answered, left, took)
        );
        match self.is_terminal {
            true => self.bar.set_message(line),
            false => output::note(&line),
        }
    }

    fn speed(&self, answered: usize) -> String {
        let took = self.started.elapsed().as_secs_f64();
        format!("{:.2} photos/s", answered as f64 / took.max(1e-3))
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// How long the rest will take.
fn time_left(answered: usize, left: usize, took: f64) -> String {
    if answered == 0 {
        return "time left not known yet".to_owned();
    }
    let seconds = (took / answered as f64 * left as f64).round() as u64;
    match seconds {
        0..=89 => format!("{seconds} s left"),
        90..=5399 => format!("{} min left", seconds.div_ceil(60)),
        _ => format!("{} h {} min left", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::time_left;

    #[test]
    fn the_time_left_is_that_of_photos_answered_so_far() {
        for (answered, left, took, expected) in [
            (0, 10, 5.0, "time left not known yet"),
            (10, 10, 5.0, "5 s left"),
            (10, 1000, 5.0, "9 min left"),
            (1, 3600, 3.0, "3 h 0 min left"),
        ] {
            assert_eq!(time_left(answered, left, took), expected);
        }
    }
}
