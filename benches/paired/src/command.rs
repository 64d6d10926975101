//! Runs a command, timed and within a limit, and ends it with everything that it started.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use wait_timeout::ChildExt;

/// The most output that is searched for a figure.
const MOST_OUTPUT: u64 = 64 << 20;
/// How much of the end of an output an error shows.
const SHOWN_OUTPUT: u64 = 2000;

/// What to run: a program and its arguments. It is run without a shell, so that no shell is timed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    text: String,
    program: String,
    arguments: Vec<String>,
}

impl FromStr for CommandLine {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let words = shlex::split(text).ok_or_else(|| CommandError::Quotes {
            text: text.to_owned(),
        })?;
        let (program, arguments) = words.split_first().ok_or(CommandError::Empty)?;
        Ok(Self {
            text: text.to_owned(),
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }
}

/// Why a command gave nothing to measure.
#[derive(Debug, Error)]
pub enum CommandError {
    /// No words.
    #[error("expected a command, found nothing")]
    Empty,
    /// Words cannot be told apart.
    #[error("expected a command whose quotes are closed, found `{text}`")]
    Quotes {
        /// As it was given.
        text: String,
    },
    /// It did not start.
    #[error(
        "`{command}` cannot be started: {source} (commands run without a shell: for one, write sh -c '...')"
    )]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended badly.
    #[error("`{command}` failed ({status}){output}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// It took too long.
    #[error(
        "`{command}` did not end within {limit} s and was ended; --timeout gives it longer{output}",
        limit = .limit.as_secs_f64()
    )]
    Timeout {
        /// The command.
        command: String,
        /// The limit.
        limit: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// It printed more than is searched.
    #[error(
        "`{command}` printed {bytes} bytes; a figure is searched in at most {MOST_OUTPUT}: make it print less"
    )]
    Flood {
        /// The command.
        command: String,
        /// What it printed.
        bytes: u64,
    },
    /// Its output was lost.
    #[error("the output of `{command}` cannot be kept in a temporary file: {source}")]
    Output {
        /// The command.
        command: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The command that runs now, so that whoever is told to stop can end it.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<Option<Pid>>>);

impl Running {
    /// Ends the command and all processes of its group, if one runs.
    pub fn end(&self) {
        if let Some(group) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn set(&self, group: Option<Pid>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = group;
    }
}

/// A command that ended well.
#[derive(Debug)]
pub struct Finished {
    /// From before it was started until its end was seen.
    pub wall: Duration,
    command: String,
    output: File,
    errors: File,
}

impl Finished {
    /// What it printed on its standard output.
    pub fn output(&mut self) -> Result<String, CommandError> {
        read_whole(&self.command, &mut self.output)
    }

    /// What it printed on its standard error.
    pub fn errors(&mut self) -> Result<String, CommandError> {
        read_whole(&self.command, &mut self.errors)
    }
}

impl CommandLine {
    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Runs it to its end. Its output goes to temporary files: no thread of this process wakes up for it.
    pub fn run(&self, limit: Duration, running: &Running) -> Result<Finished, CommandError> {
        let keep = |source| CommandError::Output {
            command: self.text.clone(),
            source,
        };
        let start = |source| CommandError::Start {
            command: self.text.clone(),
            source,
        };
        let mut output = tempfile::tempfile().map_err(keep)?;
        let mut errors = tempfile::tempfile().map_err(keep)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(keep)?)
            .stderr(errors.try_clone().map_err(keep)?)
            .process_group(0);
        let begun = Instant::now();
        let mut child = command.spawn().map_err(start)?;
        let group = Pid::from_child(&child);
        running.set(Some(group));
        let waited = child.wait_timeout(limit);
        let wall = begun.elapsed();
        if !matches!(waited, Ok(Some(_))) {
            running.end();
            let _ = child.wait();
        }
        running.set(None);
        match waited.map_err(start)? {
            Some(status) if status.success() => Ok(Finished {
                wall,
                command: self.text.clone(),
                output,
                errors,
            }),
            Some(status) => Err(CommandError::Failed {
                command: self.text.clone(),
                status,
                output: ends(&mut output, &mut errors),
            }),
            None => Err(CommandError::Timeout {
                command: self.text.clone(),
                limit,
                output: ends(&mut output, &mut errors),
            }),
        }
    }
}

fn read_whole(command: &str, file: &mut File) -> Result<String, CommandError> {
    let lost = |source| CommandError::Output {
        command: command.to_owned(),
        source,
    };
    let bytes = file.seek(SeekFrom::End(0)).map_err(lost)?;
    if bytes > MOST_OUTPUT {
        return Err(CommandError::Flood {
            command: command.to_owned(),
            bytes,
        });
    }
    read_from(file, 0).map_err(lost)
}

fn read_from(file: &mut File, place: u64) -> io::Result<String> {
    file.seek(SeekFrom::Start(place))?;
    let mut bytes = Vec::new();
    file.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The ends of both outputs, as far as there is anything, for an error.
fn ends(output: &mut File, errors: &mut File) -> String {
    let mut shown = String::new();
    for (name, file) in [("output", output), ("errors", errors)] {
        let end = file
            .seek(SeekFrom::End(0))
            .and_then(|length| read_from(file, length.saturating_sub(SHOWN_OUTPUT)))
            .unwrap_or_default();
        if !end.trim().is_empty() {
            shown += &format!("\nthe end of its {name}:\n{}", end.trim_end());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn run(text: &str, limit: Duration) -> Result<Finished, CommandError> {
        text.parse::<CommandLine>()
            .unwrap()
            .run(limit, &Running::default())
    }

    #[test]
    fn words_are_those_of_a_shell() {
        let line: CommandLine = r#"printf '%s|' "two words" three"#.parse().unwrap();
        let mut finished = line.run(LONG, &Running::default()).unwrap();
        assert_eq!(finished.output().unwrap(), "two words|three|");
        assert!(matches!("  ".parse::<CommandLine>(), Err(CommandError::Empty)));
        assert!(matches!(
            "echo 'open".parse::<CommandLine>(),
            Err(CommandError::Quotes { .. })
        ));
    }

    #[test]
    fn both_outputs_are_kept_apart() {
        let mut finished = run("sh -c 'echo out; echo err >&2'", LONG).unwrap();
        assert_eq!(finished.output().unwrap(), "out\n");
        assert_eq!(finished.errors().unwrap(), "err\n");
    }

    #[test]
    fn a_failure_shows_the_end_of_what_was_printed() {
        let error = run("sh -c 'seq 5000; echo the reason >&2; exit 3'", LONG).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("the reason"),
            "{text}"
        );
        assert!(text.contains("\n5000") && !text.contains("\n4000\n"), "{text}");
        let error = run("no-such-program-anywhere", LONG).unwrap_err();
        assert!(matches!(error, CommandError::Start { .. }), "{error}");
    }

    #[test]
    fn a_timeout_ends_all_that_was_started() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let script = format!(
            "sh -c '(sleep 2; touch {trace}) & echo begun; sleep 60'",
            trace = trace.display()
        );
        let begun = Instant::now();
        let error = run(&script, Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, CommandError::Timeout { .. }), "{error}");
        assert!(error.to_string().contains("begun"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(2500));
        assert!(
            !trace.exists(),
            "a process in the background outlived its command"
        );
    }

    #[test]
    fn who_runs_now_can_be_ended() {
        let running = Running::default();
        let other = running.clone();
        let line: CommandLine = "sleep 60".parse().unwrap();
        let handle = std::thread::spawn(move || line.run(LONG, &other));
        let begun = Instant::now();
        while !handle.is_finished() && begun.elapsed() < LONG {
            running.end();
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = handle.join().unwrap().unwrap_err();
        assert!(
            matches!(&error, CommandError::Failed { status, .. } if status.signal() == Some(9)),
            "{error}"
        );
    }
}
