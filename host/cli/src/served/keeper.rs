//! A process that starts another program's server, says when it is ready, and stops it as soon as its own standard input ends: whatever
//! becomes of `check`, no server stays behind.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use monocle_runtime::model::locate::Places;
use serde::{Deserialize, Serialize};

use crate::output;

/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long one question whether it is ready may take.
const HEALTH: Duration = Duration::from_secs(5);
/// How long it may take to stop once it is told to.
const PARTING: Duration = Duration::from_secs(10);
/// The most that is kept of what it writes.
const KEPT: usize = 16 << 10;

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The server can be asked.
    Ready {
        /// The number of its process, which is its group's, too.
        process: u32,
        /// From its start until now.
        seconds: f64,
    },
    /// It cannot be asked.
    Failed {
        /// Why.
        reason: String,
    },
}

#[derive(Debug, Args)]
pub struct KeepServer {
    /// The name or the path of a manifest with `[server]`
    model: String,
}

impl KeepServer {
    /// Keeps the server until standard input ends or the server does.
    pub fn run(self) -> anyhow::Result<()> {
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        std::thread::spawn(move || {
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            flag.store(true, Ordering::SeqCst);
        });
        match start(&self.model, &over) {
            Ok(Some((mut server, seconds))) => {
                say(&Line::Ready {
                    process: server.0.id(),
                    seconds,
                })?;
                while !over.load(Ordering::SeqCst) && server.0.try_wait()?.is_none() {
                    std::thread::sleep(LOOK);
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(reason) => say(&Line::Failed { reason }),
        }
    }
}

fn say(line: &Line) -> anyhow::Result<()> {
    output::print(&(serde_json::to_string(line)? + "\n"))
}

/// A server that is stopped, with all that it started, as soon as it is not wanted any more.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let told = Instant::now();
        signal(&mut self.0, false);
        while told.elapsed() < PARTING {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        // What it started may still be there, even where it is gone itself.
        signal(&mut self.0, true);
        let _ = self.0.wait();
    }
}

/// Tells a child and all processes of its group to end: kindly, or not.
fn signal(child: &mut Child, at_once: bool) {
    #[cfg(unix)]
    {
        use nix::sys::signal::{Signal, killpg};
        let signal = if at_once { Signal::SIGKILL } else { Signal::SIGTERM };
        if let Ok(group) = i32::try_from(child.id()) {
            let _ = killpg(nix::unistd::Pid::from_raw(group), signal);
        }
    }
    #[cfg(not(unix))]
    if at_once {
        let _ = child.kill();
    }
}

/// Starts the server and waits until it is ready; none where nobody waits any more.
fn start(model: &str, over: &AtomicBool) -> Result<Option<(Server, f64)>, String> {
    let served = Places::from_env()
        .find_served(model)
        .ok_or_else(|| format!("`{model}` is no manifest with `[server]`"))?
        .map_err(|error| error.to_string())?;
    let server = &served.server;
    let (program, arguments) = server.started_by().ok_or("`[server]` has no `command`")?;
    let endpoint = super::endpoint(&served).map_err(|failure| failure.error)?;
    let health = server.health_url();
    if endpoint.is_ready(&health, HEALTH) {
        return Err(format!(
            "`{health}` is answered before the server was started: something listens there already\n\nhint: stop it, or leave `command` out \
             of `[server]`"
        ));
    }
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .current_dir(match server.folder.as_os_str().is_empty() {
            true => ".".as_ref(),
            false => server.folder.as_path(),
        })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let started = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot start `{}`: {error}", program.display()))?;
    let written = Arc::new(Mutex::new(Vec::new()));
    if let Some(stream) = child.stdout.take() {
        keep(stream, &written);
    }
    if let Some(stream) = child.stderr.take() {
        keep(stream, &written);
    }
    let mut server = Server(child);
    let within = Duration::from_secs(u64::from(served.server.ready_within.unwrap_or(300)));
    let said = || {
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        match String::from_utf8_lossy(&written).trim() {
            "" => "it wrote nothing".to_owned(),
            text => format!("the end of what it wrote:\n\n{text}"),
        }
    };
    loop {
        if over.load(Ordering::SeqCst) {
            return Ok(None);
        }
        match server.0.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                // Its last words may still be on their way.
                std::thread::sleep(LOOK);
                return Err(format!(
                    "`{}` ended before it was ready: {status}\n\n{}",
                    program.display(),
                    said()
                ));
            }
            Err(error) => return Err(format!("cannot wait for `{}`: {error}", program.display())),
        }
        if endpoint.is_ready(&health, HEALTH) {
            return Ok(Some((server, started.elapsed().as_secs_f64())));
        }
        if started.elapsed() > within {
            return Err(format!(
                "`{health}` was not answered within {} s\n\nhint: `ready_within` in `[server]` gives it more time\n\n{}",
                within.as_secs(),
                said()
            ));
        }
        std::thread::sleep(LOOK);
    }
}

/// Reads a stream to its end, and keeps the end of it.
fn keep(mut stream: impl Read + Send + 'static, kept: &Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::clone(kept);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..count]);
            if kept.len() > KEPT {
                let too_much = kept.len() - KEPT;
                kept.drain(..too_much);
            }
        }
    });
}
