//! Compiling plugins in a process of its own: a compiler cannot be interrupted, and takes as much memory as the code asks for. A process can be
//! ended, and its memory is bounded.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use monocle_runtime::plugin::file;
use monocle_runtime::plugin::wasm::component::{self, Elsewhere};
use monocle_runtime::program;

use super::isolate;

/// How long a plugin may be compiled that is used for the first time, and how much longer for each megabyte of it. On two cores of an AMD EPYC
/// with four times as much other work, those of componentize-js (12.3 MB) took 36 s and those of componentize-py (18.5 MB) 56 s, which is
/// 3 s a megabyte; 24 MB of plain code took 97 s, which is 4.
const FIRST_USE: Duration = Duration::from_secs(20);
const EACH_MEGABYTE: Duration = Duration::from_secs(10);
/// How long when it is made or installed, where it is known that somebody waits for just that.
const INSTALLING: Duration = Duration::from_secs(300);
/// Bytes that the compiler may have of its own. 24 MB of plain code took 840 MB; a plugin may have 16 MiB.
const MEMORY: usize = 2 << 30;
/// More threads than this at once take more memory, and little less time.
const THREADS: usize = 8;
/// Compiled code is some five times as long as what it is made of.
const LARGEST_CODE: u64 = 1 << 30;

/// From now on plugins are compiled in processes of their own, within the time of a first use.
pub fn apart() {
    component::compile_elsewhere(in_a_process);
    component::may_take(FIRST_USE);
}

/// Until it is dropped, compiling may take as long as somebody waits who makes or installs a plugin, and a bar shows that it goes on.
pub struct Patience(indicatif::ProgressBar);

impl Patience {
    /// From now on; it says what is compiled.
    pub fn with(name: &str) -> Self {
        component::may_take(INSTALLING);
        let bar = indicatif::ProgressBar::new_spinner();
        bar.set_message(format!("compiling `{name}`"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        component::may_take(FIRST_USE);
    }
}

/// Has this program, started again, compile a component.
fn in_a_process(wasm: &[u8], limit: Duration) -> Elsewhere {
    // Behind the wall no other program can be started.
    let program = match program::own_file() {
        Ok(program) if !isolate::is_inside() => program,
        _ => return Elsewhere::Nowhere,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(program);
    command
        .arg("compile-plugin")
        .env("RAYON_NUM_THREADS", threads.min(THREADS).to_string());
    ask(command, wasm, time_for(wasm.len(), limit))
}

/// How long so many bytes may be compiled where small plugins may take `least`: no longer than one that is installed.
fn time_for(bytes: usize, least: Duration) -> Duration {
    let megabytes = u32::try_from(bytes / 1_000_000).unwrap_or(u32::MAX);
    EACH_MEGABYTE
        .saturating_mul(megabytes)
        .saturating_add(least)
        .min(INSTALLING.max(least))
}

/// Starts a process, gives it the bytes, and hears what it makes of them.
fn ask(mut command: Command, wasm: &[u8], limit: Duration) -> Elsewhere {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What a compiler says when memory ends is no answer.
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return Elsewhere::Nowhere;
    };
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (tell, told) = mpsc::channel();
    let (said, status) = std::thread::scope(|scope| {
        scope.spawn(move || {
            // One that is gone already says why by its end.
            let _ = input.map(|mut input| input.write_all(wasm));
        });
        scope.spawn(move || {
            let mut said = Vec::new();
            let read = output.map(|output| output.take(LARGEST_CODE).read_to_end(&mut said));
            let _ = tell.send(read.transpose().map(|_| said));
        });
        let said = told.recv_timeout(limit);
        if said.is_err() {
            // Then both threads end, too.
            let _ = child.kill();
        }
        (said, child.wait())
    });
    let status = match status {
        Ok(status) => status,
        Err(error) => return Elsewhere::Refused(format!("the compiler's process is lost: {error}")),
    };
    match (said, status.code()) {
        (Err(_), _) => Elsewhere::Refused(format!(
            "it takes longer than the {} s that it may\n\nhint: `monocle plugins install` and `monocle plugins wrap` give it {} s",
            limit.as_secs(),
            INSTALLING.as_secs()
        )),
        (Ok(Ok(code)), Some(0)) => Elsewhere::Code(code),
        (Ok(Ok(reason)), Some(1)) => Elsewhere::Refused(String::from_utf8_lossy(&reason).into_owned()),
        (Ok(Err(error)), _) => Elsewhere::Refused(format!("the compiler's answer cannot be read: {error}")),
        _ => Elsewhere::Refused(format!(
            "its compiler ended ({status}): most likely it needs more than {} MiB of memory",
            MEMORY >> 20
        )),
    }
}

/// Compiles what comes on standard input, within bounds. Its output is for the process that started it.
#[derive(Debug, Args)]
pub struct CompilePlugin {}

impl CompilePlugin {
    /// Writes the code, or ends with 1 and writes why there is none.
    pub fn run(self) -> anyhow::Result<()> {
        isolate::end_with_the_parent();
        bound(libc::RLIMIT_DATA, MEMORY).context("cannot bound the compiler's memory")?;
        // Where the parent's end is not heard of, this is the last resort.
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS);
        let seconds = usize::try_from(INSTALLING.as_secs())?.saturating_mul(threads);
        bound(libc::RLIMIT_CPU, seconds).context("cannot bound the compiler's time")?;
        let mut wasm = Vec::new();
        std::io::stdin()
            .lock()
            .take(file::LARGEST)
            .read_to_end(&mut wasm)?;
        let (code, status) = match component::compile_here(&wasm) {
            Ok(code) => (code, 0),
            Err(reason) => (reason.into_bytes(), 1),
        };
        let mut output = std::io::stdout().lock();
        output.write_all(&code)?;
        output.flush()?;
        std::process::exit(status)
    }
}

/// Lowers a limit of this process.
fn bound(resource: Resource, most: usize) -> std::io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: most as libc::rlim_t,
        rlim_max: most as libc::rlim_t,
    };
    // SAFETY: the limit is read only, and lives until the call is over.
    match unsafe { libc::setrlimit(resource, &limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// How limits are numbered, which systems and their libraries do in types of their own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// What comes of a process that is a shell's line in place of the compiler.
    fn asked(line: &str, limit: Duration) -> Result<Vec<u8>, String> {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        // More than a pipe holds.
        let wasm = vec![7; 1 << 20];
        match ask(command, &wasm, limit) {
            Elsewhere::Code(code) => Ok(code),
            Elsewhere::Refused(reason) => Err(reason),
            Elsewhere::Nowhere => Err("there is no shell".to_owned()),
        }
    }

    #[test]
    fn large_plugins_have_longer_than_small_ones() {
        let seconds = |bytes| time_for(bytes, FIRST_USE).as_secs();
        assert_eq!((seconds(0), seconds(300_000)), (20, 20));
        // An adapter in JavaScript and one in Python, which two busy cores compile in 36 and 56 seconds.
        assert_eq!((seconds(12_279_000), seconds(18_532_734)), (140, 200));
        assert_eq!((seconds(64 << 20), seconds(usize::MAX)), (300, 300));
        assert_eq!(time_for(300_000, INSTALLING), INSTALLING);
    }

    #[test]
    fn a_compiler_that_does_not_end_is_ended() {
        let started = Instant::now();
        // It reads everything, or nothing: neither is waited for.
        for line in ["cat > /dev/null; exec sleep 1000", "exec sleep 1000"] {
            let reason = asked(line, Duration::from_millis(500)).expect_err("it does not end");
            assert!(
                reason.contains("longer than") && reason.contains("plugins install"),
                "{reason}"
            );
        }
        assert!(started.elapsed() < Duration::from_secs(100));
    }

    #[test]
    fn what_a_compiler_says_is_heard() {
        let patience = Duration::from_secs(100);
        assert_eq!(
            asked("wc -c | tr -d ' \\n'", patience).as_deref(),
            Ok(&b"1048576"[..])
        );
        let reason = asked("cat > /dev/null; printf 'it is odd'; exit 1", patience);
        assert_eq!(reason, Err("it is odd".to_owned()));
        let reason = asked("cat > /dev/null; printf half; kill -9 $$", patience).expect_err("it was killed");
        assert!(reason.contains("2048 MiB of memory"), "{reason}");
    }

    #[test]
    fn where_nothing_can_be_started_it_is_said() {
        let answer = ask(Command::new("/no/such/program"), b"", Duration::from_secs(1));
        assert!(matches!(answer, Elsewhere::Nowhere), "{answer:?}");
    }
}
