//! `response_template` of a model's `tokenizer_config.json`: how Transformers (5.13 and later) reads calls out of answers, and so how the model
//! writes them. What of it is a [`ToolFormat`] is read; what is not, is not guessed.

use std::sync::LazyLock;

use monocle_manifest::schema::{ToolFormat, ToolShape};
use regex::Regex;
use serde_json::{Map, Value};

/// The format of the template's field `tool_calls`; none where it has none, or one that a [`ToolFormat`] cannot say.
pub fn format(template: &Value) -> Option<ToolFormat> {
    if template.get("version").is_some_and(|version| version != 1) {
        return None;
    }
    let field = template["fields"]["tool_calls"].as_object()?;
    let function = &field.get("transform")?["function"];
    let close = close(field)?;
    match (field.get("open"), field.get("open_pattern")) {
        (Some(open), None) => json_between(field, function, texts(open)?, close),
        (None, Some(pattern)) => named(field, function, pattern.as_str()?, close),
        _ => None,
    }
}

/// What ends a call: nothing where the answer's end does.
fn close(field: &Map<String, Value>) -> Option<String> {
    match field.get("close").map(texts)??.as_slice() {
        [eos] if eos == "eos" => Some(String::new()),
        [close] => Some(close.clone()),
        _ => None,
    }
}

/// One text, or a list of them.
fn texts(value: &Value) -> Option<Vec<String>> {
    let list = match value {
        Value::String(text) => return Some(vec![text.clone()]),
        Value::Array(list) if !list.is_empty() => list,
        _ => return None,
    };
    list.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

/// A call, or a list of calls, as JSON.
fn json_between(
    field: &Map<String, Value>,
    function: &Value,
    open: Vec<String>,
    close: String,
) -> Option<ToolFormat> {
    if !is_plain_json(field) {
        return None;
    }
    let is_list = field.get("transform_each").is_some_and(|each| *each == true);
    let (name_key, arguments_key) = match function {
        // The call as it stands.
        Value::String(whole) if whole == "{content}" => ("name".to_owned(), "arguments".to_owned()),
        _ => (key(&function["name"])?, key(&function["arguments"])?),
    };
    Some(ToolFormat {
        open,
        close,
        array: is_list,
        name_key,
        arguments_key,
        ..empty(ToolShape::Json)
    })
}

/// The key that a text such as `{tool_name}` or `{content.name}` stands for.
fn key(text: &Value) -> Option<String> {
    let inside = text.as_str()?.strip_prefix('{')?.strip_suffix('}')?;
    let key = inside.strip_prefix("content.").unwrap_or(inside);
    let is_one = !key.is_empty() && key != "content" && !key.contains(['.', '{', '}']);
    is_one.then(|| key.to_owned())
}

/// A name in what opens the call, and arguments behind it.
fn named(field: &Map<String, Value>, function: &Value, pattern: &str, close: String) -> Option<ToolFormat> {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\(\?P<name>[^()]*\)").expect("the expression is valid"));
    if function["name"] != "{name}" || function["arguments"] != "{content}" {
        return None;
    }
    let name = NAME.find(pattern)?;
    let before = pieces(&pattern[..name.start()])?;
    let after = pieces(&pattern[name.end()..])?.concat();
    let (open, before) = before.split_first()?;
    let format = |shape, around_name| ToolFormat {
        open: vec![open.clone()],
        close: close.clone(),
        around_name,
        ..empty(shape)
    };
    let before = before.concat();
    match field.get("content").and_then(Value::as_str)? {
        "json" if is_plain_json(field) => Some(format(ToolShape::NameJson, [before, after])),
        // Bare keys, and quotation marks of the model's own: the first brace ends the name.
        "json" => {
            let arguments = field.get("content_args")?.as_object()?;
            let known = ["unquoted_keys", "string_delims"];
            if arguments.keys().any(|key| !known.contains(&key.as_str()))
                || arguments.get("unquoted_keys") != Some(&Value::Bool(true))
            {
                return None;
            }
            let quotes = arguments.get("string_delims").and_then(Value::as_array);
            let quotes = quotes.into_iter().flatten().map(|pair| {
                let pair = texts(pair)?;
                <[String; 2]>::try_from(pair).ok()
            });
            Some(ToolFormat {
                quotes: quotes.collect::<Option<_>>()?,
                ..format(ToolShape::Loose, [before, after + "{"])
            })
        }
        "xml-inline" => Some(ToolFormat {
            argument: argument(field.get("content_args")?["tag_pattern"].as_str()?)?,
            ..format(ToolShape::Tagged, [before, after])
        }),
        _ => None,
    }
}

/// The texts around an argument's key and value in an expression such as `<parameter=(?P<key>\w+)>\s*(?P<value>.*?)\s*</parameter>`.
fn argument(pattern: &str) -> Option<Vec<String>> {
    static GROUPS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?s)^(.*?)\(\?P<key>[^()]*\)(.*?)\(\?P<value>[^()]*\)(.*)$")
            .expect("the expression is valid")
    });
    let groups = GROUPS.captures(pattern)?;
    let text = |group: usize| Some(pieces(&groups[group])?.concat()).filter(|text| !text.is_empty());
    Some(vec![text(1)?, text(2)?, text(3)?])
}

/// Whether the content is JSON with nothing out of the way.
fn is_plain_json(field: &Map<String, Value>) -> bool {
    let has_arguments = field
        .get("content_args")
        .and_then(Value::as_object)
        .is_some_and(|arguments| !arguments.is_empty());
    field.get("content").is_some_and(|content| *content == "json") && !has_arguments
}

/// The literal texts of an expression that has nothing else but white space between them; none where it has.
fn pieces(pattern: &str) -> Option<Vec<String>> {
    let mut pieces = vec![String::new()];
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                's' => {
                    characters.next_if(|next| "*+?".contains(*next));
                    pieces.push(String::new());
                }
                'n' => pieces.last_mut()?.push('\n'),
                escaped if escaped.is_ascii_alphanumeric() => return None,
                escaped => pieces.last_mut()?.push(escaped),
            },
            special if ".*+?()[]{}^$|".contains(special) => return None,
            other => pieces.last_mut()?.push(other),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    Some(pieces)
}

fn empty(shape: ToolShape) -> ToolFormat {
    ToolFormat {
        shape,
        open: Vec::new(),
        close: String::new(),
        section: None,
        bare: false,
        array: false,
        name_key: "name".to_owned(),
        arguments_key: "arguments".to_owned(),
        around_name: [String::new(), String::new()],
        id_prefix: String::new(),
        argument: Vec::new(),
        quotes: Vec::new(),
    }
}
