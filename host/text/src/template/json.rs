//! JSON as Python's `json.dumps` writes it.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::guard;
use super::python::{Arguments, float_of, float_text, wrong};

/// Values deeper than this are refused, before the stack runs out.
const DEEPEST: usize = 200;

/// How to write it: the arguments of transformers' `tojson`.
pub struct JsonStyle {
    ensure_ascii: bool,
    /// The text of one level of indentation; none writes everything on one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

impl JsonStyle {
    /// Reads `ensure_ascii`, `indent`, `separators` and `sort_keys`, in this order.
    pub fn from_arguments(arguments: &Arguments) -> Result<Self, Error> {
        let indent = match arguments.given(1) {
            Some(indent) => Some(match indent.as_str() {
                Some(text) => text.to_owned(),
                None => {
                    let width = usize::try_from(arguments.integer(1, 0)?).unwrap_or(0);
                    guard::allow(width)?;
                    " ".repeat(width)
                }
            }),
            None => None,
        };
        let separators = match arguments.given(2) {
            Some(separators) => {
                let texts: Vec<Value> = separators.try_iter()?.collect();
                match texts.iter().map(Value::as_str).collect::<Vec<_>>()[..] {
                    [Some(item), Some(key)] => Some((item.to_owned(), key.to_owned())),
                    _ => return Err(wrong("`separators` of `tojson` must be two strings")),
                }
            }
            None => None,
        };
        let (item_separator, key_separator) = separators.unwrap_or_else(|| {
            let item = if indent.is_some() { "," } else { ", " };
            (item.to_owned(), ": ".to_owned())
        });
        Ok(Self {
            ensure_ascii: arguments.is_true(0, false),
            indent,
            item_separator,
            key_separator,
            sort_keys: arguments.is_true(3, false),
        })
    }
}

/// Writes a value.
pub fn to_json(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    write_value(&mut out, value, style, 0)?;
    Ok(out)
}

fn write_value(out: &mut String, value: &Value, style: &JsonStyle, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(Error::new(
            ErrorKind::BadSerialization,
            format!("`tojson` of more than {DEEPEST} levels"),
        ));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => write_string(out, value.as_str().unwrap_or(""), style.ensure_ascii),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_container(out, ('[', ']'), items.len(), style, depth, |out, at| {
                write_value(out, &items[at], style, depth + 1)
            })?;
        }
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter()? {
                pairs.push((key_text(&key)?, value.get_item(&key)?));
            }
            if style.sort_keys {
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
            }
            write_container(out, ('{', '}'), pairs.len(), style, depth, |out, at| {
                guard::allow(out.len().saturating_add(style.key_separator.len()))?;
                write_string(out, &pairs[at].0, style.ensure_ascii);
                out.push_str(&style.key_separator);
                write_value(out, &pairs[at].1, style, depth + 1)
            })?;
        }
        kind => {
            return Err(Error::new(
                ErrorKind::BadSerialization,
                format!("`tojson` cannot write a value of type {kind}"),
            ));
        }
    }
    Ok(())
}

fn write_container(
    out: &mut String,
    (open, close): (char, char),
    count: usize,
    style: &JsonStyle,
    depth: usize,
    mut write_item: impl FnMut(&mut String, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let new_line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            guard::allow(out.len().saturating_add(indent.len().saturating_mul(depth)))?;
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
        Ok::<(), Error>(())
    };
    out.push(open);
    for at in 0..count {
        guard::allow(out.len().saturating_add(style.item_separator.len()))?;
        if at > 0 {
            out.push_str(&style.item_separator);
        }
        new_line(out, depth + 1)?;
        write_item(out, at)?;
    }
    if count > 0 {
        new_line(out, depth)?;
    }
    out.push(close);
    Ok(())
}

fn key_text(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or("").to_owned(),
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_owned(),
        ValueKind::Number => number(key),
        kind => {
            return Err(Error::new(
                ErrorKind::BadSerialization,
                format!("a key of type {kind} cannot stand in JSON"),
            ));
        }
    })
}

fn number(value: &Value) -> String {
    match float_of(value) {
        Some(float) if float.is_nan() => "NaN".to_owned(),
        Some(f64::INFINITY) => "Infinity".to_owned(),
        Some(f64::NEG_INFINITY) => "-Infinity".to_owned(),
        Some(float) => float_text(float),
        None => value.to_string(),
    }
}

fn write_string(out: &mut String, text: &str, ensure_ascii: bool) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", character as u32)),
            '\u{7f}'.. if ensure_ascii => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}
