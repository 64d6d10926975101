//! Answers that are calls, as a grammar in Lark's notation, for requests that ask for a call.

use monocle_manifest::schema::{ToolFormat, ToolShape};
use serde_json::{Value, json};

use crate::tools::Tools;

/// White space between the parts of JSON.
const WHITE_SPACE: &str = r"[\x20\x0A]{1,4}";

/// The grammar of an answer that is nothing but calls of these tools: one, or several where `several` is. `special` knows the texts that are
/// special tokens. `None` for shapes that no grammar is made for.
pub fn grammar(
    format: &ToolFormat,
    tools: &Tools,
    several: bool,
    special: &dyn Fn(&str) -> Option<u32>,
) -> Option<String> {
    let write = |text: &str| written(text, special);
    let mut rules = String::new();
    let mut names = Vec::new();
    for (number, (name, schema)) in tools.iter().enumerate() {
        let rule = format!("call_{number}");
        let body = match format.shape {
            ToolShape::Json => {
                let begin = format!(
                    "{{{}: {}, {}: ",
                    json!(format.name_key),
                    json!(name),
                    json!(format.arguments_key)
                );
                format!("{} %json {} \"}}\"", json!(begin), with_options(schema))
            }
            ToolShape::NameJson => {
                let name = format!("{}{name}", format.id_prefix);
                let number = match format.id_prefix.is_empty() {
                    true => "",
                    false => "/:[0-9]{1,2}/",
                };
                let [before, after] = format.around_name.each_ref().map(|text| write(text));
                join(&[
                    &before,
                    &json!(name).to_string(),
                    number,
                    &after,
                    &format!("%json {}", with_options(schema)),
                ])
            }
            ToolShape::Tagged => tagged(format, name, schema, number, &mut rules, &write)?,
            ToolShape::Python | ToolShape::Loose => return None,
        };
        rules += &format!("{rule}: {body}\n");
        names.push(rule);
    }
    if names.is_empty() {
        return None;
    }
    let one = names.join(" | ");
    let [open, close] = [format.open.first().map_or("", String::as_str), &format.close].map(&write);
    let in_array = format.shape == ToolShape::Json && format.array;
    // Models are used to line breaks inside of what closes with a text; none of them must.
    let line = match format.close.is_empty() || format.shape == ToolShape::NameJson {
        true => "",
        false => "\"\\n\"?",
    };
    let start = match in_array {
        true => {
            let more = if several { "(\", \" any)*" } else { "" };
            join(&[&open, line, "\"[\"", "any", more, "\"]\"", line, &close])
        }
        false => {
            let call = join(&[&open, line, "any", line, &close]);
            match several {
                true => format!("{call} (\"\\n\"? {call})*"),
                false => call,
            }
        }
    };
    let start = match &format.section {
        Some([before, after]) => join(&[&write(before), &start, "\"\\n\"?", &write(after)]),
        None => start,
    };
    Some(format!("start: {start}\nany: {one}\n{rules}"))
}

fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// An argument schema with what is asked of JSON here; it may bring no such options itself.
fn with_options(schema: &Value) -> String {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        let options = json!({ "whitespace_pattern": WHITE_SPACE, "lenient": true });
        object.insert("x-guidance".to_owned(), options);
    }
    schema.to_string()
}

fn tagged(
    format: &ToolFormat,
    name: &str,
    schema: &Value,
    number: usize,
    rules: &mut String,
    write: &dyn Fn(&str) -> String,
) -> Option<String> {
    let [before, after] = format.around_name.each_ref().map(|text| write(text));
    let (begin, middle, end) = match format.argument.as_slice() {
        [begin, middle, end] => (begin, middle.clone(), end),
        [begin, end_of_key, middle, end] => (begin, format!("{end_of_key}\n{middle}"), end),
        _ => return None,
    };
    let mut body = join(&[&before, &json!(name).to_string(), &after, "\"\\n\"?"]);
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (place, (key, schema)) in properties.enumerate() {
        let rule = format!("value_{number}_{place}");
        let is_text = schema["type"] == "string" || schema.get("type").is_none();
        let choices = schema["enum"].as_array().filter(|_| is_text);
        let value = match choices {
            Some(choices) => {
                let texts = choices.iter().filter_map(Value::as_str);
                let texts: Vec<String> = texts.map(|text| json!(text).to_string()).collect();
                format!("{rule}: ({}) {}\n", texts.join(" | "), write(end))
            }
            // The text ends where its end first comes.
            None if is_text => format!("{rule}[suffix={}]: /(?s:.*)/\n", json!(end)),
            None => format!(
                "{rule}: \"\\n\"? %json {} \"\\n\"? {}\n",
                with_options(schema),
                write(end)
            ),
        };
        *rules += &value;
        let argument = join(&[
            &write(begin),
            &json!(key).to_string(),
            &write(&middle),
            &rule,
            "\"\\n\"?",
        ]);
        body = match required.contains(&key.as_str()) {
            true => join(&[&body, &argument]),
            false => format!("{body} ({argument})?"),
        };
    }
    Some(body)
}

/// A text as Lark has it; special tokens in it by their numbers.
fn written(text: &str, special: &dyn Fn(&str) -> Option<u32>) -> String {
    let mut parts = Vec::new();
    let mut rest = text;
    for (token, id) in special_in(text, special) {
        if let Some((before, after)) = rest.split_once(token) {
            parts.extend((!before.is_empty()).then(|| json!(before).to_string()));
            parts.push(format!("<[{id}]>"));
            rest = after;
        }
    }
    parts.extend((!rest.is_empty()).then(|| json!(rest).to_string()));
    parts.join(" ")
}

/// The special tokens in a text, in their order: what stands between brackets and is one.
fn special_in<'a>(text: &'a str, special: &dyn Fn(&str) -> Option<u32>) -> Vec<(&'a str, u32)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(['<', '[']).map(|place| at + place) {
        let close = if text[start..].starts_with('<') { '>' } else { ']' };
        let token = text[start..].find(close).map(|end| &text[start..=start + end]);
        match token.and_then(|token| Some((token, special(token)?))) {
            Some((token, id)) => {
                found.push((token, id));
                at = start + token.len();
            }
            None => at = start + 1,
        }
    }
    found
}

/// The special tokens that a model writes calls with.
pub fn special_tokens(format: &ToolFormat, special: &dyn Fn(&str) -> Option<u32>) -> Vec<u32> {
    let section = format.section.iter().flatten();
    let quotes = format.quotes.iter().flatten();
    let texts = section
        .chain(&format.open)
        .chain([&format.close])
        .chain(&format.around_name)
        .chain(&format.argument)
        .chain(quotes);
    let mut found: Vec<u32> = texts
        .flat_map(|text| special_in(text, special))
        .map(|(_, id)| id)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
