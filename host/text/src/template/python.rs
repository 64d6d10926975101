//! What templates expect of Python: methods on values, and how floats are written.

use super::guard;
use minijinja::value::{Tuple, ValueKind, from_args};
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

/// The methods that the engine's companion crate lacks, then its own.
pub fn call_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    guard::ask(method, value, args)?;
    let result = bound_method(state, value, method, args)?;
    guard::made(&result)?;
    Ok(result)
}

fn bound_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let (ValueKind::String, Some(text)) = (value.kind(), value.as_str()) {
        match method {
            "removeprefix" => {
                let (prefix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)));
            }
            "removesuffix" => {
                let (suffix,): (&str,) = from_args(args)?;
                return Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)));
            }
            "partition" => {
                let (separator,): (&str,) = from_args(args)?;
                let parts = text.split_once(separator).map(|(a, b)| [a, separator, b]);
                return Ok(tuple(parts.unwrap_or([text, "", ""])));
            }
            "rpartition" => {
                let (separator,): (&str,) = from_args(args)?;
                let parts = text.rsplit_once(separator).map(|(a, b)| [a, separator, b]);
                return Ok(tuple(parts.unwrap_or(["", "", text])));
            }
            _ => {}
        }
    }
    unknown_method_callback(state, value, method, args)
}

fn tuple(parts: [&str; 3]) -> Value {
    Value::from(Tuple::from(parts.map(Value::from)))
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
