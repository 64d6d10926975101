//! The prompt in the answer: its instructions, its context, or nothing of it.

use std::collections::HashSet;

use super::Asked;
use super::text::{content_words, excerpt, longest_common_run, words};

/// So many words of the instructions in a row are no accident.
const ECHO: usize = 12;
/// Fewer names than this prove nothing.
const NAMES: usize = 3;
/// A shorter answer, in words, has no room for names.
const LONG: usize = 15;
/// An answer of fewer words of its own kind says too little to call it an echo.
const CONTENT: usize = 6;
/// Words of the answer that the context has too, in percent.
const ECHOED: usize = 80;
/// So many words of the context in a row, and this share of the answer's words, in percent.
const COPIED: usize = 20;
const COPIED_SHARE: usize = 40;

/// The instructions, word for word.
pub fn prompt_echo(asked: &Asked, text: &str) -> Option<String> {
    let (prompt, answer) = (words(&asked.prompt), words(text));
    let (run, at) = longest_common_run(&prompt, &answer);
    (run >= ECHO).then(|| {
        let words = answer[at..at + run].join(" ");
        format!(
            "{run} words of the instructions in a row: {:?}",
            excerpt(&words, 60)
        )
    })
}

/// Names and numbers of the context, of which the answer has none.
pub fn ignored(asked: &Asked, text: &str) -> Option<String> {
    let said: HashSet<String> = words(text).into_iter().flat_map(parts).collect();
    let names = names(&asked.context);
    if words(text).len() < LONG || names.len() < NAMES {
        return None;
    }
    let is_said = |name: &String| said.contains(&name.to_lowercase());
    (!names.iter().any(is_said)).then(|| {
        let some: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
        format!(
            "none of {} names and numbers of the context: {}, …",
            names.len(),
            some.join(", ")
        )
    })
}

/// A word, and what it is made of: `flint-knapped`, `Michael's`.
fn parts(word: String) -> Vec<String> {
    let bare = word.replace('\u{2019}', "'");
    let mut parts: Vec<String> = bare.split(['-', '/', ':']).map(str::to_owned).collect();
    parts.extend(bare.strip_suffix("'s").map(str::to_owned));
    parts.push(bare);
    parts
}

/// Words with a capital that begin no sentence, and numbers of four digits and more.
fn names(context: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut begins = true;
    for word in context.split_whitespace() {
        let bare = word
            .trim_matches(|c: char| !c.is_alphanumeric())
            .replace('\u{2019}', "'");
        let bare = bare.strip_suffix("'s").unwrap_or(&bare);
        let capital = !begins && bare.chars().next().is_some_and(char::is_uppercase);
        let number = bare.chars().filter(char::is_ascii_digit).count() >= 4;
        if (capital || number) && bare.chars().count() >= 4 && !names.iter().any(|name| name == bare) {
            names.push(bare.to_owned());
        }
        begins = word.ends_with(['.', '!', '?', ':', '"', '\u{201d}']);
    }
    names
}

/// Nothing that the context does not say: most words of the answer, or much of it word for word.
pub fn echoed(asked: &Asked, text: &str) -> Option<String> {
    let share = echoed_share(&asked.context, text)?;
    if share >= ECHOED {
        return Some(format!("{share} % of its words are the context's"));
    }
    let (context, answer) = (words(&asked.context), words(text));
    let (run, at) = longest_common_run(&context, &answer);
    let copied = run >= COPIED && run * 100 >= answer.len() * COPIED_SHARE;
    copied.then(|| {
        let words = answer[at..at + run].join(" ");
        format!(
            "{run} of {} words are the context's in a row: {:?}",
            answer.len(),
            excerpt(&words, 60)
        )
    })
}

/// Of the words that carry meaning, those that the context has too, in percent; none where there is too little to say.
pub fn echoed_share(context: &str, text: &str) -> Option<usize> {
    let known: HashSet<String> = content_words(context)
        .into_iter()
        .map(|word| stem(&word))
        .collect();
    let said: HashSet<String> = content_words(text).into_iter().map(|word| stem(&word)).collect();
    if known.is_empty() || said.len() < CONTENT {
        return None;
    }
    Some(said.iter().filter(|word| known.contains(*word)).count() * 100 / said.len())
}

/// Without the endings of plurals and of the genitive.
fn stem(word: &str) -> String {
    let word = word.replace('\u{2019}', "'");
    let word = word.strip_suffix("'s").unwrap_or(&word);
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') && stem.chars().count() >= 4 => stem.to_owned(),
        _ => word.to_owned(),
    }
}
