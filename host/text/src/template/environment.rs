//! The template engine, set up as transformers sets up Jinja2.

use minijinja::value::ValueKind;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter,
};

use super::python::{call_method, to_text};
use super::{filters, globals, guard};

/// A template's own refusal, kept as an error's source so that it can be told from the engine's errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RaisedByTemplate(pub String);

/// An environment whose renders end after `fuel` steps.
pub fn new(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = environment
        .syntax()
        .to_builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.expect("the engine's own delimiters are valid"));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(call_method);
    environment.set_fuel(Some(fuel));
    environment.set_formatter(print);
    guard::install(&mut environment);
    filters::install(&mut environment);
    globals::install(&mut environment);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_function("raise_exception", raise_exception);
    environment
}

/// Prints floats and what holds values as Python does, the rest as the engine does.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    guard::printed(value)?;
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Map => {
            out.write_str(&to_text(value)).map_err(Error::from)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// In Jinja2 whatever has a length and items is a sequence: text, maps and the undefined value too.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Seq | Iterable | String | Map | Undefined)
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(RaisedByTemplate(message)))
}

/// A JSON value as the engine's.
pub fn to_value(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(to_value).collect(),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.clone(), to_value(value))))
        }
    }
}

/// Makes a template's text fit for the engine. Line ends become `\n`, as in Jinja2's lexer. transformers' `generation`
/// tag, which marks what the model said, becomes `with`: that too opens a scope and prints what it holds.
pub fn prepare(template: &str) -> String {
    let template = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut text = String::with_capacity(template.len());
    let mut rest = template.as_str();
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        // `{%}` has no end: its percent sign is of the beginning.
        let Some(end) = tag[2..].find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let name = tag[2..].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match name {
            "generation" => text.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" => text.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ => text.push_str(tag),
        }
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_tags_become_scopes_and_keep_their_white_space_control() {
        assert_eq!(
            prepare("a{%- generation -%}b{% endgeneration %}{% if generation %}%}{%"),
            "a{%- with -%}b{% endwith %}{% if generation %}%}{%"
        );
    }

    #[test]
    fn a_tag_does_not_end_with_what_begins_it() {
        assert_eq!(prepare("5{%}{}{{"), "5{%}{}{{");
        assert_eq!(prepare("{%}a{% generation %}"), "{%}a{% generation %}");
        assert_eq!(prepare("{%%}{% generation %}"), "{%%}{% with %}");
    }
}
