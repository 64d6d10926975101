//! `monocle chat`: a conversation. Answers stream to standard output; everything else goes to standard error.

mod command;
mod conversation;
mod input;

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use monocle_runtime::error::RequestError;
use monocle_runtime::model::stamp::Stamp;
use monocle_runtime::report::Report;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Flow, Scheduler};
use monocle_text::FinishReason;

use self::command::{HELP, Input};
use self::conversation::Conversation;
use self::input::{Line, Lines};
use super::overdue::Watch;
use super::progress::LoadBar;
use super::request::{AnswerLength, ModelAndPictures, ModelOptions};
use super::sampling::SamplingArguments;
use super::writer::Writer;
use super::{Misuse, output, pictures, stats};

#[derive(Debug, Args)]
pub struct Chat {
    #[command(flatten)]
    about: ModelAndPictures,

    #[command(flatten)]
    length: AnswerLength,

    #[command(flatten)]
    options: ModelOptions,

    #[command(flatten)]
    sampling: SamplingArguments,

    /// Memory, part of the limit, that keeps what was computed of earlier turns, and as much again that keeps features of pictures: so
    /// a further turn begins quickly; 0 keeps nothing
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse_or_zero, default_value = "1GB")]
    cache_limit: usize,

    /// Show tokens and timings after each answer, as is done on a terminal
    #[arg(long)]
    stats: bool,
}

impl Chat {
    pub fn run(self) -> anyhow::Result<()> {
        let typed = std::io::stdin().is_terminal();
        let quiet = !std::io::stderr().is_terminal();
        self.sampling.check()?;
        refuse_standard_input(&self.about.images)?;
        let pictures = self.about.pictures(quiet)?;
        let (mut scheduler, seen) = self.options.open_stamped(
            &self.about.model,
            self.cache_limit,
            quiet,
            None,
            self.sampling.longest(),
        )?;
        let options = self
            .sampling
            .options(&self.length, &self.options, scheduler.model())?;
        let mut bar = LoadBar::new(quiet);
        scheduler.load_weights(&mut |done, total| bar.update(done, total))?;
        bar.finish();

        let system = self.options.system(scheduler.model()).map(str::to_owned);
        let interrupted = Arc::new(AtomicBool::new(false));
        let mut lines = match typed {
            true => Lines::terminal()?,
            false => Lines::pipe(),
        };
        if typed {
            // From here on Ctrl-C stops an answer; a pipe's reader is stopped by it as any program is.
            signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))
                .context("cannot listen for Ctrl-C")?;
            let name = &scheduler.model().report.name;
            output::note(&format!("{name}; `/help` lists the commands, Ctrl-D ends"));
        }
        let mut talk = Talk {
            conversation: Conversation::new(system, pictures),
            scheduler,
            seen,
            options,
            opened: Opened {
                model: self.about.model,
                options: self.options,
                length: self.length,
                cache_limit: self.cache_limit,
            },
            sampling: self.sampling,
            interrupted,
            show_stats: self.stats || (typed && !quiet),
            typed,
            private: self.about.allow_private_addresses,
            told: HashSet::new(),
        };
        talk.go_on(&mut lines)
    }
}

/// How the model was opened, and is opened again when its files change.
struct Opened {
    model: String,
    options: ModelOptions,
    length: AnswerLength,
    cache_limit: usize,
}

/// A conversation that goes on.
struct Talk {
    conversation: Conversation,
    scheduler: Scheduler,
    opened: Opened,
    /// The state of the model's files when they were last looked at.
    seen: Stamp,
    options: GenerateOptions,
    sampling: SamplingArguments,
    /// Ctrl-C was pressed.
    interrupted: Arc<AtomicBool>,
    show_stats: bool,
    typed: bool,
    /// Pictures may come from this machine and its local network.
    private: bool,
    /// Notes that need not be told again.
    told: HashSet<String>,
}

/// What the user is told of a line that could not be done; the chat goes on.
type Refusal = anyhow::Error;

/// How an answer ended.
enum Answered {
    /// It came, as far as it came.
    With(Box<Report>),
    /// Ctrl-C was there before it.
    Stopped,
    /// It did not come.
    Not(RequestError),
}

impl Talk {
    /// Until there are no more lines. What goes wrong with one does not end it; a pipe's user learns it from the exit code.
    fn go_on(&mut self, lines: &mut Lines) -> anyhow::Result<()> {
        let (mut read, mut refused) = (0, 0);
        loop {
            let input = match lines.next()? {
                Line::End => break,
                Line::Cleared => continue,
                Line::Bad(why) => Err(anyhow::Error::msg(why)),
                Line::Text(line) => command::parse(&line).map_err(Refusal::from),
            };
            read += 1;
            let done = match input {
                Ok(Input::Quit) => break,
                Ok(input) => self.take(input)?,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                refused += 1;
                output::note(&format!("error: {}", crate::in_words(&error)));
            }
        }
        anyhow::ensure!(
            self.typed || refused == 0,
            "{refused} of {} could not be done",
            stats::count(read, "line")
        );
        Ok(())
    }

    /// Does what a line asks for. The outer error ends the chat: nobody can read answers any more.
    fn take(&mut self, input: Input) -> anyhow::Result<Result<(), Refusal>> {
        Ok(match input {
            Input::Nothing | Input::Quit => Ok(()),
            Input::Words(words) => return self.ask(words),
            Input::Image(path) => self.attach(&path),
            Input::System(system) => {
                self.conversation.system = system;
                Ok(())
            }
            Input::Save(path) => {
                let model = &self.scheduler.model().report.name;
                self.conversation.save(&from_home(&path), model)
            }
            Input::Reset => {
                self.conversation.reset();
                Ok(())
            }
            Input::Drop => match self.conversation.drop_last() {
                true => {
                    let left = stats::count(self.conversation.len(), "exchange");
                    self.remark(&format!("{left} left"));
                    Ok(())
                }
                false => Err(anyhow::anyhow!("there is no exchange to drop")),
            },
            Input::Help => {
                output::note(HELP.trim_end());
                Ok(())
            }
        })
    }

    fn attach(&mut self, path: &Path) -> Result<(), Refusal> {
        let path = from_home(path);
        let path = [path];
        refuse_standard_input(&path)?;
        self.conversation
            .attached
            .extend(pictures::read(&path, self.private)?);
        let count = stats::count(self.conversation.attached.len(), "picture");
        self.remark(&format!("{count} for the next message"));
        Ok(())
    }

    /// Opens the model again if its manifest, a template, a plugin or another of its files changed. What is broken is reported once, and the
    /// last good one stays.
    fn reload(&mut self) {
        let now = self.seen.again();
        let Some(changed) = now
            .changed(&self.seen)
            .next()
            .map(|path| path.display().to_string())
        else {
            return;
        };
        self.seen = now;
        let Opened {
            model,
            options,
            length,
            cache_limit,
        } = &self.opened;
        let reopened = options
            .open_stamped(model, *cache_limit, true, None, self.sampling.longest())
            .and_then(|(scheduler, seen)| {
                // A plugin that cannot name its weights is no good one. Nothing is on the engine yet.
                scheduler.recordings().weights()?;
                let options = self.sampling.options(length, options, scheduler.model())?;
                Ok((scheduler, seen, options))
            });
        match reopened {
            Ok((scheduler, seen, options)) => {
                output::note(&format!("note: `{changed}` changed, and is used from now on"));
                (self.scheduler, self.seen, self.options) = (scheduler, seen, options);
            }
            Err(error) => output::note(&format!(
                "note: `{changed}` changed, and cannot be used; what was there before goes on: {}",
                crate::in_words(&error)
            )),
        }
    }

    /// One turn. If no answer comes, it is as if nothing had been said.
    fn ask(&mut self, words: String) -> anyhow::Result<Result<(), Refusal>> {
        self.reload();
        let request = self.conversation.request(&words);
        let mut writer = Writer::new(false, true);
        let answered = self.answer(&request, &mut writer);
        if !matches!(answered, Answered::Not(_)) || writer.has_written() {
            writer.finish()?;
        }
        match answered {
            Answered::With(report) => {
                self.tell(&report);
                let stopped = report.output.finish == FinishReason::Cancelled;
                match stopped && report.output.text.is_empty() {
                    true => self.take_back(),
                    false => self.conversation.add(words, &report.output.text),
                }
                Ok(Ok(()))
            }
            Answered::Stopped => {
                self.take_back();
                Ok(Ok(()))
            }
            Answered::Not(error) => {
                let full = matches!(error, RequestError::PromptTooLong { .. });
                self.take_back();
                let error = Refusal::from(error);
                Ok(Err(match full && self.conversation.len() > 0 {
                    true => anyhow::anyhow!(
                        "{error}; in a chat: `/drop` takes back the last exchange, `/reset` all of them"
                    ),
                    false => error,
                }))
            }
        }
    }

    fn answer(&mut self, request: &Request, writer: &mut Writer) -> Answered {
        self.interrupted.store(false, Ordering::Relaxed);
        let terms = self.sampling.terms();
        let _watch = Watch::over("the request", self.sampling.longest());
        let (max_tokens, chunk) = (self.options.max_tokens, self.options.prefill_chunk);
        let prepared = self.scheduler.prepare(request, max_tokens, chunk);
        let submitted =
            prepared.and_then(|prepared| self.scheduler.submit(prepared, self.options.clone(), terms));
        let asked = match submitted {
            Ok(asked) => asked,
            Err(error) => return Answered::Not(error),
        };
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                self.scheduler.cancel(asked);
            }
            for (id, event) in self.scheduler.step() {
                match event {
                    _ if id != asked => {}
                    Event::Logprobs(_) => {}
                    Event::Text(delta) => {
                        if writer.write(&delta) == Flow::Cancel {
                            self.scheduler.cancel(asked);
                        }
                    }
                    Event::Done(report) => return Answered::With(report),
                    Event::Cancelled => return Answered::Stopped,
                    Event::Failed(error) => return Answered::Not(error),
                }
            }
        }
    }

    /// The message that was asked is gone, and its pictures, which may be what was wrong.
    fn take_back(&mut self) {
        let pictures = std::mem::take(&mut self.conversation.attached).len();
        let with = match pictures {
            0 => String::new(),
            pictures => format!(" with its {}", stats::count(pictures, "picture")),
        };
        output::note(&format!("note: the message is taken back{with}"));
    }

    /// What there is to say of an answer, once.
    fn tell(&mut self, report: &Report) {
        for note in report.notes.iter().cloned().chain(stats::flags(report)) {
            if self.told.insert(note.clone()) {
                output::note(&format!("note: {note}"));
            }
        }
        if self.show_stats {
            output::remark(&summary(report));
        }
    }

    /// For people only.
    fn remark(&self, text: &str) {
        if self.typed {
            output::remark(text);
        }
    }
}

/// An answer's cost, in a line.
fn summary(report: &Report) -> String {
    let (prompt, timings) = (&report.prompt, &report.timings);
    let mut text = format!(
        "{}, the first after {:.3} s",
        stats::count(report.output.tokens, "token"),
        timings.first_token.as_secs_f64()
    );
    if let Some(rate) = timings.decode_tokens_per_s {
        text.push_str(&format!(", then {rate:.1} tokens/s"));
    }
    text.push_str(&format!(
        "; {} of {} known",
        prompt.cached_tokens,
        stats::count(prompt.tokens, "prompt token")
    ));
    if report.output.finish == FinishReason::Cancelled {
        text.push_str("; stopped");
    }
    text
}

/// A picture cannot come where the conversation comes from.
fn refuse_standard_input(images: &[PathBuf]) -> Result<(), Misuse> {
    match images.iter().any(|path| pictures::is_standard_input(path)) {
        true => Err(Misuse(
            "in a chat, standard input is the conversation; expected a picture's file, found `-`".to_owned(),
        )),
        false => Ok(()),
    }
}

/// A path with the home folder in place of `~`, which no shell has done here.
fn from_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}
