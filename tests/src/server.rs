//! `monocle serve`, started for a test, and a client that does no more than is asked of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{program, project};

/// No answer in a test takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server on this machine, on a port of its own. It ends with the test.
pub struct Server {
    /// The program; none where the test is the server itself.
    child: Option<Child>,
    /// What it said on standard error since it listens.
    said: Arc<Mutex<String>>,
    /// `127.0.0.1:PORT`
    pub address: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The data of server-sent events, with their names where they have some.
    pub fn events(&self) -> Vec<(String, String)> {
        let mut events = Vec::new();
        let mut name = String::new();
        for line in self.body.lines() {
            if let Some(event) = line.strip_prefix("event: ") {
                event.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                events.push((std::mem::take(&mut name), data.to_owned()));
            }
        }
        events
    }

    /// The lines of JSON.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.body.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
            .collect()
    }
}

impl Server {
    /// `monocle serve ARGUMENTS…`, which listens already.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_logging(&[&["--quiet"], arguments].concat())
    }

    /// The same, with a line for each request.
    pub fn start_logging(arguments: &[&str]) -> Self {
        let mut command = Command::new(program::path());
        command.args(["serve", "--port", "0"]).args(arguments);
        command.env_clear().env("HOME", project::target().join("no-home"));
        command.env("MONOCLE_CACHE", project::target().join("plugin-cache"));
        let plugins = std::env::join_paths([project::plugins(), project::test_plugins()]);
        command.env("MONOCLE_PLUGINS", plugins.expect("paths can be joined"));
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("it has an error output"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            let count = lines.read_line(&mut line).expect("a pipe can be read");
            assert!(count > 0, "it ended: {said}");
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                break address.to_owned();
            }
            said += &line;
        };
        // What else it says is kept, and shown with the test's own output.
        let said = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                eprintln!("server: {line}");
                *kept.lock().expect("nobody panics with it") += &format!("{line}\n");
            }
        });
        Self {
            child: Some(child),
            said,
            address,
        }
    }

    /// What it said on standard error, once that holds these words.
    pub fn says(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            let said = self.said.lock().expect("nobody panics with it").clone();
            if said.contains(words) {
                return said;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "`{words}` is not in {said:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One that listens in this process.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            child: None,
            said: Arc::default(),
            address: address.to_string(),
        }
    }

    /// Its process, where it is one of its own.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A connection on which a request was sent, and nothing read yet.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if headers.iter().all(|(name, _)| *name != "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            head += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        // A server that refuses a body may not read all of it.
        let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
        stream
    }

    /// A request and its answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        read(self.send(method, path, headers, body))
    }

    /// `GET`
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], &body.to_string())
    }

    /// The value of a metric, all its labels added up.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let own = lines.filter(|(key, _)| key.split('{').next() == Some(name));
        own.map(|(_, value)| value.parse::<f64>().expect("a number"))
            .sum()
    }

    /// Waits until a metric has a value.
    pub fn waits_for(&self, name: &str, value: f64) {
        let started = Instant::now();
        while self.metric(name) != value {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{name} is not {value}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tells it to stop, as service managers do.
    pub fn tell_to_stop(&self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.process().expect("a program").to_string()])
            .status();
        assert!(told.is_ok_and(|status| status.success()));
    }

    /// Waits until it ended; gives its exit code.
    pub fn ends(mut self) -> i32 {
        crate::program::ends(self.child.as_mut().expect("a program"), PATIENCE)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads an answer to its end.
pub fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A server that hung up on a body that was too long may reset the connection.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let rest = &bytes[end + 4..];
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => joined(rest),
        false => rest.to_vec(),
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let body = String::from_utf8(body).expect("answers are UTF-8");
    Answer { status, head, body }
}

/// The chunks of a body, one after another (RFC 9112, section 7.1).
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("a chunk's size");
        let size = std::str::from_utf8(&rest[..line]).expect("a number");
        let size = usize::from_str_radix(size, 16).expect("a number");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
}

/// Bytes in base 64 (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            text.push(match place <= three.len() {
                true => char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}
