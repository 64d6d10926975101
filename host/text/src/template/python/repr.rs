//! Values as Python prints them: `str` and `repr`.

use std::fmt::Write;

use minijinja::Value;
use minijinja::value::ValueKind;

/// Deeper values are not followed; the guard refuses them when they are made.
const DEEPEST: usize = 100;

/// Python's `str`.
pub fn to_text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => repr(value),
    }
}

/// Python's `repr`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value, DEEPEST);
    out
}

fn write_repr(out: &mut String, value: &Value, depth: usize) {
    if depth == 0 {
        out.push('…');
        return;
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => match float_of(value) {
            Some(float) => out.push_str(&float_text(float)),
            None => out.push_str(&value.to_string()),
        },
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or("")),
        ValueKind::Seq | ValueKind::Iterable => match value.try_iter() {
            Ok(items) => {
                super::super::content::note_printed(value);
                let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
                let mut count = 0;
                out.push(open);
                for item in items {
                    separate(out, count);
                    write_repr(out, &item, depth - 1);
                    count += 1;
                }
                if value.is_tuple() && count == 1 {
                    out.push(',');
                }
                out.push(close);
            }
            Err(_) => out.push_str(&value.to_string()),
        },
        ValueKind::Map => match value.try_iter() {
            Ok(keys) => {
                super::super::content::note_printed(value);
                out.push('{');
                for (count, key) in keys.enumerate() {
                    separate(out, count);
                    write_repr(out, &key, depth - 1);
                    out.push_str(": ");
                    write_repr(out, &value.get_item(&key).unwrap_or_default(), depth - 1);
                }
                out.push('}');
            }
            Err(_) => out.push_str(&value.to_string()),
        },
        _ => out.push_str(&value.to_string()),
    }
}

fn separate(out: &mut String, count: usize) {
    if count > 0 {
        out.push_str(", ");
    }
}

/// A text in quotes: single ones, unless it has some and no double ones.
fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(quote);
            }
            _ if is_printable(character) => out.push(character),
            _ => write_escape(out, character),
        }
    }
    out.push(quote);
}

/// `\x1f`, `\u200b` or `\U000e0001`.
fn write_escape(out: &mut String, character: char) {
    let _ = match character as u32 {
        code @ 0..=0xff => write!(out, "\\x{code:02x}"),
        code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
}

/// Python's `ascii`: as [`repr`], all other characters escaped.
pub fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for character in repr(value).chars() {
        match character.is_ascii() {
            true => out.push(character),
            false => write_escape(&mut out, character),
        }
    }
    out
}

/// Python's `str.isprintable` for one character: no control or format character, no separator but the space, none that is private.
pub fn is_printable(character: char) -> bool {
    let hidden = matches!(character as u32,
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b..=0x200f
        | 0x2028..=0x202e | 0x2060..=0x2064 | 0x2066..=0x206f | 0xe000..=0xf8ff | 0xfdd0..=0xfdef | 0xfeff
        | 0xfff9..=0xfffb | 0xfffe..=0xffff | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a | 0xe0001 | 0xe0020..=0xe007f | 0xf0000..=0x10ffff);
    character == ' ' || !(hidden || character.is_control() || character.is_whitespace())
}

/// The value of a number that is no integer.
pub fn float_of(value: &Value) -> Option<f64> {
    if value.kind() != ValueKind::Number || value.is_integer() {
        return None;
    }
    f64::try_from(value.clone()).ok()
}

/// A float as Python's `repr`: the shortest digits that read back the same, in scientific notation below 1e-4 and
/// from 1e16 on.
pub fn float_text(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    let size = float.abs();
    if size.is_infinite() || size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{float:?}");
    }
    // Rust writes `1e-7`; Python a sign and at least two digits of exponent.
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}
