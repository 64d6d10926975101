//! Registries of OCI artifacts on this machine: a small one of our own, and Debian's `docker-registry` where it is installed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::scratch::Scratch;

/// More requests than any test makes.
const MOST_REQUESTS: usize = 500;
/// Bytes of the largest request.
const LARGEST: usize = 64 << 20;

/// A registry; it ends with the test.
pub struct Registry {
    /// Host and port.
    pub address: String,
    kind: Kind,
}

enum Kind {
    Own {
        held: Arc<Mutex<Held>>,
        stop: Arc<AtomicBool>,
    },
    Docker {
        child: Child,
        folder: Scratch,
    },
}

/// What our own holds.
#[derive(Default)]
pub struct Held {
    /// By their digests.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// By `NAME/manifests/TAG`.
    pub manifests: BTreeMap<String, Vec<u8>>,
    /// Where blobs are said to be, and where they are to be put.
    pub elsewhere: Option<String>,
    /// What `Authorization` was, of each request.
    pub seen: Vec<Option<String>>,
    uploads: usize,
    /// What `Authorization` must be, where it must be something.
    wanted: Option<String>,
    /// Who gets that from `/token`, where it is a token.
    known: Option<String>,
    address: String,
}

impl Registry {
    /// Our own, for everybody.
    pub fn own() -> Self {
        Self::start(None, None)
    }

    /// Our own, for those who send this in `Authorization`.
    pub fn wanting(authorization: &str) -> Self {
        Self::start(Some(authorization.to_owned()), None)
    }

    /// Our own, for those who have a token, which is given to those who send this in `Authorization`.
    pub fn with_tokens(authorization: &str) -> Self {
        Self::start(Some("Bearer a-token".to_owned()), Some(authorization.to_owned()))
    }

    fn start(wanted: Option<String>, known: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("the port is known").to_string();
        let held = Arc::new(Mutex::new(Held {
            wanted,
            known,
            address: address.clone(),
            ..Held::default()
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&held), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().take(MOST_REQUESTS).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let _ = answer(stream, &shared);
            }
        });
        Self {
            address,
            kind: Kind::Own { held, stop },
        }
    }

    /// Debian's, where it is installed.
    pub fn docker() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("the port is known").to_string();
        drop(listener);
        let folder = Scratch::new("docker-registry");
        let place = folder.file("held");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            place.display()
        );
        let config = folder.write("config.yml", config);
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let registry = Self {
            address,
            kind: Kind::Docker { child, folder },
        };
        let started = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "docker-registry does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// Takes a tag away, as somebody who withdraws what they published.
    pub fn withdraw(&self, name: &str, tag: &str) {
        match &self.kind {
            Kind::Own { held, .. } => {
                let mut held = held.lock().expect("nobody panics with it");
                held.manifests
                    .remove(&format!("{name}/manifests/{tag}"))
                    .expect("it was there");
            }
            Kind::Docker { folder, .. } => {
                let tag = format!("held/docker/registry/v2/repositories/{name}/_manifests/tags/{tag}");
                std::fs::remove_dir_all(folder.file(&tag)).expect("it was there");
            }
        }
    }

    /// Changes what our own holds, as a registry that lies does.
    pub fn change(&self, change: impl FnOnce(&mut Held)) {
        match &self.kind {
            Kind::Own { held, .. } => change(&mut held.lock().expect("nobody panics with it")),
            Kind::Docker { .. } => panic!("only our own lies"),
        }
    }

    /// A manifest, as JSON.
    pub fn manifest(&self, name: &str, tag: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(
            stream,
            "GET /v2/{name}/manifests/{tag} HTTP/1.0\r\nHost: {}\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
            self.address
        )
        .expect("it can be asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        let (_, body) = text.split_once("\r\n\r\n").expect("an answer has a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Own { stop, .. } => {
                stop.store(true, Ordering::SeqCst);
                let _ = TcpStream::connect(&self.address);
            }
            Kind::Docker { child, .. } => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, held: &Mutex<Held>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    let (mut length, mut authorization) = (0_usize, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap_or(0).min(LARGEST);
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.to_owned())
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut held = held.lock().expect("nobody panics with it");
    let (status, headers, content) = held.answer(&method, &path, authorization, body);
    let text = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        content.len()
    );
    stream.write_all(text.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(&content)?;
    }
    Ok(())
}

impl Held {
    /// Status, headers, content.
    fn answer(
        &mut self,
        method: &str,
        path: &str,
        authorization: Option<String>,
        body: Vec<u8>,
    ) -> (u16, String, Vec<u8>) {
        let none = |status| (status, String::new(), Vec::new());
        self.seen.push(authorization.clone());
        if let (Some(known), Some(query)) = (&self.known, path.strip_prefix("/token?")) {
            // What is asked for is said by the registry itself, and comes back.
            let asked = query == "service=here&scope=repository%3Athing%3Apull%2Cpush";
            return match asked && authorization.as_ref() == Some(known) {
                true => (200, String::new(), b"{\"token\": \"a-token\"}".to_vec()),
                false => none(401),
            };
        }
        if self.wanted.is_some() && self.wanted != authorization {
            let header = match self.known {
                None => "Basic realm=\"here\"".to_owned(),
                Some(_) => format!(
                    "Bearer realm=\"http://{}/token\",service=\"here\",scope=\"repository:thing:pull,push\"",
                    self.address
                ),
            };
            return (401, format!("WWW-Authenticate: {header}\r\n"), Vec::new());
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(place) = path.strip_prefix("/v2/") else {
            return none(404);
        };
        match (method, place.contains("/manifests/")) {
            ("POST", false) if place.ends_with("/blobs/uploads/") => {
                self.uploads += 1;
                let here = format!("{path}{}", self.uploads);
                let place = self.elsewhere.as_ref().unwrap_or(&here);
                (202, format!("Location: {place}\r\n"), Vec::new())
            }
            ("PUT", false) => {
                let found = digest(&body);
                if query != format!("digest={}", found.replace(':', "%3A")) {
                    return none(400);
                }
                self.blobs.insert(found, body);
                none(201)
            }
            ("PUT", true) => {
                self.manifests.insert(place.to_owned(), body);
                none(201)
            }
            ("GET" | "HEAD", true) => match self.manifests.get(place) {
                Some(manifest) => (200, String::new(), manifest.clone()),
                None => none(404),
            },
            ("GET" | "HEAD", false) => {
                let wanted = place.rsplit('/').next().unwrap_or_default();
                if let Some(elsewhere) = &self.elsewhere {
                    return (307, format!("Location: {elsewhere}\r\n"), Vec::new());
                }
                match self.blobs.get(wanted) {
                    Some(blob) => (200, String::new(), blob.clone()),
                    None => none(404),
                }
            }
            _ => none(405),
        }
    }
}
