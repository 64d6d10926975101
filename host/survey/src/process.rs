//! A process of its own for each model: a crash, a lack of memory or a hang of one costs nothing but its row.
//!
//! The child gets its task as one line on standard input, which stays open: when it ends, the parent is gone, and so should the child be. It
//! answers in lines of JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

/// The most of standard error that is kept.
const STDERR: usize = 64 << 10;
/// How often a caller is asked whether to go on.
const LOOK: Duration = Duration::from_millis(50);
/// How long a child may take to end after its last word.
const PARTING: Duration = Duration::from_secs(10);

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exit {
        /// Its code, unless a signal ended it.
        code: Option<i32>,
        /// The signal.
        signal: Option<i32>,
    },
    /// It took too long and was killed.
    Late,
    /// The caller wanted no more, and it was killed.
    Stopped,
}

/// What became of a child.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// The end of what it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs a command with a task; `hear` gets each line that can be read. `go_on` is asked now and then.
pub fn run<Line: DeserializeOwned + Send + 'static>(
    mut command: Command,
    task: &str,
    limit: Option<Duration>,
    go_on: &dyn Fn() -> bool,
    hear: &mut dyn FnMut(Line),
) -> std::io::Result<Ran> {
    let started = Instant::now();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    {
        // Ctrl-C is for the parent, which then ends the child.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    // A child that is gone already says why by its end.
    let _ = stdin.write_all(format!("{task}\n").as_bytes());
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            // What is no line of ours is a library's word on standard output.
            if let Ok(line) = serde_json::from_slice(&line)
                && sender.send(line).is_err()
            {
                return;
            }
        }
    });
    let errors = std::thread::spawn(move || last_of(stderr));
    let killed = loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => hear(line),
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if limit.is_some_and(|limit| started.elapsed() > limit) {
            break Some(End::Late);
        }
        if !go_on() {
            break Some(End::Stopped);
        }
    };
    let end = match killed {
        Some(end) => {
            kill(&mut child);
            end
        }
        None => match wait(&mut child, PARTING)? {
            Some(status) => {
                #[cfg(unix)]
                let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                #[cfg(not(unix))]
                let signal = None;
                End::Exit {
                    code: status.code(),
                    signal,
                }
            }
            None => {
                kill(&mut child);
                End::Late
            }
        },
    };
    drop(stdin);
    let took = started.elapsed();
    // Lines that came before the end count.
    let _ = reader.join();
    lines.try_iter().for_each(hear);
    Ok(Ran {
        end,
        stderr: errors.join().unwrap_or_default(),
        took,
    })
}

/// Ends a child and takes its end in.
fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child, patience: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > patience {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn last_of(mut stream: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * STDERR {
            kept.drain(..kept.len() - STDERR);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}
