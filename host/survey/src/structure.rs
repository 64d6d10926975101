//! Title, description and keywords of an answer, however it marks them.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// The parts of an answer that was asked for them; absent where the answer has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// One line.
    pub title: Option<String>,
    /// Some sentences.
    pub description: Option<String>,
    /// As they stand, duplicates among them.
    pub keywords: Vec<String>,
}

/// A label at the start of a line: `Title:`, `**Title:**`, `## Title`, `1. Title -`.
static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?mi)^[ \t]*(?:\d+[.)][ \t]*)?(?:[-*+#>]+[ \t]*)*[*_]*(title|description|keywords?|tags)[*_]*[ \t]*(?:(?::|：|[-–—][ \t])[*_]*|$)",
    )
    .expect("the expression is valid")
});

impl Structure {
    /// Reads an answer: a JSON object with these keys, else lines with labels.
    pub fn of(text: &str) -> Self {
        Self::of_json(text).unwrap_or_else(|| Self::of_labels(text))
    }

    /// The parts that are missing, by name.
    pub fn missing(&self) -> Vec<&'static str> {
        let parts = [
            ("title", self.title.is_none()),
            ("description", self.description.is_none()),
            ("keywords", self.keywords.is_empty()),
        ];
        parts
            .into_iter()
            .filter_map(|(name, is_missing)| is_missing.then_some(name))
            .collect()
    }

    /// Keywords that occur before, case aside.
    pub fn duplicates(&self) -> Vec<&str> {
        let mut seen = std::collections::HashSet::new();
        let repeated = self
            .keywords
            .iter()
            .filter(|word| !seen.insert(word.to_lowercase()));
        repeated.map(String::as_str).collect()
    }

    fn of_json(text: &str) -> Option<Self> {
        let body = text.trim();
        let body = body
            .strip_prefix("```json")
            .or_else(|| body.strip_prefix("```"))
            .and_then(|rest| rest.trim_end().strip_suffix("```"))
            .unwrap_or(body)
            .trim();
        let value: serde_json::Value = serde_json::from_str(body)
            .ok()
            .or_else(|| serde_json::from_str(&whole_part(body)?).ok())?;
        let object = value.as_object()?;
        let find = |name: &str| {
            let mut pairs = object.iter();
            pairs.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        let line = |name| {
            let value = find(name).and_then(|value| value.as_str());
            value
                .map(str::trim)
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let keywords = match find("keywords").or_else(|| find("tags")) {
            Some(serde_json::Value::Array(list)) => {
                let words = list.iter().filter_map(|word| word.as_str());
                words
                    .map(|word| word.trim().to_owned())
                    .filter(|word| !word.is_empty())
                    .collect()
            }
            Some(serde_json::Value::String(list)) => keywords(list),
            _ => Vec::new(),
        };
        Some(Self {
            title: line("title"),
            description: line("description"),
            keywords,
        })
    }

    fn of_labels(text: &str) -> Self {
        let mut found = Self::default();
        let labels: Vec<_> = LABEL.captures_iter(text).collect();
        for (index, label) in labels.iter().enumerate() {
            let start = label.get(0).map_or(0, |whole| whole.end());
            let next = labels.get(index + 1).and_then(|next| next.get(0));
            let end = next.map_or(text.len(), |next| next.start());
            let body = text[start..end].trim().trim_matches(['*', '_']).trim();
            if body.is_empty() {
                continue;
            }
            // Of a label that comes twice, the first counts.
            match label[1].to_lowercase().as_str() {
                "title" if found.title.is_none() => {
                    let line = body.lines().map(str::trim).find(|line| !line.is_empty());
                    found.title = line.map(|line| line.trim_matches(['*', '"', '_', '#']).trim().to_owned());
                }
                "description" if found.description.is_none() => found.description = Some(body.to_owned()),
                "keywords" | "keyword" | "tags" if found.keywords.is_empty() => {
                    found.keywords = keywords(body)
                }
                _ => {}
            }
        }
        found
    }
}

/// A JSON object that was cut off, up to its last comma, with all closed that was open there; none where it has no comma, or is no object.
fn whole_part(text: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut best = None;
    let (mut in_text, mut is_escaped) = (false, false);
    for (at, character) in text.char_indices() {
        if in_text {
            match character {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match character {
            '"' => in_text = true,
            '{' => open.push('}'),
            '[' => open.push(']'),
            '}' | ']' if open.pop() != Some(character) => return None,
            ',' => best = Some((at, open.clone())),
            _ => {}
        }
    }
    let (at, open) = best.filter(|_| text.starts_with('{') && !open.is_empty())?;
    Some(text[..at].chars().chain(open.into_iter().rev()).collect())
}

/// Keywords between commas or semicolons, or on lines of their own.
fn keywords(text: &str) -> Vec<String> {
    let is_list = text.contains([',', ';', '\u{ff0c}', '\u{3001}']);
    // What follows the list is prose, as a rule: a blank line ends a list of commas.
    let text = match is_list {
        true => text.split("\n\n").next().unwrap_or(text),
        false => text,
    };
    let bare = |word: &str| {
        let word = word
            .trim()
            .trim_start_matches(['-', '*', '•', '+', '#', '\u{2022}'])
            .trim();
        let number = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let word = match number.strip_prefix(['.', ')']) {
            Some(rest) if number.len() < word.len() => rest,
            _ => word,
        };
        word.trim()
            .trim_matches(['*', '"', '_', '`', '[', ']'])
            .trim_end_matches('.')
            .trim()
            .to_owned()
    };
    let words = text.split([',', ';', '\n', '\u{ff0c}', '\u{3001}']).map(bare);
    words
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .collect()
}
