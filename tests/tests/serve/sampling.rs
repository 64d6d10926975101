//! How tokens are chosen, as clients ask for it, and what is told of the choice.

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::server::Server;
use serde_json::{Value, json};

use super::{QUESTION, about, alone};

fn content(chunk: &Value) -> &str {
    chunk["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text")
}

#[test]
fn probabilities_are_told_with_the_tokens() {
    let server = Server::start(&[]);
    let expected = alone("shapes");
    let mut body = about("shapes");
    body["logprobs"] = true.into();
    body["top_logprobs"] = 3.into();
    let whole = server.post("/v1/chat/completions", &body).json();
    assert_eq!(content(&whole), expected);
    let tokens = whole["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("a list");
    let text: String = tokens
        .iter()
        .map(|token| token["token"].as_str().expect("a text"))
        .collect();
    assert_eq!(text.trim_start(), expected);
    for token in tokens {
        let top = token["top_logprobs"].as_array().expect("a list");
        assert_eq!(top.len(), 3);
        // The likeliest is taken, and the others follow.
        assert_eq!(
            (&top[0]["token"], &top[0]["logprob"]),
            (&token["token"], &token["logprob"])
        );
        let values: Vec<f64> = top
            .iter()
            .map(|one| one["logprob"].as_f64().expect("a number"))
            .collect();
        assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
        let sum: f64 = values.iter().map(|value| value.exp()).sum();
        assert!(sum > 0.0 && sum < 1.0 + 1e-9, "{sum}");
        let bytes: Vec<u8> = serde_json::from_value(token["bytes"].clone()).expect("bytes");
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            token["token"].as_str().expect("a text")
        );
    }
    body["stream"] = true.into();
    let events = server.post("/v1/chat/completions", &body).events();
    let chunks = events
        .iter()
        .filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
    let streamed: Vec<Value> = chunks
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array().cloned())
        .flatten()
        .collect();
    // A prompt that is known is computed in other pieces, which rounds otherwise.
    assert_eq!(streamed.len(), tokens.len());
    for (streamed, whole) in streamed.iter().zip(tokens) {
        assert_eq!(streamed["token"], whole["token"]);
        let [a, b] = [streamed, whole].map(|token| token["logprob"].as_f64().expect("a number"));
        assert!((a - b).abs() < 1e-2, "{a} {b}");
    }

    let completion = json!({"model": "shapes", "prompt": "Describe", "max_tokens": 3, "logprobs": 2});
    let answer = server.post("/v1/completions", &completion).json();
    let told = &answer["choices"][0]["logprobs"];
    // It may end sooner.
    let count = told["tokens"].as_array().expect("a list").len();
    assert!((1..=3).contains(&count), "{told}");
    for list in ["token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(
            told[list].as_array().expect("a list").len(),
            count,
            "{list} in {told}"
        );
    }
    assert_eq!(told["text_offset"][0], 0);
    // Who does not ask is told nothing.
    let plain = server.post("/v1/chat/completions", &about("wide")).json();
    assert_eq!(plain["choices"][0]["logprobs"], Value::Null);
    body["top_logprobs"] = 21.into();
    assert_eq!(server.post("/v1/chat/completions", &body).status, 400);
}

#[test]
fn biases_and_penalties_change_the_choice() {
    let server = Server::start(&[]);
    let tokens = server
        .post("/tokenize", &json!({"model": "shapes", "content": "red"}))
        .json()["tokens"]
        .clone();
    let token = tokens
        .as_array()
        .and_then(|tokens| tokens.last())
        .expect("tokens")
        .clone();
    let mut body = about("shapes");
    body["max_tokens"] = 3.into();
    body["logit_bias"] = json!({ (token.to_string()): 100 });
    body["logprobs"] = true.into();
    let biased = server.post("/v1/chat/completions", &body).json();
    let chosen = biased["choices"][0]["logprobs"]["content"]
        .as_array()
        .expect("a list");
    assert!(
        chosen.iter().all(|one| one["token"] == chosen[0]["token"]),
        "{biased}"
    );
    // What is told is what the model thought, not what became of it.
    assert!(chosen[0]["logprob"].as_f64() < Some(-0.1), "{biased}");
    let mut body = about("shapes");
    body["logit_bias"] = json!({ "9999999": 1 });
    assert_eq!(
        server.post("/v1/chat/completions", &body).json()["error"]["param"],
        "logit_bias"
    );

    // Nothing that was said comes again where saying it costs more than it is worth.
    let mut body = about("shapes");
    body["presence_penalty"] = 0.into();
    assert_eq!(
        content(&server.post("/v1/chat/completions", &body).json()),
        alone("shapes")
    );
    body["frequency_penalty"] = 2.into();
    body["presence_penalty"] = 2.into();
    body["max_tokens"] = 60.into();
    let penalised = server.post("/v1/chat/completions", &body).json();
    assert_eq!(penalised["object"], "chat.completion", "{penalised}");
    body["presence_penalty"] = json!(2.5);
    let refused = server.post("/v1/chat/completions", &body);
    assert!(
        refused.status == 400 && refused.body.contains("presence_penalty"),
        "{refused:?}"
    );
}

/// Each limit of the choice is read on each route that has it: what cannot be is refused, and what can be has its effect.
#[test]
fn each_limit_of_the_choice_is_read() {
    let server = Server::start(&[]);
    let refused = |route: &str, body: &Value, name: &str| {
        let answer = server.post(route, body);
        assert!(
            answer.status == 400 && answer.body.contains(name),
            "{route} {name}: {answer:?}"
        );
    };
    for (field, bad, name) in [
        ("min_p", 1.5, "min_p"),
        ("top_p", 1.5, "top_p"),
        ("repetition_penalty", 0.0, "repetition_penalty"),
        ("repeat_penalty", 0.0, "repetition_penalty"),
        ("frequency_penalty", 2.5, "frequency_penalty"),
    ] {
        let mut body = about("wide");
        body[field] = bad.into();
        refused("/v1/chat/completions", &body, name);
        let body = json!({"model": "shapes", "prompt": "Describe", (field): bad});
        refused("/v1/completions", &body, name);
        // OpenAI's responses and Ollama have the same by other names, or not at all.
        if field != "frequency_penalty" && field != "repetition_penalty" {
            let body =
                json!({"model": "shapes", "prompt": "Describe", "stream": false, "options": {(field): bad}});
            refused("/api/generate", &body, name);
        }
    }
    let body = json!({"model": "shapes", "input": "Describe", "min_p": 1.5});
    refused("/v1/responses", &body, "min_p");

    // However hot: what is less likely than the likeliest is left out.
    let mut body = about("shapes");
    body["temperature"] = 1.9.into();
    body["min_p"] = 1.into();
    for seed in 0..3 {
        body["seed"] = seed.into();
        let answer = server.post("/v1/chat/completions", &body).json();
        assert_eq!(content(&answer), alone("shapes"), "{seed}");
    }
    let mut body = about("shapes");
    body["repetition_penalty"] = 5.into();
    let run = Monocle::new(["run", "--plain", "shapes", "-p", QUESTION])
        .args(["--repetition-penalty", "5"])
        .args([project::root().join("models/shapes/pictures/shapes.png")]);
    let penalised = run.succeeds().stdout.trim().to_owned();
    assert_ne!(penalised, alone("shapes"));
    let answer = server.post("/v1/chat/completions", &body).json();
    assert_eq!(content(&answer).trim(), penalised);
}

#[test]
fn several_answers_come_of_one_prompt() {
    let server = Server::start(&[]);
    let mut body = about("tall");
    body["n"] = 3.into();
    let whole = server.post("/v1/chat/completions", &body).json();
    let choices = whole["choices"].as_array().expect("a list");
    assert_eq!(choices.len(), 3);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(
            (&choice["index"], &choice["message"]["content"]),
            (&json!(index), &json!(alone("tall")))
        );
    }
    let prompt = whole["usage"]["prompt_tokens"].as_u64().expect("a number");
    // The prompt was computed once: of the others, the last token alone.
    assert_eq!(
        server.metric("monocle_prefix_cache_hits_total"),
        2.0 * (prompt - 1) as f64
    );

    body["temperature"] = 1.5.into();
    body["seed"] = 7.into();
    let drawn = |body: &Value| -> Vec<String> {
        let answer = server.post("/v1/chat/completions", body).json();
        let choices = answer["choices"].as_array().expect("a list").iter();
        choices
            .map(|choice| choice["message"]["content"].as_str().expect("a text").to_owned())
            .collect()
    };
    let first = drawn(&body);
    assert!(first[0] != first[1] || first[1] != first[2], "{first:?}");
    assert_eq!(drawn(&body), first, "a seed gives the same again");
    body["stream"] = true.into();
    let events = server.post("/v1/chat/completions", &body).events();
    let mut streamed = vec![String::new(); 3];
    for (_, data) in events.iter().filter(|(_, data)| data != "[DONE]") {
        let chunk: Value = serde_json::from_str(data).expect("JSON");
        let choice = &chunk["choices"][0];
        let index = choice["index"].as_u64().expect("a number") as usize;
        streamed[index] += choice["delta"]["content"].as_str().unwrap_or_default();
    }
    assert_eq!(streamed, first);
}
