//! What was asked for, and what of it is refused before anything is compiled.

use llguidance::JsonCompileOptions;
use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

use crate::error::ConstraintError;

/// The most bytes of a schema or a grammar.
const MOST_BYTES: usize = 256 << 10;
/// How deep it may be nested.
const MOST_DEPTH: usize = 64;
/// The most texts of a choice.
const MOST_CHOICES: usize = 4096;
/// White space between the parts of JSON: enough for lines and indents, not for an answer of nothing else.
const WHITE_SPACE: &str = r"(\x20|\x0A\x20{0,16})";

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that a schema describes.
    JsonSchema {
        /// The schema.
        schema: Value,
        /// Refuse what of it cannot be promised. Otherwise that is passed over, and a note says so.
        strict: bool,
    },
    /// A text that a regular expression matches from begin to end.
    Regex(String),
    /// A text of a grammar in Lark's notation, as llguidance reads it; its rule `start` is the whole.
    Lark(String),
    /// One of these texts.
    Choice(Vec<String>),
}

impl Constraint {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JsonObject => "JSON object",
            Self::JsonSchema { .. } => "JSON schema",
            Self::Regex(_) => "regular expression",
            Self::Lark(_) => "grammar",
            Self::Choice(_) => "choice",
        }
    }

    /// As the library takes it, once it is known to be of a size that can be looked at.
    pub(crate) fn grammar(&self) -> Result<TopLevelGrammar, ConstraintError> {
        match self {
            Self::JsonObject => Ok(json_grammar(json!({ "type": "object" }), true)),
            Self::JsonSchema { schema, strict } => {
                self.check_size("bytes", schema.to_string().len(), MOST_BYTES)?;
                self.check_size("levels of nesting", depth(schema), MOST_DEPTH)?;
                if !schema.is_object() && !schema.is_boolean() {
                    return Err(self.refused(format!("expected an object or a boolean, found {schema}")));
                }
                Ok(json_grammar(schema.clone(), *strict))
            }
            Self::Regex(text) => {
                self.check_text(text)?;
                Ok(TopLevelGrammar::from_regex(text))
            }
            Self::Lark(text) => {
                self.check_text(text)?;
                Ok(TopLevelGrammar::from_lark(text.clone()))
            }
            Self::Choice(texts) => {
                self.check_size("texts", texts.len(), MOST_CHOICES)?;
                self.check_size("bytes", texts.iter().map(String::len).sum(), MOST_BYTES)?;
                if texts.is_empty() || texts.iter().any(String::is_empty) {
                    return Err(self.refused("expected one text or more, none of them empty".to_owned()));
                }
                // A string in Lark is written as one in JSON.
                let texts: Vec<String> = texts.iter().map(|text| json!(text).to_string()).collect();
                Ok(TopLevelGrammar::from_lark(format!(
                    "start: {}",
                    texts.join(" | ")
                )))
            }
        }
    }

    pub(crate) fn refused(&self, reason: String) -> ConstraintError {
        let kind = self.kind();
        ConstraintError::Refused { kind, reason }
    }

    fn check_text(&self, text: &str) -> Result<(), ConstraintError> {
        self.check_size("bytes", text.len(), MOST_BYTES)?;
        // Whatever stands in quotes is counted too: brackets that do not nest are no reason to nest deep.
        let (mut depth, mut deepest) = (0usize, 0);
        for character in text.chars() {
            match character {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        self.check_size("levels of nesting", deepest, MOST_DEPTH)
    }

    fn check_size(&self, unit: &'static str, found: usize, limit: usize) -> Result<(), ConstraintError> {
        let kind = self.kind();
        match found > limit {
            true => Err(ConstraintError::TooLarge {
                kind,
                found,
                limit,
                unit,
            }),
            false => Ok(()),
        }
    }
}

fn json_grammar(mut schema: Value, strict: bool) -> TopLevelGrammar {
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITE_SPACE.to_owned()),
        lenient: !strict,
        ..JsonCompileOptions::default()
    };
    if schema == Value::Bool(true) {
        schema = json!({});
    }
    if schema.is_object() {
        // In place of options that the schema may bring itself.
        options.apply_to(&mut schema);
    }
    TopLevelGrammar::from_json_schema(schema)
}

/// Levels of nesting, found without recursion.
fn depth(value: &Value) -> usize {
    let (mut level, mut depth) = (vec![value], 0);
    while !level.is_empty() {
        depth += 1;
        level = level
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(values) => values.iter().collect::<Vec<_>>(),
                Value::Object(values) => values.values().collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    depth
}
