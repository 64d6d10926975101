//! What answers cost, and what of them is reasoning, in each interface's words.

use std::sync::OnceLock;

use monocle_tests::project;
use monocle_tests::server::{Answer, Server, base64};
use serde_json::{Value, json};

use super::{QUESTION, alone};

/// A request of each route about one picture, whole: the route, the body, where the answer's text is.
fn requests(model: &str, question: &str, picture: &[u8]) -> [(&'static str, Value, &'static str); 6] {
    let bytes = base64(picture);
    let url = format!("data:image/png;base64,{bytes}");
    let chat = json!({"model": model, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question},
    ]}]});
    let responses = json!({"model": model, "input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": url}, {"type": "input_text", "text": question},
    ]}]});
    let source = json!({"type": "base64", "media_type": "image/png", "data": bytes});
    let messages = json!({"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": [
        {"type": "image", "source": source}, {"type": "text", "text": question},
    ]}]});
    let ollama = json!({"model": model, "stream": false, "messages": [{"role": "user", "content": question, "images": [bytes]}]});
    let generate = json!({"model": model, "stream": false, "prompt": question, "images": [bytes]});
    [
        ("/v1/chat/completions", chat.clone(), "/choices/0/message/content"),
        ("/api/v0/chat/completions", chat, "/choices/0/message/content"),
        ("/v1/responses", responses, "/output/0/content/0/text"),
        ("/v1/messages", messages, "/content/0/text"),
        ("/api/chat", ollama, "/message/content"),
        ("/api/generate", generate, "/response"),
    ]
}

fn number(answer: &Value, path: &str) -> u64 {
    let found = answer.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{path} is no number in {answer}"))
}

/// Tokens of the prompt, those of them that were known, tokens of the answer.
fn usage(route: &str, answer: &Value) -> [u64; 3] {
    let at = |paths: [&str; 3]| paths.map(|path| number(answer, path));
    match route {
        "/v1/responses" => {
            let total = number(answer, "/usage/total_tokens");
            let found = at([
                "/usage/input_tokens",
                "/usage/input_tokens_details/cached_tokens",
                "/usage/output_tokens",
            ]);
            assert_eq!(total, found[0] + found[2], "{answer}");
            found
        }
        "/v1/messages" => {
            let [rest, cached, output] = at([
                "/usage/input_tokens",
                "/usage/cache_read_input_tokens",
                "/usage/output_tokens",
            ]);
            [rest + cached, cached, output]
        }
        "/api/chat" | "/api/generate" => [
            number(answer, "/prompt_eval_count"),
            0,
            number(answer, "/eval_count"),
        ],
        _ => {
            let total = number(answer, "/usage/total_tokens");
            let found = at([
                "/usage/prompt_tokens",
                "/usage/prompt_tokens_details/cached_tokens",
                "/usage/completion_tokens",
            ]);
            assert_eq!(total, found[0] + found[2], "{answer}");
            found
        }
    }
}

/// The numbers are those of transformers: the ids that it was given, and those that it made (`tests/oracle/shapes`).
#[test]
fn tokens_are_counted_alike_on_each_route() {
    let text = std::fs::read_to_string(project::oracle("shapes/answers.json")).expect("it is there");
    let reference: Value = serde_json::from_str(&text).expect("JSON");
    let case = &reference["cases"][0];
    let expected = &case["answers"][0];
    let picture = case["picture"].as_str().expect("a name");
    let picture = std::fs::read(project::oracle("shapes").join(picture)).expect("it is there");
    let question = expected["messages"][0]["content"][1]["text"]
        .as_str()
        .expect("a text");
    let count = |name: &str| expected[name].as_array().expect("ids").len() as u64;
    let (prompt, answer) = (count("input_ids"), count("greedy_ids"));
    // Nothing is kept: every answer computes all of its prompt, and the number is there all the same.
    let cold = Server::start(&["--preload", "shapes", "--cache-limit", "0"]);
    let warm = Server::start(&["--preload", "shapes"]);
    warm.post(
        "/v1/chat/completions",
        &requests("shapes", question, &picture)[0].1,
    );
    for (route, body, path) in requests("shapes", question, &picture) {
        let given = cold.post(route, &body).json();
        let said = given.pointer(path).and_then(Value::as_str).map(str::trim);
        assert_eq!(
            said,
            expected["greedy_text"].as_str().map(str::trim),
            "{route}: {given}"
        );
        assert_eq!(usage(route, &given), [prompt, 0, answer], "{route}: {given}");
        let images = json!([
            [given["monocle"]["images"][0]["tokens"]],
            given["monocle"]["images"][0]["given"]
        ]);
        assert_eq!(images, json!([[16], case["size"]]), "{route}: {given}");
        let given = warm.post(route, &body).json();
        let [all, cached, output] = usage(route, &given);
        assert_eq!([all, output], [prompt, answer], "{route}, warm: {given}");
        // All but the last token was computed before, the picture's with it.
        assert!(
            cached == prompt - 1 || route.starts_with("/api/") && !route.contains("v0"),
            "{route}: {given}"
        );
    }
}

/// A manifest of the demo model whose answers are reasoning up to their first comma. What it says of the picture `shapes` has one.
pub fn reasoner() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = project::target().join("serve-accounts");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let path = folder.join("reasoner.toml");
        let model = project::root().join("models/shapes");
        let text = format!(
            "schema = 1\nname = \"reasoner\"\nplugin = {{ name = \"smolvlm\", version = \"0.1\" }}\n[source]\npath = {model:?}\n\
             [output]\ntrim = true\nreasoning = {{ start = \"<think>\", end = \",\", opened = true }}\n"
        );
        std::fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    })
}

fn values(answer: &Answer) -> Vec<(String, Value)> {
    let events = answer.events().into_iter();
    events
        .filter_map(|(name, data)| Some((name, serde_json::from_str(&data).ok()?)))
        .collect()
}

#[test]
fn reasoning_is_told_apart_on_each_route() {
    let server = Server::start(&[reasoner()]);
    let said = alone("shapes");
    let (thought, words) = said.split_once(',').expect("an answer of several parts");
    let words = words.trim();
    let whole: [(&str, &str, Option<&str>); 6] = [
        (
            "/choices/0/message/reasoning_content",
            "/choices/0/message/content",
            Some("/usage/completion_tokens_details/reasoning_tokens"),
        ),
        (
            "/choices/0/message/reasoning",
            "/choices/0/message/content",
            Some("/usage/completion_tokens_details/reasoning_tokens"),
        ),
        (
            "/output/0/content/0/text",
            "/output/1/content/0/text",
            Some("/usage/output_tokens_details/reasoning_tokens"),
        ),
        ("/content/0/thinking", "/content/1/text", None),
        ("/message/thinking", "/message/content", None),
        ("/thinking", "/response", None),
    ];
    let picture = super::picture("shapes");
    let all = requests("reasoner", QUESTION, &picture);
    for ((route, body, _), (reasoning, text, tokens)) in all.iter().zip(whole) {
        let given = server.post(route, body).json();
        let at = |path: &str| given.pointer(path).and_then(Value::as_str).map(str::trim);
        assert_eq!(
            (at(reasoning), at(text)),
            (Some(thought), Some(words)),
            "{route}: {given}"
        );
        if let Some(path) = tokens {
            let output = usage(route, &given)[2];
            assert!((1..output).contains(&number(&given, path)), "{route}: {given}");
        }
    }

    // Streamed, the reasoning comes before the words, and each in events of its own.
    let streamed = |number: usize| {
        let (route, mut body, _) = all[number].clone();
        body["stream"] = true.into();
        server.post(route, &body)
    };
    let joined = |values: &[(String, Value)], path: &str| -> String {
        let texts = values
            .iter()
            .filter_map(|(_, value)| value.pointer(path)?.as_str());
        texts.collect()
    };
    let chunks = values(&streamed(0));
    let place = |path: &str| {
        chunks
            .iter()
            .position(|(_, chunk)| chunk.pointer(path).is_some_and(|text| text != ""))
    };
    assert!(place("/choices/0/delta/reasoning_content") < place("/choices/0/delta/content"));
    assert_eq!(
        joined(&chunks, "/choices/0/delta/reasoning_content").trim(),
        thought
    );
    assert_eq!(joined(&chunks, "/choices/0/delta/content").trim(), words);

    let events = values(&streamed(2));
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, (name, event)) in events.iter().enumerate() {
        assert_eq!(event["type"], name.as_str());
        assert_eq!(event["sequence_number"], number);
        // The reasoning is the first item, the message the second.
        if let Some(index) = event.get("output_index") {
            let is_reasoning = number
                <= names
                    .iter()
                    .position(|name| *name == "response.output_item.done")
                    .expect("it is there")
                || event["item"]["type"] == "reasoning"
                || name.contains("reasoning");
            assert_eq!(*index, json!(u8::from(!is_reasoning)), "{event}");
        }
    }

    let events = values(&streamed(3));
    let blocks: Vec<(&str, u64, &str)> = events
        .iter()
        .filter(|(name, _)| name == "content_block_start")
        .map(|(name, event)| {
            let kind = event["content_block"]["type"].as_str().expect("a type");
            (name.as_str(), number(event, "/index"), kind)
        })
        .collect();
    assert_eq!(
        blocks,
        [
            ("content_block_start", 0, "thinking"),
            ("content_block_start", 1, "text")
        ]
    );
    assert_eq!(joined(&events, "/delta/thinking").trim(), thought);
    assert_eq!(joined(&events, "/delta/text").trim(), words);
    let mut open = None;
    for (name, event) in &events {
        assert_eq!(event["type"], name.as_str());
        match name.as_str() {
            "content_block_start" => {
                assert_eq!(open, None, "one block at a time");
                open = Some(number(event, "/index"));
            }
            "content_block_delta" => assert_eq!(open, Some(number(event, "/index"))),
            "content_block_stop" => assert_eq!(open.take(), Some(number(event, "/index"))),
            _ => assert_eq!(open, None),
        }
    }

    let lines = streamed(4).lines();
    let texts = |path: &str| -> String {
        lines
            .iter()
            .filter_map(|line| line.pointer(path)?.as_str())
            .collect()
    };
    assert_eq!(texts("/message/thinking").trim(), thought);
    assert_eq!(texts("/message/content").trim(), words);
    let (last, before) = lines.split_last().expect("lines");
    assert!(last["done"] == true && before.iter().all(|line| line["done"] == false));
    assert!(
        lines
            .iter()
            .all(|line| line["model"] == "reasoner" && line["created_at"].is_string())
    );
}

/// What an answer must look like holds for what comes after the reasoning.
#[test]
fn a_form_holds_after_the_reasoning() {
    let server = Server::start(&[reasoner()]);
    let picture = super::picture("shapes");
    let [(route, mut body, _), ..] = requests("reasoner", QUESTION, &picture);
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": {
        "type": "object", "required": ["red"], "additionalProperties": false, "properties": {"red": {"type": "boolean"}},
    }}});
    let given = server.post(route, &body).json();
    let message = &given["choices"][0]["message"];
    let said = alone("shapes");
    let thought = said.split(',').next().expect("what is before the comma");
    assert_eq!(
        message["reasoning_content"].as_str().map(str::trim),
        Some(thought),
        "{given}"
    );
    let found: Value = serde_json::from_str(message["content"].as_str().expect("a text")).expect("JSON");
    assert!(found["red"].is_boolean(), "{given}");
}
