//! Checks a parsed TOML document against the JSON Schema, so that errors carry a place, a key and the nearest right key.

use std::ops::Range;

use regex::{Regex, RegexBuilder};
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Problem;

/// Bytes of a regular expression when it is compiled: those of known manifests take some thousand.
const LARGEST_REGEX: usize = 512 << 10;

/// A problem and the bytes that it is about.
pub(crate) type Found = (Range<usize>, Box<Problem>);

/// Reports the first thing in `document` that `schema` does not allow.
pub(crate) fn check(document: &Spanned<DeTable<'_>>, schema: &Json) -> Result<(), Found> {
    Checker { root: schema }.table(document.get_ref(), document.span(), schema, "")
}

struct Checker<'a> {
    root: &'a Json,
}

impl<'a> Checker<'a> {
    /// Follows a `$ref` into `$defs`; the schema that it stands beside holds nothing else to check.
    fn resolve(&self, schema: &'a Json) -> &'a Json {
        match schema["$ref"].as_str() {
            Some(reference) => self
                .root
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or(&Json::Null),
            None => schema,
        }
    }

    fn value(&self, value: &Spanned<DeValue<'_>>, schema: &'a Json, path: &str) -> Result<(), Found> {
        let schema = self.resolve(schema);
        let span = value.span();
        if let Some(branches) = schema["anyOf"].as_array() {
            let branches: Vec<&Json> = branches.iter().map(|branch| self.resolve(branch)).collect();
            return match branches.iter().find(|branch| type_fits(value.get_ref(), branch)) {
                Some(branch) => self.value(value, branch, path),
                None => {
                    let expected: Vec<_> = branches.iter().map(|branch| type_name(branch)).collect();
                    Err((
                        span,
                        wrong_type(path, &expected.join(" or "), value.get_ref()).into(),
                    ))
                }
            };
        }
        if !type_fits(value.get_ref(), schema) {
            return Err((span, wrong_type(path, type_name(schema), value.get_ref()).into()));
        }
        match value.get_ref() {
            DeValue::Table(table) if schema["properties"].is_object() => {
                self.table(table, span, schema, path)
            }
            DeValue::Table(table) => free_table(table, path),
            DeValue::Array(array) => self.array(array, span, schema, path),
            DeValue::String(text) => string(text, schema, path).map_err(|problem| (span, problem.into())),
            DeValue::Integer(_) | DeValue::Float(_) => {
                number(value.get_ref(), schema, path).map_err(|problem| (span, problem.into()))
            }
            DeValue::Boolean(_) | DeValue::Datetime(_) => Ok(()),
        }
    }

    fn table(
        &self,
        table: &DeTable<'_>,
        span: Range<usize>,
        schema: &'a Json,
        path: &str,
    ) -> Result<(), Found> {
        let Some(properties) = schema["properties"].as_object() else {
            return Ok(());
        };
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            match properties.get(name) {
                Some(property) => self.value(value, property, &join(path, name))?,
                None => {
                    let problem = Problem::UnknownKey {
                        key: name.to_owned(),
                        table: table_name(path),
                        hint: self.hint(name, properties),
                    };
                    return Err((key.span(), problem.into()));
                }
            }
        }
        for required in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            if !table.iter().any(|(key, _)| key.get_ref() == required) {
                let problem = Problem::MissingKey {
                    key: required.to_owned(),
                    table: table_name(path),
                };
                return Err((span, problem.into()));
            }
        }
        Ok(())
    }

    fn array(
        &self,
        array: &[Spanned<DeValue<'_>>],
        span: Range<usize>,
        schema: &'a Json,
        path: &str,
    ) -> Result<(), Found> {
        let prefix = schema["prefixItems"].as_array();
        if let Some(prefix) = prefix
            && prefix.len() != array.len()
        {
            let problem = Problem::OutOfRange {
                key: path.to_owned(),
                expected: format!("a list of {}", prefix.len()),
                found: format!("a list of {}", array.len()),
            };
            return Err((span, problem.into()));
        }
        if let Some(most) = schema["maxItems"].as_u64()
            && schema["minItems"].is_null()
            && array.len() as u64 > most
        {
            let problem = Problem::OutOfRange {
                key: path.to_owned(),
                expected: format!("a list of at most {most}"),
                found: format!("a list of {}", array.len()),
            };
            return Err((span, problem.into()));
        }
        for (index, value) in array.iter().enumerate() {
            let item = prefix
                .and_then(|prefix| prefix.get(index))
                .unwrap_or(&schema["items"]);
            self.value(value, item, &format!("{path}[{index}]"))?;
        }
        Ok(())
    }

    /// What the writer of an unknown key may have meant: a key of the same table, or of another.
    fn hint(&self, key: &str, properties: &serde_json::Map<String, Json>) -> String {
        if let Some(nearest) = nearest(key, properties.keys().map(String::as_str)) {
            return format!("; did you mean `{nearest}`?");
        }
        let tables = self.root["properties"].as_object().into_iter().flatten();
        let home = tables
            .filter(|(_, schema)| self.resolve(schema)["properties"].get(key).is_some())
            .map(|(table, _)| table)
            .next();
        match home {
            Some(table) => format!("; it belongs in `[{table}]`"),
            None => format!("; known keys: {}", list(properties.keys().map(String::as_str))),
        }
    }
}

/// Options for a plugin: anything that JSON can hold.
fn free_table(table: &DeTable<'_>, path: &str) -> Result<(), Found> {
    table
        .iter()
        .try_for_each(|(key, value)| free_value(value, &join(path, key.get_ref())))
}

fn free_value(value: &Spanned<DeValue<'_>>, path: &str) -> Result<(), Found> {
    match value.get_ref() {
        DeValue::Table(table) => free_table(table, path),
        DeValue::Array(array) => array.iter().try_for_each(|item| free_value(item, path)),
        DeValue::Float(_) => {
            number(value.get_ref(), &Json::Null, path).map_err(|problem| (value.span(), problem.into()))
        }
        DeValue::Datetime(_) => Err((
            value.span(),
            wrong_type(path, "something that JSON can hold", value.get_ref()).into(),
        )),
        _ => Ok(()),
    }
}

fn string(text: &str, schema: &Json, path: &str) -> Result<(), Problem> {
    let bad_form = |expected: &str, reason: String| Problem::BadForm {
        key: path.to_owned(),
        found: text.to_owned(),
        expected: expected.to_owned(),
        reason,
    };
    let words = words(schema);
    if !words.is_empty() && !words.contains(&text) {
        return Err(Problem::NotOneOf {
            key: path.to_owned(),
            expected: list(words.iter().copied()),
            found: text.to_owned(),
            hint: nearest(text, words.iter().copied())
                .map_or(String::new(), |word| format!("; did you mean `{word}`?")),
        });
    }
    if schema["minLength"]
        .as_u64()
        .is_some_and(|least| (text.chars().count() as u64) < least)
    {
        return Err(Problem::OutOfRange {
            key: path.to_owned(),
            expected: "a text that is not empty".to_owned(),
            found: "empty".to_owned(),
        });
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
    {
        return Err(bad_form(
            "of the right form",
            format!("it must match `{pattern}`"),
        ));
    }
    match schema["format"].as_str() {
        Some("regex") => match RegexBuilder::new(text).size_limit(LARGEST_REGEX).build() {
            Ok(_) => Ok(()),
            Err(error) => Err(bad_form("a regular expression", last_line(&error.to_string()))),
        },
        Some("semver-requirement") => match semver::VersionReq::parse(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(bad_form("a version requirement such as `0.1`", error.to_string())),
        },
        _ => Ok(()),
    }
}

fn number(value: &DeValue<'_>, schema: &Json, path: &str) -> Result<(), Problem> {
    let (written, number) = match value {
        DeValue::Integer(integer) => {
            let parsed = i128::from_str_radix(integer.as_str(), integer.radix());
            (
                integer.as_str(),
                parsed.map_or(f64::INFINITY, |integer| integer as f64),
            )
        }
        DeValue::Float(float) => (float.as_str(), float.as_str().parse().unwrap_or(f64::NAN)),
        _ => return Ok(()),
    };
    let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
    let most = schema["maximum"]
        .as_f64()
        .unwrap_or(match schema["format"].as_str() {
            Some("uint32") => f64::from(u32::MAX),
            _ => f64::MAX,
        });
    if (least..=most).contains(&number) {
        return Ok(());
    }
    Err(Problem::OutOfRange {
        key: path.to_owned(),
        expected: match (least > f64::MIN, most < f64::MAX) {
            (true, true) => format!("from {least} to {most}"),
            (true, false) => format!("at least {least}"),
            (false, true) => format!("at most {most}"),
            (false, false) => "a finite number".to_owned(),
        },
        found: written.to_owned(),
    })
}

/// The words that a schema allows: schemars writes `enum`, or one `const` a variant when variants are documented.
pub(crate) fn words(schema: &Json) -> Vec<&str> {
    let plain = schema["enum"].as_array().into_iter().flatten();
    let documented = schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|variant| &variant["const"]);
    plain.chain(documented).filter_map(Json::as_str).collect()
}

fn type_fits(value: &DeValue<'_>, schema: &Json) -> bool {
    match (schema["type"].as_str(), value) {
        (Some("string"), DeValue::String(_))
        | (Some("integer"), DeValue::Integer(_))
        | (Some("number"), DeValue::Integer(_) | DeValue::Float(_))
        | (Some("boolean"), DeValue::Boolean(_))
        | (Some("array"), DeValue::Array(_))
        | (Some("object"), DeValue::Table(_)) => true,
        (None, DeValue::String(_)) => !words(schema).is_empty(),
        _ => false,
    }
}

/// A schema's type, in TOML's words.
pub(crate) fn type_name(schema: &Json) -> &'static str {
    match schema["type"].as_str() {
        Some("integer") => "an integer",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("array") => "a list",
        Some("object") => "a table",
        _ => "a string",
    }
}

fn wrong_type(path: &str, expected: &str, value: &DeValue<'_>) -> Problem {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Problem::WrongType {
        key: path.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn table_name(path: &str) -> String {
    if path.is_empty() {
        "the manifest".to_owned()
    } else {
        format!("`[{path}]`")
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The known word nearest to `word`, when it is near enough to be what was meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in length, and no key is long.
    let word: String = word.chars().take(64).collect();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Errors of the regex crate draw the pattern over several lines; the reason is the last.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
