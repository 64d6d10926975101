//! The tools that a request offers, and what a call of one is.

use serde_json::{Map, Value};

/// A call as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
    /// Its number, where the model gives them itself.
    pub id: Option<String>,
}

/// The tools of a request, each with the schema of its arguments, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tools(Vec<(String, Value)>);

impl Tools {
    /// Of tools as OpenAI's chats have them. One without a name is left out.
    pub fn new<'a>(tools: impl IntoIterator<Item = &'a Map<String, Value>>) -> Self {
        let read = tools.into_iter().filter_map(|tool| {
            let function = tool.get("function")?;
            let name = function["name"].as_str().filter(|name| !name.is_empty())?;
            let mut schema = function["parameters"].clone();
            if !schema.is_object() {
                schema = serde_json::json!({ "type": "object" });
            }
            Some((name.to_owned(), schema))
        });
        Self(read.collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, schema)| (name.as_str(), schema))
    }

    /// Only the one of this name; `None` where there is none.
    pub fn only(&self, name: &str) -> Option<Self> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(Self(vec![found.clone()]))
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// An argument that was written without quotes, as its schema has it: `007` is a text where a text is asked for.
    pub(crate) fn typed(&self, tool: &str, argument: &str, text: &str) -> Value {
        let schema = self.0.iter().find(|(name, _)| name == tool);
        let types = schema.map(|(_, schema)| types(&schema["properties"][argument]));
        let types = types.unwrap_or_default();
        let parsed = serde_json::from_str::<Value>(text).ok().or_else(|| word(text));
        match parsed {
            Some(value) if types.is_empty() => value,
            Some(value) if types.iter().any(|kind| is_of(&value, kind)) => value,
            Some(value) if !types.iter().any(|kind| kind == "string") => value,
            _ => Value::String(text.to_owned()),
        }
    }
}

/// Python's words for what JSON has.
fn word(text: &str) -> Option<Value> {
    match text.trim() {
        "True" => Some(Value::Bool(true)),
        "False" => Some(Value::Bool(false)),
        "None" => Some(Value::Null),
        _ => None,
    }
}

/// The types that a schema allows, as far as it says so at its top or in alternatives.
fn types(schema: &Value) -> Vec<String> {
    let mut found: Vec<String> = match &schema["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(|kind| Some(kind.as_str()?.to_owned()))
            .collect(),
        _ => Vec::new(),
    };
    for values in [&schema["enum"], &Value::Array(vec![schema["const"].clone()])] {
        let values = values.as_array().into_iter().flatten();
        found.extend(
            values
                .filter(|value| value.is_string())
                .map(|_| "string".to_owned()),
        );
    }
    for list in ["anyOf", "oneOf"] {
        found.extend(schema[list].as_array().into_iter().flatten().flat_map(types));
    }
    found
}

fn is_of(value: &Value, kind: &str) -> bool {
    match (kind, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_)) => true,
        ("integer", Value::Number(number)) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}
