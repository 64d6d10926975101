//! The hub: a small server on this machine stands in for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use monocle_weights::hub::{Hub, Progress};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server with one repository, `org/model`; it ends with the test.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    cache: PathBuf,
}

#[derive(Clone, PartialEq)]
enum Mood {
    Good,
    /// Asks who is there.
    Gated,
    /// Takes requests and says nothing.
    Silent,
    /// Sends half of the weights as if it were all.
    Short,
    /// Closes every connection at once.
    HangsUp,
    /// Closes the connection after half of the weights.
    HangsUpMidway,
    /// Says that it cannot, for every request.
    Unwell,
    /// Sends the weights twice.
    Long,
    /// Sends weights without end.
    Endless,
    /// Sends other weights of the right size.
    Other,
    /// Answers a request for the rest of the weights with all of them.
    NoRanges,
    /// Answers a request for the rest of the weights with what it was not asked for.
    WrongRanges,
    /// Every header that could become a path does.
    Headers(String),
    /// Says that the revision is this commit.
    Commit(String),
    /// Lists this too, as the entry's JSON.
    Lists(String),
    /// Answers the listing, or the question about the revision, with JSON without end.
    EndlessJson(&'static str),
    /// Puts one file on a page.
    Pages,
    /// Puts nothing on pages without end.
    EndlessPages,
    /// Sends who asks for weights to this address.
    Redirects(String),
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
            for stream in listener.incoming().take(500).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                if mood == Mood::Silent {
                    std::thread::sleep(Duration::from_millis(500));
                    return;
                }
                let _ = answer(stream, &files, &mood, &log);
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

    /// Another server, on this one's cache.
    fn hub_at(&self, other: &Server) -> Hub {
        let mut hub = other.hub();
        hub.cache = self.cache.join("hub");
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

/// What the repository's files hash to: large ones (here: weights) by SHA-256, small ones as git does.
fn entry(name: &str, text: &str) -> Value {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let git = hex(&Sha1::digest(format!("blob {}\0{text}", text.len())));
    let mut entry = json!({ "type": "file", "path": name, "size": text.len(), "oid": git });
    if name.ends_with(".safetensors") {
        // Git itself has only a pointer to such a file.
        entry["oid"] = json!("0".repeat(40));
        entry["lfs"] = json!({ "oid": hex(&Sha256::digest(text)), "size": text.len(), "pointerSize": 134 });
    }
    entry
}

/// Answers one request and closes the connection.
fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, String>,
    mood: &Mood,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let headers: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let (method, address) = request.split_once(' ').unwrap_or_default();
    let address = address.split(' ').next().unwrap_or_default();
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let token = headers
        .iter()
        .any(|line| line.eq_ignore_ascii_case("authorization: Bearer secret"));
    let from: Option<usize> = headers.iter().find_map(|line| {
        let range = line.to_lowercase();
        range
            .strip_prefix("range: bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    log.lock().unwrap().push(format!(
        "{method} {path}{}{}",
        from.map_or(String::new(), |from| format!(" from {from}")),
        if token { "" } else { " without a token" }
    ));
    if *mood == Mood::HangsUp {
        return Ok(());
    }

    let commit = match mood {
        Mood::Commit(commit) => commit,
        _ => COMMIT,
    };
    let mut tree: Vec<Value> = files.iter().map(|(name, text)| entry(name, text)).collect();
    if let Mood::Lists(entry) = mood {
        tree.push(serde_json::from_str(entry).unwrap());
    }
    let info = json!({ "id": "org/model", "sha": commit }).to_string();
    let file = path
        .strip_prefix(&format!("/org/model/resolve/{COMMIT}/"))
        .and_then(|name| files.get_key_value(name));
    let is_tree = path == format!("/api/models/org/model/tree/{COMMIT}");
    let is_info = path == "/api/models/org/model/revision/main";
    let mut extra = String::new();
    let mut length = None;
    let mut endless = "";
    let (status, body) = match (mood, file) {
        (Mood::Gated, _) => {
            extra = "X-Error-Code: GatedRepo\r\n".to_owned();
            ("403 Forbidden", String::new())
        }
        (Mood::Unwell, _) => ("503 Service Unavailable", String::new()),
        (_, Some((name, text))) => {
            extra = match mood {
                Mood::Headers(path) => {
                    format!("ETag: \"{path}\"\r\nX-Linked-Etag: \"{path}\"\r\nX-Repo-Commit: {path}\r\n")
                }
                _ => String::new(),
            };
            let weights = name.ends_with(".safetensors") && method == "GET";
            match mood {
                Mood::Short if weights => ("200 OK", text[..text.len() / 2].to_owned()),
                Mood::HangsUpMidway if weights => {
                    length = Some(text.len());
                    ("200 OK", text[..text.len() / 2].to_owned())
                }
                Mood::Long if weights => ("200 OK", text.repeat(2)),
                Mood::Endless if weights => {
                    endless = "more and more";
                    ("200 OK", text.clone())
                }
                Mood::Other if weights => ("200 OK", text.chars().rev().collect()),
                Mood::Redirects(target) if weights => {
                    extra = format!("Location: {target}\r\n");
                    ("302 Found", String::new())
                }
                Mood::NoRanges => ("200 OK", text.clone()),
                _ => match from {
                    Some(from) if from < text.len() => {
                        let from = if *mood == Mood::WrongRanges {
                            from - 1
                        } else {
                            from
                        };
                        extra += &format!(
                            "Content-Range: bytes {from}-{}/{}\r\n",
                            text.len() - 1,
                            text.len()
                        );
                        ("206 Partial Content", text[from..].to_owned())
                    }
                    Some(_) => ("416 Range Not Satisfiable", String::new()),
                    None => ("200 OK", text.clone()),
                },
            }
        }
        (Mood::EndlessJson("info"), None) if is_info => {
            endless = "     ";
            ("200 OK", "{".to_owned())
        }
        (Mood::EndlessJson("tree"), None) if is_tree => {
            endless = r#",{"type":"file","path":"a.json","size":1,"oid":"x"}"#;
            ("200 OK", "[{\"type\":\"file\",\"path\":\"b.json\"}".to_owned())
        }
        (_, None) if is_info => ("200 OK", info),
        (Mood::EndlessPages, None) if is_tree => {
            extra = format!(
                "Link: <http://{}{path}?cursor=x>; rel=\"next\"\r\n",
                stream.local_addr()?
            );
            ("200 OK", "[]".to_owned())
        }
        (Mood::Pages, None) if is_tree => {
            let page: usize = query
                .strip_prefix("cursor=")
                .map_or(0, |page| page.parse().unwrap());
            if page + 1 < tree.len() {
                extra = format!(
                    "Link: <http://{}{path}?cursor={}>; rel=\"next\"\r\n",
                    stream.local_addr()?,
                    page + 1
                );
            }
            ("200 OK", json!([tree[page]]).to_string())
        }
        (_, None) if is_tree => ("200 OK", json!(tree).to_string()),
        (_, None) => ("404 Not Found", String::new()),
    };
    let framing = match endless {
        "" => format!("Content-Length: {}", length.unwrap_or(body.len())),
        _ => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!("HTTP/1.1 {status}\r\n{framing}\r\nConnection: close\r\n{extra}\r\n");
    stream.write_all(head.as_bytes())?;
    if method == "HEAD" {
        return stream.flush();
    }
    if endless.is_empty() {
        stream.write_all(body.as_bytes())?;
        return stream.flush();
    }
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    stream.write_all(chunk(&body).as_bytes())?;
    let more = chunk(&endless.repeat(1000));
    // An end, for the case that nobody else makes one: some hundred megabytes.
    for _ in 0..10_000 {
        stream.write_all(more.as_bytes())?;
    }
    Ok(())
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

/// Every model suits.
fn suits(_: &Path) -> Result<(), String> {
    Ok(())
}

/// What is said when the repository cannot be fetched.
fn refusal(hub: &Hub) -> String {
    let refused = hub.fetch("org/model", "main", &suits, |_| {});
    refused.unwrap_err().to_string()
}

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
        .fetch("org/model", "main", &suits, |progress| {
            seen.push(progress.clone())
        })
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
    assert_eq!(hub.fetch("org/model", "main", &suits, |_| {}).unwrap(), folder);
    let requests = server.requests();
    assert!(
        requests.iter().all(|request| request.contains("/api/")),
        "{requests:?}"
    );

    // Offline: not even that.
    hub.offline = true;
    assert_eq!(hub.fetch("org/model", "main", &suits, |_| {}).unwrap(), folder);
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
    let message = refusal(&hub);
    assert!(
        message.starts_with("`org/model` is not complete in the cache") && message.contains("HF_HUB_OFFLINE"),
        "{message}"
    );
    hub.offline = false;
    hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
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
    let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(
        names(&folder),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::start("gated", REPO, Mood::Gated);
    let message = refusal(&server.hub());
    assert!(
        message.contains("does not give `org/model` to the owner of HF_TOKEN"),
        "{message}"
    );
    let mut hub = server.hub();
    hub.token = None;
    let message = refusal(&hub);
    assert!(
        message.contains("without a token") && message.contains("set HF_TOKEN"),
        "{message}"
    );

    let server = Server::start("absent", REPO, Mood::Good);
    let message = server
        .hub()
        .fetch("org/other", "v9", &suits, |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("has no `org/other` at revision `v9`; check the spelling"),
        "{message}"
    );

    let server = Server::start("empty", &[("README.md", "x")], Mood::Good);
    let message = refusal(&server.hub());
    assert_eq!(
        message,
        "`org/model` has no `config.json`, so it cannot be run; it has: README.md"
    );
    let server = Server::start(
        "weightless",
        &[("config.json", "{}"), ("pytorch_model.bin", "x")],
        Mood::Good,
    );
    let message = refusal(&server.hub());
    assert!(
        message.starts_with("`org/model` has no safetensors weights"),
        "{message}"
    );
    let server = Server::start("blind", &[("Model-Q8_0.gguf", "x")], Mood::Good);
    let message = refusal(&server.hub());
    assert_eq!(
        message,
        "`org/model` has no file that sees: with `mmproj`, `mm_proj`, `clip`, `vision-encoder` or `projector` in its name, or `vision` at its \
         end (where it is called otherwise, download it with the language model into one folder, and name the model's file), so it cannot be \
         run; it has: Model-Q8_0.gguf"
    );
}

#[test]
fn one_of_several_gguf_conversions_is_fetched_by_its_name() {
    let files = [
        ("Thing-Q4_K_M.gguf", "four"),
        ("Thing-Q8_0-00001-of-00002.gguf", "eight"),
        ("Thing-Q8_0-00002-of-00002.gguf", "more"),
        ("mmproj-Thing-f16.gguf", "sees"),
        ("preprocessor_config.json", "{}"),
    ];
    let server = Server::start("gguf", &files, Mood::Good);
    let mut hub = server.hub();
    let without = refusal(&hub);
    assert!(without.contains("`Q4_K_M`, `Q8_0`"), "{without}");
    let path = hub.fetch_gguf("org/model", "main", "q8_0", |_| {}).unwrap();
    assert!(
        path.ends_with("Thing-Q8_0-00001-of-00002.gguf"),
        "{}",
        path.display()
    );
    let folder = path.parent().unwrap();
    assert_eq!(
        names(folder),
        files[1..].iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "eight");
    assert!(hub.locate("org/model", "main").unwrap().unwrap().is_complete());
    hub.offline = true;
    assert_eq!(hub.fetch_gguf("org/model", "main", "Q8_0", |_| {}).unwrap(), path);
    // What is not here is not here.
    let absent = hub.fetch_gguf("org/model", "main", "Q4_K_M", |_| {}).unwrap_err();
    assert!(absent.to_string().contains("`org/model:Q4_K_M`"), "{absent}");
    let located = |tag: &str| hub.locate_one("org/model", "main", Some(tag)).unwrap();
    let here = located("Q8_0").unwrap();
    assert!(here.is_complete() && here.folder == path, "{here:?}");
    assert_eq!(located("Q4_K_M"), None);
    hub.offline = false;
    let unknown = hub
        .fetch_gguf("org/model", "main", "Q2_K", |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("no GGUF file has `Q2_K` at its name's end"),
        "{unknown}"
    );
    hub.fetch_gguf("org/model", "main", "Q4_K_M", |_| {}).unwrap();
    assert_eq!(names(folder).len(), 5);
    // What is here is not asked for again, and a part that is missing is.
    drop(server.requests());
    assert_eq!(
        hub.obtain_gguf("org/model", "main", "Q8_0", |_| {}).unwrap(),
        path
    );
    assert_eq!(server.requests().len(), 0);
    std::fs::remove_file(folder.join("Thing-Q8_0-00002-of-00002.gguf")).unwrap();
    let here = hub
        .locate_one("org/model", "main", Some("Q8_0"))
        .unwrap()
        .unwrap();
    assert!(!here.is_complete() && here.folder == path, "{here:?}");
    assert_eq!(
        hub.obtain_gguf("org/model", "main", "Q8_0", |_| {}).unwrap(),
        path
    );
    assert_eq!(names(folder).len(), 5);
}

/// A tag that two models of a repository have means neither, until one of them alone is in the cache, where it is called so.
#[test]
fn a_tag_of_several_means_the_one_that_is_here() {
    let files = [
        ("Thing-2B-Q8_0.gguf", "two"),
        ("Thing-7B-Q8_0.gguf", "seven"),
        ("mmproj-Thing-2B-F16.gguf", "sees"),
        ("mmproj-Thing-7B-F16.gguf", "sees more"),
    ];
    let server = Server::start("gguf-sizes", &files, Mood::Good);
    let hub = server.hub();
    let fetched = |tag: &str| {
        let path = hub.fetch_gguf("org/model", "main", tag, |_| {});
        path.map(|path| path.file_name().unwrap().to_owned())
            .map_err(|error| error.to_string())
    };
    let unclear = fetched("Q8_0").unwrap_err();
    assert!(
        unclear.contains("there are several models: `2B-Q8_0`, `7B-Q8_0`"),
        "{unclear}"
    );
    assert_eq!(fetched("2B-Q8_0").unwrap(), "Thing-2B-Q8_0.gguf");
    assert_eq!(fetched("Q8_0").unwrap(), "Thing-2B-Q8_0.gguf");
    assert_eq!(fetched("Thing-7B-Q8_0.gguf").unwrap(), "Thing-7B-Q8_0.gguf");
    assert!(fetched("Q8_0").unwrap_err().contains("there are several models"));
}

/// Names of public repositories; which of several was taken, and why, is told once.
#[test]
fn what_sees_is_found_under_other_names() {
    for (name, others, expected) in [
        ("ending", &["Thing-f16.mmproj"][..], "Thing-f16.mmproj"),
        ("end", &["Thing-vision.gguf"], "Thing-vision.gguf"),
        (
            "several-of-a-tag",
            &["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf"],
            "mmproj-F16.gguf",
        ),
    ] {
        let mut files = vec![("Thing-Q4_0.gguf", "four"), ("Thing-Q8_0.gguf", "eight")];
        files.extend(others.iter().map(|other| (*other, "sees")));
        let server = Server::start(name, &files, Mood::Good);
        let mut hub = server.hub();
        let path = hub.fetch_gguf("org/model", "main", "Q8_0", |_| {}).unwrap();
        let folder = path.parent().unwrap();
        assert_eq!(names(folder), ["Thing-Q8_0.gguf", expected], "{name}");
        let told = match name {
            "ending" => Vec::new(),
            "end" => vec![
                "`Thing-vision.gguf` is used for pictures: no file has `mmproj` in its name, and its name says that it sees",
            ],
            _ => vec![
                "`mmproj-F16.gguf` is used for pictures, and not `mmproj-BF16.gguf`, `mmproj-F32.gguf`: the name that shares most words with the \
                 model's counts, then f16, bf16, q8_0, f32 in this order",
            ],
        };
        assert_eq!(hub.take_notes(), told, "{name}");
        hub.fetch_gguf("org/model", "main", "Q8_0", |_| {}).unwrap();
        assert_eq!(hub.take_notes(), [] as [&str; 0], "{name}");
        hub.offline = true;
        assert_eq!(hub.fetch_gguf("org/model", "main", "Q8_0", |_| {}).unwrap(), path);
        assert_eq!(
            hub.locate_one("org/model", "main", Some("Q8_0"))
                .unwrap()
                .unwrap()
                .folder,
            path
        );
    }
}

#[test]
fn a_server_that_is_gone_or_silent_is_reported() {
    let server = Server::start("silent", REPO, Mood::Silent);
    let mut hub = server.hub();
    hub.patience = Duration::from_millis(100);
    let message = refusal(&hub);
    assert!(message.contains("sent nothing for"), "{message}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    hub.endpoint = format!("http://{closed}");
    hub.patience = Duration::from_secs(20);
    let message = refusal(&hub);
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
    let message = refusal(&server.hub());
    assert!(
        message.starts_with("`model.safetensors` of `org/model` has 4 bytes instead of 9"),
        "{message}"
    );
    let good = Server::start("short-again", &files, Mood::Good);
    let mut hub = good.hub();
    hub.cache = server.cache.join("hub");
    let folder = hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.join("model.safetensors")).unwrap(),
        "all of it"
    );
}

const SMALL: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("tokenizer.json", "{}"),
    ("model.safetensors", "all of it"),
];

/// Everything below a folder, without following links; to see that nothing was written where it should not be.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything(&entry.path()));
        }
    }
    found.sort();
    found
}

/// Fetches what the server does not give rightly, and returns what is said.
fn refused(server: &Server) -> String {
    let message = refusal(&server.hub());
    let weights = server
        .cache
        .join("hub/models--org--model/snapshots")
        .join(COMMIT)
        .join("model.safetensors");
    assert!(std::fs::symlink_metadata(weights).is_err(), "{message}");
    message
}

fn weights(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("model.safetensors")).unwrap()
}

#[test]
fn no_header_of_an_answer_becomes_a_path() {
    let outside = std::env::temp_dir().join(format!("monocle-hub-{}-outside", std::process::id()));
    std::fs::create_dir_all(&outside).unwrap();
    let absolute = outside.join("file").display().to_string();
    for (name, header) in [
        ("absolute", absolute.as_str()),
        ("upwards", "../../../outside"),
        ("dots", "../.."),
        ("dot", "."),
        ("none", ""),
    ] {
        let server = Server::start(&format!("header-{name}"), SMALL, Mood::Headers(header.to_owned()));
        let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
        assert_eq!(weights(&folder), "all of it");
        let home = server.cache.join("hub/models--org--model");
        assert_eq!(names(&home), [".monocle-checked", "blobs", "refs", "snapshots"]);
        assert_eq!(names(&home.join("snapshots")), [COMMIT]);
        assert_eq!(names(&server.cache), ["hub"]);
        assert_eq!(names(&server.cache.join("hub")), [".locks", "models--org--model"]);
        // `printf '{}' | git hash-object --stdin` and `printf 'all of it' | sha256sum`
        assert_eq!(
            names(&home.join("blobs")),
            [
                "07630777646b9ad0ad5940c20f7703e5ba431d90dc8f191af6916bffca3e859c",
                "9e26dfeeb6e641a33dae4961196235bdb965b21b"
            ]
        );
    }
    assert_eq!(everything(&outside), [] as [PathBuf; 0]);
    std::fs::remove_dir_all(&outside).unwrap();
}

#[test]
fn a_commit_that_is_a_path_is_refused() {
    for commit in [
        "../../../x",
        "/x",
        "",
        "main",
        "0123456789ABCDEF0123456789ABCDEF01234567",
    ] {
        let server = Server::start("commit", SMALL, Mood::Commit(commit.to_owned()));
        let message = refused(&server);
        assert!(message.contains("which is no commit"), "{message}");
        assert_eq!(everything(&server.cache), [] as [PathBuf; 0]);
    }
}

#[test]
fn names_in_a_listing_that_are_paths_are_refused_and_odd_ones_passed_over() {
    let file =
        |path: &str, oid: &str| json!({ "type": "file", "path": path, "size": 1, "oid": oid }).to_string();
    let oid = "9e26dfeeb6e641a33dae4961196235bdb965b21b";
    for path in [
        "../x.json",
        "/x.json",
        "a/../../x.json",
        "./x.json",
        "a//x.json",
        "",
    ] {
        let server = Server::start("listed-path", SMALL, Mood::Lists(file(path, oid)));
        let message = refused(&server);
        assert!(message.contains("which no repository can have"), "{message}");
        assert_eq!(everything(&server.cache), [] as [PathBuf; 0]);
    }
    for path in [
        "..\\x.json",
        "C:x.json",
        "a\u{1b}b.json",
        "nul.json",
        "x.json:y.json",
        ".x.json",
    ] {
        let server = Server::start("listed-odd", SMALL, Mood::Lists(file(path, oid)));
        let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
        assert_eq!(
            names(&folder),
            ["config.json", "model.safetensors", "tokenizer.json"]
        );
    }
    for oid in [
        "../../x",
        "/x",
        "",
        "9e26",
        "9E26DFEEB6E641A33DAE4961196235BDB965B21B",
    ] {
        let server = Server::start("listed-oid", SMALL, Mood::Lists(file("x.json", oid)));
        let message = refused(&server);
        assert!(message.contains("it lists `x.json` without a hash"), "{message}");
    }
}

#[test]
fn answers_without_end_are_cut_off() {
    for what in ["info", "tree"] {
        let server = Server::start(&format!("endless-{what}"), SMALL, Mood::EndlessJson(what));
        let started = Instant::now();
        let message = refused(&server);
        assert!(
            message.ends_with("its answer about the repository is longer than 16 MiB"),
            "{message}"
        );
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    let server = Server::start("endless-pages", SMALL, Mood::EndlessPages);
    let message = refused(&server);
    assert!(message.contains("more than 100 pages"), "{message}");
}

#[test]
fn a_listing_may_have_several_pages() {
    let server = Server::start("pages", REPO, Mood::Pages);
    let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(names(&folder).len(), 7);
}

#[test]
fn a_file_that_is_longer_than_listed_is_cut_off() {
    for (name, mood) in [("long", Mood::Long), ("endless", Mood::Endless)] {
        let server = Server::start(name, SMALL, mood);
        let message = refused(&server);
        assert!(
            message.starts_with("`model.safetensors` of `org/model` is longer than the 9 bytes that http://"),
            "{message}"
        );
        let most = everything(&server.cache)
            .iter()
            .map(|path| std::fs::symlink_metadata(path).unwrap())
            .filter(|found| found.is_file())
            .map(|found| found.len())
            .max();
        assert!(most < Some(1000), "{most:?}");
        let good = Server::start(&format!("{name}-again"), SMALL, Mood::Good);
        let folder = server
            .hub_at(&good)
            .fetch("org/model", "main", &suits, |_| {})
            .unwrap();
        assert_eq!(weights(&folder), "all of it");
    }
}

#[test]
fn other_bytes_of_the_right_size_are_refused_and_fetched_again() {
    let server = Server::start("other", SMALL, Mood::Other);
    let message = refused(&server);
    assert!(
        message.starts_with("`model.safetensors` of `org/model` is not what http://"),
        "{message}"
    );
    // `printf 'all of it' | sha256sum` and `printf 'ti fo lla' | sha256sum`
    let (expected, found) = (
        "07630777646b9ad0ad5940c20f7703e5ba431d90dc8f191af6916bffca3e859c",
        "1bb585784438027f64675b09c1585832732dc00691245833a71440dcfbbcc624",
    );
    assert!(
        message.contains(&format!("its SHA-256 is {found} instead of {expected}")),
        "{message}"
    );
    let good = Server::start("other-again", SMALL, Mood::Good);
    let folder = server
        .hub_at(&good)
        .fetch("org/model", "main", &suits, |_| {})
        .unwrap();
    assert_eq!(weights(&folder), "all of it");
}

/// As if the file had been written some time ago.
fn make_old(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[test]
fn a_complete_cache_needs_no_network_and_damage_is_found_and_repaired() {
    let server = Server::start("damage", SMALL, Mood::Good);
    let hub = server.hub();
    let folder = hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    server.requests();

    // Whole: nobody is asked, and nothing is hashed.
    let mut seen = 0;
    assert_eq!(
        hub.obtain("org/model", "main", &suits, |_| seen += 1).unwrap(),
        folder
    );
    assert_eq!((seen, server.requests()), (0, vec![]));

    // A file changes, and keeps its size.
    let file = folder.join("model.safetensors");
    std::fs::write(&file, "ALL OF IT").unwrap();
    make_old(&file, 1_000_000_000);
    let mut offline = hub.clone();
    offline.offline = true;
    for message in [
        refusal(&offline),
        offline
            .obtain("org/model", "main", &suits, |_| {})
            .unwrap_err()
            .to_string(),
    ] {
        assert!(
            message.starts_with("model.safetensors of `org/model` in the cache")
                && message.contains("HF_HUB_OFFLINE"),
            "{message}"
        );
    }
    let mut checks = Vec::new();
    hub.obtain("org/model", "main", &suits, |progress| {
        checks.extend(progress.is_check.then(|| progress.file.clone()));
    })
    .unwrap();
    assert_eq!(weights(&folder), "all of it");
    assert!(
        checks.iter().all(|file| file == "model.safetensors"),
        "{checks:?}"
    );
    let asked = server.requests();
    let files: Vec<&String> = asked
        .iter()
        .filter(|request| !request.contains("/api/"))
        .collect();
    assert_eq!(
        files,
        [&format!("GET /org/model/resolve/{COMMIT}/model.safetensors")]
    );

    // So does a small one, on the way that asks for what is new.
    let small = folder.join("config.json");
    std::fs::write(&small, "[]").unwrap();
    make_old(&small, 1_000_000_000);
    hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(std::fs::read_to_string(&small).unwrap(), "{}");

    // What cannot be read is not trusted any more, even if its size and time say that nothing changed.
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "not the i").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(before)
        .unwrap();
    hub.obtain("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(weights(&folder), "not the i");
    monocle_weights::SafetensorsFile::open(&file).unwrap_err();
    hub.obtain("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(weights(&folder), "all of it");
}

#[test]
fn what_other_tools_left_in_the_cache_is_hashed_once() {
    let server = Server::start("others", SMALL, Mood::Good);
    let hub = server.hub();
    let folder = hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    let list = server.cache.join("hub/models--org--model/.monocle-checked");
    std::fs::remove_file(&list).unwrap();
    let file = folder.join("model.safetensors");
    std::fs::write(&file, "ALL OF IT").unwrap();
    hub.obtain("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(weights(&folder), "all of it");
    server.requests();
    let mut checks = Vec::new();
    hub.obtain("org/model", "main", &suits, |progress| {
        checks.push(progress.clone())
    })
    .unwrap();
    assert_eq!((checks, server.requests()), (vec![], vec![]));

    // A damaged list is none, and is no reason to fail.
    for text in [b"\xff\xfe\x00".to_vec(), b"x".repeat(2 << 20)] {
        std::fs::write(&list, text).unwrap();
        let mut checks = 0;
        hub.obtain("org/model", "main", &suits, |_| checks += 1).unwrap();
        hub.obtain("org/model", "main", &suits, |_| checks += 100)
            .unwrap();
        assert_eq!((checks, server.requests()), (3, vec![]));
    }
}

#[test]
fn a_complete_model_is_used_when_the_server_is_not_there() {
    let server = Server::start("away", SMALL, Mood::Good);
    let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
    for mood in [Mood::HangsUp, Mood::Unwell, Mood::Silent] {
        let other = Server::start("away-other", SMALL, mood);
        let mut hub = server.hub_at(&other);
        hub.patience = Duration::from_millis(200);
        assert_eq!(hub.fetch("org/model", "main", &suits, |_| {}).unwrap(), folder);
        let notes = hub.take_notes();
        assert!(
            notes.len() == 1 && notes[0].starts_with("`org/model` is used as it is in the cache: http://"),
            "{notes:?}"
        );
        assert_eq!(hub.take_notes(), [] as [String; 0]);
    }
}

#[test]
fn a_server_that_hangs_up_is_reported_at_once() {
    let started = Instant::now();
    let server = Server::start("hangs-up", SMALL, Mood::HangsUp);
    let message = refused(&server);
    assert_eq!(
        message,
        format!(
            "{} hung up while `org/model` was fetched; run the same command again to go on",
            server.endpoint
        )
    );
    assert_eq!(server.requests().len(), 1);
    let server = Server::start("hangs-up-midway", SMALL, Mood::HangsUpMidway);
    let message = refused(&server);
    assert!(message.contains("hung up"), "{message}");
    let server = Server::start("unwell", SMALL, Mood::Unwell);
    let message = refused(&server);
    assert!(message.contains("(status 503)"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_download_is_gone_on_with() {
    for (name, mood, expected) in [
        ("ranges", Mood::Good, vec![" from 4"]),
        ("no-ranges", Mood::NoRanges, vec![" from 4"]),
        ("wrong-ranges", Mood::WrongRanges, vec![" from 4", ""]),
    ] {
        let server = Server::start(&format!("{name}-half"), SMALL, Mood::HangsUpMidway);
        refused(&server);
        let good = Server::start(name, SMALL, mood);
        let folder = server
            .hub_at(&good)
            .fetch("org/model", "main", &suits, |_| {})
            .unwrap();
        assert_eq!(weights(&folder), "all of it");
        let expected: Vec<String> = expected
            .iter()
            .map(|range| format!("GET /org/model/resolve/{COMMIT}/model.safetensors{range}"))
            .collect();
        let requests = good.requests();
        let files: Vec<&String> = requests
            .iter()
            .filter(|request| request.contains("resolve"))
            .collect();
        assert_eq!(files, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_is_left_of_an_attempt_is_not_trusted() {
    for left_over in ["ALL ", "ALL OF IT", "all of it, and more", "all of it"] {
        let server = Server::start("left-over", SMALL, Mood::Good);
        let blobs = server.cache.join("hub/models--org--model/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let partial =
            blobs.join("07630777646b9ad0ad5940c20f7703e5ba431d90dc8f191af6916bffca3e859c.incomplete");
        std::fs::write(&partial, left_over).unwrap();
        let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
        assert_eq!(weights(&folder), "all of it");
        assert!(!partial.exists());
    }
}

#[test]
fn several_at_once_get_the_same() {
    let server = Server::start("several", SMALL, Mood::Good);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
                assert_eq!(weights(&folder), "all of it");
            });
        }
    });
    let requests = server.requests();
    let fetched = requests
        .iter()
        .filter(|request| request.ends_with("model.safetensors"))
        .count();
    assert_eq!(fetched, 1, "{requests:?}");

    // One that holds a file and does not go on is not waited for without end.
    let lock = server.cache.join(
        "hub/.locks/models--org--model/07630777646b9ad0ad5940c20f7703e5ba431d90dc8f191af6916bffca3e859c.lock",
    );
    let lock = std::fs::File::open(lock).unwrap();
    lock.lock().unwrap();
    std::fs::remove_dir_all(server.cache.join("hub/models--org--model")).unwrap();
    let mut hub = server.hub();
    hub.patience = Duration::from_millis(300);
    let message = refusal(&hub);
    assert!(
        message.starts_with("another process began to fetch `model.safetensors` of `org/model`"),
        "{message}"
    );
}

#[test]
fn redirects_lead_nowhere_else_and_the_token_stays() {
    // To another server on this machine: followed, without the token.
    let cdn = Server::start("cdn", SMALL, Mood::Good);
    let address = format!("{}/org/model/resolve/{COMMIT}/model.safetensors", cdn.endpoint);
    let server = Server::start("redirects", SMALL, Mood::Redirects(address));
    let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(weights(&folder), "all of it");
    assert_eq!(
        cdn.requests(),
        [format!(
            "GET /org/model/resolve/{COMMIT}/model.safetensors without a token"
        )]
    );
    for (target, said) in [
        ("file:///etc/passwd", "only https and http are known"),
        ("ftp://127.0.0.1/x", "only https and http are known"),
        ("http://192.0.2.1/x", "a redirect must stay on https"),
        ("http://user:word@127.0.0.1/x", "must not name a user"),
        ("http://[", "makes no sense"),
        ("x", "status 404"),
        ("", "redirects more than 10 times"),
    ] {
        let server = Server::start("redirects-out", SMALL, Mood::Redirects(target.to_owned()));
        let message = refused(&server);
        assert!(
            message.contains(said) && !message.contains("word"),
            "{target}: {message}"
        );
    }
}

#[test]
fn a_token_is_not_sent_where_others_could_read_it() {
    // No such host is ever asked: RFC 6761 reserves `.invalid`.
    let mut hub = Hub::from_variables(|name| match name {
        "HF_ENDPOINT" => Some("http://mirror.invalid".to_owned()),
        "HF_TOKEN" => Some("secret".to_owned()),
        _ => None,
    });
    hub.cache = std::env::temp_dir().join(format!("monocle-hub-{}-token", std::process::id()));
    hub.patience = Duration::from_secs(2);
    hub.fetch("org/model", "main", &suits, |_| {}).unwrap_err();
    let notes = hub.take_notes();
    assert!(
        notes.len() == 1 && notes[0].starts_with("HF_TOKEN is not sent to http://mirror.invalid"),
        "{notes:?}"
    );
    let server = Server::start("token", SMALL, Mood::Good);
    let hub = server.hub();
    hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(hub.take_notes(), [] as [String; 0]);
}

#[test]
fn a_server_that_does_not_speak_tls_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut hello = [0; 4096];
        let bytes = stream.read(&mut hello).unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let _ = stream.read(&mut [0; 64]);
        hello[..bytes].to_vec()
    });
    let mut hub = Hub::from_variables(|name| (name == "HF_TOKEN").then(|| "secret".to_owned()));
    hub.cache = std::env::temp_dir().join(format!("monocle-hub-{}-no-tls", std::process::id()));
    hub.endpoint = endpoint.clone();
    let message = refusal(&hub);
    assert!(
        message.starts_with(&format!("cannot reach {endpoint} to fetch `org/model`: ")),
        "{message}"
    );
    // What came first was a TLS handshake (RFC 8446, section 5.1: type 22), and no token.
    let hello = server.join().unwrap();
    assert_eq!(hello[0], 22);
    assert!(!hello.windows(6).any(|window| window == b"secret"));
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_used_as_it_is() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let server = Server::start("read-only", SMALL, Mood::Good);
    let hub = server.hub();
    let folder = hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    let home = server.cache.join("hub/models--org--model");
    // Root writes everywhere; a folder in the list's place stops it too.
    std::fs::remove_file(home.join(".monocle-checked")).unwrap();
    std::fs::create_dir(home.join(".monocle-checked")).unwrap();
    std::fs::write(home.join(".monocle-checked/x"), "").unwrap();
    let inode = |path: &Path| std::fs::symlink_metadata(path).unwrap().ino();
    let before = inode(&folder.join("model.safetensors"));
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o555)).unwrap();
    let mut checks = 0;
    assert_eq!(
        hub.fetch("org/model", "main", &suits, |_| checks += 1).unwrap(),
        folder
    );
    assert_eq!(
        hub.obtain("org/model", "main", &suits, |_| checks += 1).unwrap(),
        folder
    );
    assert_eq!(checks, 0);
    assert_eq!(inode(&folder.join("model.safetensors")), before);
    std::fs::set_permissions(&home, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn an_endpoint_that_is_no_address_is_refused() {
    for endpoint in ["huggingface.co", "file:///etc", "", "http://", "ftp://x"] {
        let mut hub = Hub::from_variables(|_| None);
        hub.endpoint = endpoint.to_owned();
        let message = refusal(&hub);
        assert!(message.contains("is no server (HF_ENDPOINT)"), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_the_cache_are_not_written_through() {
    use std::os::unix::fs::symlink;
    let outside = std::env::temp_dir().join(format!("monocle-hub-{}-linked", std::process::id()));
    let _ = std::fs::remove_dir_all(&outside);
    std::fs::create_dir_all(&outside).unwrap();
    let hash = "07630777646b9ad0ad5940c20f7703e5ba431d90dc8f191af6916bffca3e859c";

    // Folders that lead out of the cache: refused.
    for linked in [
        "models--org--model",
        "models--org--model/blobs",
        "models--org--model/snapshots",
        "models--org--model/refs",
        ".locks",
    ] {
        let server = Server::start("linked-folder", SMALL, Mood::Good);
        let place = server.cache.join("hub").join(linked);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink(&outside, &place).unwrap();
        let message = refusal(&server.hub());
        assert!(
            message.contains("which is outside of the cache"),
            "{linked}: {message}"
        );
        assert_eq!(everything(&outside), [] as [PathBuf; 0], "{linked}");
    }

    // Files that lead out of it: replaced.
    std::fs::write(outside.join("file"), "mine").unwrap();
    for linked in [
        format!("models--org--model/blobs/{hash}"),
        format!("models--org--model/blobs/{hash}.incomplete"),
        format!("models--org--model/snapshots/{COMMIT}/model.safetensors"),
        "models--org--model/refs/main".to_owned(),
        "models--org--model/.monocle-checked".to_owned(),
        format!(".locks/models--org--model/{hash}.lock"),
    ] {
        for target in ["file", "absent"] {
            let server = Server::start("linked-file", SMALL, Mood::Good);
            let place = server.cache.join("hub").join(&linked);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            symlink(outside.join(target), &place).unwrap();
            let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
            assert_eq!(weights(&folder), "all of it", "{linked}");
            assert_eq!(names(&outside), ["file"], "{linked}");
            assert_eq!(
                std::fs::read_to_string(outside.join("file")).unwrap(),
                "mine",
                "{linked}"
            );
        }
    }
    std::fs::remove_dir_all(&outside).unwrap();

    // A cache that is a link itself is where the user wants it.
    let server = Server::start("linked-cache", SMALL, Mood::Good);
    std::fs::create_dir_all(server.cache.join("elsewhere")).unwrap();
    symlink(server.cache.join("elsewhere"), server.cache.join("hub")).unwrap();
    let folder = server.hub().fetch("org/model", "main", &suits, |_| {}).unwrap();
    assert_eq!(weights(&folder), "all of it");
}

/// What cannot be run is told by its small files, and its weights stay where they are; what is here already is not asked again.
#[test]
fn weights_of_a_model_that_does_not_suit_are_not_fetched() {
    let server = Server::start("suits", REPO, Mood::Good);
    let hub = server.hub();
    let refuses = |folder: &Path| -> Result<(), String> {
        assert_eq!(std::fs::read_to_string(folder.join("merges.txt")).unwrap(), "a b");
        assert!(!names(folder).iter().any(|name| name.ends_with(".safetensors")));
        Err("its tokenizer is odd".to_owned())
    };
    for result in [
        hub.fetch("org/model", "main", &refuses, |_| {}),
        hub.obtain("org/model", "main", &refuses, |_| {}),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(
            message.contains("the weights of `org/model` are not fetched")
                && message.contains("its tokenizer is odd"),
            "{message}"
        );
    }
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.ends_with("tokenizer.json")));
    assert!(
        !requests.iter().any(|request| request.ends_with(".safetensors")),
        "{requests:?}"
    );

    let folder = hub.fetch("org/model", "main", &suits, |_| {}).unwrap();
    let never = |_: &Path| -> Result<(), String> { panic!("nothing is to be fetched") };
    assert_eq!(hub.fetch("org/model", "main", &never, |_| {}).unwrap(), folder);
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
        assert_eq!(
            hub(&[("TRANSFORMERS_OFFLINE", value)]).offline,
            offline,
            "{value}"
        );
    }
    // As in huggingface_hub, the first that says anything decides.
    assert!(!hub(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    assert!(hub(&[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    assert!(!format!("{:?}", hub(&[("HF_TOKEN", "hf_secret")])).contains("hf_secret"));
}

/// The right paths are what Python's `os.path.expandvars(os.path.expanduser(path))` gives in such an environment; `huggingface_hub.constants`
/// reads its paths so.
#[test]
fn paths_in_the_environment_are_expanded() {
    let cache = |name: &str, value: &str| {
        let hub = Hub::from_variables(|asked| match asked {
            "HOME" => Some("/home/u/".to_owned()),
            "DISK" => Some("/disk".to_owned()),
            "AGAIN" => Some("$DISK".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => (asked == name).then(|| value.to_owned()),
        });
        hub.cache.display().to_string()
    };
    for (value, expected) in [
        ("~", "/home/u"),
        ("~/hf", "/home/u/hf"),
        ("/x/~/hf", "/x/~/hf"),
        ("~nobody-of-that-name/hf", "~nobody-of-that-name/hf"),
        ("$HOME/hf", "/home/u//hf"),
        ("${DISK}s/hf", "/disks/hf"),
        ("$DISKS/hf", "$DISKS/hf"),
        ("$DISK/$UNSET/${UNSET}/hf", "/disk/$UNSET/${UNSET}/hf"),
        ("/a$EMPTY/hf", "/a/hf"),
        ("$AGAIN/hf", "$DISK/hf"),
        ("/a$/${/$", "/a$/${/$"),
        ("/a${}$-x", "/a${}$-x"),
        ("~/$DISK", "/home/u//disk"),
    ] {
        assert_eq!(cache("HF_HUB_CACHE", value), expected, "{value}");
        assert_eq!(cache("HUGGINGFACE_HUB_CACHE", value), expected, "{value}");
    }
    assert_eq!(cache("HF_HOME", "~/hf"), "/home/u/hf/hub");
    assert_eq!(cache("XDG_CACHE_HOME", "$DISK"), "/disk/huggingface/hub");
}

#[test]
fn the_tokens_path_is_expanded() {
    let folder = std::env::temp_dir().join(format!("monocle-hub-{}-token-path", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("token"), "hf_from_file\n").unwrap();
    for value in ["~/token", "$HOME/token", "${HOME}/token"] {
        let hub = Hub::from_variables(|name| match name {
            "HOME" => Some(folder.display().to_string()),
            "HF_TOKEN_PATH" => Some(value.to_owned()),
            _ => None,
        });
        assert_eq!(hub.token.as_deref(), Some("hf_from_file"), "{value}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
