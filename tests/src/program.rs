//! The built program, run as a user runs it, with an environment that is the same everywhere.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project;

/// No run in a test takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(240);

/// The program's file.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a program");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are built into target/PROFILE/deps");
    let program = profile.join("monocle");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo xtask build` first",
        program.display()
    );
    program
}

/// `monocle` with arguments; nothing of the user's environment, and no network.
pub struct Monocle {
    command: Command,
    input: String,
}

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Monocle {
    /// `monocle ARGUMENTS…`
    pub fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(path());
        command.args(arguments).env_clear();
        command.env("HOME", project::target().join("no-home"));
        command.env("MONOCLE_CACHE", project::target().join("plugin-cache"));
        command.env("HF_HUB_OFFLINE", "1");
        // Where the system looks for shared libraries is not the user's choice.
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        Self {
            command,
            input: String::new(),
        }
    }

    /// With a variable of the environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With arguments more.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// With this on standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = text.to_owned();
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Outcome {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut stdin = child.stdin.take().expect("it has an input");
        // A program that does not read its input may have ended before all of it is written.
        let _ = stdin.write_all(self.input.as_bytes());
        drop(stdin);
        let stdout = read(child.stdout.take().expect("it has an output"));
        let stderr = read(child.stderr.take().expect("it has an error output"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("the program can be waited for") {
                break status;
            }
            if started.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("{:?} did not end", self.command);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let outcome = Outcome {
            code: status.code().unwrap_or(-1),
            stdout: stdout.join().expect("its output was read"),
            stderr: stderr.join().expect("its error output was read"),
        };
        // Whatever happens, it is never a panic.
        assert!(
            outcome.code != 101 && !outcome.stderr.contains("panicked"),
            "{outcome:?}"
        );
        outcome
    }

    /// Runs it; it must succeed. Gives standard output.
    pub fn succeeds(self) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome
    }

    /// Runs it; it must print one JSON document and nothing else.
    pub fn json(self) -> Value {
        let outcome = self.succeeds();
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
    }

    /// Runs it; it must fail with this code, print nothing on standard output, and say each of these in its error.
    pub fn fails(self, code: i32, words: &[&str]) -> Outcome {
        let outcome = self.run();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (code, ""), "{outcome:?}");
        for part in words {
            assert!(
                outcome.stderr.contains(part),
                "`{part}` is not in:\n{}",
                outcome.stderr
            );
        }
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
        let errors = outcome.stderr.lines().filter(|line| line.starts_with("error:"));
        assert_eq!(errors.count(), 1, "{}", outcome.stderr);
        outcome
    }
}

fn read(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8(bytes).expect("the program writes UTF-8")
    })
}
