//! An engine that stops, connections that bring nothing, clients that go at each stage: the server itself, in the test's own process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use monocle_runtime::scheduler::SchedulerOptions;
use monocle_server::app::ServerOptions;
use monocle_server::chat::pictures::PicturePlaces;
use monocle_server::engine::EngineMaker;
use monocle_server::models::catalogue::Catalogue;
use monocle_server::models::keep::KeepAlive;
use monocle_tests::observed::{Event, Observed};
use monocle_tests::project;
use monocle_tests::server::{Server, base64, read};
use serde_json::Value;

use super::{about, alone, picture};

/// A server with an engine whose runs of a program are counted, and of which one may panic.
struct Own {
    server: Server,
    runs: Arc<AtomicUsize>,
    panics_at: Arc<AtomicUsize>,
    seen: Arc<Seen>,
}

/// What else the engine was asked for.
#[derive(Default)]
struct Seen {
    encodings: AtomicUsize,
    /// Sequences that were begun and not dropped.
    sequences: AtomicUsize,
    /// Bytes that were left when the last sequence was dropped.
    left: AtomicUsize,
    /// Milliseconds that each encoding, and each other run, takes longer.
    slow_encoding: AtomicUsize,
    slow_run: AtomicUsize,
    /// Milliseconds that each engine takes to be made, and how many were asked for.
    slow_start: AtomicUsize,
    starts: AtomicUsize,
}

fn own() -> Own {
    own_with(SchedulerOptions {
        cache_limit: 64 << 20,
        ..SchedulerOptions::default()
    })
}

fn own_with(scheduler: SchedulerOptions) -> Own {
    let runs = Arc::new(AtomicUsize::new(0));
    let panics_at = Arc::new(AtomicUsize::new(usize::MAX));
    let seen = Arc::new(Seen::default());
    let (counted, limit, told) = (Arc::clone(&runs), Arc::clone(&panics_at), Arc::clone(&seen));
    let maker: EngineMaker = Arc::new(move || {
        let (counted, limit, told) = (Arc::clone(&counted), Arc::clone(&limit), Arc::clone(&told));
        told.starts.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(
            told.slow_start.load(Ordering::SeqCst) as u64
        ));
        Ok(Box::new(Observed {
            engine: project::engine(),
            ahead: false,
            refuses: |_| false,
            observer: move |event: Event<'_>| {
                let wait = |milliseconds: &AtomicUsize| {
                    std::thread::sleep(Duration::from_millis(milliseconds.load(Ordering::SeqCst) as u64));
                };
                match event {
                    Event::Run(_) => {
                        let run = counted.fetch_add(1, Ordering::SeqCst);
                        assert!(run < limit.load(Ordering::SeqCst), "the engine was told to panic");
                        wait(&told.slow_run);
                    }
                    Event::Encode => {
                        told.encodings.fetch_add(1, Ordering::SeqCst);
                        wait(&told.slow_encoding);
                    }
                    Event::Begin => {
                        told.sequences.fetch_add(1, Ordering::SeqCst);
                    }
                    Event::Drop(left) => {
                        told.left.store(left, Ordering::SeqCst);
                        told.sequences.fetch_sub(1, Ordering::SeqCst);
                    }
                    Event::Read(_) => {}
                }
            },
        }))
    });
    let options = ServerOptions {
        host: "127.0.0.1".parse().expect("an address"),
        port: 0,
        keys: Vec::new(),
        allowed_hosts: Vec::new(),
        origins: Vec::new(),
        head_time: Duration::from_secs(1),
        max_body: 16 << 20,
        max_requests: 64,
        max_requests_per_key: 64,
        longest_wait: None,
        longest: None,
        grace: Duration::from_secs(1),
        pictures: PicturePlaces::default(),
        scheduler,
        keep: KeepAlive::Always,
        preload: vec!["shapes".to_owned()],
        log: false,
    };
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        runtime.block_on(async {
            let places = project::places();
            let second = project::oracle("smolvlm").display().to_string();
            let second = places.find(&second, &mut |_| {}).expect("it is a model");
            let catalogue = Catalogue::new(places, vec![second], Vec::new());
            let server = monocle_server::server::Server::start(options, catalogue, maker).await;
            let server = server.expect("it starts");
            tell.send(server.address().expect("an address"))
                .expect("the test waits");
            // It ends with the test's process.
            let _ = server.run(std::future::pending()).await;
        });
    });
    let address = told.recv().expect("it listens");
    Own {
        server: Server::at(address),
        runs,
        panics_at,
        seen,
    }
}

#[test]
fn an_engine_that_stops_is_told_and_nobody_waits_for_it() {
    let own = own();
    let server = &own.server;
    let before = own.runs.load(Ordering::SeqCst);
    assert_eq!(server.post("/v1/chat/completions", &about("wide")).status, 200);
    assert_eq!(server.get("/health").status, 200);
    let taken = own.runs.load(Ordering::SeqCst) - before;
    assert!(taken > 4, "an answer has more tokens: {taken}");
    // Before any of the next answers can be whole.
    own.panics_at.store(before + taken + 2, Ordering::SeqCst);
    let mut body = about("tall");
    body["stream"] = true.into();
    let body = body.to_string();
    let streams: Vec<TcpStream> = (0..3)
        .map(|_| server.send("POST", "/v1/chat/completions", &[], &body))
        .collect();
    let whole = server.send("POST", "/v1/messages", &[], &anthropic());
    let started = Instant::now();
    for stream in streams {
        let answer = read(stream);
        // It had begun, or not.
        if answer.status == 200 {
            let events = answer.events();
            let [.., (_, error), (_, done)] = events.as_slice() else {
                panic!("{answer:?}")
            };
            let error: Value = serde_json::from_str(error).expect("JSON");
            assert!(
                error["error"]["message"]
                    .as_str()
                    .is_some_and(|words| words.contains("stopped")),
                "{error}"
            );
            assert_eq!(done, "[DONE]");
        } else {
            assert_eq!(answer.status, 503, "{answer:?}");
        }
    }
    assert_eq!(read(whole).status, 503);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(server.get("/health").status, 503);
    assert_eq!(server.post("/v1/chat/completions", &about("wide")).status, 503);
    for gauge in [
        "num_requests_running",
        "num_requests_waiting",
        "http_requests_in_flight",
    ] {
        server.waits_for(&format!("monocle_{gauge}"), 0.0);
    }
}

fn anthropic() -> String {
    serde_json::json!({
        "model": "shapes", "max_tokens": 100, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64(&picture("shapes"))}},
            {"type": "text", "text": "Describe this image."},
        ]}],
    })
    .to_string()
}

/// A connection may take a second here to bring a request's head, and stays as long as answers take.
#[test]
fn connections_that_bring_nothing_are_closed() {
    let own = own();
    let started = Instant::now();
    for words in [
        "",
        "GET / HT",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: a",
    ] {
        let mut stream = TcpStream::connect(&own.server.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a time");
        stream.write_all(words.as_bytes()).expect("it reads");
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(own.server.get("/health").status, 200);
}

/// Clients that go before anything is computed, in the encoder, in the prompt, in the answer: others are answered as ever, and nothing is left.
#[test]
fn clients_may_go_at_every_stage() {
    let own = own();
    let server = &own.server;
    let expected = alone("wide");
    for runs in [0, 1, 2, 3, 5, 8, 13] {
        let start = own.runs.load(Ordering::SeqCst);
        // Words of its own, so that nothing of it is known.
        let mut body = about("tall");
        body["messages"][0]["content"][1]["text"] = format!("Describe this image, {runs} times.").into();
        body["stream"] = (runs % 2 == 0).into();
        let gone = server.send("POST", "/v1/chat/completions", &[], &body.to_string());
        let waited = Instant::now();
        while own.runs.load(Ordering::SeqCst) < start + runs && waited.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_micros(200));
        }
        drop(gone);
        let answer = server.post("/v1/chat/completions", &about("wide")).json();
        assert_eq!(
            answer["choices"][0]["message"]["content"], expected,
            "after {runs} runs"
        );
        for gauge in [
            "num_requests_running",
            "num_requests_waiting",
            "http_requests_in_flight",
        ] {
            server.waits_for(&format!("monocle_{gauge}"), 0.0);
        }
    }
}

/// Who goes while it waits in the queue was never computed; who goes while its picture is encoded gets no further. Either way all memory is given
/// back, and who is answered beside it is answered on.
#[test]
fn who_goes_from_the_queue_or_the_encoder_gives_all_memory_back() {
    let own = own_with(SchedulerOptions {
        max_sessions: 1,
        ..SchedulerOptions::default()
    });
    let (server, seen) = (&own.server, &own.seen);
    let number = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "not in time: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // What is left after an answer, when nothing else was there; encoders and programs are known from then on.
    let expected = alone("wide");
    let answered = || {
        let answer = server.post("/v1/chat/completions", &about("wide")).json();
        assert_eq!(answer["choices"][0]["message"]["content"], expected);
        until("its sequence is dropped", &|| number(&seen.sequences) == 0);
        number(&seen.left)
    };
    answered();
    let left = answered();
    let gone = |name: &str| server.send("POST", "/v1/chat/completions", &[], &about(name).to_string());

    let mut long = about("shapes");
    long["guided_regex"] = "(red ){300}".into();
    long["max_tokens"] = 2000.into();
    long["stream"] = true.into();
    seen.slow_run.store(4, Ordering::SeqCst);
    let begun = number(&own.runs);
    let running = server.send("POST", "/v1/chat/completions", &[], &long.to_string());
    // Its own picture is encoded then.
    until("its prompt is computed", &|| number(&own.runs) > begun);
    let encodings = number(&seen.encodings);
    let waiting = gone("tall");
    server.waits_for("monocle_num_requests_waiting", 1.0);
    drop(waiting);
    server.waits_for("monocle_num_requests_waiting", 0.0);
    assert_eq!(
        server.metric("monocle_num_requests_running"),
        1.0,
        "the other one goes on"
    );
    assert_eq!((number(&seen.encodings), number(&seen.sequences)), (encodings, 1));
    let text: String = read(running)
        .events()
        .iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(text.trim_end(), "red ".repeat(300).trim_end());
    seen.slow_run.store(0, Ordering::SeqCst);
    assert_eq!(answered(), left, "after one that went from the queue");

    seen.slow_encoding.store(200, Ordering::SeqCst);
    let encodings = number(&seen.encodings);
    let encoding = gone("tall");
    until("it is encoded", &|| number(&seen.encodings) > encodings);
    drop(encoding);
    for gauge in [
        "num_requests_running",
        "num_requests_waiting",
        "http_requests_in_flight",
    ] {
        server.waits_for(&format!("monocle_{gauge}"), 0.0);
    }
    assert_eq!(number(&seen.sequences), 0);
    seen.slow_encoding.store(0, Ordering::SeqCst);
    assert_eq!(answered(), left, "after one that went from the encoder");
}

/// A model that takes ten seconds to be there keeps nobody waiting who asks another.
#[test]
fn a_model_that_loads_does_not_stop_the_others_answers() {
    let own = own();
    let (server, seen) = (&own.server, &own.seen);
    let expected = alone("wide");
    seen.slow_start.store(10_000, Ordering::SeqCst);
    let body = serde_json::json!({"model": "smolvlm", "max_tokens": 2, "messages": [{"role": "user", "content": "Go on."}]});
    let started = Instant::now();
    let loading = server.send("POST", "/v1/chat/completions", &[], &body.to_string());
    while seen.starts.load(Ordering::SeqCst) < 2 {
        assert!(started.elapsed() < Duration::from_secs(20), "it is not loaded");
        std::thread::sleep(Duration::from_millis(1));
    }
    let began = Instant::now();
    let answer = server.post("/v1/chat/completions", &about("wide")).json();
    assert_eq!(answer["choices"][0]["message"]["content"], expected);
    assert_eq!(server.get("/health").status, 200);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(read(loading).status, 200);
    assert!(started.elapsed() >= Duration::from_secs(10));
}

/// Where one is answered at a time, what came first as bulk work comes after a chat that came later.
#[test]
fn bulk_work_waits_for_chats() {
    let own = own_with(SchedulerOptions {
        max_sessions: 1,
        ..SchedulerOptions::default()
    });
    let (server, seen) = (&own.server, &own.seen);
    let ask = |stream: bool, tokens: usize, tier: &str| {
        let mut body = about("wide");
        body["guided_regex"] = "(red ){300}".into();
        body["max_tokens"] = tokens.into();
        body["stream"] = stream.into();
        body["service_tier"] = tier.into();
        server.send("POST", "/v1/chat/completions", &[], &body.to_string())
    };
    seen.slow_run.store(4, Ordering::SeqCst);
    let running = ask(true, 2000, "auto");
    server.waits_for("monocle_num_requests_running", 1.0);
    let bulk = ask(false, 100, "flex");
    server.waits_for("monocle_num_requests_waiting", 1.0);
    let chat = ask(false, 100, "auto");
    server.waits_for("monocle_num_requests_waiting", 2.0);
    drop(running);
    let ended = |stream: TcpStream| {
        assert_eq!(read(stream).status, 200);
        Instant::now()
    };
    let [bulk, chat] = std::thread::scope(|scope| {
        [bulk, chat]
            .map(|stream| scope.spawn(|| ended(stream)))
            .map(|thread| thread.join().expect("it is answered"))
    });
    assert!(chat < bulk);
}
