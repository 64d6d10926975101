//! A server that this command started, or that runs already.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use monocle_manifest::served::Served;
use monocle_runtime::program;
use monocle_survey::failure::{Failure, Place};

use super::keeper::Line;

/// How often the caller is asked whether to go on.
const LOOK: Duration = Duration::from_millis(100);
/// How long its keeper may take to stop it.
const PARTING: Duration = Duration::from_secs(15);

/// A server that can be asked. It is stopped when this is dropped, unless it ran before.
pub struct Running {
    model: String,
    keeper: Option<Keeper>,
}

struct Keeper {
    child: Child,
    /// The server ends with it.
    stdin: Option<ChildStdin>,
    process: u32,
    seconds: f64,
}

impl Running {
    /// Starts the server if its manifest says how. None where `go_on` says no.
    pub fn start(model: &str, served: &Served, go_on: &dyn Fn() -> bool) -> Result<Option<Self>, Failure> {
        let trouble = |reason: String| Failure::new(Place::Server, reason);
        if served.server.command.is_none() {
            return Ok(Some(Self {
                model: model.to_owned(),
                keeper: None,
            }));
        }
        let program = program::own_file().map_err(|error| trouble(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .args(["keep-server", model])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        #[cfg(unix)]
        // Ctrl-C is for this process, which then ends that one.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .map_err(|error| trouble(format!("cannot start a process for the server: {error}")))?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(line) = serde_json::from_str::<Line>(&line)
                    && sender.send(line).is_err()
                {
                    return;
                }
            }
        });
        let mut keeper = Keeper {
            stdin: child.stdin.take(),
            child,
            process: 0,
            seconds: 0.0,
        };
        loop {
            match lines.recv_timeout(LOOK) {
                Ok(Line::Ready { process, seconds }) => {
                    keeper.process = process;
                    keeper.seconds = seconds;
                    return Ok(Some(Self {
                        model: model.to_owned(),
                        keeper: Some(keeper),
                    }));
                }
                Ok(Line::Failed { reason }) => return Err(trouble(reason)),
                Err(RecvTimeoutError::Timeout) if go_on() => {}
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(trouble(
                        "the process that keeps the server ended without a word".to_owned(),
                    ));
                }
            }
        }
    }

    /// Whether it is this model's, and still there as far as one can see.
    pub fn is_for(&mut self, model: &str) -> bool {
        let is_there = |keeper: &mut Keeper| matches!(keeper.child.try_wait(), Ok(None));
        self.model == model && self.keeper.as_mut().is_none_or(is_there)
    }

    /// Seconds from its start until it was ready; none where it ran before.
    pub fn load_s(&self) -> Option<f64> {
        self.keeper.as_ref().map(|keeper| keeper.seconds)
    }

    /// The most bytes that its processes had resident so far; none where it ran before, or the system does not say.
    pub fn peak_bytes(&self) -> Option<u64> {
        let group = self.keeper.as_ref()?.process.to_string();
        let mut all = None;
        for entry in std::fs::read_dir("/proc").ok()?.filter_map(Result::ok) {
            let path = entry.path();
            let Ok(stat) = std::fs::read_to_string(path.join("stat")) else {
                continue;
            };
            // After the name in brackets: state, parent, group.
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            if after.split_whitespace().nth(2) != Some(group.as_str()) {
                continue;
            }
            let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
            if let Some(kilobytes) = kilobytes {
                *all.get_or_insert(0) += kilobytes * 1024;
            }
        }
        all
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let told = Instant::now();
        while told.elapsed() < PARTING {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
