//! What of a run is measured: its wall time, or a number that it prints.

use std::str::FromStr;

use regex::Regex;
use serde_json::Value;
use thiserror::Error;

use crate::command::{CommandError, Finished};

/// The group of a regular expression that holds the figure.
const GROUP: &str = "figure";

/// Where a run's figure comes from.
#[derive(Debug, Clone)]
pub enum Measure {
    /// The time from start to end, in seconds.
    Wall,
    /// A JSON pointer (RFC 6901) into what is printed: the whole output, or its last line.
    Pointer(String),
    /// The group `figure` of a regular expression: its last match in the output or, where there is none, in the errors.
    Pattern(Regex),
}

impl FromStr for Measure {
    type Err = MeasureError;

    fn from_str(text: &str) -> Result<Self, MeasureError> {
        if text == "wall" {
            return Ok(Self::Wall);
        }
        if text.starts_with('/') {
            return Ok(Self::Pointer(text.to_owned()));
        }
        let pattern = Regex::new(text)?;
        if !pattern.capture_names().flatten().any(|name| name == GROUP) {
            return Err(MeasureError::Group {
                text: text.to_owned(),
            });
        }
        Ok(Self::Pattern(pattern))
    }
}

/// Why there is no figure.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// Not a regular expression either.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// Nothing is marked as the figure.
    #[error(
        "expected `wall`, a JSON pointer such as /timings/decode_s, or a regular expression with a group `figure` such as \
         'decode: (?<figure>[0-9.]+)'; found `{text}`"
    )]
    Group {
        /// As it was given.
        text: String,
    },
    /// The output is gone.
    #[error(transparent)]
    Output(#[from] CommandError),
    /// The output is not JSON.
    #[error("expected JSON as the output or as its last line: {0}")]
    Json(serde_json::Error),
    /// The figure is not there.
    #[error("expected a number at `{place}`, found {found}")]
    Missing {
        /// Where it was looked for.
        place: String,
        /// What was there.
        found: String,
    },
    /// The figure has no ratio.
    #[error("expected a number above 0 at `{place}`, found {found}")]
    NotAbove {
        /// Where it was looked for.
        place: String,
        /// What was there.
        found: f64,
    },
}

impl Measure {
    /// In words, for a report.
    pub fn describe(&self) -> String {
        match self {
            Self::Wall => "wall time in seconds".to_owned(),
            Self::Pointer(pointer) => format!("what is printed at {pointer}"),
            Self::Pattern(pattern) => format!("what is printed as {pattern}"),
        }
    }

    /// The figure of a run: a number above 0.
    pub fn figure(&self, run: &mut Finished) -> Result<f64, MeasureError> {
        let (place, figure) = match self {
            Self::Wall => ("wall", run.wall.as_secs_f64()),
            Self::Pointer(pointer) => (pointer.as_str(), at_pointer(&run.output()?, pointer)?),
            Self::Pattern(pattern) => {
                let figure = last_match(pattern, &run.output()?).or_else(|found| {
                    let errors = run.errors()?;
                    last_match(pattern, &errors).map_err(|_| found)
                })?;
                (pattern.as_str(), figure)
            }
        };
        if figure.is_finite() && figure > 0.0 {
            Ok(figure)
        } else {
            Err(MeasureError::NotAbove {
                place: place.to_owned(),
                found: figure,
            })
        }
    }
}

fn at_pointer(output: &str, pointer: &str) -> Result<f64, MeasureError> {
    let json: Value = serde_json::from_str(output).or_else(|whole| {
        let last = output.trim_end().lines().next_back().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| MeasureError::Json(whole))
    })?;
    let found = json.pointer(pointer);
    found
        .and_then(Value::as_f64)
        .ok_or_else(|| MeasureError::Missing {
            place: pointer.to_owned(),
            found: match found {
                Some(value) => shortened(&value.to_string()),
                None => "nothing".to_owned(),
            },
        })
}

fn last_match(pattern: &Regex, text: &str) -> Result<f64, MeasureError> {
    let found = pattern
        .captures_iter(text)
        .filter_map(|captures| captures.name(GROUP))
        .last();
    let missing = |found: String| MeasureError::Missing {
        place: pattern.as_str().to_owned(),
        found,
    };
    let found = found.ok_or_else(|| missing("nothing".to_owned()))?.as_str();
    found.parse().map_err(|_| missing(shortened(found)))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::command::{CommandLine, Running};

    fn figure(measure: &str, command: &str) -> Result<f64, MeasureError> {
        let command: CommandLine = command.parse().unwrap();
        let mut run = command.run(Duration::from_secs(60), &Running::default())?;
        measure.parse::<Measure>()?.figure(&mut run)
    }

    #[test]
    fn wall_time_is_that_of_the_command() {
        let figure = figure("wall", "sleep 0.2").unwrap();
        assert!((0.2..30.0).contains(&figure), "{figure}");
    }

    #[test]
    fn pointers_reach_into_the_output_or_its_last_line() {
        let json = r#"printf '{"timings": {"decode_s": 0.25,\n "many": [1, 2.5e1]}}\n'"#;
        assert_eq!(figure("/timings/decode_s", json).unwrap(), 0.25);
        assert_eq!(figure("/timings/many/1", json).unwrap(), 25.0);
        assert_eq!(
            figure("/rate", r#"printf 'loading\n{"rate": 7}\n'"#).unwrap(),
            7.0
        );
    }

    #[test]
    fn patterns_take_the_last_match_and_look_at_errors_last() {
        let pattern = r"rate: (?<figure>[0-9.]+)";
        assert_eq!(
            figure(pattern, r"printf 'rate: 1\nrate: 2.5 tokens\n'").unwrap(),
            2.5
        );
        assert_eq!(figure(pattern, "sh -c 'echo rate: 3 >&2'").unwrap(), 3.0);
        assert_eq!(
            figure(pattern, "sh -c 'echo rate: 3 >&2; echo rate: 4'").unwrap(),
            4.0
        );
    }

    #[test]
    fn errors_say_what_was_there() {
        for (measure, command, expected) in [
            ("/a", "echo words", "expected JSON"),
            ("/a", r#"echo '{"b": 1}'"#, "at `/a`, found nothing"),
            (
                "/a",
                r#"echo '{"a": "fast"}'"#,
                "expected a number at `/a`, found `\"fast\"`",
            ),
            ("/a", r#"echo '{"a": 0}'"#, "above 0"),
            ("/a", r#"echo '{"a": -1}'"#, "above 0"),
            ("(?<figure>.+)!", "echo fast!", "found `fast`"),
            ("(?<figure>.+)!", "echo NaN!", "above 0"),
            ("(?<figure>.+)!", "echo inf!", "above 0"),
            ("(?<figure>.+)!", "echo fast", "found nothing"),
            ("[0-9]+", "echo 1", "group `figure`"),
            ("([0-9]+", "echo 1", "unclosed group"),
        ] {
            let error = figure(measure, command).unwrap_err().to_string();
            assert!(
                error.contains(expected),
                "{measure} of {command}: expected `{expected}` in: {error}"
            );
        }
    }
}
