//! A small server with an OpenAI-style interface, as `monocle check` and `monocle eval` meet others: it answers with what it was asked, at times
//! that are known.
//!
//! `other-server PORT LOG [FAULT]`: each thing that happens is a line of `LOG`. Faults: `dies` before it listens; `hangs` after its first piece;
//! `breaks` with an error in the middle of an answer; `refuses` with status 503; `cut` ends without an end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

/// Until the first piece, and between pieces.
const FIRST: Duration = Duration::from_millis(150);
const BETWEEN: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, log, rest @ ..] = arguments.as_slice() else {
        panic!("expected a port and a file");
    };
    let fault = rest.first().cloned().unwrap_or_default();
    note(log, "started");
    if fault == "dies" {
        eprintln!("no such device: the moon");
        std::process::exit(3);
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    for stream in listener.incoming().map_while(Result::ok) {
        let (log, fault) = (log.clone(), fault.clone());
        std::thread::spawn(move || {
            // Who asked may be gone.
            let _ = answer(stream, &log, &fault);
        });
    }
}

fn note(log: &str, line: &str) {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("the log can be written");
    // In one write: several who ask at once append to the same file, and `writeln!` would write the line and its end apart.
    file.write_all(format!("{line}\n").as_bytes())
        .expect("there is room");
}

fn answer(stream: TcpStream, log: &str, fault: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut stream = reader.into_inner();
    match head.split(' ').take(2).collect::<Vec<_>>()[..] {
        ["GET", "/health"] => whole(&mut stream, "200 OK", &json!({"status": "ok"})),
        ["GET", "/v1/models"] => whole(
            &mut stream,
            "200 OK",
            &json!({"data": [{"id": "the-first"}, {"id": "another"}]}),
        ),
        ["POST", "/v1/chat/completions"] => {
            let asked: Value = serde_json::from_slice(&body).expect("the body is JSON");
            note(log, &format!("asked {asked}"));
            match fault {
                "refuses" => whole(
                    &mut stream,
                    "503 Busy",
                    &json!({"error": {"message": "come back later"}}),
                ),
                _ => pieces(&mut stream, &asked, fault),
            }
        }
        _ => whole(&mut stream, "404 Not Found", &json!({})),
    }
}

fn whole(stream: &mut TcpStream, status: &str, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())
}

/// The answer, word by word: how many pictures and turns there are, and what was asked last.
fn pieces(stream: &mut TcpStream, asked: &Value, fault: &str) -> std::io::Result<()> {
    let messages = asked["messages"].as_array().cloned().unwrap_or_default();
    let parts: Vec<Value> = messages
        .iter()
        .filter_map(|message| message["content"].as_array().cloned())
        .flatten()
        .collect();
    let pictures = parts.iter().filter(|part| part["type"] == "image_url").count();
    let turns = messages
        .iter()
        .filter(|message| message["role"] == "user")
        .count();
    let last = parts
        .last()
        .and_then(|part| part["text"].as_str())
        .unwrap_or_default();
    let text = match last.to_lowercase().contains("title") {
        true => "Title: Two red circles\nDescription: Two red circles lie beside a long blue bar on white paper, and a small green \
                 triangle stands between them.\nKeywords: circle, red, bar, blue, triangle, green, paper, white, shapes, drawing"
            .to_owned(),
        false => format!("{pictures} in {turns}"),
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
    let mut event = |value: &Value| stream.write_all(format!("data: {value}\n\n").as_bytes());
    // The role comes at once, and is no text.
    event(&json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))?;
    std::thread::sleep(FIRST);
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            std::thread::sleep(BETWEEN);
        }
        event(&json!({"choices": [{"index": 0, "delta": {"content": word}}]}))?;
        match fault {
            "hangs" => std::thread::sleep(Duration::from_secs(600)),
            "breaks" => return event(&json!({"error": {"message": "the device is gone"}})),
            "cut" => return Ok(()),
            _ => {}
        }
    }
    event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))?;
    event(&json!({"choices": [], "usage": {"prompt_tokens": 321, "completion_tokens": words.len()}}))?;
    stream.write_all(b"data: [DONE]\n\n")
}
