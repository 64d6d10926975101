//! Who may ask, what becomes of those who go, which models are loaded, and how it stops.

use std::io::Read;
use std::time::{Duration, Instant};

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::server::Server;
use serde_json::{Value, json};

use super::{about, alone};

/// A checkpoint whose answers do not end by themselves.
fn endless_model() -> String {
    project::oracle("smolvlm").display().to_string()
}

/// A request that takes longer than a test.
fn endless() -> Value {
    json!({
        "model": "smolvlm", "max_tokens": 8000, "stream": true, "messages": [{"role": "user", "content": "Go on."}],
    })
}

#[test]
fn only_this_machines_own_names_and_pages_reach_it() {
    let server = Server::start(&[
        "--allow-host",
        "chat.example.org",
        "--cors",
        "https://app.example.org",
    ]);
    let status = |headers: &[(&str, &str)]| server.ask("GET", "/v1/models", headers, "").status;
    assert_eq!(status(&[]), 200);
    assert_eq!(status(&[("Host", "localhost:1")]), 200);
    assert_eq!(status(&[("Host", "chat.example.org")]), 200);
    assert_eq!(status(&[("Host", "evil.example.org")]), 403);
    assert_eq!(status(&[("Host", "127.0.0.1.nip.io")]), 403);
    assert_eq!(status(&[("Origin", "https://evil.example.org")]), 403);
    assert_eq!(status(&[("Origin", "null")]), 403);
    let own = format!("http://{}", server.address);
    assert_eq!(status(&[("Origin", &own)]), 200);
    let allowed = server.ask(
        "OPTIONS",
        "/v1/models",
        &[("Origin", "https://app.example.org")],
        "",
    );
    assert_eq!(allowed.status, 204);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
    assert_eq!(
        server.get("/v1/models").header("access-control-allow-origin"),
        None
    );
}

#[test]
fn keys_are_asked_for_everywhere_but_at_the_door() {
    let server = Server::start(&["--api-key", "first", "--api-key", "second"]);
    for path in ["/v1/models", "/metrics", "/props", "/api/tags", "/nothing"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!((server.get("/").status, server.get("/health").status), (200, 200));
    for header in [("Authorization", "Bearer second"), ("x-api-key", "first")] {
        assert_eq!(server.ask("GET", "/v1/models", &[header], "").status, 200);
    }
    for header in [
        ("Authorization", "Bearer secon"),
        ("x-api-key", ""),
        ("Authorization", "first"),
    ] {
        assert_eq!(
            server.ask("GET", "/v1/models", &[header], "").status,
            401,
            "{header:?}"
        );
    }
    Monocle::new(["serve", "--host", "0.0.0.0", "--port", "0"])
        .fails(1, &["there is no key", "--api-key-file"]);
}

#[test]
fn who_goes_leaves_nothing_behind_and_others_are_answered_as_ever() {
    let server = Server::start(&[&endless_model(), "--preload", "shapes", "--preload", "smolvlm"]);
    for stream in [true, false] {
        let mut body = endless();
        body["stream"] = stream.into();
        let gone: Vec<_> = (0..4)
            .map(|_| server.send("POST", "/v1/chat/completions", &[], &body.to_string()))
            .collect();
        server.waits_for("monocle_num_requests_running", 4.0);
        if stream {
            let mut first = [0; 64];
            (&gone[0]).read_exact(&mut first).expect("an answer begins");
        }
        let text = server.post("/v1/chat/completions", &about("wide")).json();
        assert_eq!(text["choices"][0]["message"]["content"], alone("wide"));
        drop(gone);
        for gauge in [
            "num_requests_running",
            "num_requests_waiting",
            "http_requests_in_flight",
        ] {
            server.waits_for(&format!("monocle_{gauge}"), 0.0);
        }
    }
    assert_eq!(server.metric("monocle_client_disconnected_total"), 8.0);
}

#[test]
fn no_more_is_taken_in_than_may_be() {
    let server = Server::start(&[&endless_model(), "--max-requests", "1"]);
    let first = server.send("POST", "/v1/chat/completions", &[], &endless().to_string());
    server.waits_for("monocle_num_requests_running", 1.0);
    let second = server.post("/v1/chat/completions", &about("wide"));
    assert_eq!(second.status, 503);
    assert!(second.header("retry-after").is_some() && second.header("x-should-retry").is_none());
    drop(first);
    server.waits_for("monocle_http_requests_in_flight", 0.0);
    assert_eq!(server.post("/v1/chat/completions", &about("wide")).status, 200);
}

/// One key's requests do not take the place of another's. Keys may be in a file, a line each.
#[test]
fn a_key_has_so_many_requests_at_once() {
    let scratch = Scratch::new("serve-keys");
    let keys = scratch.write("keys", "# of the house\nfirst\n\n  second\n");
    let (keys, model) = (keys.display().to_string(), endless_model());
    let server = Server::start(&[&model, "--api-key-file", &keys, "--max-requests-per-key", "1"]);
    let ask = |key: &str, body: &Value| {
        server.ask(
            "POST",
            "/v1/chat/completions",
            &[("x-api-key", key)],
            &body.to_string(),
        )
    };
    let running = server.send(
        "POST",
        "/v1/chat/completions",
        &[("x-api-key", "first")],
        &endless().to_string(),
    );
    let mut first = [0; 1];
    (&running).read_exact(&mut first).expect("an answer begins");
    let refused = ask("first", &about("wide"));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.header("retry-after").is_some() && refused.header("x-should-retry").is_none());
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert_eq!(ask("second", &about("wide")).status, 200);
    assert_eq!(ask("# of the house", &about("wide")).status, 401);
    drop(running);
    let started = Instant::now();
    while ask("first", &about("wide")).status != 200 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "its place is not given back"
        );
    }
    let empty = scratch.write("empty", "# nobody\n").display().to_string();
    Monocle::new(["serve", "--port", "0", "--api-key-file", &empty]).fails(1, &["no key"]);
}

/// A line for each request says when, what and how long, and nothing of what was asked and answered.
#[test]
fn the_log_holds_no_word_of_a_request() {
    let server = Server::start_logging(&["--preload", "shapes", "--api-key", "sesame"]);
    let mut body = about("wide");
    body["messages"][0]["content"][1]["text"] = "A secret: describe this image.".into();
    let headers = [("Authorization", "Bearer sesame")];
    let answer = server.ask(
        "POST",
        "/v1/chat/completions?word=hidden",
        &headers,
        &body.to_string(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.header("x-request-id").expect("each has one").to_owned();
    assert_eq!(answer.header("request-id"), Some(id.as_str()));
    let said = server.says(&id);
    let line = said.lines().find(|line| line.contains(&id)).expect("a line");
    let mut words = line.split(' ');
    let time = words.next().expect("a time");
    assert!(
        time.len() == 20 && time.starts_with("20") && time.ends_with('Z'),
        "{line}"
    );
    let rest: Vec<&str> = words.collect();
    assert_eq!(rest[..4], [&id, "POST", "/v1/chat/completions", "200"], "{line}");
    assert!(rest[4].parse::<u32>().is_ok() && rest[5] == "ms", "{line}");
    let text = answer.json()["choices"][0]["message"]["content"].to_string();
    for secret in ["secret", "hidden", "sesame", "base64", text.trim_matches('"')] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    // What was refused is told, too.
    let refused = server.ask("GET", "/v1/models", &[("Origin", "https://evil.example.org")], "");
    let line = server.says(refused.header("x-request-id").expect("each has one"));
    assert!(line.contains(" GET /v1/models 403 "), "{line}");
}

#[test]
fn models_are_loaded_when_asked_for_and_go_when_they_should() {
    let server = Server::start(&[]);
    let names = |path: &str, list: &str, key: &str| -> Vec<String> {
        let listed = server.get(path).json();
        let entries = listed[list].as_array().expect("a list").iter();
        entries
            .map(|entry| entry[key].as_str().expect("a name").to_owned())
            .collect()
    };
    assert!(names("/v1/models", "data", "id").contains(&"shapes".to_owned()));
    assert!(names("/api/tags", "models", "model").contains(&"shapes".to_owned()));
    assert_eq!(names("/api/ps", "models", "name"), [""; 0]);
    let load = server.post("/api/generate", &json!({"model": "shapes"})).json();
    assert_eq!(load["done_reason"], "load");
    assert_eq!(names("/api/ps", "models", "name"), ["shapes"]);
    let state = server.get("/api/v0/models").json();
    let shapes = state["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|model| model["id"] == "shapes");
    assert_eq!(shapes.expect("it is listed")["state"], "loaded");
    let unload = server
        .post("/api/generate", &json!({"model": "shapes", "keep_alive": 0}))
        .json();
    assert_eq!(unload["done_reason"], "unload");
    assert_eq!(names("/api/ps", "models", "name"), [""; 0]);
    let show = server.post("/api/show", &json!({"name": "shapes"})).json();
    assert!(
        show["model_info"]
            .as_object()
            .expect("an object")
            .keys()
            .any(|key| key.ends_with(".context_length"))
    );
    assert_eq!(server.get("/v1/models/shapes").json()["id"], "shapes");
    assert_eq!(server.get("/v1/models/nothing").status, 404);
    assert_eq!(
        server.get("/props?model=shapes").json()["modalities"]["vision"],
        true
    );
    assert_eq!(server.ask("HEAD", "/", &[], "").status, 200);
}

#[test]
fn it_stops_when_answers_are_given() {
    let server = Server::start(&[&endless_model()]);
    let mut body = endless();
    body["max_tokens"] = 600.into();
    let mut running = server.send("POST", "/v1/chat/completions", &[], &body.to_string());
    let mut first = [0; 1];
    running.read_exact(&mut first).expect("an answer begins");
    server.tell_to_stop();
    let mut rest = String::new();
    running.read_to_string(&mut rest).expect("it goes on");
    assert!(rest.contains("[DONE]"), "{rest}");
    assert_eq!(server.ends(), 0);
}

#[test]
fn browsers_get_a_page_that_loads_its_own_files_only() {
    let server = Server::start(&["--api-key", "secret"]);
    let html = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = server.ask("GET", "/", &[html], "");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = page.header("content-security-policy").expect("there is a policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    // What the page and its scripts load is there, without the key, and nothing is from elsewhere.
    let mut names: Vec<String> = quoted(&page.body, "/page/");
    assert_eq!(names.len(), 2, "{names:?}");
    let script = server.get("/page/main.js");
    names.extend(quoted(&script.body, "./"));
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let file = server.get(&format!("/page/{name}"));
        assert_eq!(file.status, 200, "{name}");
        assert!(file.header("content-security-policy").is_some(), "{name}");
        for elsewhere in ["src=\"http", "from \"http", "import(\"http", "url(http"] {
            assert!(!file.body.contains(elsewhere), "{name}: {elsewhere}");
        }
        // Text that a model wrote never becomes HTML.
        assert!(
            !file.body.contains("innerHTML") && !file.body.contains("eval("),
            "{name}"
        );
    }
    assert_eq!(server.get("/page/other.js").status, 404);
    assert_eq!(server.get("/page/..%2fCargo.toml").status, 404);
    // Programs that look for Ollama find its words.
    assert_eq!(server.get("/").body, "Ollama is running\n");
}

/// Names in quotation marks that begin so, without that beginning.
fn quoted(text: &str, start: &str) -> Vec<String> {
    let parts = text.split('"').filter_map(|part| part.strip_prefix(start));
    parts.map(str::to_owned).collect()
}
