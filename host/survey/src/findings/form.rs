//! How an answer looks: its language, its length, its markup, its parts.

use std::collections::HashSet;

use super::Asked;
use super::text::{excerpt, words};
use crate::structure::Structure;

/// Words beyond which a catalogue's entry is too long: a title, three sentences and fifty keywords take some 200.
pub const VERBOSE_WORDS: usize = 230;
/// Headings beyond the three that may be asked for.
pub const HEADINGS: usize = 4;
/// Bulleted or numbered lines that are no keywords.
pub const BULLETS: usize = 15;
/// Passages in bold.
const BOLD: usize = 15;
/// Letters of another script.
const FOREIGN_LETTERS: usize = 6;
/// Words of a sentence whose language is told by its small words.
const SENTENCE: usize = 7;
/// Small words that tell a language.
const SMALL_WORDS: usize = 3;

/// The script of a letter, as coarse as the question needs.
fn script(c: char) -> Option<&'static str> {
    match u32::from(c) {
        0x41..=0x5a | 0x61..=0x7a | 0xc0..=0x24f | 0x1e00..=0x1eff => Some("Latin"),
        0x370..=0x3ff | 0x1f00..=0x1fff => Some("Greek"),
        0x400..=0x52f => Some("Cyrillic"),
        0x590..=0x5ff => Some("Hebrew"),
        0x600..=0x6ff | 0x750..=0x77f => Some("Arabic"),
        0x900..=0x97f => Some("Devanagari"),
        0xe00..=0xe7f => Some("Thai"),
        0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff => Some("Chinese or Japanese"),
        0xac00..=0xd7af | 0x1100..=0x11ff => Some("Korean"),
        _ => None,
    }
}

/// Small words that other languages of the list do not have.
const LANGUAGES: [(&str, &[&str]); 6] = [
    (
        "English",
        &[
            "the", "and", "of", "with", "is", "are", "this", "that", "which", "from", "there", "their", "was",
        ],
    ),
    (
        "German",
        &[
            "der", "die", "das", "und", "ist", "mit", "ein", "eine", "einen", "auf", "nicht", "dem", "den",
            "sind", "von",
        ],
    ),
    (
        "French",
        &[
            "le", "la", "les", "des", "est", "et", "une", "dans", "avec", "sur", "qui", "du", "aux", "sont",
        ],
    ),
    (
        "Spanish",
        &[
            "el", "los", "las", "una", "con", "del", "está", "por", "que", "como", "para", "muy", "son",
        ],
    ),
    (
        "Italian",
        &[
            "il", "gli", "una", "con", "della", "che", "sono", "nel", "alla", "di", "è", "sullo",
        ],
    ),
    (
        "Dutch",
        &[
            "het", "een", "van", "op", "met", "zijn", "naar", "de", "voor", "niet", "wordt",
        ],
    ),
];

/// Another script than the answer's own, or sentences of two languages.
pub fn language_mixing(asked: &Asked, text: &str) -> Option<String> {
    let quoted = without_quotations(text);
    let known: HashSet<char> = asked.prompt.chars().chain(asked.context.chars()).collect();
    let mut counts: Vec<(&str, usize, String)> = Vec::new();
    for c in quoted
        .chars()
        .filter(|c| !known.contains(c) || script(*c) == Some("Latin"))
    {
        let Some(name) = script(c) else { continue };
        match counts.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, count, some)) => {
                *count += 1;
                if some.chars().count() < 24 {
                    some.push(c);
                }
            }
            None => counts.push((name, 1, c.to_string())),
        }
    }
    counts.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    if let [(first, ..), (second, count, some), ..] = counts.as_slice()
        && *count >= FOREIGN_LETTERS
        && !japanese_beside(first, second)
    {
        return Some(format!("{first} and {second}: {:?}", excerpt(some, 24)));
    }
    two_languages(&quoted)
}

/// Latin words in a Chinese, Japanese or Korean text are loans and brands.
fn japanese_beside(first: &str, second: &str) -> bool {
    first != "Latin" && second == "Latin"
}

/// The text without what stands in quotation marks on one line: signs and titles are quoted.
fn without_quotations(text: &str) -> String {
    let mut kept = String::new();
    let mut closing: Option<char> = None;
    for c in text.chars() {
        match (closing, c) {
            (Some(mark), c) if c == mark || c == '\n' => closing = None,
            (Some(_), _) => {}
            (None, '"') => closing = Some('"'),
            (None, '\u{201c}' | '\u{201e}') => closing = Some('\u{201d}'),
            (None, '«') => closing = Some('»'),
            (None, '「') => closing = Some('」'),
            (None, '(') => closing = Some(')'),
            (None, c) => kept.push(c),
        }
    }
    kept
}

fn two_languages(text: &str) -> Option<String> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for sentence in text.split(['.', '!', '?', '\n']) {
        let words = words(sentence);
        if words.len() < SENTENCE {
            continue;
        }
        let scores = LANGUAGES.map(|(name, small)| {
            let hits = words.iter().filter(|word| small.contains(&word.as_str())).count();
            (hits, name)
        });
        let mut sorted = scores;
        sorted.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
        let [(most, name), (next, _), ..] = sorted;
        let clear = most >= SMALL_WORDS && most >= next + 2 && most * 5 >= words.len();
        if clear && !found.iter().any(|(known, _)| *known == name) {
            found.push((name, sentence.trim().to_owned()));
        }
    }
    match found.as_slice() {
        [(first, _), (second, sentence), ..] => {
            Some(format!("{first} and {second}: {:?}", excerpt(sentence, 60)))
        }
        _ => None,
    }
}

/// Longer than anybody asked for.
pub fn verbose(text: &str) -> Option<String> {
    let words = text.split_whitespace().count();
    (words > VERBOSE_WORDS).then(|| format!("{words} words"))
}

/// More markup than a catalogue's entry has use for.
pub fn markdown(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim_start);
    let is_heading = |line: &&str| {
        let level = line.chars().take_while(|c| *c == '#').count();
        (1..=6).contains(&level) && line[level..].starts_with(' ')
    };
    let is_bullet = |line: &&str| {
        let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let numbered = number.len() < line.len() && (number.starts_with(". ") || number.starts_with(") "));
        numbered || ["- ", "* ", "+ ", "• "].iter().any(|mark| line.starts_with(mark))
    };
    let is_table = |line: &&str| line.starts_with('|') && line.trim_end().ends_with('|') && line.len() > 2;
    let keywords = Structure::of(text).keywords;
    let is_keyword = |line: &&str| {
        let bare = line.trim_start_matches(|c: char| !c.is_alphanumeric()).trim_end();
        keywords.iter().any(|keyword| keyword == bare)
    };
    let counts = [
        (lines().filter(is_heading).count(), HEADINGS, "headings"),
        (
            lines()
                .filter(|line| is_bullet(line) && !is_keyword(line))
                .count(),
            BULLETS,
            "lines of lists",
        ),
        (text.matches("**").count() / 2, BOLD, "passages in bold"),
        (lines().filter(is_table).count(), 3, "lines of tables"),
    ];
    let over: Vec<String> = counts
        .into_iter()
        .filter(|(count, most, _)| count >= most)
        .map(|(count, _, what)| format!("{count} {what}"))
        .collect();
    (!over.is_empty()).then(|| over.join(", "))
}

/// Title, description or keywords are missing.
pub fn structure(asked: &Asked, text: &str) -> Option<String> {
    if !asked.structured {
        return None;
    }
    let missing = Structure::of(text).missing();
    (!missing.is_empty()).then(|| format!("no {}", missing.join(", no ")))
}

/// Too few keywords, or too many.
pub fn keyword_count(asked: &Asked, text: &str) -> Option<String> {
    let (least, most) = asked.keywords?;
    let count = Structure::of(text).keywords.len();
    (count > 0 && !(least..=most).contains(&count)).then(|| format!("{count}, asked for {least} to {most}"))
}

/// The same keyword twice.
pub fn keyword_duplicates(asked: &Asked, text: &str) -> Option<String> {
    if !asked.structured {
        return None;
    }
    let found = Structure::of(text);
    let again = found.duplicates();
    let first = again.first()?;
    Some(format!(
        "{} of {} were there before, {:?} among them",
        again.len(),
        found.keywords.len(),
        excerpt(first, 40)
    ))
}
