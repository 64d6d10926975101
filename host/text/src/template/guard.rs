//! What templates may make: fuel bounds the steps of a render, this bounds the size of what a step makes. Without it
//! `{% set x = x ~ x %}` in a loop doubles its way through all memory in forty steps.
//!
//! The engine has no place to ask between an operation and its result, so a template is rewritten before it is compiled: each
//! operation that can make something large gets the filter [`CHECK`] behind it. Filters and methods whose result is not bounded
//! by their operands' sizes ask [`allow`] before they run. Long chains of operations, which the engine follows by recursion, are
//! refused before it sees them.
//!
//! Fuel counts steps and not their time, and one step can compare sixteen megabytes: so the check looks at the clock too, and stands behind
//! comparisons and tests as well.

mod chains;
mod checks;
mod living;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

pub use chains::{TooNested, check_nesting};
pub use checks::{longest_captured, with_checks};

use crate::clock;
use living::Living;

/// Bytes that one value may have, printed.
const LARGEST: usize = 6 << 20;
/// Bytes that all values of a render may have, those forgotten included: it bounds the time that making them takes.
const ALL: usize = 2 << 30;
/// Bytes that values may have at once.
const AT_ONCE: usize = 24 << 20;
/// Bytes that a render may print, into its result or into what it sets, calls or filters: these have no other bound before they are whole.
const PRINTED: usize = 48 << 20;
/// How deep values may nest: printing them recurses.
const DEEPEST: usize = 100;
/// What a value counts as besides its text: its own bytes, what the engine keeps with it, the time to look at it.
const PLACE: usize = 128;

/// How long a conversation's renders may take: those of the templates that are known take some milliseconds.
pub const LONGEST: Duration = Duration::from_secs(10);

/// The filter that checks what was made.
const CHECK: &str = "__check";
/// The filter that stands for the operator `%`, which the engine has for numbers only.
pub const REMAINDER: &str = "__remainder";
/// The filter that stands for slices with a step.
pub const SLICE: &str = "__slice";

thread_local! {
    /// Bytes made in this thread's render.
    static MADE: Cell<usize> = const { Cell::new(0) };
    /// Bytes printed in this thread's render.
    static OUT: Cell<usize> = const { Cell::new(0) };
    /// What of what was made is still there.
    static LIVING: RefCell<Living> = RefCell::default();
}

/// Renders take too long; an error's source, so that it can be told from the engine's errors.
#[derive(Debug, thiserror::Error)]
#[error("longer than they may")]
pub struct TooSlow;

/// Renders of this thread end when their time is over, until this is dropped.
pub struct Time {
    _clock: clock::Time,
}

impl Time {
    /// From now on, for so long, and no longer than the work that renders.
    pub fn begin(longest: Duration) -> Self {
        Self {
            _clock: clock::Time::begin(longest),
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        clock::is_over()
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        start();
    }
}

/// A value is too large, or all of them are; an error's source, so that it can be told from the engine's errors.
#[derive(Debug, thiserror::Error)]
#[error("values of more than {0} bytes")]
pub struct TooLarge(pub usize);

/// Forgets what an earlier render made.
pub fn start() {
    MADE.set(0);
    OUT.set(0);
    LIVING.take();
}

/// Steps of a render of this template: text between tags is printed without being asked about, so the longer it is, the fewer.
pub fn fuel(template: &str, most: u64) -> u64 {
    let longest = template.split(['{', '}']).map(str::len).max().unwrap_or(0);
    let steps = (ALL / longest.max(1)).min(PRINTED / longest_captured(template).max(1));
    steps.try_into().unwrap_or(most).min(most)
}

/// Counts what is about to be printed.
pub fn printed(value: &Value) -> Result<(), Error> {
    made(value)?;
    let bytes = match value.as_str() {
        Some(text) => text.len(),
        None => size(value)?,
    };
    let all = OUT.get().saturating_add(bytes);
    OUT.set(all);
    if all > PRINTED {
        Err(too_large(PRINTED))
    } else {
        Ok(())
    }
}

/// Adds the check. Templates can call it by its name too; it only looks.
pub fn install(environment: &mut Environment<'static>) {
    environment.add_filter(CHECK, |value: &Value| made(value).map(|()| value.clone()));
}

/// Refuses what is about to be made, when so many bytes are more than one value may have.
pub fn allow(bytes: usize) -> Result<(), Error> {
    if bytes > LARGEST {
        Err(too_large(LARGEST))
    } else {
        Ok(())
    }
}

/// Refuses so many values in one, each with so many bytes of its own.
pub fn allow_places(places: usize, bytes: usize) -> Result<(), Error> {
    allow(places.saturating_mul(PLACE.saturating_add(bytes)))
}

/// Bytes that a replacement makes at most.
pub fn allow_replacement(text: &str, from: &str, to: &str) -> Result<(), Error> {
    let times = match from {
        "" => text.len() + 1,
        from => text.matches(from).count(),
    };
    allow(text.len().saturating_add(times.saturating_mul(to.len())))
}

/// Asks before a method of the engine's companion crate makes a text from others.
pub fn allow_method(name: &str, value: &Value, args: &[Value]) -> Result<(), Error> {
    match name {
        // Widths and precisions stand in the text.
        "format" => {
            let text = text(value);
            let widths = text.split(|c: char| !c.is_ascii_digit());
            let widest = widths
                .filter(|digits| !digits.is_empty())
                .map(|digits| digits.parse().unwrap_or(usize::MAX))
                .max()
                .unwrap_or(0);
            let parts = args.iter().map(size).sum::<Result<usize, Error>>()?;
            let places = text.matches('{').count();
            allow(places.saturating_mul(widest.saturating_add(parts)))
        }
        _ => Ok(()),
    }
}

/// Counts a value that was made, and refuses it when it is too large.
pub fn made(value: &Value) -> Result<(), Error> {
    if clock::is_over() {
        return Err(Error::new(ErrorKind::InvalidOperation, "too slow").with_source(TooSlow));
    }
    if matches!(
        value.kind(),
        ValueKind::Number | ValueKind::Bool | ValueKind::None | ValueKind::Undefined
    ) {
        return Ok(());
    }
    let own = size(value)?;
    let all = MADE.get().saturating_add(own);
    MADE.set(all);
    if all > ALL {
        return Err(too_large(ALL));
    }
    match LIVING.with_borrow_mut(|living| living.add(value, own, AT_ONCE)) {
        true => Ok(()),
        false => Err(too_large(AT_ONCE)),
    }
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
        let captured = format!("{{% set x %}}{}{{% endset %}}", "x".repeat(1 << 20));
        assert_eq!(fuel(&captured, 5_000_000), 48);
    }
}
