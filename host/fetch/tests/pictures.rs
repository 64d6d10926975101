//! Pictures from a server: a small one on this machine, in many moods.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use monocle_fetch::http::{HttpError, Limits};
use monocle_fetch::picture::{MOST_BYTES, PictureError, PictureFetcher};
use url::Url;

/// Answers by path; ends with the test.
struct Server {
    port: u16,
    /// Requests with their headers.
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

type Site = fn(&str) -> Vec<u8>;

impl Server {
    fn start(site: Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().take(100).flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream, site, &log));
            }
        });
        Self { port, requests, stop }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(mut stream: TcpStream, site: Site, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    let request: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let port = stream.local_addr()?.port();
    let path = request
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned();
    log.lock().unwrap().push(request.join("\n"));
    match path.as_str() {
        "/silent" => std::thread::sleep(Duration::from_millis(1500)),
        "/slow" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
            for _ in 0..40 {
                stream.write_all(b"x")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
            for _ in 0..60 {
                stream.write_all(chunk.as_bytes())?;
            }
        }
        path => {
            let text = String::from_utf8_lossy(&site(path)).replace("PORT", &port.to_string());
            stream.write_all(text.as_bytes())?;
        }
    }
    stream.flush()
}

fn with(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
    .into()
}

fn to(target: &str) -> Vec<u8> {
    with("302 Found", &format!("Location: {target}\r\n"), "")
}

fn site(path: &str) -> Vec<u8> {
    match path {
        "/photo.png" => with(
            "200 OK",
            "Content-Type: image/png\r\nSet-Cookie: a=b\r\n",
            "a picture",
        ),
        "/unknown" => with("200 OK", "", "a picture"),
        "/page" => with(
            "200 OK",
            "Content-Type: text/html; charset=utf-8\r\n",
            "<html>secret</html>",
        ),
        "/gone" => with("404 Not Found", "", "secret"),
        "/busy" => with("503 Service Unavailable", "", "secret"),
        "/part" => with("206 Partial Content", "", "a pic"),
        "/long" => format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            MOST_BYTES + 1
        )
        .into(),
        "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\na pic".into(),
        "/1" => to("/photo.png"),
        "/2" => to("http://localhost:PORT/1"),
        "/3" => to("/2"),
        "/4" => to("/3"),
        "/loop" => to("/loop"),
        "/file" => to("file:///etc/passwd"),
        "/user" => to("http://me:secret@127.0.0.1:PORT/photo.png"),
        "/port" => to("http://127.0.0.1:22/photo.png"),
        "/nowhere" => with("302 Found", "", ""),
        _ => with("400 Bad Request", "", ""),
    }
}

fn private() -> PictureFetcher {
    PictureFetcher::new(true)
}

fn refused(error: PictureError) -> String {
    assert!(
        matches!(
            error,
            PictureError::Http {
                source: HttpError::Refused { .. },
                ..
            }
        ),
        "{error:?}"
    );
    error.to_string()
}

#[test]
fn a_picture_comes_and_nothing_but_the_question_goes() {
    let server = Server::start(site);
    let mut fetcher = private();
    let url = server.url("/photo.png?key=secret");
    // The path of this little server has no query.
    assert!(matches!(
        fetcher.web(&url),
        Err(PictureError::Status { status: 400, .. })
    ));
    let fetched = fetcher.web(&server.url("/photo.png")).unwrap();
    assert_eq!(fetched.bytes, b"a picture");
    assert_eq!(fetched.name, server.url("/photo.png").as_str());
    assert_eq!(fetcher.web(&server.url("/unknown")).unwrap().bytes, b"a picture");
    server.requests();
    // Each address is asked once, and no cookie comes back.
    fetcher.web(&server.url("/photo.png")).unwrap();
    fetcher.web(&server.url("/1")).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    for request in requests {
        for header in ["cookie:", "authorization:", "referer:", "range:"] {
            assert!(!request.to_lowercase().contains(header), "{request}");
        }
    }
}

#[test]
fn this_machine_and_its_network_are_asked_only_on_demand() {
    let server = Server::start(site);
    let port = server.port;
    let mut fetcher = PictureFetcher::new(false);
    for host in [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[fe80::1]",
        "[fc00::1]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "127.0.0.1.",
    ] {
        let url = Url::parse(&format!("http://{host}:{port}/photo.png?secret")).unwrap();
        let error = fetcher.web(&url).unwrap_err();
        // A system without IPv6, or without this spelling of its name, finds nothing.
        let is_refused = matches!(
            error,
            PictureError::Http {
                source: HttpError::NotPublic { .. },
                ..
            }
        );
        let is_unknown = host.starts_with("localhost.")
            && matches!(
                error,
                PictureError::Http {
                    source: HttpError::Unreachable(_),
                    ..
                }
            );
        assert!(is_refused || is_unknown, "{host}: {error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(server.requests(), [""; 0]);
    assert!(private().web(&server.url("/photo.png")).is_ok());
}

#[test]
fn three_redirects_are_followed_and_each_is_checked() {
    let server = Server::start(site);
    let mut fetcher = private();
    assert_eq!(fetcher.web(&server.url("/3")).unwrap().bytes, b"a picture");
    for path in ["/4", "/loop"] {
        let error = fetcher.web(&server.url(path)).unwrap_err();
        assert!(
            matches!(
                error,
                PictureError::Http {
                    source: HttpError::Redirects(3),
                    ..
                }
            ),
            "{error:?}"
        );
    }
    server.requests();
    assert!(
        refused(fetcher.web(&server.url("/file")).unwrap_err())
            .contains("only https and http are known, not file")
    );
    let user = refused(fetcher.web(&server.url("/user")).unwrap_err());
    assert!(
        user.contains("names a user") && !user.contains("secret") && !user.contains("me@"),
        "{user}"
    );
    assert!(refused(fetcher.web(&server.url("/port")).unwrap_err()).contains("the port 22"));
    assert_eq!(server.requests().len(), 3);
    assert!(matches!(
        fetcher.web(&server.url("/nowhere")),
        Err(PictureError::Http {
            source: HttpError::Malformed(_),
            ..
        })
    ));
    let mut named = server.url("/photo.png");
    named.set_username("me").unwrap();
    assert!(refused(fetcher.web(&named).unwrap_err()).contains("names a user"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn what_is_no_picture_is_said_without_its_words() {
    let server = Server::start(site);
    let mut fetcher = private();
    for (path, words) in [
        ("/page", "says that it is `text/html`"),
        ("/gone", "status 404 (there is nothing at this address)"),
        ("/busy", "status 503 (it cannot answer now; try again later)"),
        ("/part", "status 206"),
        ("/long", "it sends more than 20971520 bytes"),
        ("/endless", "it sends more than 20971520 bytes"),
        ("/short", "it hung up"),
    ] {
        let error = fetcher.web(&server.url(path)).unwrap_err().to_string();
        assert!(
            error.contains(words) && !error.contains("secret"),
            "{path}: {error}"
        );
    }
}

#[test]
fn silence_and_slowness_have_an_end() {
    let server = Server::start(site);
    let limits = Limits {
        silence: Duration::from_millis(300),
        total: Some(Duration::from_millis(700)),
        redirects: 3,
    };
    let mut fetcher = private().within(limits);
    for path in ["/silent", "/slow"] {
        let started = Instant::now();
        let error = fetcher.web(&server.url(path)).unwrap_err();
        assert!(
            started.elapsed() < Duration::from_millis(1400),
            "{path}: {:?}",
            started.elapsed()
        );
        let expected = match path {
            "/silent" => matches!(
                error,
                PictureError::Http {
                    source: HttpError::Silent(_),
                    ..
                }
            ),
            _ => matches!(
                error,
                PictureError::Http {
                    source: HttpError::Slow(_),
                    ..
                }
            ),
        };
        assert!(expected, "{path}: {error:?}");
    }
}
