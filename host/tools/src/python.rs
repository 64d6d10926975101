//! Calls written as Python: `[f(a="x", b=1), g()]`.

use serde_json::{Map, Value};

use crate::scan::{At, Not, literal, skip_space};
use crate::tools::Called;

/// How deep a value may be nested.
const MOST_DEPTH: usize = 64;

/// A list of calls, or one call alone.
pub fn calls(text: &str, at: usize) -> At<Vec<Called>> {
    let mut at = skip_space(text, at);
    let in_list = match literal(text, at, "[") {
        Ok(((), end)) => {
            at = end;
            true
        }
        Err(Not::Yet) => return Err(Not::Yet),
        Err(Not::There) => false,
    };
    let mut found = Vec::new();
    loop {
        let (one, end) = call(text, skip_space(text, at))?;
        found.push(one);
        if !in_list {
            return Ok((found, end));
        }
        let (symbol, end) = one_of(text, skip_space(text, end), ",]")?;
        if symbol == ']' {
            return Ok((found, end));
        }
        at = end;
    }
}

fn call(text: &str, at: usize) -> At<Called> {
    let (name, at) = name(text, at)?;
    let ((), mut at) = literal(text, at, "(")?;
    let mut arguments = Map::new();
    match literal(text, skip_space(text, at), ")") {
        Ok(((), end)) => return Ok((called(name, arguments), end)),
        Err(Not::Yet) => return Err(Not::Yet),
        Err(Not::There) => {}
    }
    loop {
        let (key, end) = self::name(text, skip_space(text, at))?;
        let ((), end) = literal(text, skip_space(text, end), "=")?;
        let (value, end) = value(text, skip_space(text, end), 0)?;
        arguments.insert(key.to_owned(), value);
        let (symbol, end) = one_of(text, skip_space(text, end), ",)")?;
        if symbol == ')' {
            return Ok((called(name, arguments), end));
        }
        at = end;
    }
}

fn called(name: &str, arguments: Map<String, Value>) -> Called {
    Called {
        name: name.to_owned(),
        arguments,
        id: None,
    }
}

/// A name, dots and dashes in it as tools have them. Something follows it.
fn name(text: &str, at: usize) -> At<&str> {
    let goes_on = |character: char| character.is_alphanumeric() || "_.-".contains(character);
    let rest = &text[at..];
    match rest.find(|character| !goes_on(character)) {
        Some(0) => Err(Not::There),
        Some(end) => Ok((&rest[..end], at + end)),
        None => Err(Not::Yet),
    }
}

fn one_of(text: &str, at: usize, symbols: &str) -> At<char> {
    match text[at..].chars().next() {
        None => Err(Not::Yet),
        Some(symbol) if symbols.contains(symbol) => Ok((symbol, at + symbol.len_utf8())),
        Some(_) => Err(Not::There),
    }
}

fn value(text: &str, at: usize, depth: usize) -> At<Value> {
    if depth > MOST_DEPTH {
        return Err(Not::There);
    }
    let Some(first) = text[at..].chars().next() else {
        return Err(Not::Yet);
    };
    match first {
        '"' | '\'' => string(text, at + 1, first).map(|(text, end)| (Value::String(text), end)),
        '[' => list(text, at + 1, ']', depth),
        '(' => list(text, at + 1, ')', depth),
        '{' => table(text, at + 1, depth),
        _ => bare(text, at),
    }
}

/// A string behind its quotation mark, with the escapes that Python and JSON have in common.
pub fn string(text: &str, at: usize, quote: char) -> At<String> {
    let mut found = String::new();
    let mut characters = text[at..].char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            _ if character == quote => return Ok((found, at + place + quote.len_utf8())),
            '\\' => {
                let (_, escaped) = characters.next().ok_or(Not::Yet)?;
                match escaped {
                    'n' => found.push('\n'),
                    't' => found.push('\t'),
                    'r' => found.push('\r'),
                    'u' | 'x' => {
                        let count = if escaped == 'u' { 4 } else { 2 };
                        let mut digits = String::new();
                        for _ in 0..count {
                            digits.push(characters.next().ok_or(Not::Yet)?.1);
                        }
                        let code = u32::from_str_radix(&digits, 16).map_err(|_| Not::There)?;
                        found.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    other => found.push(other),
                }
            }
            other => found.push(other),
        }
    }
    Err(Not::Yet)
}

fn list(text: &str, mut at: usize, close: char, depth: usize) -> At<Value> {
    let mut found = Vec::new();
    loop {
        at = skip_space(text, at);
        if text[at..].starts_with(close) {
            return Ok((Value::Array(found), at + 1));
        }
        let (one, end) = value(text, at, depth + 1)?;
        found.push(one);
        let (symbol, end) = one_of(text, skip_space(text, end), &format!(",{close}"))?;
        if symbol == close {
            return Ok((Value::Array(found), end));
        }
        at = end;
    }
}

fn table(text: &str, mut at: usize, depth: usize) -> At<Value> {
    let mut found = Map::new();
    loop {
        at = skip_space(text, at);
        if text[at..].starts_with('}') {
            return Ok((Value::Object(found), at + 1));
        }
        let (key, end) = value(text, at, depth + 1)?;
        let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
        let ((), end) = literal(text, skip_space(text, end), ":")?;
        let (one, end) = value(text, skip_space(text, end), depth + 1)?;
        found.insert(key, one);
        let (symbol, end) = one_of(text, skip_space(text, end), ",}")?;
        if symbol == '}' {
            return Ok((Value::Object(found), end));
        }
        at = end;
    }
}

/// A number or a word; something follows it.
fn bare(text: &str, at: usize) -> At<Value> {
    let rest = &text[at..];
    let end = rest.find(|character: char| ",)]} \t\n:".contains(character));
    let end = end.ok_or(Not::Yet)?;
    let value = match &rest[..end] {
        "True" | "true" => Value::Bool(true),
        "False" | "false" => Value::Bool(false),
        "None" | "null" => Value::Null,
        number => serde_json::from_str::<serde_json::Number>(number)
            .map(Value::Number)
            .map_err(|_| Not::There)?,
    };
    Ok((value, at + end))
}
