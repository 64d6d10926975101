//! Pictures by their addresses: on a server of this machine, in the address itself, and files.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use monocle_tests::program::Monocle;
use monocle_tests::project;
use serde_json::Value;

/// Serves the pictures of `tests/oracle/decode`; it ends with the test.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("the port is known").to_string();
        let (requests, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().take(50).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let _ = answer(stream);
            }
        });
        Self {
            address,
            requests,
            stop,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    let request: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let path = request
        .first()
        .and_then(|line| line.split([' ', '?']).nth(1))
        .unwrap_or_default();
    let file = std::fs::read(file(path.trim_start_matches('/')));
    let (status, kind, body) = match (path, file) {
        ("/page.html", _) => ("200 OK", "text/html", b"<html>a secret</html>".to_vec()),
        (_, Ok(bytes)) => ("200 OK", "application/octet-stream", bytes),
        (_, Err(_)) => ("404 Not Found", "text/plain", b"a secret".to_vec()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    stream.flush()
}

fn file(name: &str) -> PathBuf {
    project::oracle("decode").join(name)
}

fn model() -> String {
    project::oracle("smolvlm").display().to_string()
}

fn inspect(arguments: &[&str]) -> Monocle {
    Monocle::new(["inspect", &model(), "-p", "x", "--json"]).args(arguments)
}

/// What the report says of each picture, but for its name.
fn pictures(arguments: &[&str]) -> (Vec<String>, Vec<Value>) {
    let report = inspect(arguments).json();
    let mut images = report["images"].as_array().expect("it has pictures").clone();
    let name = |image: &mut Value| image["name"].take().as_str().expect("it has a name").to_owned();
    (images.iter_mut().map(name).collect(), images)
}

/// Percent signs in place of all bytes: the simplest way to write data into an address.
fn data(kind: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(format!("data:{kind},"), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

#[test]
fn a_picture_is_the_same_wherever_it_comes_from() {
    let server = Server::start();
    for name in ["rgb.png", "oriented_6.jpg", "two_pages.tiff"] {
        let path = file(name).display().to_string();
        let (_, known) = pictures(&[&path]);
        let web = format!("http://{}/{name}", server.address);
        let own = data(
            "image/png",
            &std::fs::read(file(name)).expect("the picture is there"),
        );
        for (address, called) in [
            (format!("{web}?key=secret#top"), web.clone()),
            (format!("file://{path}"), path.clone()),
            (format!("file://localhost{path}"), path.clone()),
            (own.clone(), "data:image/png (".to_owned()),
        ] {
            // The longest address that a command line of Linux takes.
            if address.len() > 100_000 {
                continue;
            }
            let (names, found) = pictures(&["--allow-private-addresses", &address]);
            assert_eq!(found, known, "{name}");
            assert!(
                names[0].starts_with(&called) && !names[0].contains("secret"),
                "{names:?}"
            );
        }
    }
    // A page of it, and each address once.
    let path = format!("{}#2", file("two_pages.tiff").display());
    let (_, second) = pictures(&[&path]);
    let before = server.requests.load(Ordering::SeqCst);
    let web = format!("http://{}/two_pages.tiff#2", server.address);
    let (names, found) = pictures(&["--allow-private-addresses", &web, &web, &format!("file://{path}")]);
    assert_eq!(found, [second.clone(), second.clone(), second].concat());
    assert_eq!(names[0], web);
    assert_eq!(server.requests.load(Ordering::SeqCst), before + 1);
}

#[test]
fn what_is_no_picture_is_said_in_words() {
    let server = Server::start();
    let at = |path: &str| format!("http://{}/{path}", server.address);
    let refused = |address: &str, words: &[&str]| {
        let outcome = inspect(&["--allow-private-addresses", address]).fails(1, words);
        assert!(!outcome.stderr.contains("a secret"), "{}", outcome.stderr);
    };
    refused(
        &at("page.html"),
        &["is not a picture: the server says that it is `text/html`"],
    );
    refused(
        &at("none.png"),
        &["status 404 (there is nothing at this address)"],
    );
    refused(&at("index.tsv"), &["index.tsv`", "of a kind that cannot be read"]);
    refused(
        "http://127.0.0.1:1/x.png",
        &["cannot fetch the picture `http://127.0.0.1:1/x.png`", "refused"],
    );
    refused(
        "s3://bucket/x.png",
        &["expected http, https, data or file before `:`, found `s3`"],
    );
    refused("file:///nowhere/x.png", &["cannot read picture `/nowhere/x.png`"]);
    refused("file://server/x.png", &["another machine, `server`"]);
    refused("data:image/png;base64,****", &["its base 64 is damaged"]);
    let long = format!("data:image/png,{}", "x".repeat(50_000));
    let outcome = inspect(&[&long]).fails(
        1,
        &["data:image/png (50000 bytes)", "of a kind that cannot be read"],
    );
    assert!(outcome.stderr.len() < 500, "{}", outcome.stderr);
}

#[test]
fn this_machine_is_asked_only_on_demand() {
    let server = Server::start();
    let port = server.address.split(':').nth(1).expect("it has a port");
    for host in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0.0.0.0",
    ] {
        let address = format!("http://{host}:{port}/rgb.png");
        inspect(&[&address]).fails(
            1,
            &["is not a public address", "\n\nhint: `--allow-private-addresses`"],
        );
        Monocle::new(["run", &model(), &address, "-p", "x"]).fails(1, &["is not a public address"]);
    }
    let address = format!("http://127.0.0.1:{port}/rgb.png");
    let chat = |flags: &[&str]| {
        let chat = Monocle::new(["chat", &model(), "--max-tokens", "2"]).args(flags);
        chat.input(&format!("/image {address}\nWhat is this?\n")).run()
    };
    let refused = chat(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("is not a public address"), "{refused:?}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    let answered = chat(&["--allow-private-addresses"]);
    assert_eq!(answered.code, 0, "{answered:?}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}
