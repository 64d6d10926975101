//! Jinja2's filters that the engine lacks, or has with other arguments.

use std::cmp::Ordering;

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, State, Value, filters};
use minijinja_contrib::filters::striptags;

use super::guard;
use super::json::{JsonStyle, to_json};
use super::python::{
    Arguments, in_one, is_space, lines, percent, remainder, replaced, repr, stripped, to_text, tuple,
    without_end, wrong,
};

/// Adds them.
pub fn install(environment: &mut Environment<'static>) {
    let mut add = |name: &'static str, filter: Filter| {
        environment.add_filter(
            name,
            move |state: &mut State, args: Rest<Value>, named: Kwargs| {
                let args = in_one(args, named);
                let (value, others) = match args.split_first() {
                    Some((value, others)) => (value, others),
                    None => return Err(wrong(format!("the filter `{name}` has nothing to work on"))),
                };
                let result = filter(state, value, others)?;
                guard::made(&result)?;
                Ok(result)
            },
        );
    };
    add(guard::REMAINDER, |_, value, args| match args {
        [right] => remainder(value, right),
        _ => Err(wrong("the operator `%` has one right side")),
    });
    add(guard::SLICE, |_, value, args| slice_by_steps(value, args));
    add("tojson", tojson);
    add("length", |_, value, args| {
        none("length", args).and_then(|()| length(value))
    });
    add("count", |_, value, args| {
        none("count", args).and_then(|()| length(value))
    });
    add("string", |_, value, args| {
        none("string", args).map(|()| to_text(value).into())
    });
    add("replace", replace);
    add("join", join);
    add("indent", indent);
    add("format", format);
    add("center", center);
    add("wordcount", |_, value, args| {
        none("wordcount", args).map(|()| wordcount(&to_text(value)).into())
    });
    add("truncate", truncate);
    add("urlencode", |_, value, args| {
        none("urlencode", args).and_then(|()| urlencode(value))
    });
    add("filesizeformat", filesizeformat);
    for name in ["escape", "e", "forceescape"] {
        add(name, |_, value, args| {
            none("escape", args).map(|()| escaped(&to_text(value)).into())
        });
    }
    add("striptags", |_, value, args| {
        none("striptags", args).map(|()| striptags(to_text(value)).into())
    });
    add("xmlattr", xmlattr);
    add("wordwrap", wordwrap);
    add("trim", trim);
    add("title", |_, value, args| {
        none("title", args).map(|()| filters::title(to_text(value).into()).into())
    });
    add("default", default);
    add("d", default);
    add("first", |_, value, args| end(value, args, "first"));
    add("last", |_, value, args| end(value, args, "last"));
    add("batch", batch);
    add("slice", slice);
    add("dictsort", dictsort);
    add("sort", sort);
    add("unique", unique);
    add("min", |_, value, args| {
        extreme("min", value, args, Ordering::Less)
    });
    add("max", |_, value, args| {
        extreme("max", value, args, Ordering::Greater)
    });
    add("int", int);
    add("float", float);
    add("items", |_, value, args| match value.is_undefined() {
        true => none("items", args).map(|()| Value::from(Vec::<Value>::new())),
        false => none("items", args).and_then(|()| filters::items(value)),
    });
    add("pprint", pprint);
}

type Filter = fn(&mut State, &Value, &[Value]) -> Result<Value, Error>;

fn none(function: &'static str, args: &[Value]) -> Result<(), Error> {
    Arguments::of(function, &[], args).map(drop)
}

/// Jinja2's undefined value has the length 0.
fn length(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(Value::from(0));
    }
    let unsized_iterator = || value.try_iter().map(Iterator::count);
    value.len().map_or_else(unsized_iterator, Ok).map(Value::from)
}

/// transformers' `tojson`: Python's `json.dumps` with `ensure_ascii=False`.
fn tojson(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    guard::size(value)?;
    let arguments = Arguments::of(
        "tojson",
        &["ensure_ascii", "indent", "separators", "sort_keys"],
        args,
    )?;
    to_json(value, &JsonStyle::from_arguments(&arguments)?).map(Value::from)
}

fn replace(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("replace", &["old", "new", "count"], args)?;
    let (from, to) = (arguments.any_text(0, ""), arguments.any_text(1, ""));
    replaced(&to_text(value), &from, &to, arguments.integer(2, -1)?)
}

fn join(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("join", &["d", "attribute"], args)?;
    let between = arguments.any_text(0, "");
    let mut out = String::new();
    if value.is_undefined() {
        return Ok(Value::from(out));
    }
    for (index, item) in value.try_iter()?.enumerate() {
        let item = match arguments.given(1) {
            Some(attribute) => attribute_of(&item, attribute)?,
            None => item,
        };
        let item = to_text(&item);
        guard::allow(out.len().saturating_add(between.len()).saturating_add(item.len()))?;
        if index > 0 {
            out.push_str(&between);
        }
        out.push_str(&item);
    }
    Ok(Value::from(out))
}

/// `a.b.0`: keys and places, one after another.
fn attribute_of(value: &Value, path: &Value) -> Result<Value, Error> {
    let Some(path) = path.as_str() else {
        return value.get_item(path);
    };
    path.split('.')
        .try_fold(value.clone(), |value, key| match key.parse::<i64>() {
            Ok(place) => value.get_item(&Value::from(place)),
            Err(_) => value.get_attr(key),
        })
}

fn indent(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("indent", &["width", "first", "blank"], args)?;
    let text = to_text(value) + "\n";
    let indentation = match arguments.given(0).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => {
            let width = usize::try_from(arguments.integer(0, 4)?).unwrap_or(0);
            guard::allow(width)?;
            " ".repeat(width)
        }
    };
    let (first, blank) = (arguments.is_true(1, false), arguments.is_true(2, false));
    let lines: Vec<&str> = lines(&text)?.into_iter().map(without_end).collect();
    guard::allow(
        text.len()
            .saturating_add(lines.len().saturating_mul(indentation.len())),
    )?;
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if if index == 0 {
            first
        } else {
            blank || !line.is_empty()
        } {
            out.push_str(&indentation);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// Jinja2's `format` is Python's `%` with the arguments, or with those by name.
fn format(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let (places, named): (&[Value], Kwargs) = from_args(args)?;
    let names: Vec<String> = named.args().map(str::to_owned).collect();
    let text = to_text(value);
    if names.is_empty() {
        return percent(&text, &tuple(places.to_vec())).map(Value::from);
    }
    if !places.is_empty() {
        return Err(wrong("`format` takes arguments by place or by name, not both"));
    }
    let pairs = names
        .iter()
        .map(|name| Ok((name.clone(), named.get::<Value>(name)?)));
    percent(
        &text,
        &Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?),
    )
    .map(Value::from)
}

fn center(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("center", &["width"], args)?;
    let width = Value::from(arguments.integer(0, 80)?);
    super::python::call_method(state, &Value::from(to_text(value)), "center", &[width])
}

/// Runs of letters, digits and `_`.
fn wordcount(text: &str) -> usize {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    text.split(|character| !is_word(character))
        .filter(|word| !word.is_empty())
        .count()
}

fn truncate(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("truncate", &["length", "killwords", "end", "leeway"], args)?;
    let (text, end) = (to_text(value), arguments.any_text(2, "..."));
    let (length, leeway) = (arguments.integer(0, 255)?, arguments.integer(3, 5)?);
    let dots = end.chars().count() as i64;
    if length < dots || leeway < 0 {
        return Err(wrong(format!(
            "`truncate` expects a length of at least {dots} and a leeway of at least 0, found {length} and {leeway}"
        )));
    }
    if text.chars().count() as i64 <= length.saturating_add(leeway) {
        return Ok(Value::from(text));
    }
    let kept: String = text.chars().take((length - dots) as usize).collect();
    let kept = match arguments.is_true(1, false) {
        true => kept.as_str(),
        false => kept.rsplit_once(' ').map_or(kept.as_str(), |(words, _)| words),
    };
    Ok(Value::from(format!("{kept}{end}")))
}

/// A text, or a query of pairs.
fn urlencode(value: &Value) -> Result<Value, Error> {
    if !matches!(
        value.kind(),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable
    ) {
        return Ok(Value::from(quoted(&to_text(value), false)));
    }
    let mut out = Vec::new();
    for item in value.try_iter()? {
        let (key, value) = match value.kind() {
            ValueKind::Map => (item.clone(), value.get_item(&item)?),
            // Two characters are a pair, too.
            _ => {
                let pair: Vec<Value> = item.try_iter()?.collect();
                match pair.as_slice() {
                    [key, value] => (key.clone(), value.clone()),
                    _ => return Err(wrong(format!("`urlencode` expects pairs, found {}", pair.len()))),
                }
            }
        };
        out.push(format!(
            "{}={}",
            quoted(&to_text(&key), true),
            quoted(&to_text(&value), true)
        ));
    }
    Ok(Value::from(out.join("&")))
}

/// Percent-encoded; `/` stays outside of queries, where a space becomes `+`.
fn quoted(text: &str, query: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(byte as char),
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn filesizeformat(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("filesizeformat", &["binary"], args)?;
    let binary = arguments.is_true(0, false);
    let bytes = match value.as_str() {
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| wrong("`filesizeformat` expects a number"))?,
        None => f64::try_from(value.clone())?,
    };
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes.trunc())));
    }
    let mut unit = base;
    let mut names = "kMGTPEZY".chars().peekable();
    while let Some(name) = names.next() {
        unit *= base;
        if bytes < unit || names.peek().is_none() {
            let name = match (binary, name) {
                (true, 'k') => "KiB".to_owned(),
                (true, name) => format!("{name}iB"),
                (false, name) => format!("{name}B"),
            };
            return Ok(Value::from(format!("{:.1} {name}", base * bytes / unit)));
        }
    }
    Err(wrong("`filesizeformat` has no unit for this"))
}

fn xmlattr(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("xmlattr", &["autospace"], args)?;
    let mut out = Vec::new();
    for key in value.try_iter()? {
        let attribute = value.get_item(&key)?;
        if attribute.is_none() || attribute.is_undefined() {
            continue;
        }
        let key = to_text(&key);
        if key.contains(|character: char| is_space(character) || "/>=".contains(character)) {
            return Err(wrong(format!(
                "`xmlattr` cannot use {key:?} as an attribute's name"
            )));
        }
        out.push(format!("{}=\"{}\"", escaped(&key), escaped(&to_text(&attribute))));
    }
    let space = if !out.is_empty() && arguments.is_true(0, true) {
        " "
    } else {
        ""
    };
    Ok(Value::from(format!("{space}{}", out.join(" "))))
}

/// Lines of at most so many characters, broken between words.
fn wordwrap(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let names = &["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let arguments = Arguments::of("wordwrap", names, args)?;
    let width = usize::try_from(arguments.integer(0, 79)?).unwrap_or(0);
    if width == 0 {
        return Err(wrong("`wordwrap` expects a width of at least 1"));
    }
    let (breaks_words, breaks_hyphens) = (arguments.is_true(1, true), arguments.is_true(3, true));
    let end = arguments.any_text(2, "\n");
    let text = to_text(value);
    let mut wrapped = Vec::new();
    for line in lines(&text)? {
        match wrap(without_end(line), width, breaks_words, breaks_hyphens) {
            pieces if pieces.is_empty() => wrapped.push(String::new()),
            pieces => wrapped.extend(pieces),
        }
        guard::allow_places(wrapped.len(), 0)?;
    }
    guard::allow(text.len().saturating_add(wrapped.len().saturating_mul(end.len())))?;
    Ok(Value::from(wrapped.join(&end)))
}

/// Python's `textwrap.wrap` without the expansion of tabs.
fn wrap(line: &str, width: usize, breaks_words: bool, breaks_hyphens: bool) -> Vec<String> {
    let mut chunks: std::collections::VecDeque<Vec<char>> = words(line, breaks_hyphens).into();
    let mut wrapped: Vec<String> = Vec::new();
    let blank = |chunk: &Vec<char>| chunk.iter().all(|character| is_space(*character));
    while !chunks.is_empty() {
        let mut line: Vec<Vec<char>> = Vec::new();
        let mut length = 0;
        if !wrapped.is_empty() && chunks.front().is_some_and(&blank) {
            chunks.pop_front();
        }
        while let Some(chunk) = chunks.pop_front() {
            if length + chunk.len() <= width {
                length += chunk.len();
                line.push(chunk);
                continue;
            }
            if chunk.len() > width && breaks_words && length < width {
                let (fits, rest) = chunk.split_at(width - length);
                line.push(fits.to_vec());
                chunks.push_front(rest.to_vec());
            } else if chunk.len() > width && line.is_empty() {
                line.push(chunk);
            } else {
                chunks.push_front(chunk);
            }
            break;
        }
        if line.last().is_some_and(&blank) {
            line.pop();
        }
        if !line.is_empty() {
            wrapped.push(line.concat().into_iter().collect());
        }
    }
    wrapped
}

/// Words and the spaces between them; a hyphen between letters ends a piece of a word.
fn words(line: &str, breaks_hyphens: bool) -> Vec<Vec<char>> {
    let characters: Vec<char> = line.chars().collect();
    let mut chunks: Vec<Vec<char>> = Vec::new();
    for (at, &character) in characters.iter().enumerate() {
        let joins = at > 0 && {
            let before = characters[at - 1];
            let letter = |place: Option<&char>| place.is_some_and(|c| c.is_alphabetic());
            let hyphen = breaks_hyphens
                && before == '-'
                && at > 1
                && letter(characters.get(at - 2))
                && letter(characters.get(at))
                && letter(characters.get(at + 1));
            is_space(before) == is_space(character) && !hyphen
        };
        match chunks.last_mut().filter(|_| joins) {
            Some(chunk) => chunk.push(character),
            None => chunks.push(vec![character]),
        }
    }
    chunks
}

fn trim(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("trim", &["chars"], args)?;
    let text = to_text(value);
    Ok(Value::from(stripped(&text, arguments.text_given(0)?, true, true)))
}

fn default(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("default", &["default_value", "boolean"], args)?;
    let lacks = value.is_undefined() || (arguments.is_true(1, false) && !value.is_true());
    Ok(match lacks {
        true => arguments.get(0).cloned().unwrap_or_else(|| Value::from("")),
        false => value.clone(),
    })
}

fn end(value: &Value, args: &[Value], which: &'static str) -> Result<Value, Error> {
    none(which, args)?;
    match value.is_undefined() {
        true => Ok(Value::UNDEFINED),
        false if which == "first" => filters::first(value),
        false => filters::last(value.clone()),
    }
}

fn batch(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("batch", &["linecount", "fill_with"], args)?;
    let count = usize::try_from(arguments.integer(0, 0)?).unwrap_or(0);
    let fill = arguments.given(1).cloned();
    let filled = fill.as_ref().map_or(Ok(0), guard::size)?;
    guard::allow_places(count, filled)?;
    filters::batch(state, value.clone(), count, fill)
}

fn slice(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("slice", &["slices", "fill_with"], args)?;
    let count = usize::try_from(arguments.integer(0, 0)?).unwrap_or(0);
    let fill = arguments.given(1).cloned();
    let filled = fill.as_ref().map_or(Ok(0), guard::size)?;
    guard::allow_places(count, filled)?;
    filters::slice(state, value.clone(), count, fill)
}

fn dictsort(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("dictsort", &["case_sensitive", "by", "reverse"], args)?;
    let by = arguments.any_text(1, "key");
    if !["key", "value"].contains(&by.as_str()) {
        return Err(wrong(format!(
            "`dictsort` sorts by `key` or `value`, not by {by:?}"
        )));
    }
    let options = [
        ("case_sensitive", Value::from(arguments.is_true(0, false))),
        ("by", Value::from(by)),
        ("reverse", Value::from(arguments.is_true(2, false))),
    ];
    filters::dictsort(value, options.into_iter().collect())
}

/// A text for HTML, with markupsafe's entities.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            _ => out.push(character),
        }
    }
    out
}

/// Arguments for a filter of the engine that takes them by name.
fn by_name<const N: usize>(names: [&'static str; N], arguments: &Arguments) -> Kwargs {
    let given = names.into_iter().enumerate();
    given
        .filter_map(|(place, name)| Some((name, arguments.get(place)?.clone())))
        .collect()
}

fn sort(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("sort", &["reverse", "case_sensitive", "attribute"], args)?;
    let named = by_name(["reverse", "case_sensitive", "attribute"], &arguments);
    filters::sort(state, value.clone(), named)
}

fn unique(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("unique", &["case_sensitive", "attribute"], args)?;
    let named = by_name(["case_sensitive", "attribute"], &arguments);
    filters::unique(state, value.clone(), named)
}

/// The first of the least or the greatest values.
fn extreme(function: &'static str, value: &Value, args: &[Value], wanted: Ordering) -> Result<Value, Error> {
    let arguments = Arguments::of(function, &["case_sensitive", "attribute"], args)?;
    let key = |item: &Value| {
        let key = match arguments.given(1) {
            Some(attribute) => attribute_of(item, attribute)?,
            None => item.clone(),
        };
        Ok::<_, Error>(match key.as_str() {
            Some(text) if !arguments.is_true(0, false) => Value::from(text.to_lowercase()),
            _ => key,
        })
    };
    let mut best: Option<(Value, Value)> = None;
    if value.is_undefined() {
        return Ok(Value::UNDEFINED);
    }
    for item in value.try_iter()? {
        let key = key(&item)?;
        if best.as_ref().is_none_or(|(_, other)| key.cmp(other) == wanted) {
            best = Some((item, key));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(item, _)| item))
}

/// A whole number, or what is given in its absence.
fn int(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("int", &["default", "base"], args)?;
    let default = arguments.get(0).cloned().unwrap_or_else(|| Value::from(0));
    let base = u32::try_from(arguments.integer(1, 10)?)
        .ok()
        .filter(|base| (2..=36).contains(base));
    let base = base.ok_or_else(|| wrong("`int` expects a base of 2 to 36"))?;
    let number = match value.as_str() {
        Some(text) => {
            let text = text.trim();
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, text.strip_prefix('+').unwrap_or(text)),
            };
            let prefix = match base {
                2 => ["0b", "0B"],
                8 => ["0o", "0O"],
                16 => ["0x", "0X"],
                _ => ["", ""],
            };
            let digits = prefix
                .iter()
                .find_map(|prefix| digits.strip_prefix(prefix))
                .unwrap_or(digits);
            let digits = digits.replace('_', "");
            let signed = digits.starts_with(['+', '-']);
            let whole = i128::from_str_radix(&digits, base).ok().filter(|_| !signed);
            whole
                .map(|number| sign * number)
                .or_else(|| truncated(text.parse().ok()?))
        }
        None => match value.kind() {
            ValueKind::Bool => Some(i128::from(value.is_true())),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
            ValueKind::Number => truncated(f64::try_from(value.clone())?),
            _ => None,
        },
    };
    Ok(number.map_or(default, |number| {
        i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
    }))
}

fn truncated(number: f64) -> Option<i128> {
    (number.is_finite() && number.abs() < 1e37).then_some(number as i128)
}

/// A number, or what is given in its absence.
fn float(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("float", &["default"], args)?;
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => match value.kind() {
            ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
            ValueKind::Number => f64::try_from(value.clone()).ok(),
            _ => None,
        },
    };
    let default = || arguments.get(0).cloned().unwrap_or_else(|| Value::from(0.0));
    Ok(number.map_or_else(default, Value::from))
}

/// Python's `pprint` of what fits into one line; its keys are sorted.
fn pprint(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    none("pprint", args)?;
    let text = repr(&sorted(value)?);
    match text.chars().count() <= 80 {
        true => Ok(Value::from(text)),
        false => Err(wrong(
            "`pprint` of more than 80 characters is not known here; use `tojson(indent=2)`",
        )),
    }
}

fn sorted(value: &Value) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            keys.sort();
            let pairs = keys
                .into_iter()
                .map(|key| Ok((key.clone(), sorted(&value.get_item(&key)?)?)));
            Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| sorted(&item));
            let items = items.collect::<Result<Vec<_>, Error>>()?;
            if value.is_tuple() {
                tuple(items)
            } else {
                Value::from(items)
            }
        }
        _ => value.clone(),
    })
}

/// `value[start:stop:step]`, counted as Python counts.
fn slice_by_steps(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("slice", &["start", "stop", "step"], args)?;
    let items: Vec<Value> = match (value.as_str(), value.kind()) {
        (Some(text), _) => {
            guard::allow(text.len().saturating_mul(8))?;
            text.chars().map(Value::from).collect()
        }
        (None, ValueKind::Seq | ValueKind::Iterable) => value.try_iter()?.collect(),
        (None, kind) => return Err(wrong(format!("a value of type {kind} cannot be sliced"))),
    };
    let (length, step) = (items.len() as i64, arguments.integer(2, 1)?);
    if step == 0 {
        return Err(wrong("a slice's step is 0"));
    }
    // Where a place beyond the ends lies depends on the direction.
    let (least, most) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |argument: usize, default: i64| {
        let at = arguments.integer(argument, i64::MAX)?;
        Ok::<_, Error>(match arguments.given(argument) {
            None => default,
            Some(_) if at < 0 => at.saturating_add(length).max(least),
            Some(_) => at.min(most),
        })
    };
    let (mut at, stop) = match step > 0 {
        true => (place(0, 0)?, place(1, length)?),
        false => (place(0, length - 1)?, place(1, -1)?),
    };
    let mut kept = Vec::new();
    while if step > 0 { at < stop } else { at > stop } {
        kept.extend(usize::try_from(at).ok().and_then(|at| items.get(at)).cloned());
        at = at.saturating_add(step);
    }
    Ok(match value.as_str() {
        Some(_) => Value::from(kept.iter().filter_map(Value::as_str).collect::<String>()),
        None if value.is_tuple() => tuple(kept),
        None => Value::from(kept),
    })
}
