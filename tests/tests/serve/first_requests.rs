//! What well-known programs ask first, and what they read of the answers; where the facts come from: the comments. And what many ask at once.

use std::time::{Duration, Instant};

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::server::{Server, base64};
use serde_json::{Value, json};

use super::{QUESTION, about, alone, data, picture};

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    let found = value.pointer(path).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("{path} is no text in {value}"))
}

/// The entry of the demo model in a list.
fn entry(list: &Value, name: &str, key: &str) -> Value {
    let entries = list[name]
        .as_array()
        .unwrap_or_else(|| panic!("no list {name} in {list}"));
    let own = entries.iter().find(|entry| entry[key] == "shapes");
    own.unwrap_or_else(|| panic!("the demo model is not in {list}"))
        .clone()
}

/// Lists of models: Open WebUI, LibreChat and Home Assistant read names; Zed refuses a whole list where a text of Ollama's details is missing, or
/// an entry of LM Studio's has not all that its crate `lmstudio` reads; Continue reads lines of `parameters`; Frigate asks llama-server's `/props`.
#[test]
fn programs_find_the_models_and_what_they_can_do() {
    let server = Server::start(&["--preload", "shapes"]);
    let openai = entry(&server.get("/v1/models").json(), "data", "id");
    assert_eq!(openai["object"], "model");
    assert!(
        openai["created"].is_u64() && openai["owned_by"].is_string(),
        "{openai}"
    );
    let modalities = openai
        .pointer("/architecture/input_modalities")
        .expect("as llama-server has it");
    assert!(
        modalities
            .as_array()
            .is_some_and(|list| list.contains(&json!("image"))),
        "{openai}"
    );
    assert!(
        openai.pointer("/meta/n_ctx").is_some_and(Value::is_u64),
        "{openai}"
    );

    let version = server.get("/api/version").json();
    assert!(!text(&version, "/version").is_empty());
    let tag = entry(&server.get("/api/tags").json(), "models", "model");
    for path in [
        "/name",
        "/modified_at",
        "/digest",
        "/details/format",
        "/details/family",
        "/details/parameter_size",
        "/details/quantization_level",
    ] {
        text(&tag, path);
    }
    assert!(
        tag["size"].is_u64() && tag["details"]["families"].is_array(),
        "{tag}"
    );
    entry(&server.get("/api/ps").json(), "models", "model");
    for key in ["name", "model"] {
        let show = server.post("/api/show", &json!({key: "shapes"})).json();
        text(&show, "/parameters");
        text(&show, "/template");
        let capabilities = show["capabilities"].as_array().expect("a list");
        for can in ["completion", "vision"] {
            assert!(capabilities.contains(&json!(can)), "{show}");
        }
        let information = show["model_info"].as_object().expect("an object");
        // LlamaIndex takes the context's length from the key that ends so.
        assert!(
            information
                .iter()
                .any(|(key, value)| key.ends_with("context_length") && value.is_u64()),
            "{show}"
        );
    }

    let studio = entry(&server.get("/api/v0/models").json(), "data", "id");
    for path in [
        "/object",
        "/publisher",
        "/arch",
        "/compatibility_type",
        "/quantization",
    ] {
        text(&studio, path);
    }
    assert_eq!(
        (text(&studio, "/type"), text(&studio, "/state")),
        ("vlm", "loaded")
    );
    assert!(
        studio["max_context_length"].is_u64() && studio["capabilities"].is_array(),
        "{studio}"
    );

    let props = server.get("/props?model=shapes").json();
    assert!(
        props
            .pointer("/default_generation_settings/n_ctx")
            .is_some_and(Value::is_u64),
        "{props}"
    );
    assert_eq!(props.pointer("/modalities/vision"), Some(&json!(true)), "{props}");
    text(&props, "/chat_template");
    assert_eq!(server.ask("HEAD", "/", &[], "").status, 200);
}

/// Requests as programs send them, with what they add to what is needed.
#[test]
fn programs_get_what_they_read() {
    let server = Server::start(&[]);
    let expected = alone("shapes");
    // PhotoPrism: one small picture, JSON, a stop text, no thinking, said as a text.
    let asked = json!({
        "model": "shapes", "prompt": QUESTION, "images": [base64(&picture("shapes"))], "format": "json", "stream": false, "think": "false",
        "options": {"stop": ["\n\n"], "temperature": 0.0, "num_predict": 200},
    });
    let answer = server.post("/api/generate", &asked).json();
    assert_eq!(answer["done"], true, "{answer}");
    serde_json::from_str::<Value>(text(&answer, "/response")).expect("JSON was asked for");

    // Frigate: pictures with captions between them, a schema, and a variable of the template.
    let schema = json!({
        "type": "object", "required": ["scene", "confidence"], "additionalProperties": false,
        "properties": {"scene": {"type": "string", "maxLength": 40}, "confidence": {"type": "integer", "minimum": 0, "maximum": 9}},
    });
    let part = |name: &str| json!({"type": "image_url", "image_url": {"url": data(name)}});
    let asked = json!({
        "model": "shapes", "temperature": 0.1, "max_tokens": 300,
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Frame 1:"}, part("wide"), {"type": "text", "text": "Frame 2:"}, part("tall"), {"type": "text", "text": QUESTION},
        ]}],
        "chat_template_kwargs": {"enable_thinking": false},
        "response_format": {"type": "json_schema", "json_schema": {"name": "review", "strict": true, "schema": schema}},
    });
    let answer = server.post("/v1/chat/completions", &asked);
    assert_eq!(answer.status, 200, "{answer:?}");
    let said: Value = serde_json::from_str(text(&answer.json(), "/choices/0/message/content")).expect("JSON");
    assert!(
        said["scene"].is_string() && said["confidence"].is_number(),
        "{said}"
    );
    // It learns what a picture takes by requests for one token, with the picture and without.
    let tokens = |content: Value| {
        let asked =
            json!({"model": "shapes", "max_tokens": 1, "messages": [{"role": "user", "content": content}]});
        server.post("/v1/chat/completions", &asked).json()["usage"]["prompt_tokens"].as_u64()
    };
    let words = json!({"type": "text", "text": QUESTION});
    let with = tokens(json!([part("wide"), words])).expect("a number");
    let without = tokens(json!([words])).expect("a number");
    // The model's card: 16 tokens a picture. The tokens around them may be a few.
    assert!((16..=24).contains(&(with - without)), "{with} and {without}");

    // Cline, Zed: streamed, with usage; `max_completion_tokens`.
    let mut asked = about("shapes");
    asked["stream"] = true.into();
    asked["stream_options"] = json!({"include_usage": true});
    asked["max_completion_tokens"] = 200.into();
    let answer = server.ask(
        "POST",
        "/api/v0/chat/completions",
        &[("Accept", "application/json")],
        &asked.to_string(),
    );
    let events = answer.events();
    let (last, before) = events.split_last().expect("events");
    assert_eq!(last.1, "[DONE]");
    let usage: Value = serde_json::from_str(&before.last().expect("usage").1).expect("JSON");
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["prompt_tokens"].as_u64() > Some(16), "{usage}");

    // Claude Code: `?beta=true`, its headers, and keys that nobody else sends.
    let asked = json!({
        "model": "shapes", "max_tokens": 200, "stream": false, "metadata": {"user_id": "u"},
        "system": [{"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64(&picture("shapes"))}},
            {"type": "text", "text": QUESTION, "cache_control": {"type": "ephemeral"}},
        ]}],
    });
    let headers = [
        ("anthropic-version", "2026-10-21"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14,something-new"),
        ("Authorization", "Bearer none"),
    ];
    let answer = server.ask("POST", "/v1/messages?beta=true", &headers, &asked.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("request-id").is_some());

    // Codex: tools of kinds that nobody here knows beside its own, and the whole history each time.
    let asked = json!({
        "model": "shapes", "instructions": "", "store": false, "stream": true, "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k", "client_metadata": {"a": "b"}, "reasoning": {"effort": "low"}, "parallel_tool_calls": false, "tool_choice": "auto",
        "tools": [{"type": "web_search"}, {"type": "custom", "name": "patch"}, {"type": "namespace", "name": "n"}],
        "input": [{"type": "message", "role": "user", "content": [
            {"type": "input_image", "image_url": data("shapes")}, {"type": "input_text", "text": QUESTION},
        ]}],
    });
    let answer = server.post("/v1/responses", &asked);
    assert_eq!(answer.status, 200, "{answer:?}");
    let events = answer.events();
    assert_eq!(events[0].0, "response.created");
    let (name, last) = &events[events.len() - 1];
    assert_eq!(name, "response.completed", "{last}");
    let last: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(text(&last, "/response/output/0/content/0/text"), expected);
    assert!(text(&last, "/response/id").starts_with("resp_"));
}

/// A PNG whose pixels are stored as they are (RFC 1951, section 3.2.4), with a note how it is turned (`eXIf`).
fn png(width: usize, height: usize, pixels: &[[u8; 3]], orientation: u8) -> Vec<u8> {
    let mut rows = Vec::new();
    for row in pixels.chunks(width) {
        rows.push(0);
        rows.extend(row.iter().flatten());
    }
    let mut zlib = vec![0x78, 0x01];
    let blocks: Vec<&[u8]> = rows.chunks(0xffff).collect();
    for (index, block) in blocks.iter().enumerate() {
        let size = block.len() as u16;
        zlib.push(u8::from(index + 1 == blocks.len()));
        zlib.extend(size.to_le_bytes());
        zlib.extend((!size).to_le_bytes());
        zlib.extend(*block);
    }
    let sums = rows.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    zlib.extend((sums.1 << 16 | sums.0).to_be_bytes());
    let mut head = (width as u32).to_be_bytes().to_vec();
    head.extend((height as u32).to_be_bytes());
    head.extend([8, 2, 0, 0, 0]);
    // TIFF, big-endian; one entry: 0x0112, SHORT, one of them.
    let exif = [
        b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(),
        &[orientation, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, body) in [
        (b"IHDR", head.as_slice()),
        (b"eXIf", &exif),
        (b"IDAT", &zlib),
        (b"IEND", &[]),
    ] {
        file.extend((body.len() as u32).to_be_bytes());
        let checked = [name.as_slice(), body].concat();
        file.extend(&checked);
        let sum = checked.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
            })
        });
        file.extend((!sum).to_be_bytes());
    }
    file
}

/// A picture as a camera stores it that was held so: what its note says is undone by whoever shows it (Exif 2.32, tag 0x0112).
fn stored(width: usize, height: usize, upright: &[[u8; 3]], orientation: u8) -> Vec<u8> {
    let swaps = orientation >= 5;
    let (wide, high) = if swaps { (height, width) } else { (width, height) };
    let at = |x: usize, y: usize| {
        // Row 0 and column 0 of what is stored are the upright picture's: top and left; top and right; bottom and right; bottom and left; left
        // and top; right and top; right and bottom; left and bottom.
        let (column, row) = match orientation {
            1 => (x, y),
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (width - 1 - y, x),
            7 => (width - 1 - y, height - 1 - x),
            _ => (y, height - 1 - x),
        };
        upright[row * width + column]
    };
    let pixels: Vec<_> = (0..high)
        .flat_map(|y| (0..wide).map(move |x| (x, y)))
        .map(|(x, y)| at(x, y))
        .collect();
    png(wide, high, &pixels, orientation)
}

#[test]
fn a_photo_held_in_any_way_is_answered_alike_on_each_route() {
    let server = Server::start(&["--preload", "shapes"]);
    // A red disc above a blue bar, on white: no two ways of holding it look alike.
    let (width, height) = (120, 96);
    let pixel = |x: usize, y: usize| {
        let (dx, dy) = (x as i32 - 30, y as i32 - 28);
        match (
            dx * dx + dy * dy < 400,
            (60..110).contains(&x) && (60..76).contains(&y),
        ) {
            (true, _) => [220, 35, 35],
            (_, true) => [40, 70, 210],
            _ => [245, 245, 245],
        }
    };
    let upright: Vec<[u8; 3]> = (0..height)
        .flat_map(|y| (0..width).map(move |x| pixel(x, y)))
        .collect();
    let mut first: Option<Vec<String>> = None;
    for orientation in 1..=8 {
        let bytes = base64(&stored(width, height, &upright, orientation));
        let url = format!("data:image/png;base64,{bytes}");
        let words = json!({"type": "text", "text": QUESTION});
        let chat = json!({"model": "shapes", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, words]}]});
        let responses = json!({"model": "shapes", "input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": url}, {"type": "input_text", "text": QUESTION},
        ]}]});
        let messages = json!({"model": "shapes", "max_tokens": 200, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": bytes}}, words,
        ]}]});
        let ollama = json!({"model": "shapes", "stream": false, "messages": [{"role": "user", "content": QUESTION, "images": [bytes]}]});
        let generate = json!({"model": "shapes", "stream": false, "prompt": QUESTION, "images": [bytes]});
        let said: Vec<String> = [
            ("/v1/chat/completions", &chat, "/choices/0/message/content"),
            ("/api/v0/chat/completions", &chat, "/choices/0/message/content"),
            ("/v1/responses", &responses, "/output/0/content/0/text"),
            ("/v1/messages", &messages, "/content/0/text"),
            ("/api/chat", &ollama, "/message/content"),
            ("/api/generate", &generate, "/response"),
        ]
        .map(|(route, body, path)| text(&server.post(route, body).json(), path).to_owned())
        .to_vec();
        assert!(
            said.iter().all(|words| *words == said[0]),
            "{orientation}: {said:?}"
        );
        match &first {
            None => first = Some(said),
            Some(first) => assert_eq!(said, *first, "orientation {orientation}"),
        }
    }
    let said = &first.expect("eight answers")[0];
    assert!(said.contains("red") && said.contains("blue"), "{said}");
    // Upside down without a note, it is another picture.
    let turned: Vec<[u8; 3]> = upright.iter().rev().copied().collect();
    let url = format!(
        "data:image/png;base64,{}",
        base64(&png(width, height, &turned, 1))
    );
    let chat = json!({"model": "shapes", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION},
    ]}]});
    let other = server.post("/v1/chat/completions", &chat).json();
    assert_ne!(text(&other, "/choices/0/message/content"), said);
}

/// An editor's extension asks for 40 to 50 counts in a second at its start: they are given beside the engine.
#[test]
fn fifty_counts_are_given_within_a_second_beside_an_answer() {
    let endless = project::oracle("smolvlm").display().to_string();
    let server = Server::start(&[&endless, "--preload", "shapes", "--preload", "smolvlm"]);
    let body = json!({"model": "shapes", "max_tokens": 100, "messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64(&picture("wide"))}},
        {"type": "text", "text": QUESTION},
    ]}]});
    let usage = server.post("/v1/messages", &body).json()["usage"].clone();
    let expected = usage["input_tokens"].as_u64().expect("a number")
        + usage["cache_read_input_tokens"].as_u64().unwrap_or(0);
    let long = json!({"model": "smolvlm", "stream": true, "max_tokens": 8000, "messages": [{"role": "user", "content": "Go on."}]});
    let _running = server.send("POST", "/v1/chat/completions", &[], &long.to_string());
    server.waits_for("monocle_num_requests_running", 1.0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let count = server.post("/v1/messages/count_tokens", &body).json();
                assert_eq!(count["input_tokens"], expected, "{count}");
            });
        }
    });
    // Alone on a machine it takes a small part of this; with other tests beside it, more.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    println!("50 counts took {:?}", started.elapsed());
}

/// Metrics are lines that Prometheus reads; what is counted never falls; the times to first tokens are as many as the answers.
#[test]
fn metrics_can_be_read_and_what_is_counted_never_falls() {
    let server = Server::start(&["--preload", "shapes"]);
    let counters = || -> Vec<(String, f64)> {
        let page = server.get("/metrics");
        assert_eq!(page.status, 200);
        let mut kinds = std::collections::HashMap::new();
        let mut found = Vec::new();
        for line in page.body.lines() {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                let (name, kind) = comment.split_once(' ').expect("a name and a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(
                    kinds.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "twice: {line}"
                );
                continue;
            }
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let (key, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let name = key.split('{').next().unwrap_or(key);
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            let kind = kinds
                .get(name)
                .or_else(|| kinds.get(base?))
                .unwrap_or_else(|| panic!("no type: {line}"));
            if kind != "gauge" {
                found.push((key.to_owned(), value));
            }
        }
        found
    };
    let mut before = counters();
    for turn in 0..4 {
        let name = ["wide", "tall", "shapes", "wide"][turn];
        assert_eq!(server.post("/v1/chat/completions", &about(name)).status, 200);
        assert_eq!(
            server
                .post("/v1/chat/completions", &json!({"model": "none", "messages": []}))
                .status
                / 100,
            4
        );
        let now = counters();
        for (key, value) in &before {
            let later = now.iter().find(|(other, _)| other == key);
            assert!(
                later.is_some_and(|(_, later)| later >= value),
                "{key} fell from {value}"
            );
        }
        before = now;
    }
    assert_eq!(server.metric("monocle_time_to_first_token_seconds_count"), 4.0);
    assert_eq!(server.metric("monocle_e2e_request_latency_seconds_count"), 4.0);
    let sum = server.metric("monocle_time_to_first_token_seconds_sum");
    assert!(
        sum > 0.0 && sum <= server.metric("monocle_e2e_request_latency_seconds_sum"),
        "{sum}"
    );
}

/// What a model knows beforehand is what `run` says: asked with no picture at all, it answers, too.
#[test]
fn a_prompt_that_is_one_token_too_long_is_refused_and_the_next_one_answered() {
    let server = Server::start(&["--preload", "shapes"]);
    let context = entry(&server.get("/v1/models").json(), "data", "id")["meta"]["n_ctx"]
        .as_u64()
        .expect("a number");
    let ask = |words: usize| {
        let content = vec!["red"; words].join(" ");
        let body =
            json!({"model": "shapes", "max_tokens": 1, "messages": [{"role": "user", "content": content}]});
        server.post("/v1/chat/completions", &body)
    };
    let tokens = |words: usize| {
        ask(words).json()["usage"]["prompt_tokens"]
            .as_u64()
            .expect("a number")
    };
    // How many tokens a word more takes, and what stands around the words.
    let (some, more) = (tokens(10), tokens(20));
    assert_eq!((more - some) % 10, 0);
    let each = (more - some) / 10;
    let around = some - 10 * each;
    let most = (context - 1 - around) / each;
    let fits = ask(most as usize);
    assert_eq!(fits.status, 200, "{fits:?}");
    // Not one word more than there is room for.
    let over = (context - around) / each + 1;
    let refused = ask(over as usize);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "context_length_exceeded");
    assert_eq!(server.post("/v1/chat/completions", &about("wide")).status, 200);
    server.waits_for("monocle_http_requests_in_flight", 0.0);
    // The same model on the command line agrees about the length.
    let words = vec!["red"; over as usize].join(" ");
    Monocle::new(["run", "shapes", "-p", &words, "--max-tokens", "1"]).fails(1, &["tokens"]);
}

/// Any four letters of an answer as a stop text, on each route that takes one, whole and streamed: they never show, and nothing before them is lost.
#[test]
fn any_part_of_an_answer_may_stop_it_on_each_route() {
    let server = Server::start(&["--preload", "shapes"]);
    let expected = alone("shapes");
    let bytes = base64(&picture("shapes"));
    let deltas = |answer: &monocle_tests::server::Answer, path: &str| -> String {
        let events = answer.events();
        let values = events
            .iter()
            .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
        values
            .filter_map(|value| value.pointer(path)?.as_str().map(str::to_owned))
            .collect()
    };
    let lines = |answer: &monocle_tests::server::Answer, path: &str| -> String {
        let values = answer.lines().into_iter();
        values
            .filter_map(|value| value.pointer(path)?.as_str().map(str::to_owned))
            .collect()
    };
    let mut tried = 0;
    for start in (0..expected.len() - 4).step_by(3) {
        let stop = &expected[start..start + 4];
        let before = expected.split(stop).next().expect("what is before it").trim_end();
        let (text, image) = (QUESTION, &bytes);
        let url = data("shapes");
        let part = json!({"type": "image_url", "image_url": {"url": url}});
        let source = json!({"type": "base64", "media_type": "image/png", "data": image});
        for stream in [false, true] {
            let chat = json!({"model": "shapes", "stream": stream, "stop": [stop, "never"],
                "messages": [{"role": "user", "content": [part, {"type": "text", "text": text}]}]});
            let messages = json!({"model": "shapes", "stream": stream, "max_tokens": 200, "stop_sequences": [stop],
                "messages": [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": text}]}]});
            let options = json!({"stop": [stop]});
            let ollama = json!({"model": "shapes", "stream": stream, "options": options,
                "messages": [{"role": "user", "content": text, "images": [image]}]});
            let generate = json!({"model": "shapes", "stream": stream, "options": options, "prompt": text, "images": [image]});
            let whole = |route: &str, body: &Value, path: &str| {
                let answer = server.post(route, body).json();
                answer
                    .pointer(path)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let said = match stream {
                false => [
                    whole("/v1/chat/completions", &chat, "/choices/0/message/content"),
                    whole("/v1/messages", &messages, "/content/0/text"),
                    whole("/api/chat", &ollama, "/message/content"),
                    whole("/api/generate", &generate, "/response"),
                ],
                true => [
                    deltas(
                        &server.post("/v1/chat/completions", &chat),
                        "/choices/0/delta/content",
                    ),
                    deltas(&server.post("/v1/messages", &messages), "/delta/text"),
                    lines(&server.post("/api/chat", &ollama), "/message/content"),
                    lines(&server.post("/api/generate", &generate), "/response"),
                ],
            };
            for (route, said) in said.iter().enumerate() {
                assert_eq!(
                    said.trim_end(),
                    before,
                    "{stop:?}, streamed: {stream}, route {route}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried >= 40, "{tried} answers of {expected:?}");
}
