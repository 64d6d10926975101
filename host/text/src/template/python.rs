//! What templates expect of Python: methods on values, `%`, and how values are printed.

mod arguments;
pub mod dates;
mod percent;
mod repr;
mod text;

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::guard;
pub use arguments::{Arguments, in_one, wrong};
pub use percent::{percent, remainder};
pub use repr::{float_of, float_text, repr, to_text};
pub use text::{is_space, lines, replaced, stripped, without_end};

/// The methods that the engine's companion crate lacks or has otherwise, then its own.
pub fn call_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let result = bound_method(state, value, method, args)?;
    guard::made(&result)?;
    Ok(result)
}

fn bound_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match (value.kind(), value.as_str()) {
        (_, Some("{}")) if method == "format_map" => None,
        (_, Some(text)) if method == "format_map" => Some(format_map(state, text, args)),
        (_, Some(text)) => text::call(text, method, args),
        (ValueKind::Seq | ValueKind::Iterable, _) => list_method(value, method, args),
        (ValueKind::Map, _) => map_method(value, method, args),
        (ValueKind::Number, _) => number_method(value, method, args),
        _ => None,
    };
    match own {
        Some(result) => result,
        None => {
            guard::allow_method(method, value, args)?;
            unknown_method_callback(state, value, method, args)
        }
    }
}

/// `text.format_map(map)` is `text.format` with the map's keys as names.
fn format_map(state: &mut State, text: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("format_map", &["mapping"], args)?;
    let map = arguments.get(0).filter(|map| map.kind() == ValueKind::Map);
    let map = map.ok_or_else(|| wrong("`format_map` expects a map"))?;
    let mut pairs = Vec::new();
    for key in map.try_iter()? {
        if let Some(name) = key.as_str() {
            pairs.push((name.to_owned(), map.get_item(&key)?));
        }
    }
    let named = Value::from(pairs.into_iter().collect::<minijinja::value::Kwargs>());
    let text = Value::from(text);
    guard::allow_method("format", &text, std::slice::from_ref(&named))?;
    unknown_method_callback(state, &text, "format", &[named])
}

fn list_method(value: &Value, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    match method {
        "index" => Some(index(value, args)),
        "count" => Some(count(value, args)),
        "copy" if !value.is_tuple() => Some(
            Arguments::of("copy", &[], args)
                .and_then(|_| value.try_iter())
                .map(|items| Value::from(items.collect::<Vec<_>>())),
        ),
        _ => None,
    }
}

fn index(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("index", &["value", "start", "stop"], args)?;
    let what = arguments.get(0).cloned().unwrap_or_default();
    let length = value.len().map_or(0, |length| length as i64);
    let place = |at: i64| if at < 0 { (at + length).max(0) } else { at };
    let (start, stop) = (
        place(arguments.integer(1, 0)?),
        place(arguments.integer(2, i64::MAX)?),
    );
    let at = value
        .try_iter()?
        .zip(0..)
        .find(|(item, at)| (start..stop).contains(at) && *item == what);
    at.map(|(_, at)| Value::from(at))
        .ok_or_else(|| wrong(format!("the list does not hold {}", repr(&what))))
}

fn count(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let arguments = Arguments::of("count", &["value"], args)?;
    let what = arguments.get(0).cloned().unwrap_or_default();
    Ok(Value::from(
        value.try_iter()?.filter(|item| *item == what).count(),
    ))
}

fn map_method(value: &Value, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    (method == "copy").then(|| {
        Arguments::of("copy", &[], args)?;
        let keys: Vec<Value> = value.try_iter()?.collect();
        let pairs = keys
            .into_iter()
            .map(|key| Ok((key.clone(), value.get_item(&key)?)));
        Ok(Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?))
    })
}

fn number_method(value: &Value, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let float = float_of(value);
    match (method, float) {
        ("is_integer", Some(float)) => {
            Some(Arguments::of("is_integer", &[], args).map(|_| Value::from(float.fract() == 0.0)))
        }
        ("bit_length", None) => {
            let bits =
                i128::try_from(value.clone()).map(|number| 128 - number.unsigned_abs().leading_zeros());
            Some(Arguments::of("bit_length", &[], args).and_then(|_| Ok(Value::from(bits?))))
        }
        _ => None,
    }
}

/// A tuple of values.
pub fn tuple(values: Vec<Value>) -> Value {
    Value::from(Tuple::from(values))
}
