//! Answers that a matcher lets through are what was asked for, whatever is drawn.

use std::sync::{Arc, LazyLock};

use monocle_constraint::{Constraint, ConstraintError, Grammar, Vocabulary};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every byte, some longer texts that cross the parts of JSON, and an end, which writes nothing.
const LONGER: [&str; 12] = [
    "{\"", "\":", "\": ", "\",", "true", "false", "null", "}}", "]}", ", \"", "\\u", "é",
];
const END: u32 = 256 + LONGER.len() as u32;
const TOKENS: usize = END as usize + 1;

static VOCABULARY: LazyLock<Arc<Vocabulary>> =
    LazyLock::new(|| Arc::new(Vocabulary::of_words(words()).unwrap()));

fn words() -> Vec<Vec<u8>> {
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
    let longer = LONGER.iter().map(|text| text.as_bytes().to_vec());
    bytes.chain(longer).chain([Vec::new()]).collect()
}

fn schema(schema: Value) -> Constraint {
    Constraint::JsonSchema { schema, strict: true }
}

fn grammar(constraint: &Constraint) -> Result<Grammar, ConstraintError> {
    Grammar::new(constraint, &VOCABULARY)
}

/// The tokens that may come.
fn allowed(matcher: &mut monocle_constraint::Matcher) -> Vec<u32> {
    let mut logits = vec![0.0f32; TOKENS];
    matcher.mask(&mut logits, &[END]).unwrap();
    (0..TOKENS as u32)
        .filter(|id| logits[*id as usize] == 0.0)
        .collect()
}

/// Draws tokens with these numbers until the answer ends; where there are no more, it goes for the end. `None` where it does not come.
fn draw(grammar: &Grammar, numbers: &[u16]) -> Option<String> {
    let (mut matcher, words, mut text) = (grammar.matcher(), words(), Vec::new());
    for step in 0..2000 {
        let allowed = allowed(&mut matcher);
        let token = match numbers.get(step) {
            Some(number) => allowed[*number as usize % allowed.len()],
            // What ends things, and before that what is short.
            None if allowed.contains(&END) => END,
            None => *b"\"}]0e,:"
                .iter()
                .map(|byte| u32::from(*byte))
                .collect::<Vec<_>>()
                .iter()
                .find(|byte| allowed.contains(byte))
                .unwrap_or(&allowed[allowed.len() / 2]),
        };
        if token == END {
            return Some(String::from_utf8(text).unwrap());
        }
        matcher.take(token).unwrap();
        text.extend(&words[token as usize]);
        if matcher.is_over() {
            return Some(String::from_utf8(text).unwrap());
        }
    }
    None
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({ "type": "string" })),
        (0u8..4, 4u8..9)
            .prop_map(|(least, most)| json!({ "type": "string", "minLength": least, "maxLength": most })),
        (-50i8..0, 0i8..50)
            .prop_map(|(least, most)| json!({ "type": "integer", "minimum": least, "maximum": most })),
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": "null" })),
        Just(json!({ "enum": ["red", "blue", 3, null] })),
        Just(json!({ "const": { "a": [1, 2] } })),
        Just(json!({ "type": "string", "pattern": "^[a-c]{2,3}$" })),
    ]
}

fn schemas() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), 0u8..2, 2u8..4)
                .prop_map(|(items, least, most)| json!({ "type": "array", "items": items, "minItems": least, "maxItems": most })),
            (prop::collection::vec(inner.clone(), 1..4), any::<u8>()).prop_map(|(values, required)| {
                let named = values.iter().enumerate();
                let properties: serde_json::Map<_, _> =
                    named.map(|(index, value)| (format!("key{index}"), value.clone())).collect();
                let names: Vec<&String> = properties.keys().collect();
                let required: Vec<&&String> =
                    names.iter().enumerate().filter(|(index, _)| required >> index & 1 == 1).map(|(_, name)| name).collect();
                json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
            }),
            prop::collection::vec(inner, 1..3).prop_map(|options| json!({ "anyOf": options })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_drawn_is_what_the_schema_describes(value in schemas(), numbers in prop::collection::vec(any::<u16>(), 0..60)) {
        let grammar = grammar(&schema(value.clone())).unwrap();
        if let Some(text) = draw(&grammar, &numbers) {
            let answer: Value = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(format!("{text:?}: {error}")))?;
            prop_assert!(jsonschema::is_valid(&value, &answer), "{} is not {}", text, value);
        }
    }
}

#[test]
fn an_answer_ends_only_where_it_is_whole() {
    let grammar = grammar(&Constraint::Choice(vec!["cat".into(), "catfish".into()])).unwrap();
    let mut matcher = grammar.matcher();
    let ids = |text: &str| text.bytes().map(u32::from).collect::<Vec<u32>>();
    for token in ids("cat") {
        assert_eq!(allowed(&mut matcher), [token]);
        assert!(!matcher.is_complete().unwrap());
        matcher.take(token).unwrap();
    }
    assert_eq!(allowed(&mut matcher), [u32::from(b'f'), END]);
    assert!(matcher.is_complete().unwrap() && !matcher.is_over());
    for token in ids("fish") {
        matcher.take(token).unwrap();
    }
    assert!(matcher.is_over());
    assert_eq!(allowed(&mut matcher), [END]);
    // Another answer begins anew.
    assert_eq!(allowed(&mut grammar.matcher()), [u32::from(b'c')]);
}

#[test]
fn regular_expressions_match_from_begin_to_end() {
    let grammar = grammar(&Constraint::Regex("[0-9]{2}(:[0-9]{2})?".into())).unwrap();
    let mut matcher = grammar.matcher();
    let digits: Vec<u32> = (b'0'..=b'9').map(u32::from).collect();
    assert_eq!(allowed(&mut matcher), digits);
    for byte in *b"12" {
        matcher.take(u32::from(byte)).unwrap();
    }
    assert_eq!(allowed(&mut matcher), [u32::from(b':'), END]);
}

#[test]
fn a_schemas_white_space_is_bounded() {
    let grammar = grammar(&schema(json!({ "type": "array", "items": { "type": "null" } }))).unwrap();
    let mut matcher = grammar.matcher();
    matcher.take(u32::from(b'[')).unwrap();
    // A line's end and its indentation.
    matcher.take(u32::from(b'\n')).unwrap();
    for _ in 0..16 {
        matcher.take(u32::from(b' ')).unwrap();
    }
    let next = allowed(&mut matcher);
    assert!(!next.contains(&u32::from(b'\n')) && !next.contains(&u32::from(b' ')));
}

#[test]
fn what_cannot_be_promised_is_refused_or_said() {
    let value = json!({ "type": "string", "format": "no-such-format" });
    match grammar(&schema(value.clone())) {
        Err(ConstraintError::Refused { reason, .. }) => {
            assert!(reason.contains("no-such-format"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    let lenient = Constraint::JsonSchema {
        schema: value,
        strict: false,
    };
    assert!(!grammar(&lenient).unwrap().notes().is_empty());
    // Nothing outside of the schema is looked at.
    let remote = schema(json!({ "$ref": "https://example.com/schema.json" }));
    assert!(matches!(grammar(&remote), Err(ConstraintError::Refused { .. })));
    assert!(matches!(
        grammar(&schema(json!(3))),
        Err(ConstraintError::Refused { .. })
    ));
    assert!(matches!(
        grammar(&Constraint::Choice(Vec::new())),
        Err(ConstraintError::Refused { .. })
    ));
}

/// Sixteen clients at once, twice as many as are compiled at once.
#[test]
fn many_at_once_wait_for_their_turn() {
    let found: Vec<_> = std::thread::scope(|scope| {
        let compile = |index: usize| {
            let options: Vec<Value> = (0..200)
                .map(|option| json!(format!("{index} of {option}")))
                .collect();
            scope.spawn(move || grammar(&schema(json!({ "enum": options }))).map(drop))
        };
        let threads: Vec<_> = (0..16).map(compile).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(Result::is_ok), "{found:?}");
}
