//! What a server that stands for the hub says: any status, any headers, any listing, any bytes. Whatever it is, nothing lies outside of the
//! cache afterwards, and what lies in it as complete is what the listing's hashes say.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monocle_weights::hub::Hub;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Choices;
use crate::scratch::Scratch;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// `printf '{}' | git hash-object --stdin`
const EMPTY_OBJECT: &str = "9e26dfeeb6e641a33dae4961196235bdb965b21b";
/// `printf '{}' | sha256sum`
const EMPTY_OBJECT_SHA256: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_millis(500);
/// Ten times as long as all answers of one input may take, silence included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fetches from a server that answers with what is made of the bytes.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut choices = Choices::new(bytes);
    let answers: VecDeque<Vec<u8>> = choices.list(8, answer).into();
    let server = Server::start(answers);
    let scratch = Scratch::new("answers");
    let home = scratch.file("a/b/home");
    let mut hub = Hub::from_variables(|name| match name {
        "HF_ENDPOINT" => Some(server.endpoint.clone()),
        "HF_HOME" => Some(home.display().to_string()),
        _ => None,
    });
    hub.patience = SILENCE;
    let started = Instant::now();
    let fetched = hub.fetch("org/model", "main", &|_| Ok(()), |_| {});
    if started.elapsed() > PATIENCE {
        return Err(format!("it took {:?}", started.elapsed()));
    }
    drop(server);
    let cache = home.join("hub");
    if let Some(outside) = files(scratch.path())
        .into_iter()
        .find(|path| !path.starts_with(&cache))
    {
        return Err(format!("{} lies outside of the cache", outside.display()));
    }
    match fetched {
        Ok(folder) if !folder.starts_with(&cache) => Err(format!("{} is not in the cache", folder.display())),
        Err(error) if error.to_string().contains(|c: char| c.is_control() && c != '\n') => {
            Err(format!("control characters in {:?}", error.to_string()))
        }
        _ => blobs(&cache.join("models--org--model/blobs")),
    }
}

/// A file that is called by a hash has it: what git calls a file, or SHA-256.
fn blobs(folder: &Path) -> Result<(), String> {
    for path in files(folder) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
        let found = match name.len() {
            40 => {
                let header = format!("blob {}\0", bytes.len());
                hex(&Sha1::digest([header.as_bytes(), &bytes].concat()))
            }
            64 => hex(&Sha256::digest(&bytes)),
            // Not whole yet.
            _ => continue,
        };
        if found != name {
            return Err(format!("{} holds {found}", path.display()));
        }
    }
    Ok(())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files and links, wherever they are; links are not followed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let each = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        _ => vec![entry.path()],
    });
    each.collect()
}

fn answer(choices: &mut Choices<'_>) -> Vec<u8> {
    const STATUSES: [&str; 10] = [
        "200 OK",
        "200 OK",
        "200 OK",
        "206 Partial Content",
        "302 Found",
        "307 Away",
        "401 No",
        "404 Not Found",
        "416 No",
        "503 Busy",
    ];
    let body = body(choices);
    let mut answer = match choices.byte() {
        // Nothing of the kind.
        255 => return choices.list(64, |choices| choices.byte() as u8),
        254 => "HTTP/1.1 ".to_owned(),
        _ => format!("HTTP/1.1 {}\r\n", choices.of(&STATUSES)),
    };
    for _ in 0..choices.byte() % 4 {
        const NAMES: [&str; 8] = [
            "ETag",
            "X-Repo-Commit",
            "X-Linked-Etag",
            "Location",
            "Link",
            "Content-Range",
            "X-Error-Code",
            "Content-Encoding",
        ];
        const VALUES: [&str; 12] = [
            "../../../x",
            "/tmp/monocle-outside",
            "\"..\"",
            COMMIT,
            "</x?y>; rel=\"next\"",
            "bytes 0-1/2",
            "bytes 1-1/2",
            "RepoNotFound",
            "gzip",
            "http://127.0.0.1:1/",
            "file:///etc/passwd",
            "/",
        ];
        answer += &format!("{}: {}\r\n", choices.of(&NAMES), choices.of(&VALUES));
    }
    let length = match choices.byte() {
        255 => "9223372036854775807".to_owned(),
        254 => "-1".to_owned(),
        253 => (body.len() + 1).to_string(),
        252 => (body.len() / 2).to_string(),
        _ => body.len().to_string(),
    };
    answer += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
    [answer.as_bytes(), &body].concat()
}

fn body(choices: &mut Choices<'_>) -> Vec<u8> {
    let body = match choices.byte() % 6 {
        0 | 1 => json!({ "sha": choices.of(&[COMMIT, COMMIT, COMMIT, "../../x", "", "main"]) }).to_string(),
        2 | 3 => json!(choices.list(6, entry)).to_string(),
        4 => "{}".to_owned(),
        _ => return choices.list(32, |choices| choices.byte() as u8),
    };
    let mut body = body.into_bytes();
    if choices.byte() == 255 {
        let at = choices.byte() % body.len();
        body[at] = choices.byte() as u8;
    }
    body
}

/// A file in a listing.
fn entry(choices: &mut Choices<'_>) -> Value {
    const NAMES: [&str; 14] = [
        "config.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "model.safetensors.index.json",
        "../x.json",
        "/x.json",
        "a/b.json",
        ".json",
        "..",
        "x\u{1b}[2J.json",
        "mmproj.gguf",
        "model-Q4_K_M.gguf",
        "config.json\u{0}",
    ];
    let oid = choices.of(&[EMPTY_OBJECT, EMPTY_OBJECT, "../../x", "", COMMIT]);
    let mut entry = json!({
        "type": choices.of(&["file", "file", "file", "directory", ""]),
        "path": choices.of(&NAMES),
        "size": choices.of(&[2, 2, 2, 0, 1 << 62, u64::MAX]),
        "oid": oid,
    });
    if choices.is() {
        entry["lfs"] = json!({ "oid": choices.of(&[EMPTY_OBJECT_SHA256, EMPTY_OBJECT_SHA256, "../x", COMMIT]), "size": 2 });
    }
    entry
}

thread_local! {
    /// One for all inputs of a thread, one after another: a fuzzer tries hundreds in a second, and a port of each would be taken for a minute.
    static LISTENER: TcpListener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
}

/// A server on this machine that ends with the input; each connection gets the next answer, those after the last get none.
struct Server {
    endpoint: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(mut answers: VecDeque<Vec<u8>>) -> Self {
        let listener = LISTENER
            .with(TcpListener::try_clone)
            .expect("it can be used again");
        let endpoint = format!("http://{}", listener.local_addr().expect("the port is known"));
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take(500).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let _ = reply(stream, &answers.pop_front().unwrap_or_default());
            }
        });
        Self {
            endpoint,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        // The next one listens at the same port.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn reply(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .for_each(drop);
    stream.write_all(answer)?;
    stream.flush()
}
