//! What templates may make: fuel bounds the steps of a render, this bounds the size of what a step makes. Without it
//! `{% set x = x ~ x %}` in a loop doubles its way through all memory in forty steps.
//!
//! The engine has no place to ask between an operation and its result, so a template is rewritten before it is compiled: each
//! operation that can make something large gets the filter [`CHECK`] behind it. Filters and methods whose result is not bounded
//! by their operands' sizes are asked before they run.

mod checks;

use std::cell::Cell;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

pub use checks::with_checks;

/// Bytes that one value may have, printed.
const LARGEST: usize = 16 << 20;
/// Bytes that all values of a render may have, those forgotten included.
const ALL: usize = 2 << 30;
/// How deep values may nest: printing them recurses.
const DEEPEST: usize = 100;
/// What a value counts as besides its text: its own bytes, what the engine keeps with it, the time to look at it.
const PLACE: usize = 128;

/// The filter that checks what was made.
const CHECK: &str = "__check";

thread_local! {
    /// Bytes made in this thread's render.
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// A value is too large, or all of them are; an error's source, so that it can be told from the engine's errors.
#[derive(Debug, thiserror::Error)]
#[error("values of more than {0} bytes")]
pub struct TooLarge(pub usize);

/// Forgets what an earlier render made.
pub fn start() {
    MADE.set(0);
}

/// Steps of a render of this template: text between tags is printed without being asked about, so the longer it is, the fewer.
pub fn fuel(template: &str, most: u64) -> u64 {
    let longest = template.split(['{', '}']).map(str::len).max().unwrap_or(0);
    (ALL / longest.max(1)).try_into().unwrap_or(most).min(most)
}

/// Adds the check and what is asked beforehand.
pub fn install(environment: &mut Environment<'static>) {
    environment.add_filter(CHECK, |value: &Value| made(value).map(|()| value.clone()));
    environment.add_function("dict", |start: Option<Value>, further| {
        let map = minijinja::functions::dict(start, further)?;
        made(&map)?;
        Ok::<_, Error>(map)
    });
    // The engine's own, under names of ours.
    environment.add_filter("__replace", minijinja::filters::replace);
    environment.add_filter("__join", minijinja::filters::join);
    environment.add_filter("__indent", minijinja::filters::indent);
    environment.add_filter("__format", minijinja::filters::format);
    for (name, own) in [
        ("replace", "__replace"),
        ("join", "__join"),
        ("indent", "__indent"),
        ("format", "__format"),
    ] {
        environment.add_filter(name, move |state: &mut State, args: Rest<Value>| {
            if let Some((value, others)) = args.split_first() {
                ask(name, value, others)?;
            }
            state.apply_filter(own, &args)
        });
    }
}

/// Refuses a call whose result could be too large.
pub fn ask(name: &str, value: &Value, args: &[Value]) -> Result<(), Error> {
    let largest = match name {
        "replace" => {
            let from = args.first().map_or("", text);
            let times = match (text(value), from) {
                (text, "") => text.len() + 1,
                (text, from) => text.matches(from).count(),
            };
            size(value)?.saturating_add(times.saturating_mul(args.get(1).map_or(0, |to| text(to).len())))
        }
        // As a filter and as a method: what stands between, or what is joined, may come first.
        "join" => {
            let all = [value].into_iter().chain(args);
            let places = all.clone().filter_map(Value::len).max().unwrap_or(0);
            let between = all.clone().map(|value| text(value).len()).max().unwrap_or(0);
            let parts = all.map(size).sum::<Result<usize, Error>>()?;
            parts.saturating_add(places.saturating_mul(between))
        }
        "indent" => {
            let width = args.iter().filter_map(Value::as_usize).max().unwrap_or(0);
            text(value).lines().count().saturating_mul(width)
        }
        // Widths and precisions stand in the text, or are asked for with `*`.
        "format" => {
            let text = text(value);
            let widths = text.split(|c: char| !c.is_ascii_digit());
            let widths = widths.map(|digits| {
                digits
                    .parse()
                    .unwrap_or(if digits.is_empty() { 0 } else { usize::MAX })
            });
            let asked = args
                .iter()
                .filter_map(Value::as_usize)
                .filter(|_| text.contains('*') || text.contains("{:{"));
            let widest: usize = widths.chain(asked).max().unwrap_or(0);
            let places = text.matches(['%', '{']).count();
            let parts = args.iter().map(size).sum::<Result<usize, Error>>()?;
            places.saturating_mul(widest.saturating_add(parts))
        }
        _ => 0,
    };
    if largest > LARGEST {
        Err(too_large(LARGEST))
    } else {
        Ok(())
    }
}

/// Counts a value that was made, and refuses it when it is too large.
pub fn made(value: &Value) -> Result<(), Error> {
    if matches!(
        value.kind(),
        ValueKind::Number | ValueKind::Bool | ValueKind::None | ValueKind::Undefined
    ) {
        return Ok(());
    }
    let all = MADE.get().saturating_add(size(value)?);
    MADE.set(all);
    if all > ALL { Err(too_large(ALL)) } else { Ok(()) }
}

/// Roughly the bytes of a value when it is printed: what occurs twice counts twice.
pub fn size(value: &Value) -> Result<usize, Error> {
    let mut left = LARGEST;
    spend(value, &mut left, DEEPEST)?;
    Ok(LARGEST - left)
}

fn spend(value: &Value, left: &mut usize, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("values are nested more than {DEEPEST} deep"),
        ));
    }
    let own = PLACE + value.as_str().map_or(0, str::len);
    *left = left.checked_sub(own).ok_or_else(|| too_large(LARGEST))?;
    if matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
    ) {
        for item in value.try_iter()? {
            if value.kind() == ValueKind::Map {
                spend(&value.get_item(&item)?, left, depth - 1)?;
            }
            spend(&item, left, depth - 1)?;
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::InvalidOperation, "too large").with_source(TooLarge(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_gets_fewer_steps() {
        assert_eq!(fuel("{{ a }} and {{ b }}", 5_000_000), 5_000_000);
        assert_eq!(fuel(&"x".repeat(1 << 20), 5_000_000), 2048);
    }
}
