//! Words, list items and runs of a text: what several rules look at.

use std::collections::HashSet;

/// Words in lower case, without punctuation around them.
pub fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let words = text.split_whitespace().map(bare);
    words.filter(|word| !word.is_empty()).collect()
}

/// Words that carry meaning: four letters at least, and not among the commonest of English.
pub fn content_words(text: &str) -> Vec<String> {
    let split = text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '\u{2019}');
    let words = split.map(|word| word.trim_matches(['\'', '\u{2019}']).to_lowercase());
    words
        .filter(|word| word.chars().count() >= 4 && !COMMON.contains(&word.as_str()))
        .collect()
}

/// Words of four letters and more that say nothing of a picture.
const COMMON: [&str; 62] = [
    "about",
    "above",
    "across",
    "after",
    "against",
    "along",
    "also",
    "among",
    "appears",
    "around",
    "because",
    "been",
    "before",
    "being",
    "below",
    "between",
    "both",
    "each",
    "from",
    "have",
    "here",
    "image",
    "into",
    "itself",
    "like",
    "more",
    "most",
    "near",
    "only",
    "other",
    "over",
    "photo",
    "photograph",
    "picture",
    "scene",
    "several",
    "showing",
    "shown",
    "shows",
    "some",
    "such",
    "than",
    "that",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "through",
    "title",
    "description",
    "keywords",
    "under",
    "very",
    "what",
    "which",
    "while",
    "with",
    "within",
];

/// What stands between commas, semicolons or on lines of their own, in lower case and without bullets.
pub fn list_items(text: &str) -> Vec<String> {
    let parts = text.split([',', ';', '\n', '\u{3001}', '\u{ff0c}']);
    let bare = |item: &str| {
        let item = item.trim_matches(|c: char| !c.is_alphanumeric());
        item.to_lowercase()
    };
    parts.map(bare).filter(|item| !item.is_empty()).collect()
}

/// The longest run of words that two texts have in common, with where it begins in the second.
pub fn longest_common_run(a: &[String], b: &[String]) -> (usize, usize) {
    let mut best = (0, 0);
    // Length of the run that ends at each word of `b`, for the word of `a` before.
    let mut before = vec![0_usize; b.len() + 1];
    for word in a {
        let mut now = vec![0_usize; b.len() + 1];
        for (at, other) in b.iter().enumerate() {
            if word == other {
                now[at + 1] = before[at] + 1;
                if now[at + 1] > best.0 {
                    best = (now[at + 1], at + 1 - now[at + 1]);
                }
            }
        }
        before = now;
    }
    best
}

/// The run that repeats most among items: where it starts, how many items one period has, and how many times it comes in a row.
pub fn longest_repeat(items: &[String], longest_period: usize) -> Option<Repeat> {
    let mut best: Option<Repeat> = None;
    for period in 1..=longest_period.min(items.len() / 2) {
        let mut matched = 0;
        for at in period..items.len() {
            matched = if items[at] == items[at - period] {
                matched + 1
            } else {
                0
            };
            let times = matched / period + 1;
            let most = best.as_ref().map_or(1, |best| best.times);
            if times > most {
                best = Some(Repeat {
                    start: at + 1 - matched - period,
                    period,
                    times,
                });
            }
        }
    }
    best
}

/// See [`longest_repeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The first item.
    pub start: usize,
    /// Items of one period.
    pub period: usize,
    /// Periods in a row.
    pub times: usize,
}

/// How many of the items occurred before.
pub fn repeated_items(items: &[String]) -> usize {
    let mut seen = HashSet::new();
    items.iter().filter(|item| !seen.insert(item.as_str())).count()
}

/// At most so many characters of a text, on one line.
pub fn excerpt(text: &str, most: usize) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.chars().nth(most) {
        None => line,
        Some(_) => line.chars().take(most).chain(['…']).collect(),
    }
}

/// The text without what stands between lines of three backticks.
pub fn without_code(text: &str) -> String {
    let mut kept = String::new();
    let mut in_code = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            kept.push_str(line);
        }
    }
    kept
}
