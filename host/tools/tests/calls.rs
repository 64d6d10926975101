//! Calls as models write them, whole and cut everywhere; the tables that come with the project.

use std::path::Path;
use std::sync::Arc;

use monocle_manifest::schema::ToolFormat;
use monocle_tools::{CallParser, Found, ToolTable, Tools, find, load};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn tables() -> Vec<ToolTable> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/tools");
    let (tables, bad) = load(&folder);
    assert_eq!(bad, []);
    assert!(tables.len() >= 12, "{}", tables.len());
    tables
}

/// The format of a template that has these texts.
fn format(template: &str) -> Arc<ToolFormat> {
    Arc::new(find(&tables(), template).expect("a table fits").clone())
}

fn tools() -> Tools {
    let tool = |name: &str, properties: Value| {
        let function = json!({"name": name, "parameters": {"type": "object", "properties": properties}});
        let tool: Map<String, Value> = [("function".to_owned(), function)].into_iter().collect();
        tool
    };
    let weather = json!({
        "place": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"}, "code": {"type": "string"},
        "list": {"type": "array"}, "free": {},
    });
    Tools::new(&[tool("weather", weather), tool("now", json!({}))])
}

/// What comes of an answer that is cut at these bytes: words, and calls with their arguments.
fn read(format: &Arc<ToolFormat>, answer: &str, cuts: &[usize]) -> (String, Vec<(String, Value)>) {
    let mut parser = CallParser::new(Arc::clone(format), tools(), usize::MAX);
    let mut found = Vec::new();
    let mut at = 0;
    for cut in cuts.iter().copied().chain([answer.len()]) {
        if answer.is_char_boundary(cut) && cut > at {
            found.extend(parser.push(&answer[at..cut]));
            at = cut;
        }
    }
    found.extend(parser.finish());
    let mut words = String::new();
    let mut calls = Vec::new();
    for one in found {
        match one {
            Found::Text(text) => words += &text,
            Found::Call(call) => calls.push((call.name, Value::Object(call.arguments))),
        }
    }
    (words, calls)
}

/// The same whole, at every cut, and byte for byte.
fn check(template: &str, answer: &str, words: &str, calls: &[(&str, Value)]) {
    let format = format(template);
    let expected: Vec<(String, Value)> = calls
        .iter()
        .map(|(name, arguments)| ((*name).to_owned(), arguments.clone()))
        .collect();
    let expected = (words.to_owned(), expected);
    assert_eq!(read(&format, answer, &[]), expected, "{answer}");
    for cut in 1..answer.len() {
        assert_eq!(read(&format, answer, &[cut]), expected, "{answer} cut at {cut}");
    }
    let all: Vec<usize> = (1..answer.len()).collect();
    assert_eq!(read(&format, answer, &all), expected, "{answer} byte for byte");
}

const HERMES: &str = "<tool_call> </tool_call> arguments";

#[test]
fn json_between_tags() {
    let one = r#"<tool_call>
{"name": "weather", "arguments": {"place": "Wien", "days": 3}}
</tool_call>"#;
    let wien = ("weather", json!({"place": "Wien", "days": 3}));
    check(HERMES, one, "", std::slice::from_ref(&wien));
    check(
        HERMES,
        &format!("Let me see.\n\n{one}\n"),
        "Let me see.",
        std::slice::from_ref(&wien),
    );
    let now = ("now", json!({}));
    let two = format!("{one}\n<tool_call>{{\"name\": \"now\"}}</tool_call> and then");
    check(HERMES, &two, " and then", &[wien.clone(), now.clone()]);
    // Tags, quotes and brackets inside of texts; letters of several bytes; a text for the arguments.
    let hard = r#"<tool_call>{"name": "weather", "arguments": {"place": "a \"</tool_call>\" }{ <tool_call> ü 雪"}}</tool_call>"#;
    check(
        HERMES,
        hard,
        "",
        &[(
            "weather",
            json!({"place": "a \"</tool_call>\" }{ <tool_call> ü 雪"}),
        )],
    );
    let text = r#"<tool_call>{"name": "weather", "arguments": "{\"days\": 1}"}</tool_call>"#;
    check(HERMES, text, "", &[("weather", json!({"days": 1}))]);
    // No end, and the end of another one's words.
    check(
        HERMES,
        r#"<tool_call>{"name": "now", "arguments": {}}"#,
        "",
        std::slice::from_ref(&now),
    );
    check(
        HERMES,
        r#"<tool_call>{"name": "now", "arguments": {}}</tool"#,
        "",
        &[now],
    );
    // A tool that was not offered is the client's to answer.
    check(
        HERMES,
        r#"<tool_call>{"name": "other"}</tool_call>"#,
        "",
        &[("other", json!({}))],
    );
    // What is no call is words, and nothing of it is lost.
    for words in [
        "just words with < and <tool",
        "a <tool_call> b",
        "a <tool_call>{\"x\": 1}</tool_call> b",
        "<tool_call>{\"name\": \"now\", \"arg",
        "spaces at the end  \n",
    ] {
        check(HERMES, words, words, &[]);
    }
}

#[test]
fn lists_and_names_before_json() {
    let wien = ("weather", json!({"place": "Wien"}));
    let graz = ("weather", json!({"place": "Graz", "days": 2}));
    let both = [wien, graz];
    check(
        "[TOOL_CALLS]",
        r#"[TOOL_CALLS][{"name": "weather", "arguments": {"place": "Wien"}}, {"name": "weather", "arguments": {"place": "Graz", "days": 2}}]"#,
        "",
        &both,
    );
    check(
        "<tool_calls> </tool_calls>",
        r#"ok <tool_calls>[{"name": "weather", "arguments": {"place": "Wien"}}, {"name": "weather", "arguments": {"place": "Graz", "days": 2}}]</tool_calls>"#,
        "ok",
        &both,
    );
    check(
        "[TOOL_CALLS] [ARGS]",
        r#"[TOOL_CALLS]weather[ARGS]{"place": "Wien"}[TOOL_CALLS]weather[ARGS]{"place": "Graz", "days": 2}"#,
        "",
        &both,
    );
    check(
        "<|tool_calls_section_begin|> <|tool_call_argument_begin|>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{\"place\": \"Wien\"}<|tool_call_end|>\
         <|tool_call_begin|>functions.weather:1<|tool_call_argument_begin|>{\"place\": \"Graz\", \"days\": 2}<|tool_call_end|><|tool_calls_section_end|>",
        "",
        &both,
    );
    check(
        "<｜tool▁calls▁begin｜> <｜tool▁sep｜> ```json",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"place\": \"Wien\"}\n```<｜tool▁call▁end｜>\n\
         <｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"place\": \"Graz\", \"days\": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        &both,
    );
}

/// Where the model numbers its calls, the number is the call's name.
#[test]
fn numbers_of_the_models_own_are_kept() {
    let format = format("<|tool_calls_section_begin|> <|tool_call_argument_begin|>");
    let mut parser = CallParser::new(format, tools(), usize::MAX);
    let found =
        parser.push("<|tool_call_begin|>functions.now:7<|tool_call_argument_begin|>{}<|tool_call_end|>");
    let [Found::Call(call)] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        (call.name.as_str(), call.id.as_deref()),
        ("now", Some("functions.now:7"))
    );
}

#[test]
fn arguments_between_tags_have_the_types_of_the_schema() {
    let tagged = "<tool_call> <function= <parameter=";
    let all = json!({
        "place": "San \"Juan\" <b>", "days": 3, "exact": true, "code": "007", "list": [1, 2], "free": {"a": 1},
    });
    check(
        tagged,
        "I look.\n<tool_call>\n<function=weather>\n<parameter=place>\nSan \"Juan\" <b>\n</parameter>\n<parameter=days>\n3\n</parameter>\n\
         <parameter=exact>\nTrue\n</parameter>\n<parameter=code>\n007\n</parameter>\n<parameter=list>\n[1, 2]\n</parameter>\n\
         <parameter=free>\n{\"a\": 1}\n</parameter>\n</function>\n</tool_call>",
        "I look.",
        &[("weather", all.clone())],
    );
    check(
        tagged,
        "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=weather>\n<parameter=days>\nmany\n</parameter>\n</function>\n</tool_call>",
        "",
        &[("now", json!({})), ("weather", json!({"days": "many"}))],
    );
    check(
        "<tool_call> <arg_key> </arg_key> <arg_value>",
        "<tool_call>weather\n<arg_key>code</arg_key>\n<arg_value>007</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\
         <tool_call>now</tool_call>",
        "",
        &[("weather", json!({"code": "007", "days": 3})), ("now", json!({}))],
    );
    check(
        "<minimax:tool_call> <invoke name=",
        "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"place\">Wien</parameter>\n<parameter name=\"days\">3</parameter>\n</invoke>\n\
         <invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
        "",
        &[
            ("weather", json!({"place": "Wien", "days": 3})),
            ("now", json!({})),
        ],
    );
}

#[test]
fn python_and_loose_values() {
    check(
        "<|tool_call_start|>",
        "<|tool_call_start|>[weather(place=\"W'ien ]\", days=-2, exact=True, list=[1.5, 'a', {\"b\": None}]), now()]<|tool_call_end|>done",
        "done",
        &[
            (
                "weather",
                json!({"place": "W'ien ]", "days": -2, "exact": true, "list": [1.5, "a", {"b": null}]}),
            ),
            ("now", json!({})),
        ],
    );
    check(
        "<start_function_call> <escape>",
        "<start_function_call>call:weather{place:<escape>a, b}<escape>,days:3,list:[1,<escape>x<escape>],free:{exact:true}}<end_function_call>",
        "",
        &[(
            "weather",
            json!({"place": "a, b}", "days": 3, "list": [1, "x"], "free": {"exact": true}}),
        )],
    );
    check(
        "<|tool_call> <|\"|>",
        "<|tool_call>call:weather{place:<|\"|>Wien<|\"|>}<tool_call|><|tool_call>call:now{}<tool_call|>",
        "",
        &[("weather", json!({"place": "Wien"})), ("now", json!({}))],
    );
}

/// An answer that is JSON is a call only where it names a tool that was offered.
#[test]
fn calls_that_nothing_opens() {
    let bare = "<|python_tag|>";
    check(
        bare,
        r#" {"name": "weather", "parameters": {"days": 1}}"#,
        "",
        &[("weather", json!({"days": 1}))],
    );
    check(
        bare,
        r#"<|python_tag|>{"name": "now", "parameters": {}}"#,
        "",
        &[("now", json!({}))],
    );
    for words in [
        r#"{"name": "other", "parameters": {}}"#,
        r#"{"colour": "red"}"#,
        "{",
        "so {\"name\": \"now\"}",
    ] {
        check(bare, words, words, &[]);
    }
}

#[test]
fn no_more_calls_than_are_wanted() {
    let answer = r#"<tool_call>{"name": "now"}</tool_call><tool_call>{"name": "weather"}</tool_call>"#;
    let mut parser = CallParser::new(format(HERMES), tools(), 1);
    let mut found = parser.push(answer);
    found.extend(parser.finish());
    assert_eq!(found.len(), 1, "{found:?}");
}

const PARTS: &str = "(<tool_call>|</tool_call>|</tool|<tool|\\{\"name\": \"now\", \"arguments\": \\{\\}\\}|\\[|\\]|\\{|\\}|\"|,|now|weather|\
    \\[TOOL_CALLS\\]|\\[ARGS\\]|<function=|<parameter=|>|</parameter>|place|<arg_key>|</arg_key>|<arg_value>|</arg_value>|<\\|tool_call_start\\|>|\
    <\\|tool_call_end\\|>|\\(|\\)|=|'|call:|<escape>|<start_function_call>|:|[ \n]|ü|x|1){0,24}";

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever comes, however it is cut, the result is the same, and words that hold no call are all there.
    #[test]
    fn cuts_make_no_difference(answer in PARTS, cuts in prop::collection::vec(0usize..200, 0..12), which in 0usize..100) {
        let tables = tables();
        let format = Arc::new(tables[which % tables.len()].tools.clone());
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < answer.len()).collect();
        cuts.sort_unstable();
        let whole = read(&format, &answer, &[]);
        let cut = read(&format, &answer, &cuts);
        prop_assert_eq!(&whole, &cut);
        if whole.1.is_empty() && format.section.is_none() {
            prop_assert_eq!(whole.0, answer);
        }
    }
}
