//! Python's `%`: the remainder of numbers, and the formatting of texts.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::arguments::{integer, wrong};
use super::repr::{ascii, repr, to_text};
use crate::template::guard;

/// Digits behind the point of a fraction; more than any has that differs from zero.
const MOST_DIGITS: usize = 1100;

/// `left % right`.
pub fn remainder(left: &Value, right: &Value) -> Result<Value, Error> {
    if let Some(text) = left.as_str() {
        return percent(text, right).map(Value::from);
    }
    let fails = |why: &str| {
        let (a, b) = (left.kind(), right.kind());
        wrong(format!("tried to use % operator on {a} and {b}: {why}"))
    };
    let whole = |value: &Value| match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        _ if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    };
    if let (Some(a), Some(b)) = (whole(left), whole(right)) {
        if b == 0 {
            return Err(fails("division by zero"));
        }
        // The sign is the divisor's, as in Python.
        let rest = a.checked_rem(b).unwrap_or(0);
        let rest = if rest != 0 && (rest < 0) != (b < 0) {
            rest + b
        } else {
            rest
        };
        return Ok(i64::try_from(rest).map_or_else(|_| Value::from(rest), Value::from));
    }
    let float = |value: &Value| match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => None,
    };
    let (Some(a), Some(b)) = (float(left), float(right)) else {
        return Err(fails("these types have no remainder"));
    };
    if b == 0.0 {
        return Err(fails("division by zero"));
    }
    let rest = a % b;
    let rest = match rest == 0.0 {
        true => 0.0_f64.copysign(b),
        false if (rest < 0.0) != (b < 0.0) => rest + b,
        false => rest,
    };
    Ok(Value::from(rest))
}

/// What stands behind a `%` in a text.
#[derive(Default)]
struct Field<'a> {
    key: Option<&'a str>,
    flags: String,
    width: Option<usize>,
    precision: Option<usize>,
}

/// The values that fields take, one after another.
struct Values<'a> {
    all: &'a Value,
    /// Of a tuple, or the one value that is no tuple.
    each: Vec<Value>,
    next: usize,
    by_name: bool,
}

impl Values<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        let value = self.each.get(self.next).cloned();
        self.next += 1;
        value.ok_or_else(|| wrong("there are fewer values than the text has fields (`%`)"))
    }

    fn named(&mut self, key: &str) -> Result<Value, Error> {
        if self.all.kind() != ValueKind::Map {
            return Err(wrong(format!(
                "the field `%({key})` wants a map, found {}",
                self.all.kind()
            )));
        }
        self.by_name = true;
        let value = self.all.get_item(&Value::from(key))?;
        if value.is_undefined() {
            return Err(wrong(format!(
                "the field `%({key})` has no value: the map has no such key"
            )));
        }
        Ok(value)
    }
}

/// `text % values`, as Python's printf-style formatting.
pub fn percent(text: &str, all: &Value) -> Result<String, Error> {
    let each = match all.is_tuple() {
        true => all.try_iter()?.collect(),
        false => vec![all.clone()],
    };
    let mut values = Values {
        all,
        each,
        next: 0,
        by_name: false,
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let field = field(&mut rest, &mut values)?;
        let Some(kind) = rest.chars().next() else {
            return Err(wrong("a text to be formatted ends within a field (`%`)"));
        };
        rest = &rest[kind.len_utf8()..];
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match field.key {
            Some(key) => values.named(key)?,
            None => values.next()?,
        };
        let largest = field.width.unwrap_or(0).max(field.precision.unwrap_or(0));
        guard::allow(out.len().saturating_add(largest.saturating_mul(4)))?;
        let piece = formatted(&field, kind, &value)?;
        guard::allow(out.len().saturating_add(piece.len()))?;
        out.push_str(&piece);
    }
    out.push_str(rest);
    // Values that no field took are refused, but for what can be asked by name: a map, or a list.
    let unused = values.next < values.each.len();
    let may_be_unused = values.by_name
        || (!all.is_tuple() && matches!(all.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable));
    if unused && !may_be_unused {
        return Err(wrong("there are more values than the text has fields (`%`)"));
    }
    Ok(out)
}

fn field<'a>(rest: &mut &'a str, values: &mut Values<'_>) -> Result<Field<'a>, Error> {
    let mut field = Field::default();
    if let Some(inside) = rest.strip_prefix('(') {
        // Brackets within the key belong to it.
        let mut depth = 1;
        let end = inside.char_indices().find(|(_, character)| {
            match character {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let (end, _) = end.ok_or_else(|| wrong("the key of a field (`%(`) has no end"))?;
        field.key = Some(&inside[..end]);
        *rest = &inside[end + 1..];
    }
    let flags = rest.trim_start_matches(['#', '0', '-', ' ', '+']);
    field.flags = rest[..rest.len() - flags.len()].to_owned();
    *rest = flags;
    let width = number(rest, values)?;
    if let Some(width) = width {
        if width < 0 {
            field.flags.push('-');
        }
        field.width = Some(usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX));
    }
    if let Some(precision) = rest.strip_prefix('.') {
        *rest = precision;
        let precision = number(rest, values)?.unwrap_or(0).max(0);
        field.precision = Some(usize::try_from(precision).unwrap_or(usize::MAX));
    }
    if let Some(without) = rest.strip_prefix(['h', 'l', 'L']) {
        *rest = without;
    }
    Ok(field)
}

/// Digits, or `*` for the next value.
fn number(rest: &mut &str, values: &mut Values<'_>) -> Result<Option<i64>, Error> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let value = values.next()?;
        let number = integer(&value)
            .ok_or_else(|| wrong(format!("`*` wants a whole number, found {}", value.kind())))?;
        return Ok(Some(number));
    }
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &rest[..rest.len() - after.len()];
    *rest = after;
    match digits {
        "" => Ok(None),
        digits => Ok(Some(digits.parse().unwrap_or(i64::MAX))),
    }
}

fn formatted(field: &Field<'_>, kind: char, value: &Value) -> Result<String, Error> {
    match kind {
        's' => Ok(padded(field, cut(field, to_text(value)))),
        'r' => Ok(padded(field, cut(field, repr(value)))),
        'a' => Ok(padded(field, cut(field, ascii(value)))),
        'c' => {
            let character = match value.as_str() {
                Some(text) => {
                    let mut characters = text.chars();
                    characters.next().filter(|_| characters.next().is_none())
                }
                None => integer(value)
                    .and_then(|code| u32::try_from(code).ok())
                    .and_then(char::from_u32),
            };
            let character = character.ok_or_else(|| wrong("`%c` wants one character or its number"))?;
            Ok(padded(field, character.to_string()))
        }
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => whole(field, kind, value),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            if !matches!(value.kind(), ValueKind::Number | ValueKind::Bool) {
                return Err(wrong(format!("`%{kind}` wants a number, found {}", value.kind())));
            }
            let value = match value.kind() {
                ValueKind::Bool => Value::from(f64::from(u8::from(value.is_true()))),
                _ => Value::from(f64::try_from(value.clone())?),
            };
            if field.precision.is_some_and(|digits| digits > MOST_DIGITS) {
                return Err(wrong(format!(
                    "`%{kind}` with more than {MOST_DIGITS} digits behind the point"
                )));
            }
            let precision = field
                .precision
                .map_or(String::new(), |digits| format!(".{digits}"));
            let width = field.width.map_or(String::new(), |width| width.to_string());
            format(
                FormatStyle::Printf,
                &format!("%{}{width}{precision}{kind}", field.flags),
                &[value],
            )
        }
        kind => Err(wrong(format!("`%{kind}` is no field of Python's formatting"))),
    }
}

/// Whole numbers: of a fraction, the part before the point.
fn whole(field: &Field<'_>, kind: char, value: &Value) -> Result<String, Error> {
    let refused = || wrong(format!("`%{kind}` wants a whole number, found {}", value.kind()));
    let number = match value.kind() {
        ValueKind::Bool => i128::from(value.is_true()),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).map_err(|_| refused())?,
        ValueKind::Number if matches!(kind, 'd' | 'i' | 'u') => {
            let float = f64::try_from(value.clone())?;
            if !float.is_finite() || float.abs() >= 1e37 {
                return Err(refused());
            }
            float as i128
        }
        _ => return Err(refused()),
    };
    let size = number.unsigned_abs();
    let alternate = field.flags.contains('#');
    let (prefix, digits) = match kind {
        'o' => (if alternate { "0o" } else { "" }, format!("{size:o}")),
        'x' => (if alternate { "0x" } else { "" }, format!("{size:x}")),
        'X' => (if alternate { "0X" } else { "" }, format!("{size:X}")),
        _ => ("", size.to_string()),
    };
    let sign = match number < 0 {
        true => "-",
        false if field.flags.contains('+') => "+",
        false if field.flags.contains(' ') => " ",
        false => "",
    };
    let least = field.precision.unwrap_or(0);
    let mut digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    let zeros = field.flags.contains('0') && !field.flags.contains('-');
    if let Some(width) = field.width.filter(|_| zeros) {
        let length = sign.len() + prefix.len() + digits.len();
        digits.insert_str(0, &"0".repeat(width.saturating_sub(length)));
    }
    Ok(padded(field, format!("{sign}{prefix}{digits}")))
}

fn cut(field: &Field<'_>, text: String) -> String {
    match field.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

fn padded(field: &Field<'_>, text: String) -> String {
    let missing = field.width.unwrap_or(0).saturating_sub(text.chars().count());
    let spaces = " ".repeat(missing);
    match field.flags.contains('-') {
        true => text + &spaces,
        false => spaces + &text,
    }
}
