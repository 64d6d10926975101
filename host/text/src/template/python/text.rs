//! Python's methods of texts.

use minijinja::value::Tuple;
use minijinja::{Error, Value};

use super::arguments::{Arguments, wrong};
use super::repr::is_printable;
use crate::template::guard;

/// A method's result; nothing where it is none of these.
pub fn call(text: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let result = match method {
        "split" => split(text, args),
        "rsplit" => rsplit(text, args),
        "splitlines" => splitlines(text, args),
        "partition" => partition(text, args),
        "rpartition" => rpartition(text, args),
        "find" => {
            find("find", text, args, |part, what| part.find(what)).map(|at| Value::from(at.unwrap_or(-1)))
        }
        "rfind" => {
            find("rfind", text, args, |part, what| part.rfind(what)).map(|at| Value::from(at.unwrap_or(-1)))
        }
        "index" => find("index", text, args, |part, what| part.find(what)).and_then(found),
        "rindex" => find("rindex", text, args, |part, what| part.rfind(what)).and_then(found),
        "count" => count(text, args),
        "startswith" => affix("startswith", text, args, |part, affix| part.starts_with(affix)),
        "endswith" => affix("endswith", text, args, |part, affix| part.ends_with(affix)),
        "replace" => replace(text, args),
        "join" => join(text, args),
        "strip" => strip("strip", text, args, true, true),
        "lstrip" => strip("lstrip", text, args, true, false),
        "rstrip" => strip("rstrip", text, args, false, true),
        "removeprefix" => affix_removed("removeprefix", text, args, |text, part| text.strip_prefix(part)),
        "removesuffix" => affix_removed("removesuffix", text, args, |text, part| text.strip_suffix(part)),
        "zfill" => zfill(text, args),
        "ljust" => justified("ljust", text, args, |missing| (0, missing)),
        "rjust" => justified("rjust", text, args, |missing| (missing, 0)),
        "center" => centred(text, args),
        "expandtabs" => expandtabs(text, args),
        "swapcase" => none("swapcase", args).map(|()| swapcase(text).into()),
        "casefold" => none("casefold", args).map(|()| casefold(text).into()),
        "title" => none("title", args).map(|()| title(text).into()),
        "capitalize" => none("capitalize", args).map(|()| capitalised(text).into()),
        "isspace" => none("isspace", args).map(|()| all(text, is_space).into()),
        "isdecimal" => none("isdecimal", args).map(|()| all(text, is_decimal).into()),
        "isdigit" => {
            none("isdigit", args).map(|()| all(text, |c| is_decimal(c) || is_raised_digit(c)).into())
        }
        "isprintable" => none("isprintable", args).map(|()| text.chars().all(is_printable).into()),
        "isidentifier" => none("isidentifier", args).map(|()| is_identifier(text).into()),
        "istitle" => none("istitle", args).map(|()| is_title(text).into()),
        _ => return None,
    };
    Some(result)
}

fn none(function: &'static str, args: &[Value]) -> Result<(), Error> {
    Arguments::of(function, &[], args).map(drop)
}

fn list<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>())
}

/// Python's white space: Unicode's and the four separators of ASCII.
pub fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

fn all(text: &str, is: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(is)
}

fn is_decimal(character: char) -> bool {
    // Digits of other scripts come in blocks of ten, from 0 to 9.
    character.is_ascii_digit()
        || matches!(character as u32, 0x660..=0x669 | 0x6f0..=0x6f9 | 0x7c0..=0x7c9 | 0xff10..=0xff19 | 0x1d7ce..=0x1d7ff)
        || matches!(character as u32, 0x966..=0xd6f if character.is_numeric() && (character as u32 & 0xf) >= 6)
}

fn is_raised_digit(character: char) -> bool {
    matches!(character, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨')
}

fn separator(arguments: &Arguments) -> Result<Option<&str>, Error> {
    match arguments.text_given(0)? {
        Some("") => Err(wrong("the separator is empty")),
        separator => Ok(separator),
    }
}

/// How often to split; Python's -1 is as often as there are separators.
fn times(arguments: &Arguments) -> Result<usize, Error> {
    let times = arguments.integer(1, -1)?;
    Ok(usize::try_from(times).map_or(usize::MAX, |times| times.saturating_add(1)))
}

fn split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("split", &["sep", "maxsplit"], args)?;
    let times = times(&arguments)?;
    if let Some(separator) = separator(&arguments)? {
        guard::allow_places(text.matches(separator).count().min(times), 0)?;
        return Ok(list(text.splitn(times, separator)));
    }
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() && parts.len() + 1 < times {
        guard::allow_places(parts.len(), 0)?;
        let end = rest.find(is_space).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    if !rest.is_empty() {
        // What is not split any more keeps its spaces.
        parts.push(rest);
    }
    guard::allow_places(parts.len(), 0)?;
    Ok(list(parts))
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("rsplit", &["sep", "maxsplit"], args)?;
    let times = times(&arguments)?;
    let mut parts: Vec<&str> = match separator(&arguments)? {
        Some(separator) => {
            guard::allow_places(text.matches(separator).count().min(times), 0)?;
            text.rsplitn(times, separator).collect()
        }
        None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() && parts.len() + 1 < times {
                guard::allow_places(parts.len(), 0)?;
                let spaces = rest
                    .char_indices()
                    .rev()
                    .find(|(_, character)| is_space(*character));
                let start = spaces.map_or(0, |(at, character)| at + character.len_utf8());
                parts.push(&rest[start..]);
                rest = rest[..start].trim_end_matches(is_space);
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
            parts
        }
    };
    guard::allow_places(parts.len(), 0)?;
    parts.reverse();
    Ok(list(parts))
}

fn is_line_end(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Lines as Python cuts them, with their ends.
pub fn lines(text: &str) -> Result<Vec<&str>, Error> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().find(|(_, character)| is_line_end(*character));
        let end = end.map_or(rest.len(), |(at, character)| {
            match rest[at..].starts_with("\r\n") {
                true => at + 2,
                false => at + character.len_utf8(),
            }
        });
        let (line, after) = rest.split_at(end);
        lines.push(line);
        guard::allow_places(lines.len(), 0)?;
        rest = after;
    }
    Ok(lines)
}

/// A line without its end.
pub fn without_end(line: &str) -> &str {
    match line.strip_suffix("\r\n") {
        Some(line) => line,
        None => line.strip_suffix(is_line_end).unwrap_or(line),
    }
}

fn splitlines(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("splitlines", &["keepends"], args)?;
    let keeps = arguments.is_true(0, false);
    let lines = lines(text)?;
    Ok(list(lines.into_iter().map(|line| match keeps {
        true => line,
        false => without_end(line),
    })))
}

fn parts(parts: [&str; 3]) -> Value {
    Value::from(Tuple::from(parts.map(Value::from)))
}

fn partition(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("partition", &["sep"], args)?;
    let separator = not_empty(arguments.text(0)?)?;
    Ok(match text.split_once(separator) {
        Some((before, after)) => parts([before, separator, after]),
        None => parts([text, "", ""]),
    })
}

fn rpartition(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("rpartition", &["sep"], args)?;
    let separator = not_empty(arguments.text(0)?)?;
    Ok(match text.rsplit_once(separator) {
        Some((before, after)) => parts([before, separator, after]),
        None => parts(["", "", text]),
    })
}

fn not_empty(separator: &str) -> Result<&str, Error> {
    match separator {
        "" => Err(wrong("the separator is empty")),
        separator => Ok(separator),
    }
}

/// The part that `start` and `end` name, and how many characters stand before it. Nothing when it begins behind the text.
fn part<'a>(text: &'a str, arguments: &Arguments) -> Result<Option<(&'a str, usize)>, Error> {
    if arguments.given(1).is_none() && arguments.given(2).is_none() {
        return Ok(Some((text, 0)));
    }
    let length = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + length).max(0) } else { at };
    let (start, end) = (
        place(arguments.integer(1, 0)?),
        place(arguments.integer(2, length)?).min(length),
    );
    if start > length || start > end {
        return Ok(None);
    }
    let offset = |at: i64| {
        text.char_indices()
            .nth(at as usize)
            .map_or(text.len(), |(at, _)| at)
    };
    Ok(Some((&text[offset(start)..offset(end)], start as usize)))
}

fn find(
    function: &'static str,
    text: &str,
    args: &[Value],
    find: fn(&str, &str) -> Option<usize>,
) -> Result<Option<i64>, Error> {
    let arguments = Arguments::of(function, &["sub", "start", "end"], args)?;
    let what = arguments.text(0)?;
    let Some((part, before)) = part(text, &arguments)? else {
        return Ok(None);
    };
    Ok(find(part, what).map(|at| (before + part[..at].chars().count()) as i64))
}

fn found(at: Option<i64>) -> Result<Value, Error> {
    at.map(Value::from)
        .ok_or_else(|| wrong("the text does not hold what is looked for"))
}

fn count(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("count", &["sub", "start", "end"], args)?;
    let what = arguments.text(0)?;
    let part = part(text, &arguments)?;
    Ok(Value::from(
        part.map_or(0, |(part, _)| part.matches(what).count()),
    ))
}

fn affix(
    function: &'static str,
    text: &str,
    args: &[Value],
    has: fn(&str, &str) -> bool,
) -> Result<Value, Error> {
    let arguments = Arguments::of(function, &["affix", "start", "end"], args)?;
    let Some((part, _)) = part(text, &arguments)? else {
        return Ok(Value::from(false));
    };
    let affixes = match arguments.get(0) {
        Some(tuple) if tuple.is_tuple() => tuple.try_iter()?.collect(),
        Some(one) => vec![one.clone()],
        None => vec![],
    };
    for affix in &affixes {
        let expected = || {
            wrong(format!(
                "`{function}` expects a text or a tuple of texts, found {}",
                affix.kind()
            ))
        };
        if has(part, affix.as_str().ok_or_else(expected)?) {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn replace(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("replace", &["old", "new", "count"], args)?;
    replaced(
        text,
        arguments.text(0)?,
        arguments.text(1)?,
        arguments.integer(2, -1)?,
    )
}

/// `text.replace(from, to, count)`.
pub fn replaced(text: &str, from: &str, to: &str, count: i64) -> Result<Value, Error> {
    guard::allow_replacement(text, from, to)?;
    Ok(Value::from(match usize::try_from(count) {
        Ok(count) => text.replacen(from, to, count),
        Err(_) => text.replace(from, to),
    }))
}

fn join(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("join", &["iterable"], args)?;
    let items = arguments.get(0).cloned().unwrap_or_default();
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let expected = || {
            wrong(format!(
                "`join` takes texts alone, found {} at place {index}",
                item.kind()
            ))
        };
        let item = item.as_str().ok_or_else(expected)?;
        guard::allow(out.len().saturating_add(text.len()).saturating_add(item.len()))?;
        if index > 0 {
            out.push_str(text);
        }
        out.push_str(item);
    }
    Ok(Value::from(out))
}

fn strip(
    function: &'static str,
    text: &str,
    args: &[Value],
    at_start: bool,
    at_end: bool,
) -> Result<Value, Error> {
    let arguments = Arguments::of(function, &["chars"], args)?;
    Ok(Value::from(stripped(
        text,
        arguments.text_given(0)?,
        at_start,
        at_end,
    )))
}

/// The text without these characters, or without white space, at its ends.
pub fn stripped<'a>(text: &'a str, characters: Option<&str>, at_start: bool, at_end: bool) -> &'a str {
    let drops = |character: char| match characters {
        Some(characters) => characters.contains(character),
        None => is_space(character),
    };
    let text = if at_start {
        text.trim_start_matches(drops)
    } else {
        text
    };
    if at_end {
        text.trim_end_matches(drops)
    } else {
        text
    }
}

fn affix_removed(
    function: &'static str,
    text: &str,
    args: &[Value],
    without: for<'a> fn(&'a str, &str) -> Option<&'a str>,
) -> Result<Value, Error> {
    let arguments = Arguments::of(function, &["affix"], args)?;
    Ok(Value::from(without(text, arguments.text(0)?).unwrap_or(text)))
}

/// Characters that a text lacks to be so wide.
fn missing(text: &str, width: i64, fill: char) -> Result<usize, Error> {
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    guard::allow(text.len().saturating_add(missing.saturating_mul(fill.len_utf8())))?;
    Ok(missing)
}

fn zfill(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("zfill", &["width"], args)?;
    let missing = missing(text, arguments.integer(0, 0)?, '0')?;
    let digits = text.trim_start_matches(['+', '-']);
    // One sign stays in front.
    let sign = text.len().min(1).min(text.len() - digits.len());
    Ok(Value::from(format!(
        "{}{}{}",
        &text[..sign],
        "0".repeat(missing),
        &text[sign..]
    )))
}

fn justified(
    function: &'static str,
    text: &str,
    args: &[Value],
    sides: impl Fn(usize) -> (usize, usize),
) -> Result<Value, Error> {
    let arguments = Arguments::of(function, &["width", "fillchar"], args)?;
    let fill = match arguments.text_given(1)? {
        None => ' ',
        Some(fill) => {
            let mut characters = fill.chars();
            let first = characters.next().filter(|_| characters.next().is_none());
            first.ok_or_else(|| wrong(format!("`{function}` fills with one character, found {fill:?}")))?
        }
    };
    let missing = missing(text, arguments.integer(0, 0)?, fill)?;
    let (left, right) = sides(missing);
    let fill = |count: usize| fill.to_string().repeat(count);
    Ok(Value::from(format!("{}{text}{}", fill(left), fill(right))))
}

fn centred(text: &str, args: &[Value]) -> Result<Value, Error> {
    let odd_width = text.chars().count();
    // Where both sides cannot be equal, an odd width puts the greater one on the left.
    justified("center", text, args, |missing| {
        let left = missing / 2 + (missing & (missing + odd_width) & 1);
        (left, missing - left)
    })
}

fn expandtabs(text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("expandtabs", &["tabsize"], args)?;
    let size = usize::try_from(arguments.integer(0, 8)?).unwrap_or(0);
    guard::allow(
        text.len()
            .saturating_add(text.matches('\t').count().saturating_mul(size)),
    )?;
    let mut out = String::new();
    let mut column = 0;
    for character in text.chars() {
        match character {
            '\t' if size == 0 => {}
            '\t' => {
                let spaces = size - column % size;
                out.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            '\n' | '\r' => {
                out.push(character);
                column = 0;
            }
            _ => {
                out.push(character);
                column += 1;
            }
        }
    }
    Ok(Value::from(out))
}

fn swapcase(text: &str) -> String {
    let swap = |character: char| -> String {
        match character.is_uppercase() {
            true => character.to_lowercase().collect(),
            false => character.to_uppercase().collect(),
        }
    };
    text.chars().map(swap).collect()
}

/// Lower case, with the letters that only differ in lower case made one.
fn casefold(text: &str) -> String {
    text.to_lowercase()
        .replace('ß', "ss")
        .replace('ς', "σ")
        .replace('ſ', "s")
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => title_case(first) + &characters.as_str().to_lowercase(),
        None => String::new(),
    }
}

/// A letter as words begin with it; `ß` and a few others differ from upper case there.
fn title_case(character: char) -> String {
    let upper: String = character.to_uppercase().collect();
    let mut characters = upper.chars();
    match (character, characters.next()) {
        ('ŉ', _) => upper,
        (_, Some(first)) => first.to_string() + &characters.as_str().to_lowercase(),
        (_, None) => upper,
    }
}

fn title(text: &str) -> String {
    let mut out = String::new();
    let mut within = false;
    for character in text.chars() {
        match within {
            true => out.extend(character.to_lowercase()),
            false => out.push_str(&title_case(character)),
        }
        within = character.is_lowercase() || character.is_uppercase();
    }
    out
}

fn is_title(text: &str) -> bool {
    let (mut within, mut any) = (false, false);
    for character in text.chars() {
        if character.is_uppercase() {
            if within {
                return false;
            }
            (within, any) = (true, true);
        } else if character.is_lowercase() {
            if !within {
                return false;
            }
            any = true;
        } else {
            within = false;
        }
    }
    any
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters
        .next()
        .is_some_and(|first| first == '_' || first.is_alphabetic());
    first && characters.all(|character| character == '_' || character.is_alphanumeric())
}
