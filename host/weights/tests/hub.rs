//! The hub: a small server on this machine stands in for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use monocle_weights::hub::{Hub, Progress};
use serde_json::json;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server with one repository, `org/model`; it ends with the test.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    cache: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    /// Asks who is there.
    Gated,
    /// Takes requests and says nothing.
    Silent,
    /// Sends half of the weights as if it were all.
    Short,
}

impl Server {
    fn start(name: &str, files: &[(&str, &str)], mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let files: BTreeMap<String, String> = files
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()))
            .collect();
        let (log, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().take(200).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                if mood == Mood::Silent {
                    std::thread::sleep(Duration::from_millis(500));
                    return;
                }
                let _ = answer(stream, &files, mood, &log);
            }
        });
        let cache = std::env::temp_dir().join(format!("monocle-hub-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&cache);
        Self {
            endpoint,
            requests,
            stop,
            cache,
        }
    }

    fn hub(&self) -> Hub {
        let mut hub = Hub::from_variables(|name| match name {
            "HF_ENDPOINT" => Some(self.endpoint.clone()),
            "HF_HOME" => Some(self.cache.display().to_string()),
            "HF_TOKEN" => Some("secret".to_owned()),
            _ => None,
        });
        hub.patience = Duration::from_secs(20);
        hub
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        let _ = std::fs::remove_dir_all(&self.cache);
    }
}

/// Answers one request and closes the connection.
fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, String>,
    mood: Mood,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let (method, path) = request.split_once(' ').unwrap_or_default();
    let path = path.split([' ', '?']).next().unwrap_or_default();
    let token = headers
        .iter()
        .any(|line| line.eq_ignore_ascii_case("authorization: Bearer secret"));
    log.lock().unwrap().push(format!(
        "{method} {path}{}",
        if token { "" } else { " without a token" }
    ));

    let tree: Vec<_> = files
        .iter()
        .map(|(name, text)| json!({ "type": "file", "path": name, "size": text.len(), "oid": format!("oid-{name}") }))
        .collect();
    let info = json!({ "id": "org/model", "sha": COMMIT }).to_string();
    let file = path
        .strip_prefix(&format!("/org/model/resolve/{COMMIT}/"))
        .and_then(|name| files.get_key_value(name));
    let (status, extra, body) = match (mood, file) {
        (Mood::Gated, _) => (
            "403 Forbidden",
            "X-Error-Code: GatedRepo\r\n".to_owned(),
            String::new(),
        ),
        (_, Some((name, text))) => {
            let half = mood == Mood::Short && name.ends_with(".safetensors") && method == "GET";
            let body = if half {
                text[..text.len() / 2].to_owned()
            } else {
                text.clone()
            };
            (
                "200 OK",
                format!("ETag: \"etag-{name}\"\r\nX-Repo-Commit: {COMMIT}\r\n"),
                body,
            )
        }
        (_, None) if path == "/api/models/org/model/revision/main" => ("200 OK", String::new(), info),
        (_, None) if path == format!("/api/models/org/model/tree/{COMMIT}") => {
            ("200 OK", String::new(), json!(tree).to_string())
        }
        (_, None) => ("404 Not Found", String::new(), String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{extra}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

const INDEX: &str =
    r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;

const REPO: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("tokenizer.json", "{\"a\": 1}"),
    ("chat_template.jinja", "{{ x }}"),
    ("merges.txt", "a b"),
    ("model.safetensors.index.json", INDEX),
    ("model-00001-of-00002.safetensors", "first shard"),
    ("model-00002-of-00002.safetensors", "second shard"),
    ("consolidated.safetensors", "the same again"),
    ("pytorch_model.bin", "pickle"),
    ("pytorch_model.bin.index.json", "{}"),
    ("modeling_x.py", "import os"),
    ("model.gguf", "other"),
    ("README.md", "read me"),
];

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_repository_is_fetched_once_into_the_standard_cache() {
    let server = Server::start("good", REPO, Mood::Good);
    let mut hub = server.hub();
    assert_eq!(hub.locate("org/model", "main").unwrap(), None);
    let mut seen: Vec<Progress> = Vec::new();
    let folder = hub
        .fetch("org/model", "main", |progress| seen.push(progress.clone()))
        .unwrap();
    assert_eq!(
        folder,
        server.cache.join("hub/models--org--model/snapshots").join(COMMIT)
    );
    let reference = std::fs::read_to_string(server.cache.join("hub/models--org--model/refs/main")).unwrap();
    assert_eq!(reference, COMMIT);
    let expected = [
        "chat_template.jinja",
        "config.json",
        "merges.txt",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ];
    assert_eq!(names(&folder), expected);
    for name in expected {
        let text = REPO.iter().find(|(known, _)| *known == name).unwrap().1;
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), text);
    }
    let total: u64 = expected
        .iter()
        .map(|name| std::fs::metadata(folder.join(name)).unwrap().len())
        .sum();
    let last = seen.last().unwrap();
    assert_eq!((last.bytes, last.total), (total, total));
    assert!(seen.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes));
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|request| !request.ends_with("without a token")),
        "{requests:?}"
    );

    // Again: the server is asked what there is, and for no file.
    assert_eq!(hub.fetch("org/model", "main", |_| {}).unwrap(), folder);
    let requests = server.requests();
    assert!(
        requests.iter().all(|request| request.contains("/api/")),
        "{requests:?}"
    );

    // Offline: not even that.
    hub.offline = true;
    assert_eq!(hub.fetch("org/model", "main", |_| {}).unwrap(), folder);
    assert_eq!(server.requests(), [] as [String; 0]);
    let located = hub.locate("org/model", "main").unwrap().unwrap();
    assert!(located.is_complete() && located.folder == folder);
    assert!(hub.locate("org/model", COMMIT).unwrap().is_some());

    // A file is lost: it is named, and only it is fetched.
    std::fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    assert_eq!(
        hub.locate("org/model", "main").unwrap().unwrap().missing,
        ["model-00002-of-00002.safetensors"]
    );
    let message = hub.fetch("org/model", "main", |_| {}).unwrap_err().to_string();
    assert!(
        message.starts_with("`org/model` is not complete in the cache") && message.contains("HF_HUB_OFFLINE"),
        "{message}"
    );
    hub.offline = false;
    hub.fetch("org/model", "main", |_| {}).unwrap();
    assert!(
        server
            .requests()
            .iter()
            .filter(|request| !request.contains("/api/"))
            .all(|request| request.contains("00002-of"))
    );
    assert_eq!(names(&folder), expected);
}

#[test]
fn a_single_file_is_enough() {
    let files = [
        ("config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("model.safetensors", "all"),
        ("other.safetensors", "no"),
    ];
    let server = Server::start("single", &files, Mood::Good);
    let folder = server.hub().fetch("org/model", "main", |_| {}).unwrap();
    assert_eq!(
        names(&folder),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::start("gated", REPO, Mood::Gated);
    let message = server
        .hub()
        .fetch("org/model", "main", |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("does not give `org/model` to the owner of HF_TOKEN"),
        "{message}"
    );
    let mut hub = server.hub();
    hub.token = None;
    let message = hub.fetch("org/model", "main", |_| {}).unwrap_err().to_string();
    assert!(
        message.contains("without a token") && message.contains("set HF_TOKEN"),
        "{message}"
    );

    let server = Server::start("absent", REPO, Mood::Good);
    let message = server
        .hub()
        .fetch("org/other", "v9", |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("has no `org/other` at revision `v9`; check the spelling"),
        "{message}"
    );

    let server = Server::start("empty", &[("README.md", "x")], Mood::Good);
    let message = server
        .hub()
        .fetch("org/model", "main", |_| {})
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        "`org/model` has no `config.json`, so it cannot be run; it has: README.md"
    );
    let server = Server::start(
        "weightless",
        &[("config.json", "{}"), ("model.gguf", "x")],
        Mood::Good,
    );
    let message = server
        .hub()
        .fetch("org/model", "main", |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("`org/model` has no safetensors weights"),
        "{message}"
    );
}

#[test]
fn a_server_that_is_gone_or_silent_is_reported() {
    let server = Server::start("silent", REPO, Mood::Silent);
    let mut hub = server.hub();
    hub.patience = Duration::from_millis(100);
    let message = hub.fetch("org/model", "main", |_| {}).unwrap_err().to_string();
    assert!(message.contains("sent nothing for"), "{message}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    hub.endpoint = format!("http://{closed}");
    hub.patience = Duration::from_secs(20);
    let message = hub.fetch("org/model", "main", |_| {}).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("cannot reach http://{closed} to fetch `org/model`: ")),
        "{message}"
    );
    assert!(message.contains("HF_ENDPOINT"), "{message}");
}

#[test]
fn a_file_that_comes_short_is_not_kept() {
    let files = [
        ("config.json", "{}"),
        ("tokenizer.json", "{}"),
        ("model.safetensors", "all of it"),
    ];
    let server = Server::start("short", &files, Mood::Short);
    let message = server
        .hub()
        .fetch("org/model", "main", |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("`model.safetensors` of `org/model` has 4 bytes instead of 9"),
        "{message}"
    );
    let good = Server::start("short-again", &files, Mood::Good);
    let mut hub = good.hub();
    hub.cache = server.cache.join("hub");
    let folder = hub.fetch("org/model", "main", |_| {}).unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.join("model.safetensors")).unwrap(),
        "all of it"
    );
}

#[test]
fn names_cannot_lead_out_of_the_cache() {
    let hub = Hub::from_variables(|name| (name == "HF_HOME").then(|| "/nowhere".to_owned()));
    for repo in ["model", "a/b/c", "../x", "a/..", "a/", "a\\b/c", "a b/c"] {
        let message = hub.locate(repo, "main").unwrap_err().to_string();
        assert_eq!(
            message,
            format!("`{repo}` is no repository: expected `organisation/name`")
        );
    }
    for revision in ["", "..", "a/../b", "/etc"] {
        let message = hub.locate("a/b", revision).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("`{revision}` is no revision: expected a branch, tag or commit")
        );
    }
    assert_eq!(hub.locate("a/b", "refs/pr/1").unwrap(), None);
}

#[test]
fn the_environment_is_honoured() {
    let hub = |variables: &[(&str, &str)]| {
        let variables: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Hub::from_variables(|name| variables.get(name).cloned())
    };
    let default = hub(&[("HOME", "/home/u")]);
    assert_eq!(default.endpoint, "https://huggingface.co");
    assert_eq!(default.cache, Path::new("/home/u/.cache/huggingface/hub"));
    assert_eq!((default.token, default.offline), (None, false));
    assert_eq!(
        hub(&[("XDG_CACHE_HOME", "/x")]).cache,
        Path::new("/x/huggingface/hub")
    );
    assert_eq!(
        hub(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x")]).cache,
        Path::new("/hf/hub")
    );
    assert_eq!(
        hub(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/hf")]).cache,
        Path::new("/c")
    );
    assert_eq!(hub(&[("HF_TOKEN", " t \n")]).token.as_deref(), Some("t"));
    assert_eq!(hub(&[("HF_ENDPOINT", "http://mirror")]).endpoint, "http://mirror");
    for (value, offline) in [
        ("1", true),
        ("TRUE", true),
        ("yes", true),
        ("0", false),
        ("", false),
    ] {
        assert_eq!(hub(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
    }
    assert!(!format!("{:?}", hub(&[("HF_TOKEN", "hf_secret")])).contains("hf_secret"));
}
