//! Other programs' servers, as they answer: well, badly, and not at all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use monocle_fetch::endpoint::{Endpoint, EndpointError, Question, Reply};
use monocle_fetch::http::HttpError;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What a server that says this, and no more, is found to have answered; and what it was sent.
fn asked(said: &[u8], key: Option<&str>) -> (Result<Reply, EndpointError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, sent) = mpsc::channel();
    let said = said.to_vec();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
        let length = head.to_lowercase();
        let length = length
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let _ = sender.send(head + &String::from_utf8_lossy(&body));
        let _ = reader.into_inner().write_all(&said);
    });
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/v1/"), key.map(str::to_owned));
    let mut options = Map::new();
    options.insert("temperature".to_owned(), json!(0));
    let question = Question {
        model: "m",
        messages: json!([{"role": "user", "content": "x"}]),
        max_tokens: 7,
        options: &options,
        silence: Duration::from_millis(400),
        total: Some(Duration::from_secs(20)),
    };
    let reply = endpoint.ask(&question);
    (reply, sent.recv().unwrap())
}

/// A server that answers one request a connection, and does not say so: who asks again on the same one is hung up on. llama.cpp's does so after
/// answers in pieces.
#[test]
fn a_server_that_hangs_up_after_each_answer_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(3).flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                }
                let listed = "{\"data\":[{\"id\":\"m\"}]}";
                let length = listed.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{listed}"
                );
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
                // Open until something more comes.
                let _ = reader.read_line(&mut line);
            });
        }
    });
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/v1"), None);
    for _ in 0..3 {
        let names = endpoint.models(Duration::from_secs(5)).unwrap();
        assert_eq!(names, ["m"]);
    }
}

fn streamed(events: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{events}")
        .into_bytes()
}

#[test]
fn an_answer_comes_in_pieces_or_whole() {
    // As vLLM and llama-server write it; a comment, a blank between, and line ends of both kinds.
    let events = concat!(
        ": ping\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n",
        "data:{\"choices\":[{\"delta\":{\"content\":\"two \"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"words\"},\"finish_reason\":\"length\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n",
    );
    let (reply, sent) = asked(&streamed(events), Some("sesame"));
    let reply = reply.unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.reasoning.as_str()),
        ("two words", "hm")
    );
    assert_eq!((reply.prompt_tokens, reply.answer_tokens), (Some(9), Some(3)));
    assert_eq!(reply.finish.as_deref(), Some("length"));
    assert!(reply.first.unwrap() <= reply.last && reply.last <= reply.total);
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(
        head.to_lowercase().contains("authorization: bearer sesame"),
        "{head}"
    );
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 7, "stream": true,
            "stream_options": {"include_usage": true}, "temperature": 0})
    );
    // A server that does not stream; no time to the first piece can be told.
    let whole = "{\"choices\":[{\"message\":{\"content\":\"two words\"},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":2}}";
    let whole = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{whole}",
        whole.len()
    );
    let reply = asked(whole.as_bytes(), None).0.unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.first, reply.answer_tokens),
        ("two words", None, Some(2))
    );
}

#[test]
fn what_goes_wrong_is_told_apart() {
    let piece = "data: {\"choices\":[{\"delta\":{\"content\":\"two \"}}]}\n\n";
    let refused = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    assert!(
        matches!(asked(refused, None).0, Err(EndpointError::Status { status: 503, said, .. }) if said == "busy")
    );
    let told =
        b"HTTP/1.1 400 Bad\r\nContent-Length: 39\r\n\r\n{\"error\":{\"message\":\"it is \\\"busy\\\"\"}}  ";
    assert!(
        matches!(asked(told, None).0, Err(EndpointError::Status { status: 400, said, .. }) if said.starts_with("it is")),
        "the message alone"
    );
    // No end was said: it broke off.
    assert!(matches!(
        asked(&streamed(piece), None).0,
        Err(EndpointError::Http {
            source: HttpError::HungUp,
            ..
        })
    ));
    let failed = format!("{piece}data: {{\"error\":{{\"message\":\"out of memory\"}}}}\n\n");
    assert!(
        matches!(asked(&streamed(&failed), None).0, Err(EndpointError::Failed { said, .. }) if said == "out of memory")
    );
    for nonsense in ["data: <html>\n\n", "data: {\n\n"] {
        assert!(
            matches!(
                asked(&streamed(nonsense), None).0,
                Err(EndpointError::Malformed { .. })
            ),
            "{nonsense}"
        );
    }
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    assert!(matches!(
        asked(page, None).0,
        Err(EndpointError::Malformed { .. })
    ));
    let other = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    assert!(matches!(
        asked(other, None).0,
        Err(EndpointError::Malformed { .. })
    ));
    // A redirect is an answer like any other: nothing is sent elsewhere.
    let elsewhere = b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(
        asked(elsewhere, None).0,
        Err(EndpointError::Status { status: 307, .. })
    ));
    // Promised and not sent.
    let silent = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    let silent = asked(silent, None).0;
    assert!(
        matches!(
            silent,
            Err(EndpointError::Http {
                source: HttpError::Silent(_) | HttpError::HungUp,
                ..
            })
        ),
        "{silent:?}"
    );
    let nobody = Endpoint::new("http://127.0.0.1:1/v1", None);
    assert!(nobody.models(Duration::from_secs(2)).is_err());
    assert!(!nobody.is_ready("http://127.0.0.1:1/health", Duration::from_secs(2)));
    assert!(!Endpoint::new("nonsense", None).is_ready("nonsense", Duration::from_secs(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_server_says_is_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), is_stream: bool) {
        let said = match is_stream {
            true => [streamed("data: "), bytes].concat(),
            false => bytes,
        };
        let _ = asked(&said, None);
    }
}
