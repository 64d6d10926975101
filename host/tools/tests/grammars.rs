//! The grammar of an answer that must be a call: what it lets through is a call, read back as one.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use monocle_constraint::{Constraint, Grammar, Vocabulary};
use monocle_manifest::schema::{ToolFormat, ToolShape};
use monocle_tools::{CallParser, Found, Tools, grammar, load};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Texts that are special tokens here, behind the bytes.
const SPECIAL: [&str; 4] = [
    "<|tool_call_begin|>",
    "<|tool_call_end|>",
    "[TOOL_CALLS]",
    "<|python_tag|>",
];
const END: u32 = 256 + SPECIAL.len() as u32;

static VOCABULARY: LazyLock<Arc<Vocabulary>> = LazyLock::new(|| {
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
    let special = (0..=SPECIAL.len()).map(|_| Vec::new());
    Arc::new(Vocabulary::of_words(bytes.chain(special).collect()).expect("a vocabulary"))
});

fn special(text: &str) -> Option<u32> {
    let place = SPECIAL.iter().position(|known| *known == text)?;
    Some(256 + place as u32)
}

fn tools() -> Tools {
    let tool = |name: &str, properties: Value, required: &[&str]| {
        let schema = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
        let tool: Map<String, Value> = [("function".to_owned(), json!({"name": name, "parameters": schema}))]
            .into_iter()
            .collect();
        tool
    };
    Tools::new(&[
        tool(
            "weather",
            json!({
                "unit": {"type": "string", "enum": ["C", "F"]}, "days": {"type": "integer", "minimum": 0, "maximum": 99},
                "exact": {"type": "boolean"},
            }),
            &["unit", "days"],
        ),
        tool("now", json!({}), &[]),
    ])
}

fn formats() -> Vec<ToolFormat> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/tools");
    let tables = load(&folder).0.into_iter().map(|table| table.tools);
    tables
        .filter(|format| !matches!(format.shape, ToolShape::Python | ToolShape::Loose))
        .collect()
}

fn compiled(format: &ToolFormat, tools: &Tools, several: bool) -> Grammar {
    let text = grammar(format, tools, several, &special).expect("there is a grammar");
    Grammar::new(&Constraint::Lark(text.clone()), &VOCABULARY)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Draws tokens with these numbers; where there are no more, it goes for what is short. `None` where no end comes.
fn draw(grammar: &Grammar, numbers: &[u16]) -> Option<String> {
    let (mut matcher, mut text) = (grammar.matcher(), Vec::new());
    for step in 0..1500 {
        let mut logits = vec![0.0f32; END as usize + 1];
        matcher.mask(&mut logits, &[END]).expect("something may come");
        let allowed: Vec<u32> = (0..=END).filter(|id| logits[*id as usize] == 0.0).collect();
        let token = match numbers.get(step) {
            Some(number) => allowed[*number as usize % allowed.len()],
            None if allowed.contains(&END) => END,
            None => *allowed
                .iter()
                .find(|id| b"\"}]0e<".iter().any(|byte| u32::from(*byte) == **id))
                .unwrap_or(&allowed[0]),
        };
        if token == END {
            return Some(String::from_utf8(text).expect("text"));
        }
        matcher.take(token).expect("it was allowed");
        match token.checked_sub(256) {
            None => text.push(token as u8),
            Some(place) => text.extend(SPECIAL[place as usize].as_bytes()),
        }
        if matcher.is_over() {
            return Some(String::from_utf8(text).expect("text"));
        }
    }
    None
}

/// A tool's name, and its arguments.
type Called = (String, Map<String, Value>);

fn read(format: &ToolFormat, answer: &str) -> (String, Vec<Called>) {
    let mut parser = CallParser::new(Arc::new(format.clone()), tools(), usize::MAX);
    let mut found = parser.push(answer);
    found.extend(parser.finish());
    let (mut words, mut calls) = (String::new(), Vec::new());
    for one in found {
        match one {
            Found::Text(text) => words += &text,
            Found::Call(call) => calls.push((call.name, call.arguments)),
        }
    }
    (words, calls)
}

fn holds(name: &str, arguments: &Map<String, Value>) -> bool {
    let known = arguments
        .keys()
        .all(|key| ["unit", "days", "exact"].contains(&key.as_str()));
    let weather = matches!(arguments.get("unit").and_then(Value::as_str), Some("C" | "F"))
        && arguments.get("days").and_then(Value::as_u64) <= Some(99)
        && arguments.get("days").is_some_and(Value::is_u64)
        && arguments.get("exact").is_none_or(Value::is_boolean);
    match name {
        "weather" => known && weather,
        "now" => arguments.is_empty(),
        _ => false,
    }
}

/// Texts run until what ends them, whatever that is in.
#[test]
fn free_texts_end_where_their_end_comes() {
    let tool: Map<String, Value> = [(
        "function".to_owned(),
        json!({"name": "say", "parameters": {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}}),
    )]
    .into_iter()
    .collect();
    let tools = Tools::new(&[tool]);
    let format = formats()
        .into_iter()
        .find(|format| format.around_name[0] == "<function=")
        .expect("a table");
    let grammar = compiled(&format, &tools, false);
    let mut matcher = grammar.matcher();
    let call = "<tool_call><function=say><parameter=words>a < b </par \n\"</parameter></tool_call>";
    for byte in call.bytes() {
        matcher
            .take(u32::from(byte))
            .unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(matcher.is_complete().expect("it goes on"));
    let (words, calls) = read(&format, call);
    assert_eq!(
        (words.as_str(), calls[0].1["words"].as_str()),
        ("", Some("a < b </par \n\""))
    );
}

#[test]
fn one_tool_means_that_one() {
    for format in formats() {
        let grammar = compiled(&format, &tools().only("now").expect("it is there"), false);
        let answer = draw(&grammar, &[]).expect("it ends");
        assert_eq!(
            read(&format, &answer),
            (String::new(), vec![("now".to_owned(), Map::new())]),
            "{answer}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_may_come_is_a_call(which in 0usize..100, several in any::<bool>(), numbers in prop::collection::vec(any::<u16>(), 0..200)) {
        let formats = formats();
        let format = &formats[which % formats.len()];
        let grammar = compiled(format, &tools(), several);
        let Some(answer) = draw(&grammar, &numbers) else { return Ok(()) };
        let (words, calls) = read(format, &answer);
        prop_assert_eq!(words, "", "{}", answer);
        prop_assert!(!calls.is_empty() && (several || calls.len() == 1), "{}", answer);
        for (name, arguments) in calls {
            prop_assert!(holds(&name, &arguments), "{} {:?} in {}", name, arguments, answer);
        }
    }
}
