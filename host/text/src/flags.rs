//! Signs that a finished answer went wrong.

use serde::Serialize;

/// A sign of trouble, for the user to judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "flag", rename_all = "snake_case")]
pub enum Flag {
    /// There is no answer, or only white space.
    Empty,
    /// The same thing many times in a row.
    Repetition {
        /// What is repeated.
        what: String,
        /// How many times in a row.
        times: usize,
    },
    /// The answer begins with the user's own words.
    PromptEcho {
        /// How many of them.
        words: usize,
    },
    /// The model says that it will not.
    Refusal {
        /// Its words, in lower case.
        sentence: String,
    },
    /// The request gives names and numbers, and a long answer says none of them.
    ContextIgnored {
        /// Those names and numbers.
        names: Vec<String>,
    },
}

/// This many times in a row is no style any more.
const REPEATS: usize = 6;
/// Shorter runs than this are rulers, ellipses and the like.
const REPEATED_CHARACTERS: usize = 48;
/// The longest phrase looked for, in words or, for scripts that put no spaces, in characters.
const LONGEST_PHRASE: usize = 32;

/// The flags of a finished answer.
pub fn find_flags(text: &str) -> Vec<Flag> {
    if text.trim().is_empty() {
        return vec![Flag::Empty];
    }
    repetition(text).into_iter().collect()
}

fn repetition(text: &str) -> Option<Flag> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let characters: Vec<&str> = text
        .char_indices()
        .map(|(at, c)| &text[at..at + c.len_utf8()])
        .collect();
    [
        (lines, 1, "\n"),
        (words, LONGEST_PHRASE, " "),
        (characters, LONGEST_PHRASE, ""),
    ]
    .into_iter()
    .find_map(|(items, longest, joint)| {
        let (start, period, times) = longest_run(&items, longest)?;
        let what = items[start..start + period].join(joint);
        let meaningful = what.chars().any(char::is_alphanumeric);
        let long = what.chars().count() * times >= REPEATED_CHARACTERS;
        (times >= REPEATS && meaningful && long).then_some(Flag::Repetition { what, times })
    })
}

/// The start, period and count of the run that repeats most; of equal ones the shortest period, then the first.
fn longest_run(items: &[&str], longest_period: usize) -> Option<(usize, usize, usize)> {
    let mut best: Option<(usize, usize, usize)> = None;
    for period in 1..=longest_period.min(items.len() / 2) {
        let mut matched = 0;
        for at in period..items.len() {
            matched = if items[at] == items[at - period] {
                matched + 1
            } else {
                0
            };
            let times = matched / period + 1;
            if times > 1 && best.is_none_or(|(_, _, most)| times > most) {
                best = Some((at + 1 - matched - period, period, times));
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(text: &str) -> Option<(String, usize)> {
        match find_flags(text).pop()? {
            Flag::Repetition { what, times } => Some((what, times)),
            _ => None,
        }
    }

    #[test]
    fn the_same_line_thirty_times() {
        let text = format!("A church.\n{}", "- The sky is blue.\n".repeat(30));
        assert_eq!(repeated(&text), Some(("- The sky is blue.".into(), 30)));
    }

    #[test]
    fn a_phrase_within_a_line() {
        let text = format!("It shows {}the end", "a red disc and ".repeat(8));
        assert_eq!(repeated(&text), Some(("a red disc and".into(), 8)));
    }

    #[test]
    fn a_phrase_without_spaces() {
        let text = "红色圆盘。".repeat(12);
        assert_eq!(repeated(&text), Some(("红色圆盘。".into(), 12)));
    }

    #[test]
    fn ordinary_text_has_no_flags() {
        for text in [
            "A red disc on a white ground, and under it a blue bar.",
            "| a | b |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n| 1 | 2 |",
            "yes yes yes",
            "ha ha ha ha ha ha ha ha",
            "--------------------------------------------------------------------------",
        ] {
            assert_eq!(find_flags(text), [], "{text}");
        }
    }

    #[test]
    fn nothing_is_flagged_as_empty() {
        assert_eq!(find_flags(" \n"), [Flag::Empty]);
    }
}
