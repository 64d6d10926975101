//! What changes while a program runs: `run --watch` and `chat` take it up, and what is broken is reported.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use monocle_tests::program;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs on, and what it has said.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    seen: usize,
}

impl Running {
    fn start(arguments: &[&str], folder: &Scratch) -> Self {
        let mut child = Command::new(program::path())
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", project::target().join("no-home"))
            .env("MONOCLE_CACHE", project::target().join("plugin-cache"))
            .env("MONOCLE_PLUGINS", folder.file("plugins"))
            .env("HF_HUB_OFFLINE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let said = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it has an output")),
            Box::new(child.stderr.take().expect("it has an error output")),
        ];
        for mut stream in streams {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let mut said = said.lock().expect("nobody panics with it");
                    said.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            });
        }
        Self { child, said, seen: 0 }
    }

    /// Waits until it says this, after what was waited for before.
    fn says(&mut self, words: &str) -> String {
        let started = Instant::now();
        loop {
            let said = self.said.lock().expect("nobody panics with it").clone();
            if let Some(at) = said[self.seen..].find(words) {
                let text = said[self.seen..self.seen + at + words.len()].to_owned();
                self.seen += text.len();
                return text;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "`{words}` is not in {:?}",
                &said[self.seen..]
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn types(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it has an input");
        writeln!(input, "{line}")
            .and_then(|()| input.flush())
            .expect("it reads");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A manifest that leaves the prompt to a template beside it, which says all that is asked.
fn prepare(scratch: &Scratch) {
    let manifest = format!(
        "schema = 1\nname = \"changing\"\nplugin = \"smolvlm\"\nadapter = {{ name = \"changing\", options = {{ tokens = 4 }} }}\n[source]\npath = {:?}\n",
        project::oracle("smolvlm")
    );
    scratch.write("model.toml", manifest);
    stamp(scratch, "1.0.0");
}

/// Puts the adapter there, by another version each time.
fn stamp(scratch: &Scratch, version: &str) {
    std::fs::create_dir_all(scratch.file("plugins")).expect("the folder can be made");
    program::Monocle::new(["plugins", "stamp"])
        .args([project::test_plugins().join("plain-adapter.wasm")])
        .args(["--name", "changing", "--version", version, "-o"])
        .args([scratch.file("plugins")])
        .succeeds();
}

#[test]
fn a_watched_run_answers_again() {
    let scratch = Scratch::new("watch");
    prepare(&scratch);
    let mut running = Running::start(
        &[
            "run",
            "model.toml",
            "-p",
            "hello",
            "--watch",
            "--stats",
            "--max-tokens",
            "3",
        ],
        &scratch,
    );
    running.says("changing 1.0.0");
    running.says("answer  3 tokens");
    std::thread::sleep(Duration::from_millis(50));
    stamp(&scratch, "1.1.0");
    running.says("changing.wasm` changed");
    running.says("changing 1.1.0");
    running.says("answer  3 tokens");
    // What is broken is reported, and the next change is waited for.
    let good = std::fs::read_to_string(scratch.file("model.toml")).expect("it is there");
    scratch.write("model.toml", "schema = 1\nnmae = \"x\"\n");
    running.says("model.toml` changed");
    running.says("error: ");
    scratch.write("model.toml", good);
    running.says("model.toml` changed");
    running.says("changing 1.1.0");
}

#[test]
fn a_chat_takes_up_what_changed_and_keeps_the_last_good_one() {
    let scratch = Scratch::new("chat-reload");
    prepare(&scratch);
    let mut running = Running::start(&["chat", "model.toml", "--stats", "--max-tokens", "3"], &scratch);
    running.types("hello");
    running.says("3 tokens");
    std::thread::sleep(Duration::from_millis(50));
    stamp(&scratch, "1.1.0");
    running.types("hello");
    running.says("changing.wasm` changed, and is used from now on");
    running.says("3 tokens");
    // No plugin at all.
    scratch.write("plugins/changing.wasm", "nothing");
    running.types("hello");
    running.says("changing.wasm` changed, and cannot be used; what was there before goes on: ");
    running.says("3 tokens");
    running.types("hello");
    let said = running.says("3 tokens");
    assert!(!said.contains("cannot be used"), "it is said once: {said}");
    stamp(&scratch, "1.2.0");
    running.types("hello");
    running.says("is used from now on");
    running.says("3 tokens");
}
