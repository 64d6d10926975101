//! Answers, whole and streamed, in each interface's words.

use monocle_tests::server::{Server, base64};
use serde_json::{Value, json};

use super::{PICTURES, QUESTION, about, alone, data, picture};

#[test]
fn a_chat_is_answered_as_run_answers_whole_and_streamed() {
    let server = Server::start(&[]);
    let expected = alone("shapes");
    let whole = server.post("/v1/chat/completions", &about("shapes"));
    assert_eq!(whole.status, 200, "{whole:?}");
    assert!(whole.header("x-request-id").is_some());
    let whole = whole.json();
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["choices"][0]["message"]["content"], expected);
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let usage = &whole["usage"];
    let (prompt, answer) = (
        usage["prompt_tokens"].as_u64().expect("a number"),
        usage["completion_tokens"].as_u64().expect("a number"),
    );
    assert_eq!(usage["total_tokens"], prompt + answer);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    let image = &whole["monocle"]["images"][0];
    assert_eq!(
        (&image["format"], &image["cached"]),
        (&json!("PNG"), &json!(false))
    );
    assert_eq!(image["tokens"], usage["prompt_tokens_details"]["image_tokens"]);

    let mut body = about("shapes");
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let streamed = server.post("/v1/chat/completions", &body);
    assert_eq!(streamed.header("content-type"), Some("text/event-stream"));
    let mut events: Vec<String> = streamed.events().into_iter().map(|(_, data)| data).collect();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let chunks: Vec<Value> = events
        .iter()
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    for chunk in &chunks {
        for key in ["id", "object", "created", "model", "choices"] {
            assert!(chunk.get(key).is_some(), "{key} is not in {chunk}");
        }
    }
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, expected);
    let [.., finish, last] = chunks.as_slice() else {
        panic!("{chunks:?}")
    };
    assert_eq!(
        (
            &finish["choices"][0]["delta"],
            &finish["choices"][0]["finish_reason"]
        ),
        (&json!({}), &json!("stop"))
    );
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["prompt_tokens"], prompt);
    // The same picture and words came before.
    let cached = last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    assert!(cached > Some(0), "{last}");

    // Nobody gets a chunk without choices who did not ask for it.
    let mut body = about("shapes");
    body["stream"] = true.into();
    let events = server.post("/v1/chat/completions", &body).events();
    assert!(events.iter().all(|(_, data)| !data.contains("\"choices\":[]")));
}

#[test]
fn other_interfaces_give_the_same_answer_in_their_own_order() {
    let server = Server::start(&["--alias", "gpt-4o=shapes"]);
    let expected = alone("tall");
    let bytes = base64(&picture("tall"));

    let input = json!([{"role": "user", "content": [
        {"type": "input_image", "image_url": data("tall")}, {"type": "input_text", "text": QUESTION},
    ]}]);
    let mut body = json!({"model": "shapes", "input": input, "tools": [{"type": "web_search"}]});
    let whole = server.post("/v1/responses", &body).json();
    assert_eq!(whole["output"][0]["content"][0]["text"], expected);
    assert_eq!(whole["status"], "completed");
    body["stream"] = true.into();
    let events = server.post("/v1/responses", &body).events();
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    let parsed = events
        .iter()
        .map(|(_, data)| serde_json::from_str::<Value>(data).expect("JSON"));
    let deltas: String = parsed
        .filter_map(|event| event["delta"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(deltas, expected);
    body["previous_response_id"] = "resp_1".into();
    assert_eq!(server.post("/v1/responses", &body).status, 400);

    let source = json!({"type": "base64", "media_type": "image/jpeg", "data": bytes});
    let messages = json!([{"role": "user", "content": [
        {"type": "image", "source": source}, {"type": "text", "text": QUESTION},
    ]}]);
    let body = json!({"model": "gpt-4o", "max_tokens": 200, "messages": messages});
    let whole = server.post("/v1/messages", &body).json();
    assert_eq!(whole["content"], json!([{"type": "text", "text": expected}]));
    assert_eq!(whole["stop_reason"], "end_turn");
    let count = server.post(
        "/v1/messages/count_tokens",
        &json!({"model": "shapes", "messages": messages}),
    );
    let usage = &whole["usage"];
    let both = [&usage["input_tokens"], &usage["cache_read_input_tokens"]];
    let both: u64 = both.iter().map(|tokens| tokens.as_u64().expect("a number")).sum();
    assert_eq!(count.json()["input_tokens"], both);
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let events = server.post("/v1/messages", &streamed).events();
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let parsed: Vec<Value> = events
        .iter()
        .map(|(_, data)| serde_json::from_str(data).expect("JSON"))
        .collect();
    let text: String = parsed
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(text, expected);
    assert_eq!(
        parsed[0]["message"]["usage"]["input_tokens"],
        count.json()["input_tokens"],
        "what the prompt takes is told at once"
    );

    let chat = json!({"model": "shapes:latest", "messages": [{"role": "user", "content": QUESTION, "images": [bytes]}]});
    let lines = server.post("/api/chat", &chat);
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let lines = lines.lines();
    let text: String = lines
        .iter()
        .map(|line| line["message"]["content"].as_str().expect("each has a message"))
        .collect();
    assert_eq!(text, expected);
    let last = lines.last().expect("there are lines");
    assert_eq!(
        (&last["done"], &last["done_reason"]),
        (&json!(true), &json!("stop"))
    );
    assert!(last["total_duration"].as_u64() > Some(0));
    let generate = json!({"model": "shapes", "prompt": QUESTION, "images": [bytes], "stream": false});
    assert_eq!(
        server.post("/api/generate", &generate).json()["response"],
        expected
    );
    let studio = server.post("/api/v0/chat/completions", &about("tall")).json();
    assert_eq!(studio["choices"][0]["message"]["content"], expected);
}

#[test]
fn each_gets_the_answer_about_its_own_picture() {
    let server = Server::start(&[]);
    let expected = PICTURES.map(alone);
    assert!(expected[0] != expected[1] && expected[1] != expected[2] && expected[0] != expected[2]);
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (server, expected) = (&server, &expected);
            scope.spawn(move || {
                for turn in 0..6 {
                    let which = [0, 1, 0, 2, 1, 2][(client + turn) % 6];
                    let answer = server.post("/v1/chat/completions", &about(PICTURES[which]));
                    let text = &answer.json()["choices"][0]["message"]["content"];
                    assert_eq!(*text, expected[which]);
                }
            });
        }
    });
    assert!(server.metric("monocle_prefix_cache_hits_total") > 0.0);
    assert_eq!(server.metric("monocle_images_total"), 36.0);
    server.waits_for("monocle_http_requests_in_flight", 0.0);
}

#[test]
fn a_stop_text_never_shows_and_a_short_answer_says_that_it_is_short() {
    let server = Server::start(&[]);
    let expected = alone("shapes");
    let word = expected
        .split_whitespace()
        .nth(3)
        .expect("an answer of several words");
    let before = expected.split(word).next().expect("something before it");
    for stream in [false, true] {
        let mut body = about("shapes");
        body["stop"] = json!([word]);
        body["stream"] = stream.into();
        let answer = server.post("/v1/chat/completions", &body);
        let text: String = match stream {
            false => answer.json()["choices"][0]["message"]["content"]
                .as_str()
                .expect("a text")
                .to_owned(),
            true => {
                let events = answer.events();
                let chunks = events
                    .iter()
                    .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
                chunks
                    .filter_map(|chunk| {
                        chunk["choices"][0]["delta"]["content"]
                            .as_str()
                            .map(str::to_owned)
                    })
                    .collect()
            }
        };
        assert_eq!(text.trim_end(), before.trim_end());
    }
    let mut body = about("shapes");
    body["max_completion_tokens"] = 2.into();
    body["max_tokens"] = 100.into();
    let short = server.post("/v1/chat/completions", &body).json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 2);
}

#[test]
fn what_cannot_be_is_refused_in_each_interfaces_words() {
    let server = Server::start(&["--max-body", "1MB"]);
    let unknown =
        json!({"model": "nothing", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]});
    let openai = server.post("/v1/chat/completions", &unknown);
    assert_eq!(
        (openai.status, openai.header("x-should-retry")),
        (404, Some("false"))
    );
    assert_eq!(openai.json()["error"]["code"], "model_not_found");
    let anthropic = server.post("/v1/messages", &unknown);
    assert_eq!(anthropic.status, 404);
    assert_eq!(anthropic.json()["error"]["type"], "not_found_error");
    let ollama = server.post("/api/chat", &unknown);
    assert_eq!(ollama.status, 404);
    assert!(
        ollama.json()["error"]
            .as_str()
            .expect("a sentence")
            .contains("not fetched")
    );
    // Nothing that a client calls a model is a path.
    for name in [
        "../models/shapes",
        "models/shapes",
        "manifests/shapes.toml",
        "https://huggingface.co/a/b",
    ] {
        let body = json!({"model": name, "messages": [{"role": "user", "content": "x"}]});
        assert_eq!(server.post("/v1/chat/completions", &body).status, 404, "{name}");
    }

    let with =
        |content: Value| json!({"model": "shapes", "messages": [{"role": "user", "content": content}]});
    let image = |url: &str| with(json!([{"type": "image_url", "image_url": {"url": url}}]));
    for (body, words) in [
        (with(json!([{"type": "video_url"}])), "messages[0].content[0]"),
        (image("data:image/png;base64,aGVsbG8="), "messages[0].content[0]"),
        (image("https://example.org/a.png"), "--allow-url"),
        (image("file:///etc/passwd"), "--allow-files"),
        (with(json!(5)), "messages[0].content"),
        (json!({"model": "shapes"}), "messages"),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "temperature": -1}),
            "temperature",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": "x"}),
            "max_tokens",
        ),
        (with(json!("word ".repeat(9000))), "context_length_exceeded"),
    ] {
        let answer = server.post("/v1/chat/completions", &body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.contains(words), "`{words}` is not in {}", answer.body);
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    let long = with(json!("x".repeat(1_100_000)));
    assert_eq!(server.post("/v1/chat/completions", &long).status, 413);
    assert_eq!(server.ask("POST", "/v1/chat/completions", &[], "{").status, 400);
    assert_eq!(server.get("/v1/chat/completions").status, 405);
    assert_eq!(server.get("/nothing").status, 404);
    assert_eq!(server.post("/api/pull", &json!({"model": "x"})).status, 501);
    // What nobody read is told; what comes after all of this is answered.
    let mut body = about("wide");
    body["frobnicate"] = 1.into();
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.header("x-monocle-ignored"), Some("frobnicate"));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], alone("wide"));
}

#[test]
fn a_prompt_may_be_given_as_it_stands_and_pictures_may_be_small() {
    let server = Server::start(&[]);
    let completion = json!({"model": "shapes", "prompt": "Describe", "max_tokens": 4});
    let answer = server.post("/v1/completions", &completion);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(answer["object"], "text_completion");
    let tokens = server
        .post("/tokenize", &json!({"model": "shapes", "content": "Describe"}))
        .json();
    assert_eq!(answer["usage"]["prompt_tokens"], tokens["count"]);

    let mut body = about("shapes");
    body["mm_processor_kwargs"] = json!({"max_pixels": 900});
    let small = server.post("/v1/chat/completions", &body).json();
    let steps = small["monocle"]["images"][0]["steps"].to_string();
    assert!(steps.contains("more than 900 pixels"), "{small}");
    // OpenAI's `low` is 512 by 512, wherever the word stands; 640 by 480 is more, and 320 by 320 is not.
    let steps = |name: &str, detail: Value| {
        let mut body = about(name);
        body["messages"][0]["content"][0]["image_url"]["detail"] = detail;
        let answer = server.post("/v1/chat/completions", &body).json();
        answer["monocle"]["images"][0]["steps"].to_string()
    };
    let made_small = "more than 262144 pixels";
    assert!(steps("wide", json!("low")).contains(made_small));
    for detail in [json!("high"), json!("auto"), Value::Null] {
        assert!(!steps("wide", detail.clone()).contains("pixels"), "{detail}");
    }
    assert!(!steps("shapes", json!("low")).contains("pixels"));
    let input = json!({"type": "input_image", "image_url": data("wide"), "detail": "low"});
    let body = json!({"model": "shapes", "input": [{"role": "user", "content": [input]}]});
    let answer = server.post("/v1/responses", &body).json();
    let steps = answer["monocle"]["images"][0]["steps"].to_string();
    assert!(steps.contains(made_small), "{answer}");
    let url = json!({"url": data("shapes"), "detail": "nonsense"});
    let body = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]});
    assert_eq!(server.post("/v1/chat/completions", &body).status, 400);
}

#[test]
fn an_answer_has_the_form_that_was_asked_for() {
    let server = Server::start(&[]);
    let schema = json!({
        "type": "object", "required": ["colour", "count"], "additionalProperties": false,
        "properties": {"colour": {"enum": ["red", "green"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
    });
    let holds = |text: &Value| {
        let found: Value = serde_json::from_str(text.as_str().expect("a text")).expect("JSON");
        let keys: Vec<&String> = found.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["colour", "count"]);
        assert!(["red", "green"].contains(&found["colour"].as_str().expect("a text")));
        assert!(found["count"].as_u64() <= Some(9), "{found}");
    };
    let mut body = about("shapes");
    body["response_format"] =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    let whole = server.post("/v1/chat/completions", &body).json();
    holds(&whole["choices"][0]["message"]["content"]);
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let image = base64(&picture("shapes"));
    let ollama =
        json!({"model": "shapes", "prompt": QUESTION, "images": [image], "format": schema, "stream": false});
    holds(&server.post("/api/generate", &ollama).json()["response"]);
    let mut body = about("shapes");
    body["guided_choice"] = json!(["yes", "no"]);
    let choice = server.post("/v1/chat/completions", &body).json();
    let text = choice["choices"][0]["message"]["content"].as_str();
    assert!(matches!(text, Some("yes" | "no")), "{choice}");
    // What is cut off says so.
    body["guided_choice"] = Value::Null;
    body["response_format"] = json!({"type": "json_object"});
    body["max_tokens"] = 1.into();
    let short = server.post("/v1/chat/completions", &body).json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");

    let started = std::time::Instant::now();
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"type": "array", "items": deep});
    }
    for bad in [
        deep,
        json!({"type": "nonsense"}),
        json!({"$ref": "https://example.org/x.json"}),
    ] {
        let mut body = about("shapes");
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": bad, "strict": true}});
        let refused = server.post("/v1/chat/completions", &body);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert_eq!(refused.json()["error"]["param"], "response_format");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
}
