//! The same thing again and again.

use std::collections::HashMap;

use super::text::{excerpt, list_items, longest_repeat, repeated_items, words};

/// A word so many times in a row is no emphasis any more.
const TOKENS: usize = 6;
/// Characters that such a run takes at least: `ha ha ha ha ha ha` is laughter.
const TOKEN_CHARACTERS: usize = 24;
/// The longest phrase looked for, in words.
const PHRASE_WORDS: usize = 40;
/// A phrase so many times in a row.
const PHRASES: usize = 4;
/// Characters that such a run takes at least.
const PHRASE_CHARACTERS: usize = 60;
/// A list has so many items at least.
const LIST: usize = 12;
/// Items of a list that occurred before, in percent.
const LIST_REPEATED: usize = 40;
/// So many items in a row that begin, or end, with the same word.
const STEMS: usize = 8;
/// A line so often.
const LINES: usize = 3;
/// Characters of such a line at least.
const LINE_CHARACTERS: usize = 16;

/// One word many times in a row.
pub fn token(text: &str) -> Option<String> {
    let words = words(text);
    let found = longest_repeat(&words, 1)?;
    let word = &words[found.start];
    let long = word.chars().count() * found.times >= TOKEN_CHARACTERS;
    (found.times >= TOKENS && long).then(|| format!("{:?} {} times in a row", excerpt(word, 40), found.times))
}

/// Some words many times in a row, or items of a list that vary one theme without end.
pub fn phrase(text: &str) -> Option<String> {
    run(text)
        .or_else(|| unspaced(text))
        .or_else(|| items(text))
        .or_else(|| stems(text))
}

fn run(text: &str) -> Option<String> {
    let words = words(text);
    let found = longest_repeat(&words, PHRASE_WORDS).filter(|found| found.period > 1)?;
    let phrase = words[found.start..found.start + found.period].join(" ");
    let long = phrase.chars().count() * found.times >= PHRASE_CHARACTERS;
    (found.times >= PHRASES && long)
        .then(|| format!("{:?} {} times in a row", excerpt(&phrase, 60), found.times))
}

/// Scripts that put no spaces between words: characters in place of words.
fn unspaced(text: &str) -> Option<String> {
    let characters: Vec<String> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(String::from)
        .collect();
    let wide = characters
        .iter()
        .filter(|c| c.chars().all(|c| u32::from(c) >= 0x2e80))
        .count();
    if wide * 2 < characters.len() {
        return None;
    }
    let found = longest_repeat(&characters, PHRASE_WORDS).filter(|found| found.period > 1)?;
    let phrase = characters[found.start..found.start + found.period].concat();
    let long = found.period * found.times >= PHRASE_CHARACTERS / 3;
    (found.times >= PHRASES && long)
        .then(|| format!("{:?} {} times in a row", excerpt(&phrase, 60), found.times))
}

fn items(text: &str) -> Option<String> {
    let items = list_items(text);
    if items.len() < LIST {
        return None;
    }
    let repeated = repeated_items(&items);
    if repeated * 100 < items.len() * LIST_REPEATED {
        return None;
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    items
        .iter()
        .for_each(|item| *counts.entry(item).or_default() += 1);
    let most = items.iter().max_by_key(|item| counts[item.as_str()])?;
    Some(format!(
        "{repeated} of {} items of lists were there before, {:?} {} times",
        items.len(),
        excerpt(most, 60),
        counts[most.as_str()]
    ))
}

/// `church exterior, church design, church windows, …`
fn stems(text: &str) -> Option<String> {
    let items = list_items(text);
    let split: Vec<Vec<&str>> = items
        .iter()
        .map(|item| item.split_whitespace().collect())
        .collect();
    let longest = |end: fn(&[&str]) -> Option<String>| {
        let mut best: Option<(usize, String)> = None;
        let mut now: (usize, Option<String>) = (0, None);
        for item in &split {
            // A single word is a keyword, not a variation; more than four are a sentence.
            let stem = (2..=4).contains(&item.len()).then(|| end(item)).flatten();
            let stem = stem.filter(|stem| stem.chars().count() >= 3);
            now = match (&stem, &now.1) {
                (Some(stem), Some(last)) if stem == last => (now.0 + 1, Some(stem.clone())),
                _ => (1, stem),
            };
            if let Some(stem) = &now.1
                && best.as_ref().is_none_or(|best| now.0 > best.0)
            {
                best = Some((now.0, stem.clone()));
            }
        }
        best.filter(|best| best.0 >= STEMS)
    };
    let first = longest(|item| item.first().map(|word| (*word).to_owned()));
    let last = || longest(|item| item.last().map(|word| (*word).to_owned()));
    let (times, stem) = first.or_else(last)?;
    Some(format!(
        "{times} items of a list in a row share the word {stem:?}"
    ))
}

/// A line that comes again and again.
pub fn line(text: &str) -> Option<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for line in text.lines().map(str::trim) {
        let letters = line.chars().filter(|c| c.is_alphanumeric()).count();
        if letters * 2 < line.chars().count() || line.chars().count() < LINE_CHARACTERS {
            continue;
        }
        match counts.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None => counts.push((line, 1)),
        }
    }
    let (line, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count >= LINES).then(|| format!("the line {:?} {count} times", excerpt(line, 60)))
}
