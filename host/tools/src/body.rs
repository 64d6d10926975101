//! One call, or one list of calls, behind the text that opens it.

use monocle_manifest::schema::{ToolFormat, ToolShape};
use serde_json::{Map, Value};

use crate::python;
use crate::scan::{At, Not, json, literal, skip_space, until};
use crate::tools::{Called, Tools};

/// The most bytes of a name.
const LONGEST_NAME: usize = 256;
/// How deep loose values may be nested.
const MOST_DEPTH: usize = 64;

/// Reads the calls at a place. `last`: no more comes, so what closes them may be missing.
pub fn read(format: &ToolFormat, tools: &Tools, text: &str, at: usize, last: bool) -> At<Vec<Called>> {
    let (calls, at) = match format.shape {
        ToolShape::Json => json_calls(format, text, at)?,
        ToolShape::NameJson => named(format, text, at)?,
        ToolShape::Tagged => return tagged(format, tools, text, at, last),
        ToolShape::Python => python::calls(text, at)?,
        ToolShape::Loose => loose(format, text, at)?,
    };
    closed(format, text, at, last).map(|((), end)| (calls, end))
}

/// What closes a call. A model that leaves it out has called all the same.
fn closed(format: &ToolFormat, text: &str, at: usize, last: bool) -> At<()> {
    if format.close.is_empty() {
        return Ok(((), at));
    }
    match literal(text, skip_space(text, at), &format.close) {
        Err(Not::Yet) if last => Ok(((), text.len())),
        Err(Not::There) => Ok(((), at)),
        other => other,
    }
}

fn json_calls(format: &ToolFormat, text: &str, at: usize) -> At<Vec<Called>> {
    let (value, end) = json(text, skip_space(text, at))?;
    let list = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let calls: Option<Vec<Called>> = list.into_iter().map(|value| json_call(format, value)).collect();
    Ok((calls.ok_or(Not::There)?, end))
}

fn json_call(format: &ToolFormat, mut value: Value) -> Option<Called> {
    let name = value.get(&format.name_key)?.as_str()?.to_owned();
    let arguments = match value.get_mut(&format.arguments_key).map(Value::take) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        // Some models write JSON into a text.
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        Some(_) => return None,
    };
    let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
    Some(Called { name, arguments, id })
}

/// A name as it was written, and the number that the model gave the call with it: `functions.NAME:0`.
fn name_and_id(format: &ToolFormat, written: &str) -> Option<(String, Option<String>)> {
    let written = written.trim();
    let bad = |character: char| character.is_whitespace() || "{}<>\"".contains(character);
    if written.is_empty() || written.len() > LONGEST_NAME || written.contains(bad) {
        return None;
    }
    if format.id_prefix.is_empty() {
        return Some((written.to_owned(), None));
    }
    let name = written.strip_prefix(&format.id_prefix).unwrap_or(written);
    match name.rsplit_once(':') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((name.to_owned(), Some(written.to_owned())))
        }
        _ => Some((name.to_owned(), None)),
    }
}

/// A name between two texts, then JSON.
fn named(format: &ToolFormat, text: &str, at: usize) -> At<Vec<Called>> {
    let [before, after] = &format.around_name;
    let ((), at) = literal(text, skip_space(text, at), before)?;
    let ((name, _), end) = short(until(text, at, &[after]), text, at)?;
    let (name, id) = name_and_id(format, name).ok_or(Not::There)?;
    let (value, end) = json(text, skip_space(text, end))?;
    let Value::Object(arguments) = value else {
        return Err(Not::There);
    };
    Ok((vec![Called { name, arguments, id }], end))
}

/// A name that does not end is none.
fn short<T>(found: At<T>, text: &str, at: usize) -> At<T> {
    match found {
        Err(Not::Yet) if text.len() - at > LONGEST_NAME + 64 => Err(Not::There),
        other => other,
    }
}

/// A name, then each argument between tags.
fn tagged(format: &ToolFormat, tools: &Tools, text: &str, at: usize, last: bool) -> At<Vec<Called>> {
    let [before, after] = &format.around_name;
    let (begin, middle, end_of_value) = match format.argument.as_slice() {
        [begin, middle, end] => (begin, [middle.as_str(), ""], end),
        [begin, end_of_key, middle, end] => (begin, [end_of_key.as_str(), middle.as_str()], end),
        _ => return Err(Not::There),
    };
    let ((), at) = literal(text, skip_space(text, at), before)?;
    let ends = [after.as_str(), begin, &format.close];
    let ((name, which), end) = short(until(text, at, &ends), text, at)?;
    // What follows the name at once is read again.
    let mut at = match which {
        0 => end,
        other => end - ends[other].len(),
    };
    let (name, id) = name_and_id(format, name).ok_or(Not::There)?;
    let mut arguments = Map::new();
    loop {
        at = skip_space(text, at);
        match literal(text, at, begin) {
            Ok(((), end)) => {
                let ((key, _), end) = until(text, end, &[middle[0]])?;
                let end = match middle[1].is_empty() {
                    true => end,
                    false => literal(text, skip_space(text, end), middle[1])?.1,
                };
                let ((value, _), end) = until(text, end, &[end_of_value])?;
                // One line break on either side is the template's.
                let value = value.strip_prefix('\n').unwrap_or(value);
                let value = value.strip_suffix('\n').unwrap_or(value);
                let key = key.trim();
                arguments.insert(key.to_owned(), tools.typed(&name, key, value));
                at = end;
                continue;
            }
            Err(Not::Yet) if !last => return Err(Not::Yet),
            Err(Not::Yet | Not::There) => {}
        }
        // Other tags that end the call go with what closes it.
        let end = match until(text, at, &[&format.close]) {
            Ok((_, end)) => end,
            Err(_) if last => text.len(),
            Err(not) => return Err(not),
        };
        return Ok((vec![Called { name, arguments, id }], end));
    }
}

/// `call:NAME{key:value}`, keys bare, texts between quotation marks of the model's own.
fn loose(format: &ToolFormat, text: &str, at: usize) -> At<Vec<Called>> {
    let [before, after] = &format.around_name;
    let ((), at) = literal(text, skip_space(text, at), before)?;
    let ((name, _), end) = short(until(text, at, &[after]), text, at)?;
    let (name, id) = name_and_id(format, name).ok_or(Not::There)?;
    let (arguments, end) = loose_table(format, text, end, 0)?;
    Ok((vec![Called { name, arguments, id }], end))
}

fn loose_table(format: &ToolFormat, text: &str, mut at: usize, depth: usize) -> At<Map<String, Value>> {
    let mut found = Map::new();
    loop {
        at = skip_space(text, at);
        if text[at..].starts_with('}') {
            return Ok((found, at + 1));
        }
        let (key, end) = match quoted(format, text, at) {
            Err(Not::There) => {
                let ((key, _), end) = until(text, at, &[":"])?;
                (key.trim().to_owned(), end)
            }
            other => {
                let (key, end) = other?;
                let ((), end) = literal(text, skip_space(text, end), ":")?;
                (key, end)
            }
        };
        let (value, end) = loose_value(format, text, skip_space(text, end), depth)?;
        found.insert(key, value);
        at = skip_space(text, end);
        match text[at..].chars().next() {
            None => return Err(Not::Yet),
            Some(',') => at += 1,
            Some('}') => {}
            Some(_) => return Err(Not::There),
        }
    }
}

/// A text between quotation marks: the model's own, or JSON's.
fn quoted(format: &ToolFormat, text: &str, at: usize) -> At<String> {
    let mut may_be = text.len() == at;
    for [open, close] in &format.quotes {
        match literal(text, at, open) {
            Ok(((), end)) => {
                let ((inner, _), end) = until(text, end, &[close])?;
                return Ok((inner.to_owned(), end));
            }
            Err(Not::Yet) => may_be = true,
            Err(Not::There) => {}
        }
    }
    if text[at..].starts_with('"') {
        return python::string(text, at + 1, '"');
    }
    Err(if may_be { Not::Yet } else { Not::There })
}

fn loose_value(format: &ToolFormat, text: &str, at: usize, depth: usize) -> At<Value> {
    if depth > MOST_DEPTH {
        return Err(Not::There);
    }
    match quoted(format, text, at) {
        Err(Not::There) => {}
        other => return other.map(|(text, end)| (Value::String(text), end)),
    }
    if text[at..].starts_with('{') {
        let (table, end) = loose_table(format, text, at + 1, depth + 1)?;
        return Ok((Value::Object(table), end));
    }
    if text[at..].starts_with('[') {
        let mut found = Vec::new();
        let mut at = at + 1;
        loop {
            at = skip_space(text, at);
            match text[at..].chars().next() {
                None => return Err(Not::Yet),
                Some(']') => return Ok((Value::Array(found), at + 1)),
                Some(',') => at += 1,
                Some(_) => {
                    let (value, end) = loose_value(format, text, at, depth + 1)?;
                    found.push(value);
                    at = end;
                }
            }
        }
    }
    let rest = &text[at..];
    let end = rest.find([',', '}', ']']).ok_or(Not::Yet)?;
    let word = rest[..end].trim();
    let value = serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.to_owned()));
    Ok((value, at + end))
}
