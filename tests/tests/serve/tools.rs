//! Tools: how they are offered, called and answered, in each interface's words.
//!
//! The model that comes with the project knows nothing of tools. With a template that offers them in one of the known ways it is made to call,
//! and its calls are as good as another's.

use std::sync::OnceLock;

use monocle_tests::project;
use monocle_tests::server::Server;
use serde_json::{Value, json};

use super::about;

/// A manifest of the demo model under another name, whose template offers tools.
pub fn manifest() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let folder = project::target().join("serve-tools");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let path = folder.join("caller.toml");
        let model = project::root().join("models/shapes");
        let template = "<|im_start|>{% if tools %}Tools: <tool_call> {{ tools | map(attribute='function') | map(attribute='name') | join(' ') }} \
            arguments </tool_call><end_of_utterance>\n{% endif %}{% for message in messages %}{{ message['role'] | capitalize }}: \
            {% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}\
            {% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}{% endif %}\
            {% for call in message['tool_calls'] %}<tool_call>{{ call['function']['name'] }}</tool_call>{% endfor %}<end_of_utterance>\n\
            {% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";
        let text = format!(
            "schema = 1\nname = \"caller\"\nplugin = {{ name = \"smolvlm\", version = \"0.1\" }}\n[source]\npath = {model:?}\n\
             [prompt]\ntemplate = '''{template}'''\n"
        );
        std::fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    })
}

fn tool(name: &str) -> Value {
    json!({"name": name, "parameters": {
        "type": "object", "required": ["place", "days"], "additionalProperties": false,
        "properties": {"place": {"enum": ["Wien", "Graz"]}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
    }})
}

/// Whether arguments are what the schema says.
fn holds(arguments: &Value) {
    let keys: Vec<&String> = arguments.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["place", "days"], "{arguments}");
    assert!(["Wien", "Graz"].contains(&arguments["place"].as_str().expect("a text")));
    assert!(arguments["days"].as_u64() <= Some(9), "{arguments}");
}

fn chat(choice: Value) -> Value {
    json!({
        "model": "caller", "max_tokens": 120, "tool_choice": choice, "parallel_tool_calls": false,
        "tools": [{"type": "web_search"}, {"type": "function", "function": tool("now")}, {"type": "function", "function": tool("weather")}],
        "messages": [{"role": "user", "content": "How is the weather?"}],
    })
}

#[test]
fn a_call_that_must_come_comes_whole_and_streamed() {
    let server = Server::start(&[manifest()]);
    let named = json!({"type": "function", "function": {"name": "weather"}});
    let mut body = chat(named);
    let whole = server.post("/v1/chat/completions", &body);
    assert_eq!(whole.status, 200, "{whole:?}");
    let whole = whole.json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
    assert_eq!(choice["message"]["content"], Value::Null);
    let [call] = choice["message"]["tool_calls"]
        .as_array()
        .expect("calls")
        .as_slice()
    else {
        panic!("{whole}")
    };
    assert_eq!(
        (&call["type"], &call["function"]["name"]),
        (&json!("function"), &json!("weather"))
    );
    assert_eq!(call["id"].as_str().expect("a name").len(), 9);
    let arguments = call["function"]["arguments"]
        .as_str()
        .expect("arguments are a text");
    holds(&serde_json::from_str(arguments).expect("JSON"));

    body["stream"] = true.into();
    let events = server.post("/v1/chat/completions", &body).events();
    let chunks: Vec<Value> = events
        .iter()
        .filter_map(|(_, data)| serde_json::from_str(data).ok())
        .collect();
    let deltas: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0))
        .collect();
    assert_eq!(
        (&deltas[0]["index"], &deltas[0]["function"]["arguments"]),
        (&json!(0), &json!(""))
    );
    assert_eq!(deltas[0]["function"]["name"], "weather");
    // The name comes once: clients put pieces of it together.
    assert!(
        deltas[1..]
            .iter()
            .all(|delta| delta["function"].get("name").is_none())
    );
    let pieces: String = deltas
        .iter()
        .map(|delta| delta["function"]["arguments"].as_str().expect("a text"))
        .collect();
    assert_eq!(pieces, arguments);
    let last = &chunks[chunks.len() - 1]["choices"][0];
    assert_eq!(
        (&last["finish_reason"], &last["delta"]),
        (&json!("tool_calls"), &json!({}))
    );

    for choice in [
        json!("required"),
        json!({"type": "function", "function": {"name": "now"}}),
    ] {
        let answer = server.post("/v1/chat/completions", &chat(choice.clone())).json();
        let function = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        let name = function["name"].as_str().expect("a name");
        assert!(
            name == "now" || (name == "weather" && choice == "required"),
            "{answer}"
        );
        holds(&serde_json::from_str(function["arguments"].as_str().expect("a text")).expect("JSON"));
    }
}

fn names(answer: &Value) -> Vec<String> {
    let calls = answer["choices"][0]["message"]["tool_calls"].as_array();
    let calls = calls.unwrap_or_else(|| panic!("{answer}")).iter();
    calls
        .map(|call| call["function"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// Who wants one call gets one: of an answer that must be calls, and of one whose words happen to be two.
#[test]
fn an_answer_has_several_calls_only_where_they_are_wanted() {
    let server = Server::start(&[manifest()]);
    let end = json!({"model": "caller", "content": "<end_of_utterance>"});
    let end = server.post("/tokenize", &end).json()["tokens"][0].clone();
    let call = |name: &str| {
        format!(
            "<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {{\"place\": \"Wien\", \"days\": 1}}}}\n</tool_call>"
        )
    };
    let said = [call("weather"), call("now")].join("\n");
    for (wanted, both) in [(Value::Null, true), (true.into(), true), (false.into(), false)] {
        // An answer that would rather not end: it goes on where it may.
        let mut body = chat(json!("required"));
        body["parallel_tool_calls"] = wanted.clone();
        body["max_tokens"] = 400.into();
        body["logit_bias"] = json!({ (end.to_string()): -100 });
        let answer = server.post("/v1/chat/completions", &body).json();
        assert_eq!(names(&answer).len() > 1, both, "{wanted}: {answer}");
        // It ends behind the one: nothing is computed that nobody reads.
        let tokens = answer["usage"]["completion_tokens"].as_u64().expect("a number");
        assert_eq!(tokens > 150, both, "{wanted}: {answer}");
        let mut body = chat(json!("auto"));
        body["parallel_tool_calls"] = wanted.clone();
        body["max_tokens"] = 400.into();
        body["guided_choice"] = json!([said]);
        let answer = server.post("/v1/chat/completions", &body).json();
        let expected: &[&str] = if both { &["weather", "now"] } else { &["weather"] };
        assert_eq!(names(&answer), expected, "{wanted}: {answer}");
    }
}

/// Templates that show users' pictures and none in tools' results have these in a turn of the user's behind them.
#[test]
fn pictures_of_results_stand_behind_them_where_the_template_shows_none_there() {
    let folder = project::target().join("serve-tools");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let text = std::fs::read_to_string(manifest()).expect("it is there");
    let text = text.replace("name = \"caller\"", "name = \"blind\"").replace(
        "{% else %}<image>{% endif %}",
        "{% elif message['role'] != 'tool' %}<image>{% endif %}",
    );
    let path = folder.join("blind.toml");
    std::fs::write(&path, text).expect("a file can be written");
    let server = Server::start(&[&path.display().to_string()]);
    let [first, picture] =
        ["tall", "wide"].map(|name| json!({"type": "image_url", "image_url": {"url": super::data(name)}}));
    let words = |words: &str| json!({"type": "text", "text": words});
    let asked = |results: [Value; 2], behind: &[Value]| {
        let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}});
        let mut messages = vec![
            json!({"role": "user", "content": [first, words("How is the weather?")]}),
            json!({"role": "assistant", "content": "", "tool_calls": [call("a"), call("b")]}),
            json!({"role": "tool", "tool_call_id": "a", "content": results[0]}),
            json!({"role": "tool", "tool_call_id": "b", "content": results[1]}),
        ];
        messages.extend_from_slice(behind);
        messages.push(json!({"role": "user", "content": super::QUESTION}));
        let body = json!({"model": "blind", "messages": messages, "max_tokens": 20});
        let answer = server.post("/v1/chat/completions", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        let said = answer["choices"][0]["message"]["content"].clone();
        (
            said,
            answer["usage"]["prompt_tokens"].clone(),
            answer["monocle"]["images"].as_array().map(Vec::len),
        )
    };
    let within = asked(
        [json!([words("A look outside:"), picture]), json!([words("rain")])],
        &[],
    );
    let behind = json!({"role": "user", "content": [picture]});
    let apart = asked([json!("A look outside:"), json!("rain")], &[behind]);
    assert_eq!(within, apart);
    assert_eq!(within.2, Some(2));
    // They are counted, too.
    let [first, image] = ["tall", "wide"].map(|name| {
        let data = monocle_tests::server::base64(&super::picture(name));
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
    });
    let counted = |result: Value| {
        let body = json!({"model": "blind", "messages": [
            {"role": "user", "content": [first, {"type": "text", "text": "How is the weather?"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": result}]},
        ]});
        let answer = server.post("/v1/messages/count_tokens", &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["input_tokens"].as_u64().expect("a number")
    };
    // (A picture has 16 tokens, as the model's card says.)
    assert!(counted(json!([image])) > counted(json!("")) + 16);
}

#[test]
fn other_interfaces_have_calls_in_their_own_words() {
    let server = Server::start(&[manifest()]);
    let mut flat = tool("weather");
    flat["type"] = "function".into();
    let mut body = json!({
        "model": "caller", "input": "How is the weather?", "tools": [{"type": "custom", "name": "x"}, flat], "tool_choice": "required",
        "parallel_tool_calls": false, "max_output_tokens": 120,
    });
    let whole = server.post("/v1/responses", &body).json();
    let [item] = whole["output"].as_array().expect("items").as_slice() else {
        panic!("{whole}")
    };
    assert_eq!(
        (&item["type"], &item["name"], &item["status"]),
        (&json!("function_call"), &json!("weather"), &json!("completed"))
    );
    holds(&serde_json::from_str(item["arguments"].as_str().expect("a text")).expect("JSON"));
    body["stream"] = true.into();
    let events = server.post("/v1/responses", &body).events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    let delta: Value = serde_json::from_str(&events[3].1).expect("JSON");
    assert_eq!(delta["delta"], item["arguments"]);
    // What the call gave goes back, and the model answers in words.
    body["stream"] = false.into();
    body["tool_choice"] = "none".into();
    body["input"] = json!([
        {"role": "user", "content": "How is the weather?"},
        {"type": "function_call", "call_id": item["call_id"], "name": "weather", "arguments": item["arguments"]},
        {"type": "function_call_output", "call_id": item["call_id"], "output": "rain"},
    ]);
    let answer = server.post("/v1/responses", &body).json();
    assert_eq!(answer["output"][0]["type"], "message", "{answer}");

    let mut with_schema = tool("weather");
    with_schema["input_schema"] = with_schema["parameters"].take();
    let mut body = json!({
        "model": "caller", "max_tokens": 120, "messages": [{"role": "user", "content": "How is the weather?"}], "tools": [with_schema],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
    });
    let whole = server.post("/v1/messages", &body).json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    assert_eq!(
        (&whole["content"][0]["type"], &whole["content"][0]["name"]),
        (&json!("tool_use"), &json!("weather"))
    );
    holds(&whole["content"][0]["input"]);
    body["stream"] = true.into();
    let events = server.post("/v1/messages", &body).events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
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
    let [start, delta]: [Value; 2] = [2, 3].map(|at| serde_json::from_str(&events[at].1).expect("JSON"));
    assert_eq!(
        (&start["index"], &start["content_block"]["input"]),
        (&json!(0), &json!({}))
    );
    let input: Value =
        serde_json::from_str(delta["delta"]["partial_json"].as_str().expect("a text")).expect("JSON");
    assert_eq!(input, whole["content"][0]["input"]);
    // Results with pictures in them.
    let source = json!({"type": "base64", "media_type": "image/png", "data": monocle_tests::server::base64(&super::picture("wide"))});
    body["stream"] = false.into();
    body["tool_choice"] = json!({"type": "none"});
    body["messages"] = json!([
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "weather", "input": input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": source}]}]},
    ]);
    let answer = server.post("/v1/messages", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["monocle"]["images"][0]["format"], "PNG");

    // Ollama has no choice; it gives what the model likes, and takes results back.
    let ollama = json!({
        "model": "caller", "stream": false, "options": {"num_predict": 8}, "tools": [{"type": "function", "function": tool("weather")}],
        "messages": [
            {"role": "user", "content": "How is the weather?"},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"place": "Wien"}}}]},
            {"role": "tool", "tool_name": "weather", "content": "rain"},
        ],
    });
    let answer = server.post("/api/chat", &ollama);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["message"]["role"], "assistant");
}

#[test]
fn tools_that_cannot_be_are_refused_and_others_are_left_out() {
    let server = Server::start(&[manifest()]);
    // A model whose template knows of none.
    let mut body = about("wide");
    body["tools"] = json!([{"type": "function", "function": tool("weather")}]);
    let refused = server.post("/v1/chat/completions", &body);
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("tools"))
    );
    body["tool_choice"] = "none".into();
    assert_eq!(server.post("/v1/chat/completions", &body).status, 200);
    body["tool_choice"] = Value::Null;
    body["tools"] = json!([{"type": "web_search"}]);
    assert_eq!(server.post("/v1/chat/completions", &body).status, 200);
    let unknown = chat(json!({"type": "function", "function": {"name": "other"}}));
    let refused = server.post("/v1/chat/completions", &unknown);
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("tool_choice"))
    );
    // What the model would rather say is words.
    let mut body = chat(json!("auto"));
    body["max_tokens"] = 8.into();
    let answer = server.post("/v1/chat/completions", &body).json();
    assert!(answer["choices"][0]["message"]["content"].is_string(), "{answer}");
    let mut hostile = chat(json!("required"));
    hostile["tools"][1]["function"]["parameters"] = json!({"type": "nonsense"});
    assert_eq!(server.post("/v1/chat/completions", &hostile).status, 400);
}
