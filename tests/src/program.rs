//! The built program, run as a user runs it, with an environment that is the same everywhere.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
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

    /// In this folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// As authors run it: it may start compilers, which find what they need, and fetch nothing.
    pub fn with_compilers(mut self) -> Self {
        // Compilers are the machine's, whoever's home it is.
        let home = std::env::home_dir().unwrap_or_default();
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let folder = std::env::var_os(name).map_or_else(|| home.join(folder), PathBuf::from);
            self.command.env(name, folder);
        }
        for name in ["PATH", "CARGO", "HOME", "LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN"] {
            if let Some(value) = std::env::var_os(name) {
                self.command.env(name, value);
            }
        }
        self.command.env("CARGO_NET_OFFLINE", "true");
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

    /// Starts it on a terminal, as the `script` of util-linux has one; `None` where there is no such program.
    pub fn on_terminal(self) -> Option<Terminal> {
        let quoted = |word: &OsStr| format!("'{}'", word.display());
        let words = [self.command.get_program()]
            .into_iter()
            .chain(self.command.get_args());
        let line = words.map(quoted).collect::<Vec<_>>().join(" ");
        // A shell that stays in between takes Ctrl-C too, and ends with a status of its own.
        let line = format!("exec {line}");
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
        for (name, value) in self.command.get_envs() {
            script.envs(value.map(|value| (name, value)));
        }
        let started = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match started {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            started => started.expect("`script` can be started"),
        };
        let keys = child.stdin.take().expect("it has an input");
        let mut screen = child.stdout.take().expect("it has an output");
        let shown = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let mut shown = written.lock().expect("nobody panics with it");
                shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Some(Terminal {
            child,
            keys,
            shown,
            seen: 0,
        })
    }

    /// Starts it and leaves it alone; what it writes is lost.
    pub fn start(mut self) -> Child {
        let quiet = self.command.stdin(Stdio::null()).stdout(Stdio::null());
        quiet
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started")
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

/// A program on a terminal.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
    seen: usize,
}

impl Terminal {
    /// Types; `\x03` is Ctrl-C, `\x04` is Ctrl-D.
    pub fn types(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .and_then(|()| self.keys.flush())
            .expect("the program reads");
    }

    /// Waits until this is shown, after what was waited for before; gives what was shown up to it.
    pub fn waits_for(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let shown = self.shown.lock().expect("nobody panics with it").clone();
            let new = &shown[self.seen..];
            if let Some(at) = new.find(text) {
                self.seen += at + text.len();
                return new[..at + text.len()].to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "`{text}` was not shown: {new:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end; gives the exit code.
    pub fn ends(mut self) -> i32 {
        ends(&mut self.child, PATIENCE)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a program ended, so long at most; gives its exit code.
pub fn ends(child: &mut Child, patience: Duration) -> i32 {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status.code().unwrap_or(-1);
        }
        assert!(started.elapsed() < patience, "it did not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8(bytes).expect("the program writes UTF-8")
    })
}
