//! The small server of the tests, named by a manifest.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// A server that `check` and `eval` may start.
pub struct Other {
    /// Its manifest.
    pub manifest: String,
    log: PathBuf,
    port: u16,
}

impl Other {
    /// One that fails so, or not at all where `fault` is empty.
    pub fn new(scratch: &Scratch, name: &str, fault: &str) -> Self {
        // Free now; nobody else asks for this very one in the meantime.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let log = scratch.file(&format!("{name}.log"));
        let text = format!(
            "schema = 1\nname = \"{name}\"\n[server]\nurl = \"http://127.0.0.1:{port}/v1\"\ncommand = [{:?}, \"{port}\", {log:?}, \
             \"{fault}\"]\nhealth = \"/health\"\noptions = {{ temperature = 0 }}\n",
            env!("CARGO_BIN_EXE_other-server"),
        );
        Self {
            manifest: scratch.write(&format!("{name}.toml"), text).display().to_string(),
            log,
            port,
        }
    }

    /// Starts it without `monocle`, and waits until it listens.
    pub fn run(&self) -> Child {
        let program = env!("CARGO_BIN_EXE_other-server");
        let mut command = Command::new(program);
        let child = command.arg(self.port.to_string()).arg(&self.log).spawn();
        while !self.is_there() {
            std::thread::sleep(Duration::from_millis(20));
        }
        child.expect("it can be started")
    }

    /// A manifest of it that does not say how it is started.
    pub fn without_command(&self, scratch: &Scratch) -> String {
        let text = format!(
            "schema = 1\nname = \"there\"\n[server]\nurl = \"http://127.0.0.1:{}/v1\"\n",
            self.port
        );
        scratch.write("there.toml", text).display().to_string()
    }

    /// How often it was started.
    pub fn started(&self) -> usize {
        self.lines().iter().filter(|line| *line == "started").count()
    }

    /// What it was asked.
    pub fn asked(&self) -> Vec<Value> {
        let lines = self.lines();
        let asked = lines.iter().filter_map(|line| line.strip_prefix("asked "));
        asked
            .map(|line| serde_json::from_str(line).expect("it writes JSON"))
            .collect()
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether it listens still.
    pub fn is_there(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}
