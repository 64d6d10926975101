//! What would take too long is refused in time. In a process of its own: what is given up goes on for a while, and other tests would wait for it.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use monocle_constraint::{Constraint, ConstraintError, Grammar, Vocabulary};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every byte, and an end, which writes nothing.
static VOCABULARY: LazyLock<Arc<Vocabulary>> = LazyLock::new(|| {
    let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
    Arc::new(Vocabulary::of_words(bytes.chain([Vec::new()]).collect()).unwrap())
});

fn schema(schema: Value) -> Constraint {
    Constraint::JsonSchema { schema, strict: true }
}

fn grammar(constraint: &Constraint) -> Result<Grammar, ConstraintError> {
    Grammar::new(constraint, &VOCABULARY)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_input_is_refused_or_taken_within_the_limit(text in ".{0,60}") {
        let began = Instant::now();
        let _ = grammar(&Constraint::Regex(text.clone()));
        let _ = grammar(&Constraint::Lark(text.clone()));
        let _ = grammar(&Constraint::Choice(vec![text]));
        prop_assert!(began.elapsed() < Duration::from_secs(3));
    }
}

/// The limit is a second; the machine may be busy.
#[test]
fn hostile_constraints_end_within_a_second() {
    let mut deep = json!({ "type": "null" });
    for _ in 0..500 {
        deep = json!({ "type": "array", "items": deep });
    }
    let options: Vec<Value> = (0..3000)
        .map(|index| json!({ "type": "string", "pattern": format!("^(a|b)*{index}(c|d)*$") }))
        .collect();
    let hostile = [
        schema(deep),
        schema(json!({ "anyOf": options })),
        schema(json!({ "type": "array", "minItems": 1_000_000_000, "maxItems": 2_000_000_000u64 })),
        schema(json!({ "type": "string", "minLength": 100_000_000, "maxLength": 1_000_000_000 })),
        schema(json!({ "$ref": "#" })),
        schema(
            json!({ "allOf": [{ "$ref": "#/$defs/a" }], "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/a" }] } } }),
        ),
        Constraint::Regex("(".repeat(100_000)),
        Constraint::Regex("((a{1,1000}){1,1000}){1,1000}".into()),
        Constraint::Regex("(a|b)*a(a|b){400}".into()),
        Constraint::Lark(format!("start: {}", "a ".repeat(100_000))),
        Constraint::Lark("start: start start | start".into()),
        Constraint::Choice(vec!["a".into(); 100_000]),
        Constraint::JsonSchema {
            schema: Value::String("x".repeat(1 << 20)),
            strict: true,
        },
    ];
    for constraint in &hostile {
        let began = Instant::now();
        let found = grammar(constraint);
        let took = began.elapsed();
        assert!(
            took < Duration::from_millis(1500),
            "{}: {took:?}: {:?}",
            constraint.kind(),
            found.map(drop)
        );
    }
}
