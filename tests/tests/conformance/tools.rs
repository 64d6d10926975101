//! Tools: what a request says of them reaches the template, through the plugin.

use monocle_runtime::plugin::contract::{Content, Message, Part, ToolCall};
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::project;
use serde_json::{Map, Value, json};

/// A template that writes all that it is given.
const TEMPLATE: &str = "{%- for m in messages -%}[{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}\
    {%- if m.reasoning_content %}; thought {{ m.reasoning_content }}{% endif %}\
    {%- for call in m.tool_calls or [] %}; {{ call.type }} {{ call.id }} {{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}\
    {%- if m.tool_call_id %}; for {{ m.tool_call_id }} of {{ m.name }}{% endif %}]{% endfor -%}\
    {{ tools | tojson if tools else 'no tools' }} {{ tone }} {{ size }}";

fn manifest(template: &str) -> String {
    let source = project::oracle("smolvlm");
    format!(
        "schema = 1\nname = \"tools\"\nplugin = \"smolvlm\"\nsource = {{ path = {source:?} }}\n[prompt]\ntemplate = {template:?}\n\
         variables = {{ tone = \"calm\", size = 1 }}\n"
    )
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

fn words(text: &str) -> Content {
    Content::Parts(vec![Part::Text(text.to_owned())])
}

/// A conversation in which a tool was called.
fn request() -> Request {
    let call = ToolCall {
        id: Some("c1".to_owned()),
        name: "look".to_owned(),
        arguments: object(json!({ "where": "up", "far": 2 })),
    };
    Request {
        messages: vec![
            Message::new("user", words("Is it day?")),
            Message {
                reasoning: Some("I do not know".to_owned()),
                tool_calls: vec![call],
                ..Message::new("assistant", Content::Text("Let me see.".to_owned()))
            },
            Message {
                tool_call: Some("c1".to_owned()),
                name: Some("look".to_owned()),
                ..Message::new("tool", Content::Text("a <image> of the sun".to_owned()))
            },
        ],
        tools: vec![object(
            json!({ "type": "function", "function": { "name": "look" } }),
        )],
        variables: object(json!({ "tone": "brisk" })),
        ..Request::default()
    }
}

fn prompt(model: &mut Scheduler, request: &Request) -> String {
    let prepared = model
        .prepare(request, 4, 64)
        .unwrap_or_else(|error| panic!("{error}"));
    prepared.plan.text.clone()
}

#[test]
fn a_template_sees_calls_results_thoughts_and_variables() {
    let mut model = project::open_manifest(&manifest(TEMPLATE));
    assert_eq!(
        prompt(&mut model, &request()),
        "[user: Is it day?][assistant: Let me see.; thought I do not know; function c1 look {\"where\": \"up\", \"far\": 2}]\
         [tool: a <image> of the sun; for c1 of look][{\"type\": \"function\", \"function\": {\"name\": \"look\"}}] brisk 1"
    );
    let plain = Request::single(None, vec![], "Hello");
    assert_eq!(prompt(&mut model, &plain), "[user: Hello]no tools calm 1");
}

#[test]
fn tools_that_the_template_does_not_know_are_noted() {
    let noted = |template: &str| {
        let mut model = project::open_manifest(&manifest(template));
        let prepared = model
            .prepare(&request(), 4, 64)
            .unwrap_or_else(|error| panic!("{error}"));
        let notes = prepared.notes();
        notes.iter().any(|note| note.contains("never reads `tools`"))
    };
    assert!(noted("{{ messages[0].content[0].text }}{{ tone }}{{ size }}"));
    assert!(!noted(TEMPLATE));
}

#[test]
fn a_plugin_of_contract_0_1_refuses_tools() {
    let mut model = project::open_frozen("contract-0.1", &manifest(TEMPLATE));
    let mut refusal = |request: &Request| match model.prepare(request, 4, 64) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let mut asked = request();
    assert!(refusal(&asked).contains("`processor.plan`: it was built for contract 0.1, which has no tools"));
    asked.tools.clear();
    assert!(refusal(&asked).contains("which has no tools"));
    asked.messages.truncate(1);
    let prepared = model
        .prepare(&asked, 4, 64)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(prepared.plan.text, "[user: Is it day?]no tools brisk 1");
}
