//! Many clients at once, for a while: some ask well, some badly, some go before the answer is there.
//!
//! `MONOCLE_LOAD_SECONDS` says how long; half a minute where nobody does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use monocle_tests::server::{Server, base64};
use serde_json::{Value, json};

use super::{PICTURES, QUESTION, about, alone, picture};

const CLIENTS: usize = 32;

/// Steps of a client, one after another, another beginning for each.
fn act(server: &Server, step: usize, expected: &[String; 3]) {
    let which = (step / 3) % PICTURES.len();
    let name = PICTURES[which];
    let bytes = base64(&picture(name));
    match step % 11 {
        0..=2 => {
            let answer = server.post("/v1/chat/completions", &about(name));
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["choices"][0]["message"]["content"], expected[which]);
        }
        3 => {
            let mut body = about(name);
            body["stream"] = true.into();
            let events = server.post("/v1/chat/completions", &body).events();
            let chunks = events
                .iter()
                .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
            let text: String = chunks
                .filter_map(|chunk| {
                    chunk["choices"][0]["delta"]["content"]
                        .as_str()
                        .map(str::to_owned)
                })
                .collect();
            assert_eq!(text, expected[which]);
        }
        4 => {
            let body = json!({"model": "shapes", "prompt": QUESTION, "images": [bytes], "stream": false});
            assert_eq!(
                server.post("/api/generate", &body).json()["response"],
                expected[which]
            );
        }
        5 => {
            let source = json!({"type": "base64", "media_type": "image/png", "data": bytes});
            let content = json!([{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]);
            let body = json!({"model": "shapes", "max_tokens": 200, "messages": [{"role": "user", "content": content}]});
            assert_eq!(
                server.post("/v1/messages", &body).json()["content"][0]["text"],
                expected[which]
            );
        }
        6 => {
            let mut body = about(name);
            body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {
                "type": "object", "required": ["red"], "additionalProperties": false, "properties": {"red": {"type": "boolean"}},
            }}});
            let answer = server.post("/v1/chat/completions", &body).json();
            let text = answer["choices"][0]["message"]["content"]
                .as_str()
                .expect("a text");
            assert!(
                serde_json::from_str::<Value>(text).is_ok_and(|value| value["red"].is_boolean()),
                "{answer}"
            );
        }
        7 => {
            let mut body = about(name);
            body["messages"][0]["content"][0]["image_url"]["url"] = "data:image/png;base64,AAAA".into();
            assert_eq!(server.post("/v1/chat/completions", &body).status, 400);
        }
        8 => assert_eq!(server.ask("POST", "/api/chat", &[], "{\"model\": ").status, 400),
        // Gone while it waits, is prepared or answered.
        9 => {
            let stream = server.send("POST", "/v1/chat/completions", &[], &about(name).to_string());
            std::thread::sleep(Duration::from_millis((step * 7 % 60) as u64));
            drop(stream);
        }
        _ => assert_eq!(server.get("/v1/models").status, 200),
    }
}

/// Kilobytes that a process has in memory.
fn resident(server: &Server) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process()?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn many_clients_get_their_answers_and_leave_nothing_behind() {
    let seconds = std::env::var("MONOCLE_LOAD_SECONDS").map_or(30, |text| text.parse().expect("seconds"));
    let server = Server::start(&["--preload", "shapes", "--cache-limit", "16MB"]);
    let expected = PICTURES.map(alone);
    let (over, steps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut early = None;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, expected, over, steps) = (&server, &expected, &over, &steps);
            scope.spawn(move || {
                let mut step = client * 5;
                while !over.load(Ordering::Relaxed) {
                    act(server, step, expected);
                    steps.fetch_add(1, Ordering::Relaxed);
                    step += 1;
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(200));
            // What grows at first are caches, and the memory of threads.
            if early.is_none() && started.elapsed() > Duration::from_secs(seconds / 2) {
                early = resident(&server);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    eprintln!("{} requests in {seconds} s", steps.load(Ordering::Relaxed));
    assert!(steps.load(Ordering::Relaxed) > CLIENTS * 2);
    for gauge in [
        "num_requests_running",
        "num_requests_waiting",
        "http_requests_in_flight",
    ] {
        server.waits_for(&format!("monocle_{gauge}"), 0.0);
    }
    if let (Some(early), Some(late)) = (early, resident(&server)) {
        assert!(
            late < early + early / 8 + (16 << 10),
            "{early} kB, then {late} kB"
        );
    }
    assert_eq!(server.post("/v1/chat/completions", &about("wide")).status, 200);
}
