//! Pictures at addresses: a server that means no good reaches nothing through this one, and keeps nobody waiting.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use monocle_tests::scratch::Scratch;
use monocle_tests::server::{Server, base64};
use serde_json::json;

use super::{QUESTION, alone, picture};

/// What must never be asked: it counts who comes.
fn forbidden() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let visits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visits);
    std::thread::spawn(move || {
        for _ in listener.incoming().take(64).flatten() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, visits)
}

/// A server of pictures in many moods.
fn hostile(elsewhere: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(64).flatten() {
            std::thread::spawn(move || answer(stream, port, elsewhere));
        }
    });
    port
}

fn answer(mut stream: TcpStream, port: u16, elsewhere: u16) -> std::io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    let request: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let path = request
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    let to = |target: String| {
        format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let body = |kind: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let bytes = match path {
        "/good.png" => body("image/png", &picture("wide")),
        "/near" => to(format!("http://127.0.0.1:{port}/good.png")).into_bytes(),
        "/elsewhere" => to(format!("http://127.0.0.1:{elsewhere}/good.png")).into_bytes(),
        "/name" => to(format!("http://localhost:{elsewhere}/good.png")).into_bytes(),
        "/number" => to(format!("http://2130706433:{elsewhere}/good.png")).into_bytes(),
        "/six" => to(format!("http://[::ffff:127.0.0.1]:{elsewhere}/good.png")).into_bytes(),
        "/cloud" => to("http://169.254.169.254/latest/meta-data/".to_owned()).into_bytes(),
        "/file" => to("file:///etc/passwd".to_owned()).into_bytes(),
        "/round" => to(format!("http://127.0.0.1:{port}/round")).into_bytes(),
        "/page" => body("text/html", b"<html>a secret</html>"),
        "/drawing" => body("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        // Half of it, and then nothing for longer than anybody waits.
        "/stall" => {
            let whole = body("image/png", &picture("wide"));
            stream.write_all(&whole[..whole.len() / 2])?;
            std::thread::sleep(Duration::from_secs(60));
            Vec::new()
        }
        "/huge" => {
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 99999999999\r\n\r\n".to_vec()
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n\r\n")?;
            for _ in 0..64 {
                stream.write_all(&vec![b'x'; 1 << 20])?;
            }
            Vec::new()
        }
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\nConnection: close\r\n\r\na secret".to_vec(),
    };
    stream.write_all(&bytes)
}

fn at(url: &str) -> serde_json::Value {
    json!({"model": "shapes", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION},
    ]}]})
}

#[test]
fn a_hostile_server_of_pictures_reaches_nothing() {
    let (elsewhere, visits) = forbidden();
    let port = hostile(elsewhere);
    let allowed = format!("127.0.0.1:{port}");
    let server = Server::start(&["--allow-url", &allowed]);
    for path in ["/good.png", "/near"] {
        let answer = server.post("/v1/chat/completions", &at(&format!("http://{allowed}{path}")));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["choices"][0]["message"]["content"], alone("wide"));
    }
    let started = Instant::now();
    for path in [
        "/elsewhere",
        "/name",
        "/number",
        "/six",
        "/cloud",
        "/file",
        "/round",
        "/page",
        "/drawing",
        "/huge",
        "/endless",
        "/none",
    ] {
        let answer = server.post("/v1/chat/completions", &at(&format!("http://{allowed}{path}")));
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert_eq!(
            answer.json()["error"]["param"],
            "messages[0].content[0]",
            "{path}"
        );
        assert!(!answer.body.contains("secret"), "{path}: {answer:?}");
    }
    for url in [
        format!("http://127.0.0.1:{elsewhere}/a.png"),
        format!("http://localhost:{elsewhere}/a.png"),
        format!("http://0x7f.1:{elsewhere}/a.png"),
        format!("http://{allowed}@127.0.0.1:{elsewhere}/a.png"),
        format!("http://user:word@{allowed}/good.png"),
        format!("ftp://{allowed}/good.png"),
        "gopher://127.0.0.1/".to_owned(),
    ] {
        assert_eq!(
            server.post("/v1/chat/completions", &at(&url)).status,
            400,
            "{url}"
        );
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        visits.load(Ordering::SeqCst),
        0,
        "somebody was there who must not be"
    );
    server.waits_for("monocle_http_requests_in_flight", 0.0);
}

/// Files are read below the folders that were named, and whether there are others is not told.
#[test]
fn files_are_read_below_the_allowed_folder_only() {
    let scratch = Scratch::new("serve-files");
    for name in ["in/a.png", "in/deep/b.png", "out/c.png"] {
        scratch.write(name, picture("wide"));
    }
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(scratch.file(to), scratch.file(name)).expect("a link")
    };
    link("out/c.png", "in/link.png");
    link("out", "in/folder");
    let allowed = scratch.file("in").display().to_string();
    let server = Server::start(&["--allow-files", &allowed]);
    let ask = |path: &str| {
        let url = format!("file://{}", scratch.path().join(path).display());
        server.post("/v1/chat/completions", &at(&url))
    };
    for path in ["in/a.png", "in/deep/b.png", "in/deep/../a.png"] {
        let answer = ask(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(
            answer.json()["choices"][0]["message"]["content"],
            alone("wide"),
            "{path}"
        );
    }
    let unknown = ask("in/none.png").body;
    for path in [
        "out/c.png",
        "in/../out/c.png",
        "in/link.png",
        "in/folder/c.png",
        "in",
        "in/%2e%2e/out/c.png",
        "inn/a.png",
    ] {
        let answer = ask(path);
        assert_eq!((answer.status, &answer.body), (400, &unknown), "{path}");
    }
    // No other folder, and none at all where none was named.
    let url = format!("file://{}", scratch.file("in/a.png").display());
    assert_eq!(
        Server::start(&[]).post("/v1/chat/completions", &at(&url)).status,
        400
    );
}

/// A picture of 60,000 by 60,000 pixels is told by its header, and more pictures than may be are not even looked at.
#[test]
fn pictures_that_are_too_large_or_too_many_are_refused_at_once() {
    let server = Server::start(&["--preload", "shapes"]);
    // PNG: a header and nothing behind it; the sum is that of `zlib.crc32`.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
    bomb.extend(0x0fb0_e215_u32.to_be_bytes());
    bomb.extend(b"\0\0\0\0IEND\xae\x42\x60\x82");
    let started = Instant::now();
    let url = format!("data:image/png;base64,{}", base64(&bomb));
    let answer = server.post("/v1/chat/completions", &at(&url));
    assert_eq!(answer.status, 400, "{answer:?}");
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["param"], &error["code"]),
        (&json!("messages[0].content[0]"), &json!("invalid_image"))
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|words| words.contains("60000")),
        "{error}"
    );
    let small = json!({"type": "image_url", "image_url": {"url": "data:image/gif;base64,AAAA"}});
    let many = json!({"model": "shapes", "messages": [{"role": "user", "content": vec![small; 257]}]});
    let answer = server.post("/v1/chat/completions", &many);
    assert!(answer.status == 400 && answer.body.contains("257"), "{answer:?}");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

/// Who goes while a picture is fetched does not wait for the picture's server.
#[test]
fn who_goes_while_a_picture_is_fetched_is_gone_at_once() {
    let (elsewhere, _) = forbidden();
    let allowed = format!("127.0.0.1:{}", hostile(elsewhere));
    let server = Server::start(&["--allow-url", &allowed, "--preload", "shapes"]);
    let asked = at(&format!("http://{allowed}/stall")).to_string();
    let gone: Vec<_> = (0..4)
        .map(|_| server.send("POST", "/v1/chat/completions", &[], &asked))
        .collect();
    server.waits_for("monocle_http_requests_in_flight", 4.0);
    let started = Instant::now();
    drop(gone);
    server.waits_for("monocle_http_requests_in_flight", 0.0);
    // The picture's server may be silent for ten seconds.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let answer = server.post("/v1/chat/completions", &at(&format!("http://{allowed}/good.png")));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], alone("wide"));
}
