//! `response_template`s as checkpoints have them, by what Transformers' documentation says of each key, and what cannot be said otherwise.

use std::sync::Arc;

use monocle_tools::{CallParser, Found, Tools, response_template};
use serde_json::{Value, json};

/// The calls that an answer has by a field `tool_calls`: names and arguments; none where the field cannot be read.
fn calls(field: Value, answer: &str) -> Option<Vec<(String, Value)>> {
    let template = json!({"defaults": {"role": "assistant"}, "fields": {"content": {"content": "text"}, "tool_calls": field}});
    let format = response_template::format(&template)?;
    let tools = Tools::default();
    let read = |pieces: &[&str]| {
        let mut parser = CallParser::new(Arc::new(format.clone()), tools.clone(), 8);
        let mut found: Vec<Found> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
        found.extend(parser.finish());
        let calls = found.into_iter().filter_map(|found| match found {
            Found::Call(call) => Some((call.name, Value::Object(call.arguments))),
            Found::Text(_) => None,
        });
        calls.collect::<Vec<_>>()
    };
    let whole = read(&[answer]);
    // Cut anywhere, it is the same.
    for (at, _) in answer.char_indices() {
        assert_eq!(read(&[&answer[..at], &answer[at..]]), whole, "cut at {at}");
    }
    Some(whole)
}

fn call(name: &str, arguments: Value) -> (String, Value) {
    (name.to_owned(), arguments)
}

#[test]
fn json_between_two_texts() {
    let field = json!({
        "open": "<tool_call>", "close": "</tool_call>", "repeats": true, "content": "json",
        "transform": {"type": "function", "function": "{content}"},
    });
    let answer = "Let me look.\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"</tool_call>\"}}\n</tool_call>\n\
                  <tool_call>{\"name\": \"wait\", \"arguments\": {}}</tool_call>";
    let expected = vec![
        call("look", json!({"at": "</tool_call>"})),
        call("wait", json!({})),
    ];
    assert_eq!(calls(field, answer), Some(expected));
}

#[test]
fn a_list_with_keys_of_its_own() {
    let field = json!({
        "open": "<|START_ACTION|>", "close": "<|END_ACTION|>", "content": "json", "transform_each": true,
        "transform": {"type": "function", "function": {"name": "{tool_name}", "arguments": "{parameters}"}},
    });
    let answer = "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"look\", \"parameters\": {\"at\": 1}}, \
                  {\"tool_call_id\": \"1\", \"tool_name\": \"wait\", \"parameters\": {}}]<|END_ACTION|>";
    let expected = vec![call("look", json!({"at": 1})), call("wait", json!({}))];
    assert_eq!(calls(field, answer), Some(expected));
    // Keys inside the content, and no end but the answer's.
    let field = json!({
        "open": ["<call>", "<invoke>"], "close": "eos", "content": "json",
        "transform": {"type": "function", "function": {"name": "{content.name}", "arguments": "{content.args}"}},
    });
    let answer = "<invoke>{\"name\": \"look\", \"args\": {\"at\": 2}}";
    assert_eq!(calls(field, answer), Some(vec![call("look", json!({"at": 2}))]));
}

#[test]
fn a_name_in_what_opens_the_call() {
    let function = json!({"type": "function", "function": {"name": "{name}", "arguments": "{content}"}});
    let field = json!({
        "open_pattern": r"<tool_call>\s*<function=(?P<name>\w+)>", "close": "</tool_call>", "repeats": true, "content": "xml-inline",
        "content_args": {
            "tag_pattern": r"<parameter=(?P<key>\w+)>\s*(?P<value>.*?)\s*</parameter>",
            "value_parser": {"name": "json", "args": {"allow_non_json": true}},
        },
        "transform": function,
    });
    let answer = "<tool_call>\n<function=look>\n<parameter=at>\nthe door\n</parameter>\n<parameter=times>\n2\n</parameter>\n</function>\n</tool_call>";
    let found = calls(field, answer).expect("it can be read");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].0.as_str(), &found[0].1["at"]),
        ("look", &json!("the door"))
    );
    // Bare keys and quotation marks of the model's own.
    let field = json!({
        "open_pattern": r"<\|tool_call>call:(?P<name>\w+)", "close": "<tool_call|>", "repeats": true, "content": "json",
        "content_args": {"unquoted_keys": true, "string_delims": [["<|\"|>", "<|\"|>"]]}, "transform": function,
    });
    let answer = "<|tool_call>call:look{at:<|\"|>the {door}<|\"|>,times:2}<tool_call|>";
    let expected = vec![call("look", json!({"at": "the {door}", "times": 2}))];
    assert_eq!(calls(field, answer), Some(expected));
    let field = json!({
        "open_pattern": r"\[TOOL_CALLS\](?P<name>\w+)\[ARGS\]", "close": "eos", "content": "json", "transform": function,
    });
    let answer = "[TOOL_CALLS]look[ARGS]{\"at\": \"the door\"}";
    assert_eq!(
        calls(field, answer),
        Some(vec![call("look", json!({"at": "the door"}))])
    );
}

#[test]
fn what_cannot_be_said_is_not_guessed() {
    let function = json!({"type": "function", "function": {"name": "{name}", "arguments": "{content}"}});
    for field in [
        // Anything may stand in what opens it.
        json!({"open_pattern": r"<\|channel\|>to=(?P<name>\w+).*?<\|message\|>", "close": "<|call|>", "content": "json", "transform": function}),
        json!({"open": "<a>", "close_pattern": "</?a>", "content": "json", "transform": {"function": "{content}"}}),
        json!({"open": "<a>", "close": "</a>", "content": "kv-lines", "transform": {"function": "{content}"}}),
        json!({"open": "<a>", "close": "</a>", "content": "json"}),
        json!({"open": "<a>", "close": "</a>", "content": "json", "content_args": {"unquoted_keys": true}, "transform": {"function": "{content}"}}),
        json!({"open": "<a>", "close": "</a>", "content": "json", "transform": {"function": {"name": "{a.b}", "arguments": "{c}"}}}),
        json!("text"),
        Value::Null,
    ] {
        assert_eq!(calls(field.clone(), ""), None, "{field}");
    }
    let later = json!({"version": 2, "fields": {"tool_calls": {
        "open": "<a>", "close": "</a>", "content": "json", "transform": {"function": "{content}"},
    }}});
    assert_eq!(response_template::format(&later), None);
}
