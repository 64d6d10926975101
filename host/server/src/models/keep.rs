//! How long a model stays loaded after an answer.

use std::time::Duration;

use serde_json::Value;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// Until another needs the memory.
    Always,
    /// So long after the last answer.
    For(Duration),
}

/// Longer than this is always.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl KeepAlive {
    /// As Ollama has it: a number of seconds, or a text like `5m`, `1h30m`, `-1`; below 0 is always.
    pub fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::of_seconds(number.as_f64()?),
            Value::String(text) => Self::parse_text(text),
            _ => None,
        }
    }

    /// The same, of a text.
    pub fn parse_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<f64>() {
            return Self::of_seconds(seconds);
        }
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.is_empty() {
            return None;
        }
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let number: f64 = rest[..end].parse().ok()?;
            rest = &rest[end..];
            let end = rest
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(rest.len());
            seconds += number
                * match &rest[..end] {
                    "h" => 3600.0,
                    "m" => 60.0,
                    "s" => 1.0,
                    "ms" => 1e-3,
                    "us" | "µs" => 1e-6,
                    "ns" => 1e-9,
                    _ => return None,
                };
            rest = &rest[end..];
        }
        Self::of_seconds(if negative { -seconds } else { seconds })
    }

    fn of_seconds(seconds: f64) -> Option<Self> {
        if seconds.is_nan() {
            return None;
        }
        if seconds < 0.0 || seconds > LONGEST.as_secs_f64() {
            return Some(Self::Always);
        }
        Duration::try_from_secs_f64(seconds).ok().map(Self::For)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_read_as_ollama_reads_them() {
        let seconds = |seconds| Some(KeepAlive::For(Duration::from_secs(seconds)));
        for (value, expected) in [
            (json!(0), seconds(0)),
            (json!("0"), seconds(0)),
            (json!(300), seconds(300)),
            (json!("5m"), seconds(300)),
            (json!("1h30m"), seconds(5400)),
            (json!("24h"), seconds(86_400)),
            (json!("1500ms"), Some(KeepAlive::For(Duration::from_millis(1500)))),
            (json!(-1), Some(KeepAlive::Always)),
            (json!("-1m"), Some(KeepAlive::Always)),
            (json!("1e30"), Some(KeepAlive::Always)),
            (json!("soon"), None),
            (json!("5"), seconds(5)),
            (json!("5x"), None),
            (json!(""), None),
            (json!([5]), None),
            (json!("NaN"), None),
        ] {
            assert_eq!(KeepAlive::parse(&value), expected, "{value}");
        }
    }
}
