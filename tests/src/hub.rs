//! A server on this machine that stands in for the Hugging Face hub, with one repository: `org/model`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// More requests than any test makes.
const MOST_REQUESTS: usize = 500;

/// See the module; it ends with the test.
pub struct FakeHub {
    /// What `HF_ENDPOINT` is set to.
    pub endpoint: String,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl FakeHub {
    /// Serves the files of a folder, and those of its folders.
    pub fn serve(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        add_files(folder, "", &mut files);
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("the port is known");
        let (requests, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().take(MOST_REQUESTS).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let _ = answer(stream, &files);
            }
        });
        Self {
            endpoint: format!("http://{address}"),
            requests,
            stop,
        }
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
    }
}

/// By their paths below the first folder.
fn add_files(folder: &Path, before: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        let name = format!("{before}{name}");
        if path.is_dir() {
            add_files(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(&path).expect("the file can be read"));
        }
    }
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .for_each(drop);
    let (method, path) = request.split_once(' ').unwrap_or_default();
    let path = path.split([' ', '?']).next().unwrap_or_default();
    let file = path
        .strip_prefix(&format!("/org/model/resolve/{COMMIT}/"))
        .and_then(|name| files.get_key_value(name));
    let (status, body) = match file {
        Some((_, bytes)) => ("200 OK", bytes.clone()),
        None => match listing(path, files) {
            Some(text) => ("200 OK", text.into_bytes()),
            None => ("404 Not Found", Vec::new()),
        },
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()
}

fn listing(path: &str, files: &BTreeMap<String, Vec<u8>>) -> Option<String> {
    if path == "/api/models/org/model/revision/main" {
        return Some(json!({ "id": "org/model", "sha": COMMIT }).to_string());
    }
    let folder = path.strip_prefix(&format!("/api/models/org/model/tree/{COMMIT}"))?;
    // The root, or one folder: what lies deeper is a folder of it.
    let before = match folder.strip_prefix('/') {
        None => String::new(),
        Some(folder) => format!("{folder}/"),
    };
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    for (name, bytes) in files {
        let Some(below) = name.strip_prefix(&before) else {
            continue;
        };
        match below.split_once('/') {
            None => entries.insert(name.clone(), entry(name, bytes)),
            Some((place, _)) => {
                let path = format!("{before}{place}");
                let entry = json!({ "type": "directory", "path": path, "oid": COMMIT, "size": 0 });
                entries.insert(path, entry)
            }
        };
    }
    Some(json!(entries.into_values().collect::<Vec<_>>()).to_string())
}

/// A file as the hub lists it: weights by their SHA-256, the others by git's hash.
fn entry(name: &str, bytes: &[u8]) -> Value {
    let hex = |digest: &[u8]| -> String { digest.iter().map(|byte| format!("{byte:02x}")).collect() };
    let mut git = Sha1::new();
    git.update(format!("blob {}\0", bytes.len()));
    git.update(bytes);
    let mut entry = json!({ "type": "file", "path": name, "size": bytes.len(), "oid": hex(&git.finalize()) });
    if name.ends_with(".safetensors") {
        entry["lfs"] = json!({ "oid": hex(&Sha256::digest(bytes)), "size": bytes.len() });
    }
    entry
}
